//! What the guard closes, hole by hole.

use super::*;

/// Open long enough that a test never sees it end.
const LONG: Duration = Duration::from_secs(3600);

fn permit(breaker: &Breaker) -> Permit {
    breaker.admit().expect("lets a call through")
}

fn state(breaker: &Breaker) -> &'static str {
    breaker.watch().borrow().name()
}

fn fail(breaker: &Breaker, times: usize) {
    (0..times).for_each(|_| permit(breaker).judge(Verdict::Sick("no answer")));
}

/// A breaker that opened and whose time has passed: the next call is a probe.
fn about_to_probe() -> Breaker {
    let breaker = Breaker::new(2, Duration::ZERO);
    fail(&breaker, 2);
    assert_eq!(state(&breaker), "open");
    breaker
}

#[test]
fn it_opens_after_so_many_failures_in_a_row_and_not_before() {
    let breaker = Breaker::new(5, LONG);
    fail(&breaker, 4);
    permit(&breaker).judge(Verdict::Healthy);
    fail(&breaker, 4);
    assert_eq!(state(&breaker), "closed");
    fail(&breaker, 1);
    assert_eq!(state(&breaker), "open");
    let wait = breaker.admit().err().expect("open");
    assert!(wait <= LONG && wait > LONG / 2, "{wait:?}");
}

/// A call that ends before anybody could judge it.
fn break_off(breaker: &Breaker) {
    let mut permit = permit(breaker);
    permit.begin(false);
    drop(permit);
}

#[test]
fn a_call_that_is_dropped_is_a_failure_and_a_permit_that_was_never_used_is_none() {
    let breaker = Breaker::new(3, LONG);
    (0..10).for_each(|_| drop(permit(&breaker)));
    assert_eq!(state(&breaker), "closed");
    (0..3).for_each(|_| break_off(&breaker));
    assert_eq!(state(&breaker), "open");
    assert_eq!(breaker.look().failures, 3);
}

/// Probes go well until it is closed again.
fn recover(breaker: &Breaker) {
    for _ in 0..PROBES {
        assert_ne!(state(breaker), "closed");
        permit(breaker).judge(Verdict::Healthy);
    }
    assert_eq!(state(breaker), "closed");
}

#[test]
fn half_open_lets_one_probe_through_at_a_time() {
    let breaker = about_to_probe();
    let probe = permit(&breaker);
    assert_eq!(state(&breaker), "half_open");
    assert!((0..100).all(|_| breaker.admit().is_err()));
    drop(probe);
    recover(&breaker);
    let many: Vec<Permit> = (0..100).map(|_| permit(&breaker)).collect();
    many.into_iter().for_each(|permit| permit.judge(Verdict::Healthy));
}

#[test]
fn a_probe_that_fails_or_is_dropped_opens_it_again_and_leaves_room_for_the_next() {
    let breaker = about_to_probe();
    permit(&breaker).judge(Verdict::Sick("no answer"));
    assert_eq!(state(&breaker), "open");
    break_off(&breaker);
    assert_eq!(state(&breaker), "open");
    permit(&breaker).judge(Verdict::Healthy);
    fail(&breaker, 1);
    assert_eq!(state(&breaker), "half_open", "one has gone well: it may be that order");
    fail(&breaker, 1);
    assert_eq!(state(&breaker), "open", "as many in a row as open it");
    recover(&breaker);
}

/// A call of an order whose last call failed fails again.
fn fail_again(breaker: &Breaker) {
    let mut permit = permit(breaker);
    permit.begin(true);
    permit.judge(Verdict::Sick("no answer"));
}

#[test]
fn orders_that_keep_failing_do_not_keep_it_open_for_those_behind_them() {
    let breaker = Breaker::new(5, Duration::ZERO);
    fail(&breaker, 5);
    (0..4).for_each(|_| fail_again(&breaker));
    assert_eq!(state(&breaker), "half_open");
    permit(&breaker).judge(Verdict::Healthy);
    permit(&breaker).judge(Verdict::Healthy);
    fail_again(&breaker);
    assert_eq!(state(&breaker), "half_open");
    recover(&breaker);
}

#[test]
fn as_many_in_a_row_open_it_again_even_if_each_had_failed_before_and_a_fresh_one_does_at_once() {
    let again = Breaker::suspicious(5, LONG);
    (0..4).for_each(|_| fail_again(&again));
    assert_eq!(state(&again), "half_open");
    fail_again(&again);
    assert_eq!(state(&again), "open");
    let fresh = Breaker::suspicious(5, LONG);
    fail_again(&fresh);
    fail(&fresh, 1);
    assert_eq!(state(&fresh), "open");
}

#[test]
fn one_that_starts_suspicious_probes_first_and_opens_at_the_first_failure() {
    let well = Breaker::suspicious(5, LONG);
    assert_eq!(state(&well), "half_open");
    let probe = permit(&well);
    assert!(well.admit().is_err(), "one at a time");
    drop(probe);
    recover(&well);
    fail(&well, 4);
    assert_eq!(state(&well), "closed", "from then on it is like any other");
    let sick = Breaker::suspicious(5, LONG);
    fail(&sick, 1);
    assert_eq!(state(&sick), "open");
    assert_eq!(sick.look().last_failure, "no answer");
}

#[test]
fn who_was_turned_away_hears_when_the_probe_has_ended() {
    let breaker = about_to_probe();
    let probe = permit(&breaker);
    let mut turned = breaker.turned();
    turned.mark_unchanged();
    probe.judge(Verdict::Healthy);
    assert!(turned.has_changed().expect("it lives"));
    turned.mark_unchanged();
    drop(permit(&breaker));
    assert!(turned.has_changed().expect("it lives"));
}

#[test]
fn what_was_called_before_it_opened_neither_closes_nor_opens_it() {
    let breaker = Breaker::new(2, Duration::ZERO);
    let (late_success, late_failure) = (permit(&breaker), permit(&breaker));
    fail(&breaker, 2);
    let probe = permit(&breaker);
    late_success.judge(Verdict::Healthy);
    assert_eq!(state(&breaker), "half_open", "a late success must not close it");
    late_failure.judge(Verdict::Sick("no answer"));
    assert_eq!(state(&breaker), "half_open", "a late failure must not open it");
    assert!(breaker.admit().is_err(), "the probe is still out");
    drop(probe);
    recover(&breaker);
}

#[test]
fn a_failure_from_before_an_outage_counts_for_nothing_after_it() {
    let breaker = Breaker::new(2, Duration::ZERO);
    let late: Vec<Permit> = (0..5).map(|_| permit(&breaker)).collect();
    fail(&breaker, 2);
    recover(&breaker);
    late.into_iter().for_each(|permit| permit.judge(Verdict::Sick("no answer")));
    assert_eq!(state(&breaker), "closed");
}
