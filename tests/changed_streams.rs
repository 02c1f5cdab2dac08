//! Somebody changes streams and consumers, or there is no room for them, while orders run: it is shown, changed back where
//! that loses nothing, and nothing is lost or done twice meanwhile.

mod support;

use std::time::{Duration, SystemTime};

use async_nats::jetstream;
use async_nats::jetstream::consumer::{AckPolicy, Config, DeliverPolicy, FromConsumer as _, pull, push};
use async_nats::jetstream::stream::{self, DiscardPolicy};
use futures::TryStreamExt;
use rustix::process::{Pid, Resource, Rlimit, prlimit};
use serde_json::json;
use support::Options;
use support::proxy::{Fault, Way};
use support::world::{World, streams};

async fn nothing(_: &mut World) {}

async fn heal(world: &mut World) {
    world.proxy.heal();
}

/// All consumers: (stream, durable, configuration).
async fn consumers(js: &jetstream::Context) -> Vec<(String, String, Config)> {
    let mut all = Vec::new();
    for name in streams(1) {
        let stream = js.get_stream(&name).await.expect("there");
        let infos: Vec<_> = stream.consumers().try_collect().await.expect("listed");
        all.extend(infos.into_iter().map(|info| (name.clone(), info.name, info.config)));
    }
    all
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_somebody_changed_are_changed_back() {
    let mut world = World::start().await;
    let js = world.jetstream().await;
    let mut wanted = Vec::new();
    for name in streams(1) {
        wanted.push(js.get_stream(&name).await.expect("there").cached_info().config.clone());
    }
    let before = world.system.incidents();
    let change = async |_: &mut World| {
        for (n, found) in wanted.iter().cloned().enumerate() {
            let changed = match n % 5 {
                0 => stream::Config { subjects: vec![format!("elsewhere.{}", found.name)], ..found },
                1 => stream::Config { discard: DiscardPolicy::New, max_messages: 3, ..found },
                2 => stream::Config { no_ack: true, ..found },
                3 => stream::Config { max_message_size: 100, ..found },
                _ => stream::Config { max_messages_per_subject: 1, ..found },
            };
            js.update_stream(changed).await.expect("changed");
        }
    };
    world.orders_run_on("streams changed", change, nothing).await;
    world.system.until_noted(&before, "stream_changed_back").await;
    for config in wanted {
        let mut every = tokio::time::interval(Duration::from_millis(100));
        let same = async {
            while js.get_stream(&config.name).await.expect("there").cached_info().config != config {
                every.tick().await;
            }
        };
        tokio::time::timeout(support::PATIENCE, same).await.unwrap_or_else(|_| panic!("{} stays changed", config.name));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_that_somebody_changed_or_replaced_lose_nothing() {
    let mut world = World::start().await;
    let js = world.jetstream().await;
    let before = world.system.incidents();
    let change = async |_: &mut World| {
        for (n, (stream, name, config)) in consumers(&js).await.into_iter().enumerate() {
            let found = pull::Config::try_from_consumer_config(config).expect("a pull consumer");
            let changed = match n % 4 {
                0 => pull::Config { max_deliver: 1, max_ack_pending: 1, ..found },
                1 => pull::Config { headers_only: true, ..found },
                2 => pull::Config { filter_subject: "spillway.nowhere".to_owned(), ..found },
                _ => {
                    let stream = js.get_stream(&stream).await.expect("there");
                    let until = SystemTime::now() + Duration::from_secs(3600);
                    stream.pause_consumer(&name, until.into()).await.expect("paused");
                    continue;
                }
            };
            js.update_consumer_on_stream(changed, &stream).await.expect("changed");
        }
    };
    world.orders_run_on("consumers changed", change, nothing).await;
    world.system.until_noted(&before, "consumer_changed_back").await;

    // Replaced by others under the same name: some skip what was said, one acknowledges by itself, some push.
    let replace = async |_: &mut World| {
        for (n, (stream, name, _)) in consumers(&js).await.into_iter().enumerate() {
            js.delete_consumer_from_stream(&name, &stream).await.expect("deleted");
            let durable_name = Some(name);
            let pull = pull::Config { durable_name: durable_name.clone(), ..pull::Config::default() };
            let outcome = match n % 3 {
                0 => {
                    let config = pull::Config { deliver_policy: DeliverPolicy::New, ..pull };
                    js.create_consumer_on_stream(config, &stream).await.map(drop)
                }
                1 => {
                    let config = pull::Config { ack_policy: AckPolicy::None, ..pull };
                    js.create_consumer_on_stream(config, &stream).await.map(drop)
                }
                _ => {
                    let deliver_subject = format!("pushed.{n}");
                    let config = push::Config { durable_name, deliver_subject, ..push::Config::default() };
                    js.create_consumer_on_stream(config, &stream).await.map(drop)
                }
            };
            // Its own listener may have been quicker.
            drop(outcome);
        }
    };
    world.orders_run_on("consumers replaced", replace, nothing).await;
    world.system.until_noted(&before, "consumer_recreated").await;
}

/// Every consumer begins at the start again, twice: all of history is heard again, and nothing comes of it outside.
#[tokio::test(flavor = "multi_thread")]
async fn consumers_that_are_reset_to_the_start_change_nothing() {
    let mut world = World::start().await;
    let reset = async |world: &mut World| {
        let js = world.jetstream().await;
        for (stream, name, _) in consumers(&js).await {
            let subject = format!("CONSUMER.RESET.{stream}.{name}");
            let answer: serde_json::Value = js.request(subject, &json!({ "seq": 1 })).await.expect("answered");
            assert!(answer.get("error").is_none(), "{answer}");
        }
    };
    world.orders_run_on("consumers reset", reset, reset).await;
}

/// A stream that holds a few messages only, and drops what nobody has heard: what is delivered meanwhile is lost on its way, and
/// not there to be delivered again.
#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_full_drop_the_oldest_and_stop_nobody() {
    let arguments = ["--set", "nats.stream.max_bytes=8000"].map(str::to_owned).into();
    let mut world = World::start_with(|_| {}, Options { arguments, ..Options::default() }).await;
    let before = world.system.incidents();
    let lose = async |world: &mut World| world.proxy.set(Way::ToClient, Fault::drop());
    world.orders_run_on("tiny streams", lose, heal).await;
    world.system.until_noted(&before, "asked_for").await;
}

/// JetStream has no room left: every publish is refused, until there is some again.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_without_room_refuses_and_stops_nobody() {
    let arguments = ["--set", "nats.stream.max_bytes=1000000"].map(str::to_owned).into();
    let options = Options { arguments, ..Options::default() };
    let mut world = World::start_with(|server| server.max_file_store = Some(12_000_000), options).await;
    let before = world.system.incidents();
    let fill = async |world: &mut World| {
        let js = world.jetstream().await;
        let hog = stream::Config { name: "HOG".to_owned(), subjects: vec!["hog".to_owned()], ..Default::default() };
        js.create_stream(hog).await.expect("made");
        while let Ok(sent) = js.publish("hog", vec![0; 100_000].into()).await {
            if sent.await.is_err() {
                return;
            }
        }
    };
    let free = async |world: &mut World| {
        world.system.until_noted(&before, "publish_retried").await;
        world.jetstream().await.delete_stream("HOG").await.expect("deleted");
    };
    world.orders_run_on("no room in the store", fill, free).await;
}

/// Its disk takes no more: it answers nothing, and stays so when there is room again, until it is started again.
#[tokio::test(flavor = "multi_thread")]
async fn a_server_whose_disk_takes_nothing_is_wedged_and_stops_nobody() {
    let mut world = World::start().await;
    let before = world.system.incidents();
    let full = async |world: &mut World| {
        let pid = Pid::from_raw(world.nats.pid().cast_signed());
        prlimit(pid, Resource::Fsize, Rlimit { current: Some(1), maximum: None }).expect("limited");
    };
    let restart = async |world: &mut World| {
        world.system.until_noted(&before, "publish_retried").await;
        world.nats.restart().await.expect("starts again");
    };
    world.orders_run_on("a disk that takes nothing", full, restart).await;
}
