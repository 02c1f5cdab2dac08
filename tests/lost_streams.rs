//! JetStream loses what it acknowledged, and does not say so: the numbers show it, the listeners ask, the outboxes answer.

mod support;

use std::path::Path;

use async_nats::jetstream;
use support::Options;
use support::proxy::{Fault, Way};
use support::world::{World, copy_folder, streams};

async fn nothing(_: &mut World) {}

/// The server dies, somebody does something to its files, and it is started again.
async fn while_down(world: &mut World, done: impl FnOnce(&World)) {
    world.nats.kill().await;
    done(world);
    world.nats.restart().await.expect("starts again");
}

/// A power cut without a sync: everything since a moment is gone, and its sequence numbers are given again.
#[tokio::test(flavor = "multi_thread")]
async fn a_store_that_is_restored_from_an_old_copy_changes_nothing() {
    let mut world = World::start().await;
    let old = tempfile::tempdir().expect("a folder");
    let copy = async |world: &mut World| {
        while_down(world, |world| copy_folder(&world.store(), old.path())).await;
    };
    let restore = async |world: &mut World| {
        while_down(world, |world| {
            std::fs::remove_dir_all(world.store()).expect("removed");
            copy_folder(old.path(), &world.store());
        })
        .await;
    };
    let before = world.system.incidents();
    world.orders_run_on("restored from an old copy", copy, restore).await;
    world.system.until_noted(&before, "stream_behind").await;
}

#[tokio::test(flavor = "multi_thread")]
async fn streams_that_are_purged_change_nothing() {
    let mut world = World::start().await;
    let before = world.system.incidents();
    // What is purged while nothing can be delivered was heard by nobody.
    let purge = async |world: &mut World| {
        world.proxy.set(Way::ToClient, Fault::drop());
        let js = world.jetstream().await;
        purge_all(&js).await;
    };
    let heal = async |world: &mut World| {
        purge_all(&world.jetstream().await).await;
        world.proxy.heal();
    };
    world.orders_run_on("purged unheard", purge, heal).await;
    world.system.until_noted(&before, "asked_for").await;
}

async fn purge_all(js: &jetstream::Context) {
    for name in streams(1) {
        js.get_stream(&name).await.expect("there").purge().await.expect("purged");
    }
}

/// Stored, acknowledged into the void, and gone: said again within the window, JetStream takes it for a duplicate and stores
/// nothing. Whoever has not heard it asks.
#[tokio::test(flavor = "multi_thread")]
async fn a_duplicate_of_what_is_gone_is_asked_for() {
    let mut world = World::start().await;
    let before = world.system.incidents();
    let mute = async |world: &mut World| world.proxy.set(Way::ToClient, Fault::drop());
    let purge = async |world: &mut World| {
        world.until_logged("publish failed, saying it again").await;
        purge_all(&world.jetstream().await).await;
        world.proxy.heal();
    };
    world.orders_run_on("purged before it is said again", mute, purge).await;
    world.system.until_noted(&before, "asked_for").await;
}

/// The window in which JetStream absorbs what is said again is over before it is said again: it is stored twice.
#[tokio::test(flavor = "multi_thread")]
async fn what_is_said_again_after_the_window_is_stored_twice_and_changes_nothing() {
    let arguments = ["--set", "nats.stream.max_age_s=1"].map(str::to_owned).into();
    let mut world = World::start_with(|_| {}, Options { arguments, ..Options::default() }).await;
    let mute = async |world: &mut World| world.proxy.set(Way::ToClient, Fault::drop());
    let heal = async |world: &mut World| {
        world.until_logged("publish failed, saying it again").await;
        world.proxy.heal();
    };
    world.orders_run_on("said again after the window", mute, heal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn block_files_that_are_cut_or_damaged_change_nothing() {
    let mut world = World::start().await;
    let cut = async |world: &mut World| while_down(world, |world| each_block(world, cut_short)).await;
    world.orders_run_on("cut short", cut, nothing).await;
    let flip = async |world: &mut World| while_down(world, |world| each_block(world, flip_a_bit)).await;
    world.orders_run_on("a bit flipped", flip, nothing).await;
}

fn each_block(world: &World, damage: impl Fn(&Path)) {
    for stream in streams(1) {
        // The summaries would hide it from the server.
        drop(std::fs::remove_file(world.stream_folder(&stream).join("msgs/index.db")));
        world.blocks(&stream).last().into_iter().for_each(|block| damage(block));
    }
}

/// The last messages are gone, the last of them in part.
fn cut_short(block: &Path) {
    let bytes = std::fs::read(block).expect("a block");
    std::fs::write(block, &bytes[..bytes.len() * 2 / 3]).expect("written");
}

fn flip_a_bit(block: &Path) {
    let mut bytes = std::fs::read(block).expect("a block");
    let middle = bytes.len() / 2;
    if let Some(byte) = bytes.get_mut(middle) {
        *byte ^= 0x10;
    }
    std::fs::write(block, bytes).expect("written");
}
