//! JetStream goes, or its network does, while orders run: nothing is lost, nothing is said or done twice, and no client
//! notices. `lost_streams.rs` is about what JetStream loses and does not say.

mod support;

use std::time::Duration;

use support::proxy::{Fault, Way};
use support::world::World;

async fn heal(world: &mut World) {
    world.proxy.heal();
}

#[tokio::test(flavor = "multi_thread")]
async fn a_network_that_fails_in_every_way_loses_nothing() {
    let mut world = World::start().await;
    let slow = async |world: &mut World| world.proxy.set_both(Fault::delay(Duration::from_millis(150)));
    world.orders_run_on("slow", slow, heal).await;
    let narrow = async |world: &mut World| world.proxy.set_both(Fault::throttle(30_000));
    world.orders_run_on("narrow", narrow, heal).await;
    world.orders_run_on("refused", async |world| world.proxy.refuse(), heal).await;
    let cut = async |world: &mut World| world.proxy.set(Way::ToServer, Fault::cut_after(50_000));
    world.orders_run_on("cut in the middle of messages", cut, heal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_connection_that_is_half_open_or_deaf_or_mute_loses_nothing() {
    let mut world = World::start().await;
    world.orders_run_on("half open", async |world| world.proxy.set_both(Fault::hold()), heal).await;
    let deaf = async |world: &mut World| world.proxy.set(Way::ToServer, Fault::hold());
    world.orders_run_on("deaf", deaf, heal).await;
    let mute = async |world: &mut World| {
        world.proxy.set(Way::ToClient, Fault::drop());
        world.until_logged("publish failed, saying it again").await;
    };
    world.orders_run_on("mute: acknowledgements are lost", mute, heal).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_server_that_is_killed_or_stands_still_loses_nothing() {
    let mut world = World::start().await;
    let kill = async |world: &mut World| {
        world.nats.kill().await;
    };
    let restart = async |world: &mut World| world.nats.restart().await.expect("starts again");
    world.orders_run_on("killed", kill, restart).await;
    let freeze = async |world: &mut World| world.freeze();
    let thaw = async |world: &mut World| {
        world.until_logged("disconnected from nats").await;
        world.thaw();
    };
    world.orders_run_on("frozen", freeze, thaw).await;
}
