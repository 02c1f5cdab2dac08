use std::path::Path;

use spillway_natsd::testing::TestServer;
use spillway_proto::{DEFAULT_SHOP, LedgerId};
use spillway_shared::bus::BusConfig;
use spillway_shared::ledger::{LedgerSpec, Numbering};

use super::*;
use crate::intake::MIGRATIONS;

const PAYMENTS: Listener = (Source::Payments, Partition(0));

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

/// So many orders come, and a look is taken at that time. Answers how many of them were let in.
fn look(pulse: &mut Pulse, orders: u64, now: Instant) -> usize {
    let let_in = (0..orders).filter(|_| pulse.admission.lets_in(b"ada")).count();
    pulse.regulate(orders, now, EVERY);
    let_in
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
    let nats = TestServer::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let mut pulse = pulse(nats.client_url(), folder.path()).await;
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
