//! What kind of call a path is, read from the descriptors of the services.

use std::collections::HashSet;

use prost::Message;
use prost_types::method_options::IdempotencyLevel;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

use crate::telemetry::Weight;

/// What the layers must know of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    /// One request, one answer (or a method nobody serves).
    Unary,
    /// Answers with a stream.
    Stream,
    /// Health and reflection. They must answer when nothing else does, so no limit holds for them.
    Standard,
}

/// The paths of all methods, and those whose answer is a stream.
#[derive(Debug, Default)]
pub(super) struct Methods {
    paths: HashSet<String>,
    streams: HashSet<String>,
    /// The paths that only look.
    reads: HashSet<String>,
}

impl Methods {
    pub(super) fn from_descriptors<'d>(
        encoded: impl IntoIterator<Item = &'d [u8]>,
    ) -> Result<Methods, prost::DecodeError> {
        let mut methods = Methods::default();
        for set in encoded {
            for file in FileDescriptorSet::decode(set)?.file {
                methods.add(&file);
            }
        }
        Ok(methods)
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        for service in &file.service {
            for method in &service.method {
                let path = format!("/{}.{}/{}", file.package(), service.name(), method.name());
                if method.server_streaming() {
                    self.streams.insert(path.clone());
                }
                let options = method.options.as_ref();
                if options.is_some_and(|options| options.idempotency_level() == IdempotencyLevel::NoSideEffects) {
                    self.reads.insert(path.clone());
                }
                self.paths.insert(path);
            }
        }
    }

    /// The methods of these services.
    pub(super) fn of<'m>(&'m self, services: &'m [&str]) -> impl Iterator<Item = String> + 'm {
        let is_served = |path: &&String| {
            let service = path.trim_start_matches('/').split('/').next().unwrap_or_default();
            services.contains(&service)
        };
        self.paths.iter().filter(is_served).cloned()
    }

    /// How much a call weighs with the sampler of traces.
    pub(super) fn weight(&self, path: &str) -> Weight {
        if self.reads.contains(path) { Weight::Reads } else { Weight::Writes }
    }

    pub(super) fn kind(&self, path: &str) -> Kind {
        if path.starts_with("/grpc.health.") || path.starts_with("/grpc.reflection.") {
            Kind::Standard
        } else if self.streams.contains(path) {
            Kind::Stream
        } else {
            Kind::Unary
        }
    }
}
