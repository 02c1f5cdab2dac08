//! A call, as its trace shows it: what it is sent with, and what is known of it afterwards.

use std::sync::{Arc, OnceLock};

/// A call to the provider, seen from outside.
#[derive(Debug, Default)]
pub struct ProviderCall {
    /// W3C trace context of the call; empty where there is none.
    traceparent: String,
    asked: OnceLock<Asked>,
    /// The HTTP status of the answer.
    status: OnceLock<u16>,
}

/// What was asked of whom.
#[derive(Debug)]
struct Asked {
    method: &'static str,
    path: &'static str,
    host: Arc<str>,
    port: u16,
}

impl ProviderCall {
    /// A call of this trace context, which the provider is told.
    pub fn within(traceparent: String) -> Self {
        ProviderCall { traceparent, ..ProviderCall::default() }
    }

    pub fn traceparent(&self) -> &str {
        &self.traceparent
    }

    /// Notes the request. The path is its pattern: no id is in it.
    pub fn asks(&self, method: &'static str, path: &'static str, host: &Arc<str>, port: u16) {
        // A call asks once.
        self.asked.get_or_init(|| Asked { method, path, host: host.clone(), port });
    }

    /// Notes the answer.
    pub fn answered(&self, status: u16) {
        self.status.get_or_init(|| status);
    }

    pub fn method(&self) -> &'static str {
        self.asked.get().map_or("GET", |asked| asked.method)
    }

    pub fn path(&self) -> &'static str {
        self.asked.get().map_or("", |asked| asked.path)
    }

    /// Host and port.
    pub fn server(&self) -> (String, u16) {
        self.asked.get().map_or_else(Default::default, |asked| (asked.host.to_string(), asked.port))
    }

    /// The HTTP status; none where no answer came.
    pub fn status(&self) -> Option<u16> {
        self.status.get().copied()
    }
}
