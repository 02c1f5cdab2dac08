//! What somebody changed in a stream or a consumer, and how it is changed back: only what can be changed without losing
//! what is there. What cannot (storage, a seal, how acknowledgements work) stays, and is told.

use std::fmt::Debug;
use std::time::Duration;

use async_nats::jetstream::consumer::{PriorityPolicy, pull};
use async_nats::jetstream::stream;

/// Collects "name: found instead of wanted".
#[derive(Default)]
struct Differences(Vec<String>);

impl Differences {
    fn note<T: PartialEq + Debug>(&mut self, name: &str, found: T, wanted: T) {
        if found != wanted {
            self.0.push(format!("{name}: {found:?} instead of {wanted:?}"));
        }
    }
}

/// The server says -1 for what we leave at 0.
fn limit(value: i64) -> Option<i64> {
    (value > 0).then_some(value)
}

pub(super) fn of_stream(found: &stream::Config, wanted: &stream::Config) -> Vec<String> {
    let mut all = Differences::default();
    let sorted = |subjects: &[String]| {
        let mut subjects = subjects.to_vec();
        subjects.sort();
        subjects
    };
    all.note("subjects", sorted(&found.subjects), sorted(&wanted.subjects));
    all.note("max_age", found.max_age, wanted.max_age);
    all.note("max_bytes", limit(found.max_bytes), limit(wanted.max_bytes));
    all.note("max_messages", limit(found.max_messages), None);
    all.note("max_messages_per_subject", limit(found.max_messages_per_subject), None);
    all.note("max_message_size", limit(found.max_message_size.into()), None);
    all.note("num_replicas", found.num_replicas, wanted.num_replicas);
    all.note("discard", found.discard, wanted.discard);
    all.note("discard_new_per_subject", found.discard_new_per_subject, false);
    all.note("retention", found.retention, wanted.retention);
    all.note("storage", found.storage, wanted.storage);
    all.note("no_ack", found.no_ack, false);
    all.note("sealed", found.sealed, false);
    all.note("duplicate_window", found.duplicate_window, wanted.duplicate_window);
    all.note("subject_transform", found.subject_transform.is_some(), false);
    all.0
}

/// What was found, with everything that may be changed as it is wanted.
pub(super) fn stream_changed_back(found: &stream::Config, wanted: stream::Config) -> stream::Config {
    stream::Config {
        subjects: wanted.subjects,
        max_age: wanted.max_age,
        max_bytes: wanted.max_bytes,
        max_messages: -1,
        max_messages_per_subject: -1,
        max_message_size: -1,
        num_replicas: wanted.num_replicas,
        discard: wanted.discard,
        discard_new_per_subject: false,
        retention: wanted.retention,
        no_ack: false,
        sealed: false,
        duplicate_window: wanted.duplicate_window,
        subject_transform: None,
        ..found.clone()
    }
}

pub(super) fn of_consumer(found: &pull::Config, wanted: &pull::Config, is_paused: bool) -> Vec<String> {
    let mut all = Differences::default();
    all.note("ack_policy", found.ack_policy, wanted.ack_policy);
    all.note("ack_wait", found.ack_wait, wanted.ack_wait);
    all.note("backoff", found.backoff.as_slice(), &[]);
    all.note("max_ack_pending", found.max_ack_pending, wanted.max_ack_pending);
    all.note("max_deliver", limit(found.max_deliver), None);
    all.note("filter_subject", filters(found), filters(wanted));
    all.note("headers_only", found.headers_only, false);
    all.note("rate_limit", found.rate_limit, 0);
    all.note("max_batch", limit(found.max_batch), None);
    all.note("max_bytes", limit(found.max_bytes), None);
    all.note("max_expires", found.max_expires, Duration::ZERO);
    all.note("inactive_threshold", found.inactive_threshold, Duration::ZERO);
    all.note("priority_policy", &found.priority_policy, &PriorityPolicy::None);
    all.note("paused", is_paused, false);
    all.0
}

fn filters(config: &pull::Config) -> Vec<String> {
    let one = std::iter::once(&config.filter_subject).filter(|subject| !subject.is_empty());
    let mut filters: Vec<String> = config.filter_subjects.iter().chain(one).cloned().collect();
    filters.sort();
    filters
}

/// What was found, with everything that may be changed as it is wanted.
pub(super) fn consumer_changed_back(found: pull::Config, wanted: pull::Config) -> pull::Config {
    pull::Config {
        // A consumer made with another policy keeps it: what it does not deliver is asked for.
        ack_policy: found.ack_policy,
        deliver_policy: found.deliver_policy,
        replay_policy: found.replay_policy,
        max_waiting: found.max_waiting,
        memory_storage: found.memory_storage,
        num_replicas: found.num_replicas,
        metadata: found.metadata,
        ..wanted
    }
}
