//! Everything is killed in the middle of a load: every accepted order comes to its end, and the sums add up.

mod support;

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use rustix::process::{Pid, Signal, kill_process};
use spillway_proto::pb::orders::order::State;
use support::calls::request;
use support::{Options, System, sums};
use tokio::sync::{Mutex, watch};

/// Orders accepted before the kill.
const ENOUGH: usize = 150;

/// Places orders until the gateway is gone; answers the ids of all that were accepted, and tells their count.
async fn shop(system: &System, clients: usize, count: watch::Sender<usize>) -> Vec<String> {
    let accepted = Arc::new(Mutex::new(Vec::new()));
    let count = Arc::new(count);
    let shoppers = (0..clients).map(|n| {
        let (mut client, accepted, count) = (system.orders(), accepted.clone(), count.clone());
        tokio::spawn(async move {
            let methods = ["pm_ok", "pm_ok", "pm_declined", "pm_lost_answer"];
            for method in methods.iter().cycle().skip(n) {
                let Ok(answer) = client.place_order(request("tea", 1, method)).await else { return };
                accepted.lock().await.push(answer.into_inner().order.expect("an order").order_id);
                count.send_modify(|count| *count += 1);
            }
        })
    });
    for shopper in futures::future::join_all(shoppers).await {
        shopper.expect("no panic");
    }
    let accepted = accepted.lock().await;
    accepted.clone()
}

/// Kills everything in the middle of a load, starts it again, and looks.
async fn kill_in_the_middle(options: Options, rounds: usize) {
    let mut system = System::start_with(options).await;
    system.add_stock("tea", 100_000).await;
    let mut accepted = BTreeSet::new();
    for _ in 0..rounds {
        let (count, mut counted) = watch::channel(0);
        let pid = Pid::from_raw(i32::try_from(system.pid()).expect("an id")).expect("an id");
        let kill = async {
            counted.wait_for(|count| *count >= ENOUGH).await.expect("orders are accepted");
            kill_process(pid, Signal::KILL).expect("killed");
        };
        let (ids, ()) = tokio::join!(shop(&system, 16, count), kill);
        accepted.extend(ids);
        system.kill().await;
        system.restart().await;
    }
    let sums = system.sums_add_up(accepted.len()).await;
    assert!(sums.orders >= accepted.len());
    for id in &accepted {
        let order = system.get(id).await.unwrap_or_else(|e| panic!("{id} was accepted and is lost: {e}"));
        assert_ne!(order.state(), State::Pending);
    }
    eprintln!("accepted {}, {sums:?}", accepted.len());
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_in_the_middle_of_load_loses_nothing_and_charges_nobody_twice() {
    kill_in_the_middle(Options::default(), 3).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn kill_9_with_two_partitions_too() {
    kill_in_the_middle(Options { partitions: Some(2), ..Options::default() }, 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nats_server_and_provider_do_not_outlive_a_killed_parent() {
    let mut system = System::start().await;
    let (nats, provider) = (system.address("nats_monitoring"), system.address("provider"));
    assert_eq!(sums::get(&format!("{nats}/healthz")).await.0, 200);
    system.kill().await;
    let gone = async {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        loop {
            every.tick().await;
            let open = [&nats, &provider].map(|url| {
                let address = url.trim_start_matches("http://").to_owned();
                std::net::TcpStream::connect(address).is_ok()
            });
            if open == [false, false] {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(15), gone).await.expect("both are gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stop_drains_tells_what_is_open_and_goes_on_where_it_stopped() {
    let mut system = System::start().await;
    system.add_stock("tea", 10).await;
    let (status, body) = sums::post(&format!("{}/sandbox/mode", system.address("provider")), r#"{"down": true}"#).await;
    assert_eq!(status, 200, "{body}");
    let waiting = system.place(request("tea", 1, "pm_ok")).await;
    let said = system.stop().await;
    assert_eq!(said["open_orders"], 1, "{said}");
    system.restart().await;
    assert_eq!(system.ended(&waiting.order_id).await.state(), State::Confirmed);
    let said = system.stop().await;
    assert_eq!(said["open_orders"], 0, "{said}");
}
