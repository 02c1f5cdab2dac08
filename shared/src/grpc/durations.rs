//! How long calls take, by method and code: each series is looked up once.

use std::collections::HashMap;
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};

use http::HeaderMap;
use metrics::Histogram;
use tonic::{Code, Status};

use super::Answer;
use crate::figures::CODES;
use crate::listen::Name;

/// Stands for every method that nobody serves: clients choose its name, and there is no end of those.
const UNKNOWN: &str = "unknown";

/// The methods of a listener.
pub(super) struct Durations {
    by_path: HashMap<String, Arc<MethodDurations>>,
    unknown: Arc<MethodDurations>,
    refusals: Histogram,
}

impl Durations {
    /// For these paths, as `/package.Service/Method`.
    pub fn new(name: Name, paths: impl Iterator<Item = String>) -> Durations {
        let of = |path: String| {
            let method = path.trim_start_matches('/').to_owned();
            (path, Arc::new(MethodDurations::new(name, method)))
        };
        let Name { role, listener } = name;
        Durations {
            by_path: paths.map(of).collect(),
            unknown: Arc::new(MethodDurations::new(name, UNKNOWN.to_owned())),
            refusals: metrics::histogram!("spillway_refusal_seconds", "role" => role, "listener" => listener),
        }
    }

    /// A call that begins now.
    pub fn begin(&self, path: &str) -> Timing {
        let method = self.by_path.get(path).unwrap_or(&self.unknown).clone();
        Timing { method, began: Instant::now() }
    }

    /// The answer to a call is there. That it is a refusal is measured as well.
    pub fn answered(&self, timing: Timing, answer: &Answer) {
        let code = code_in(answer.headers()).unwrap_or(Code::Ok);
        let took = timing.began.elapsed();
        if code == Code::ResourceExhausted {
            self.refusals.record(took);
        }
        timing.took(code, took);
    }
}

/// The code among headers or trailers; `None` where there is none.
pub(super) fn code_in(headers: &HeaderMap) -> Option<Code> {
    headers.get(Status::GRPC_STATUS).map(|code| Code::from_bytes(code.as_bytes()))
}

struct MethodDurations {
    name: Name,
    method: String,
    by_code: [OnceLock<Histogram>; CODES.len()],
}

impl MethodDurations {
    fn new(name: Name, method: String) -> MethodDurations {
        let durations = MethodDurations { name, method, by_code: Default::default() };
        // There from the first scrape on: a share of calls then has something to go by.
        durations.series(Code::Ok);
        durations
    }

    fn series(&self, code: Code) -> Option<&Histogram> {
        let at = usize::try_from(code as i32).ok()?;
        let (series, code) = (self.by_code.get(at)?, CODES.get(at)?);
        Some(series.get_or_init(|| {
            let Name { role, listener } = self.name;
            metrics::histogram!("spillway_grpc_server_duration_seconds", "role" => role, "listener" => listener,
                "method" => self.method.clone(), "code" => *code)
        }))
    }
}

/// A call that runs.
pub(super) struct Timing {
    method: Arc<MethodDurations>,
    began: Instant,
}

impl Timing {
    pub fn end(self, code: Code) {
        let took = self.began.elapsed();
        self.took(code, took);
    }

    fn took(&self, code: Code, took: Duration) {
        if let Some(series) = self.method.series(code) {
            series.record(took);
        }
    }
}

/// A stream that runs: dropped before its end, it was left by its client.
pub(super) struct StreamTiming(Option<Timing>);

impl StreamTiming {
    pub fn new(timing: Timing) -> StreamTiming {
        StreamTiming(Some(timing))
    }

    pub fn end(&mut self, code: Code) {
        if let Some(timing) = self.0.take() {
            timing.end(code);
        }
    }
}

impl Drop for StreamTiming {
    fn drop(&mut self) {
        self.end(Code::Cancelled);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_name_at_its_number() {
        for (number, name) in CODES.iter().enumerate() {
            let code = Code::from_i32(i32::try_from(number).expect("small"));
            let told = format!("{code:?}").to_uppercase();
            assert_eq!(told, name.replace('_', ""), "{number}");
        }
    }
}
