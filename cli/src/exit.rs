//! How the program ends: an exit code, and a failure that says what to do.

use std::collections::BTreeMap;
use std::io;
use std::process::ExitCode;
use std::time::Duration;

use serde::Serialize;
use spillway_shared::config::Problems;
use tonic::{Code, Status};
use tonic_types::StatusExt;

/// The exit codes of every verb.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exit {
    /// All went well.
    Well = 0,
    /// It was tried and failed.
    Failed = 1,
    /// What was asked for makes no sense: the command line, the configuration, a request that is not valid.
    Usage = 2,
    /// Something that is needed is missing or cannot be reached.
    Missing = 3,
    /// Something that must always hold does not.
    Broken = 4,
}

impl From<Exit> for ExitCode {
    fn from(exit: Exit) -> ExitCode {
        ExitCode::from(exit as u8)
    }
}

/// Why a verb did not do what it was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Failure {
    pub exit: Exit,
    /// `None` where everything was said already, or nobody listens any more.
    pub error: Option<Box<ErrorAnswer>>,
}

/// What is told of a failure; with `--output json` as `{"error": {...}}` on standard error.
#[derive(Clone, Debug, Default, PartialEq, Serialize)]
pub struct ErrorAnswer {
    /// The gRPC code of a call that failed, such as `NOT_FOUND`, else `FAILED`, `USAGE`, `MISSING` or `BROKEN`.
    pub code: String,
    /// The reason that a server gave, UPPER_SNAKE; empty where there is none.
    pub reason: String,
    pub message: String,
    /// Every single mistake, where there can be several.
    pub violations: Vec<Violation>,
    /// Milliseconds after which a server wants to be asked again; null where it does not say.
    pub retry_after_ms: Option<u64>,
    /// The moving parts of the message, by name.
    pub metadata: BTreeMap<String, String>,
}

/// One mistake of several.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Violation {
    /// The field or the key.
    pub field: String,
    pub description: String,
}

impl Failure {
    fn new(exit: Exit, code: &str, message: String) -> Failure {
        Failure {
            exit,
            error: Some(Box::new(ErrorAnswer { code: code.to_owned(), message, ..ErrorAnswer::default() })),
        }
    }

    pub fn failed(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Failed, "FAILED", message.into())
    }

    pub fn usage(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Usage, "USAGE", message.into())
    }

    pub fn missing(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Missing, "MISSING", message.into())
    }

    pub fn broken(message: impl Into<String>) -> Failure {
        Failure::new(Exit::Broken, "BROKEN", message.into())
    }

    /// The message alone; empty where everything was said already.
    pub fn text(&self) -> String {
        self.error.as_ref().map(|error| error.message.clone()).unwrap_or_default()
    }

    /// Everything was said already.
    pub fn quiet(exit: Exit) -> Failure {
        Failure { exit, error: None }
    }

    /// Adds a moving part, and a sentence about it to the message.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl ToString, sentence: &str) -> Failure {
        if let Some(error) = &mut self.error {
            error.metadata.insert(name.to_owned(), value.to_string());
            error.message = format!("{}; {sentence}", error.message);
        }
        self
    }

    /// Adds the request id of a write, and how to repeat it where another try may end otherwise.
    #[must_use]
    pub fn with_request_id(mut self, request_id: &str) -> Failure {
        let is_final = |code: &str| {
            ["INVALID_ARGUMENT", "NOT_FOUND", "ALREADY_EXISTS", "FAILED_PRECONDITION", "OUT_OF_RANGE"].contains(&code)
        };
        match &mut self.error {
            Some(error) if is_final(&error.code) => {
                error.metadata.insert("request_id".to_owned(), request_id.to_owned());
                self
            }
            Some(_) => {
                let repeat = format!("to repeat it without doing it twice, add --request-id {request_id}");
                self.with("request_id", request_id, &repeat)
            }
            None => self,
        }
    }
}

/// A refusal as the server told it.
impl From<&Status> for Failure {
    fn from(status: &Status) -> Failure {
        let exit = match status.code() {
            Code::InvalidArgument | Code::OutOfRange => Exit::Usage,
            Code::Unavailable => Exit::Missing,
            Code::Ok
            | Code::Cancelled
            | Code::Unknown
            | Code::DeadlineExceeded
            | Code::NotFound
            | Code::AlreadyExists
            | Code::PermissionDenied
            | Code::ResourceExhausted
            | Code::FailedPrecondition
            | Code::Aborted
            | Code::Unimplemented
            | Code::Internal
            | Code::DataLoss
            | Code::Unauthenticated => Exit::Failed,
        };
        let details = status.get_error_details();
        let violations = details.bad_request().map(|bad| bad.field_violations.as_slice()).unwrap_or_default();
        let violation =
            |v: &tonic_types::FieldViolation| Violation { field: v.field.clone(), description: v.description.clone() };
        let info = details.error_info();
        let error = ErrorAnswer {
            code: code_name(status.code()).to_owned(),
            reason: info.map(|info| info.reason.clone()).unwrap_or_default(),
            message: status.message().to_owned(),
            violations: violations.iter().map(violation).collect(),
            retry_after_ms: details.retry_info().and_then(|info| info.retry_delay).map(millis),
            metadata: info.map(|info| info.metadata.clone().into_iter().collect()).unwrap_or_default(),
        };
        Failure { exit, error: Some(Box::new(error)) }
    }
}

/// A configuration with mistakes.
impl From<Problems> for Failure {
    fn from(problems: Problems) -> Failure {
        let mut failure = Failure::usage(match problems.0.len() {
            1 => "the configuration has a mistake".to_owned(),
            count => format!("the configuration has {count} mistakes"),
        });
        let violations = problems.0.into_iter().map(|problem| Violation {
            description: match &problem.origin {
                Some(origin) => format!("{} ({origin})", problem.message),
                None => problem.message,
            },
            field: problem.key,
        });
        if let Some(error) = &mut failure.error {
            error.violations = violations.collect();
        }
        failure
    }
}

/// Standard output that cannot be written to. Who closed it, such as `head`, has had enough: no failure to speak of.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Failure::quiet(Exit::Well),
            _ => Failure::failed(format!("cannot write to standard output: {error}")),
        }
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

/// As the gRPC documentation writes it.
pub fn code_name(code: Code) -> &'static str {
    match code {
        Code::Ok => "OK",
        Code::Cancelled => "CANCELLED",
        Code::Unknown => "UNKNOWN",
        Code::InvalidArgument => "INVALID_ARGUMENT",
        Code::DeadlineExceeded => "DEADLINE_EXCEEDED",
        Code::NotFound => "NOT_FOUND",
        Code::AlreadyExists => "ALREADY_EXISTS",
        Code::PermissionDenied => "PERMISSION_DENIED",
        Code::ResourceExhausted => "RESOURCE_EXHAUSTED",
        Code::FailedPrecondition => "FAILED_PRECONDITION",
        Code::Aborted => "ABORTED",
        Code::OutOfRange => "OUT_OF_RANGE",
        Code::Unimplemented => "UNIMPLEMENTED",
        Code::Internal => "INTERNAL",
        Code::Unavailable => "UNAVAILABLE",
        Code::DataLoss => "DATA_LOSS",
        Code::Unauthenticated => "UNAUTHENTICATED",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tonic_types::ErrorDetails;

    #[test]
    fn a_refusal_keeps_all_that_the_server_told() {
        let mut details = ErrorDetails::with_bad_request_violation("lines[0].sku", "is empty");
        details.set_error_info("FIELDS_INVALID", "spillway", [("violations".to_owned(), "1".to_owned())]);
        details.set_retry_info(Some(Duration::from_millis(250)));
        let failure = Failure::from(&Status::with_error_details(Code::InvalidArgument, "no", details));
        assert_eq!(failure.exit, Exit::Usage);
        let error = failure.error.expect("told");
        assert_eq!((error.code.as_str(), error.reason.as_str()), ("INVALID_ARGUMENT", "FIELDS_INVALID"));
        assert_eq!(error.violations[0].field, "lines[0].sku");
        assert_eq!(error.retry_after_ms, Some(250));
        assert_eq!(error.metadata["violations"], "1");
    }

    #[test]
    fn each_kind_of_refusal_has_its_exit_code() {
        let cases = [
            (Code::InvalidArgument, Exit::Usage),
            (Code::Unavailable, Exit::Missing),
            (Code::NotFound, Exit::Failed),
            (Code::ResourceExhausted, Exit::Failed),
            (Code::DeadlineExceeded, Exit::Failed),
        ];
        for (code, exit) in cases {
            assert_eq!(Failure::from(&Status::new(code, "")).exit, exit, "{code:?}");
        }
    }

    #[test]
    fn a_write_that_may_be_repeated_says_how_and_a_final_refusal_keeps_its_id() {
        let told = |code| {
            let error = Failure::from(&Status::new(code, "no")).with_request_id("r-1").error.expect("told");
            assert_eq!(error.metadata["request_id"], "r-1");
            error.message
        };
        assert_eq!(told(Code::FailedPrecondition), "no");
        for code in [Code::Unavailable, Code::DeadlineExceeded, Code::Internal, Code::ResourceExhausted] {
            assert!(told(code).ends_with("add --request-id r-1"), "{code:?}");
        }
    }

    #[test]
    fn a_reader_that_had_enough_is_no_failure() {
        let failure = Failure::from(io::Error::from(io::ErrorKind::BrokenPipe));
        assert_eq!(failure, Failure::quiet(Exit::Well));
    }
}
