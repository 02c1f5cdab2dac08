//! What kind of call a path is, read from the descriptors of the services.

use std::collections::HashSet;

use prost::Message;
use prost_types::{FileDescriptorProto, FileDescriptorSet};

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

/// The paths whose answer is a stream.
#[derive(Debug, Default)]
pub(super) struct Methods {
    streams: HashSet<String>,
}

impl Methods {
    pub(super) fn from_descriptors(encoded: &[Vec<u8>]) -> Result<Methods, prost::DecodeError> {
        let mut methods = Methods::default();
        for set in encoded {
            for file in FileDescriptorSet::decode(set.as_slice())?.file {
                methods.add(&file);
            }
        }
        Ok(methods)
    }

    fn add(&mut self, file: &FileDescriptorProto) {
        for service in &file.service {
            let streams = service.method.iter().filter(|method| method.server_streaming());
            let paths = streams.map(|method| format!("/{}.{}/{}", file.package(), service.name(), method.name()));
            self.streams.extend(paths);
        }
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
