//! The contract: messages, ids, money, the events, and the streams they travel in.
//!
//! Knows no runtime: nothing here does I/O, reads a clock or draws a random number.

pub mod batch;
pub mod call;
pub mod codec;
pub mod envelope;
pub mod event;
pub mod figures;
pub mod ids;
pub mod ledgers;
pub mod money;
pub mod time;
pub mod trace;

pub use envelope::{BadEvent, Envelope, NewEvent, Subject};
pub use event::{Event, EventKind, InStory};
pub use figures::Figures;
pub use ids::{EventId, Incarnation, OrderId, Partition};
pub use ledgers::{Ledger, LedgerId};
pub use money::{Currency, Money};
pub use trace::TraceContext;

/// The shop of every record until credentials tell shops apart.
pub const DEFAULT_SHOP: &str = "default";

/// The domain of every `google.rpc.ErrorInfo`.
pub const ERROR_DOMAIN: &str = "spillway";

/// The contract as an encoded `google.protobuf.FileDescriptorSet`, with comments and imports.
pub const DESCRIPTOR_SET: &[u8] = include_bytes!(concat!(env!("OUT_DIR"), "/descriptor_set.bin"));

/// The generated messages and services.
#[allow(clippy::all)]
pub mod pb {
    pub mod spillway {
        pub mod orders {
            pub mod v1 {
                tonic::include_proto!("spillway.orders.v1");
            }
        }
        pub mod inventory {
            pub mod v1 {
                tonic::include_proto!("spillway.inventory.v1");
            }
        }
        pub mod ops {
            pub mod v1 {
                tonic::include_proto!("spillway.ops.v1");
            }
        }
        pub mod events {
            pub mod v1 {
                tonic::include_proto!("spillway.events.v1");
            }
        }
        pub mod internal {
            pub mod v1 {
                tonic::include_proto!("spillway.internal.v1");
            }
        }
    }
    pub mod google {
        pub mod r#type {
            tonic::include_proto!("google.r#type");
        }
    }
    pub mod io {
        pub mod cloudevents {
            pub mod v1 {
                tonic::include_proto!("io.cloudevents.v1");
            }
        }
    }

    pub use google::r#type::Money;
    pub use io::cloudevents::v1 as cloudevents;
    pub use spillway::events::v1 as events;
    pub use spillway::internal::v1 as internal;
    pub use spillway::inventory::v1 as inventory;
    pub use spillway::ops::v1 as ops;
    pub use spillway::orders::v1 as orders;
}
