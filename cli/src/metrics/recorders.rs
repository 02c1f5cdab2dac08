//! A recorder for each role of the process, chosen by the label `role`.

use std::borrow::Cow;
use std::collections::BTreeMap;

use metrics::{Counter, Gauge, Histogram, Key, KeyName, Label, Metadata, Recorder, SharedString, Unit};
use metrics_exporter_prometheus::PrometheusRecorder;

/// What belongs to no role of the process belongs to the process.
pub(super) struct Recorders {
    pub recorders: BTreeMap<&'static str, PrometheusRecorder>,
    /// The role that shows what is the process's.
    pub host: &'static str,
    /// The label of what is the process's.
    pub process: &'static str,
}

impl Recorders {
    fn of<'k>(&self, key: &'k Key) -> (Cow<'k, Key>, Option<&PrometheusRecorder>) {
        match key.labels().find(|label| label.key() == "role") {
            Some(role) => {
                (Cow::Borrowed(key), self.recorders.get(role.value()).or_else(|| self.recorders.get(self.host)))
            }
            None => {
                let labelled = key.with_extra_labels(vec![Label::from_static_parts("role", self.process)]);
                (Cow::Owned(labelled), self.recorders.get(self.host))
            }
        }
    }
}

impl Recorder for Recorders {
    fn describe_counter(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.recorders.values().for_each(|recorder| recorder.describe_counter(name.clone(), unit, meaning.clone()));
    }

    fn describe_gauge(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.recorders.values().for_each(|recorder| recorder.describe_gauge(name.clone(), unit, meaning.clone()));
    }

    fn describe_histogram(&self, name: KeyName, unit: Option<Unit>, meaning: SharedString) {
        self.recorders.values().for_each(|recorder| recorder.describe_histogram(name.clone(), unit, meaning.clone()));
    }

    fn register_counter(&self, key: &Key, metadata: &Metadata<'_>) -> Counter {
        let (key, recorder) = self.of(key);
        recorder.map_or_else(Counter::noop, |recorder| recorder.register_counter(&key, metadata))
    }

    fn register_gauge(&self, key: &Key, metadata: &Metadata<'_>) -> Gauge {
        let (key, recorder) = self.of(key);
        recorder.map_or_else(Gauge::noop, |recorder| recorder.register_gauge(&key, metadata))
    }

    fn register_histogram(&self, key: &Key, metadata: &Metadata<'_>) -> Histogram {
        let (key, recorder) = self.of(key);
        recorder.map_or_else(Histogram::noop, |recorder| recorder.register_histogram(&key, metadata))
    }
}
