use std::path::Path;

use spillway_natsd::testing::TestServer;
use spillway_proto::pb::internal::Mark;
use spillway_proto::{DEFAULT_SHOP, LedgerId};
use spillway_shared::bus::BusConfig;
use spillway_shared::ledger::{LedgerSpec, Numbering};
use tempfile::TempDir;

use super::*;
use crate::intake::MIGRATIONS;

const INVENTORY: Listener = (Source::Inventory, Partition(0));
const PAYMENTS: Listener = (Source::Payments, Partition(0));
const ORDERS: Listener = (Source::Orders, Partition(0));

/// Longer than anything here takes; a test that waits for so long has failed.
const PATIENCE: Duration = Duration::from_secs(30);

/// The regulator of a gateway that waits for an order for a second at most, with nothing behind it but a server.
async fn pulse(nats_url: String, folder: &Path) -> Pulse {
    let bus = Bus::connect(&BusConfig { url: nats_url, ..BusConfig::default() }, "gateway").await.expect("an address");
    let mut connected = bus.connected();
    let is_connected = connected.wait_for(|is_connected| *is_connected);
    tokio::time::timeout(PATIENCE, is_connected).await.expect("in time").expect("it lives");
    let id = LedgerId { ledger: Source::Gateway, partition: Partition(0) };
    let mut spec = LedgerSpec::new(id, 1, folder, MIGRATIONS);
    spec.numbering = Numbering::ByRelay;
    let ledger = Ledger::open(spec, Intake, &[]).expect("opens");
    Pulse::new(Arc::new(Admission::new(Arc::from(DEFAULT_SHOP))), ledger, bus, 1, Duration::from_secs(1))
}

/// One with a server of its own, and the folder of its ledger.
async fn alone() -> (Pulse, TestServer, TempDir) {
    let (nats, folder) = (TestServer::start().await, tempfile::tempdir().expect("a folder"));
    (pulse(nats.client_url(), folder.path()).await, nats, folder)
}

/// So many orders come, and a look is taken at that time. Answers how many of them were let in.
fn look(pulse: &mut Pulse, orders: u64, now: Instant) -> usize {
    let let_in = (0..orders).filter(|_| pulse.admission.lets_in(b"ada")).count();
    pulse.regulate(orders, now, EVERY);
    let_in
}

/// The gateway has said so much, and inventory and orders answer how much of it they have heard.
fn told(pulse: &mut Pulse, said: i64, [inventory, orders]: [i64; 2], at: Instant) {
    let gateway = pulse.ledger.identity().incarnation;
    pulse.edges.head((Source::Gateway, Partition(0)), gateway, said, at);
    for (who, number) in [(INVENTORY, inventory), (ORDERS, orders)] {
        let incarnation = gateway.as_bytes().to_vec().into();
        let marks = vec![Mark { incarnation, number, ..Mark::default() }];
        pulse.hear(who, Ok(PulseResponse { marks, ..PulseResponse::default() }), (at, at));
    }
}

/// In a second payments hears so many orders, whose due work waits for so long, and orders ends so many.
fn served(pulse: &mut Pulse, (heard_events, queue_wait_us): (u64, u64), said_events: u64, began: Instant) {
    for (part, at) in [(0, began), (1, began + Duration::from_secs(1))] {
        let (heard_events, said_events) = (part * heard_events, part * said_events);
        let answer = PulseResponse { heard_events, queue_wait_us, ..PulseResponse::default() };
        pulse.hear(PAYMENTS, Ok(answer), (at, at));
        pulse.hear(ORDERS, Ok(PulseResponse { said_events, ..PulseResponse::default() }), (at, at));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn due_work_that_waits_for_a_hand_is_a_wait_as_long_as_it_is_told_of() {
    let nats = TestServer::start().await;
    for (queue_wait_us, told_before, is_refused) in [
        (3_000_000, Duration::ZERO, true),
        // A peer that is slow is told of as no wait at all.
        (0, Duration::ZERO, false),
        (3_000_000, STOPPED_AFTER, false),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut pulse = pulse(nats.client_url(), folder.path()).await;
        let now = Instant::now();
        pulse.hear(PAYMENTS, Ok(PulseResponse { queue_wait_us, ..PulseResponse::default() }), (now, now));
        look(&mut pulse, 3_000, now + told_before);
        let what = format!("{queue_wait_us} us, told {told_before:?} ago");
        assert_eq!(pulse.admission.share() < 1.0, is_refused, "{what}");
        assert_eq!(pulse.admission.signal() == Signal::Unheard, is_refused, "{what}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn too_many_on_their_way_are_a_wait_before_one_is_seen_and_no_more_are_let_in() {
    let (mut pulse, _nats, _folder) = alone().await;
    let began = Instant::now();
    let at = |tick: u32| began + tick * EVERY;
    assert_eq!(look(&mut pulse, 0, at(0)), 0);
    for tick in [1, 2] {
        assert_eq!((look(&mut pulse, 3_000, at(tick)), pulse.admission.share()), (3_000, 1.0));
    }
    // Then the disk hangs: three tenths of a second are no wait, but those 6,000 are all on their way still.
    let _waiting = pulse.admission.waits.enter(began);
    look(&mut pulse, 0, at(3));
    assert!(pulse.admission.share() < 1.0, "{}", pulse.admission.share());
    assert_eq!(look(&mut pulse, 1_000, at(4)), 0, "there is no room");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_is_gone_refuses_nobody_from_that_moment() {
    let (mut pulse, _nats, _folder) = alone().await;
    let began = Instant::now();
    told(&mut pulse, 10, [10, 10], began);
    told(&mut pulse, 20, [10, 20], began + EVERY);
    let now = began + 11 * EVERY;
    told(&mut pulse, 20, [10, 20], now);
    assert_eq!(pulse.unheard(now).wait, 10 * EVERY);
    let gone = CallFailed::NoAnswer { callee: "inventory".to_owned(), why: "nobody is there".to_owned() };
    pulse.hear(INVENTORY, Err(gone), (now, now));
    assert_eq!(pulse.unheard(now).wait, Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_server_nothing_is_known_and_nobody_refused() {
    let (mut pulse, nats, _folder) = alone().await;
    let now = Instant::now();
    pulse.hear(PAYMENTS, Ok(PulseResponse { queue_wait_us: 3_000_000, ..PulseResponse::default() }), (now, now));
    assert_eq!(pulse.unheard(now).wait, Duration::from_secs(3));
    let mut connected = pulse.bus.connected();
    drop(nats);
    let is_cut_off = connected.wait_for(|is_connected| !*is_connected);
    tokio::time::timeout(PATIENCE, is_cut_off).await.expect("in time").expect("it lives");
    assert_eq!(pulse.unheard(now).wait, Duration::ZERO);
}

#[tokio::test(flavor = "multi_thread")]
async fn orders_of_which_nobody_was_asked_since_they_came_are_on_their_way() {
    let (mut pulse, _nats, _folder) = alone().await;
    let began = Instant::now();
    told(&mut pulse, 10, [10, 10], began);
    look(&mut pulse, 0, began);
    let let_in = [1, 2].map(|tick| look(&mut pulse, 3_000, began + tick * EVERY));
    assert_eq!(let_in, [3_000, 1_000], "4,000 may be on their way, known rate or not");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_payments_hears_is_served_unless_it_waits_for_a_hand() {
    let nats = TestServer::start().await;
    for (queue_wait_us, best) in [(0, 5_000.0), (200_000, 3_000.0)] {
        let folder = tempfile::tempdir().expect("a folder");
        let mut pulse = pulse(nats.client_url(), folder.path()).await;
        let began = Instant::now();
        served(&mut pulse, (5_000, queue_wait_us), 3_000, began);
        look(&mut pulse, 0, began + 10 * EVERY);
        assert_eq!(pulse.pressure.best, best, "{queue_wait_us} us");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_two_looks_let_in_is_let_in_however_many_are_on_their_way() {
    let (mut pulse, _nats, _folder) = alone().await;
    let began = Instant::now();
    let at = |tick: u32| began + tick * EVERY;
    served(&mut pulse, (5_000, 0), 3_000, began);
    look(&mut pulse, 0, at(10));
    assert_eq!([11, 12].map(|tick| look(&mut pulse, 3_000, at(tick))), [3_000; 2]);
    // 5,000 may be on their way, and 6,000 are.
    let _waiting = pulse.admission.waits.enter(at(10));
    look(&mut pulse, 0, at(13));
    assert!(pulse.admission.share() < 1.0, "{}", pulse.admission.share());
    let let_in = look(&mut pulse, 1_000, at(14));
    assert!((1..900).contains(&let_in), "{let_in}");
}
