//! What the regulator is tried with.

use super::*;

/// Which part those keep at least who ask for what most do.
const KEPT: f64 = 0.9;

/// Of the capacity, what refusing all the rest leaves.
fn left(scene: &Scene) -> f64 {
    1.0 - (scene.times - 1.0).max(0.0) * scene.refusal
}

fn check(scene: Scene) {
    let ran = run(scene);
    let kept = ran.kept();
    let Ran { goodput, refused, back_after, longest_wait, .. } = ran;
    println!(
        "{:5} times, refusals of {}, answers late by {} s, stalls of {} s, waves of {}: goodput {goodput:.2} of {:.2}, \
         {refused} refused, back after {back_after:.1} s, longest wait {longest_wait:.2} s, those who ask for {STEADY} keep {kept:.3}",
        scene.times,
        scene.refusal,
        scene.late,
        scene.stall,
        scene.wave,
        left(&scene)
    );
    assert!(goodput >= 0.85 * left(&scene).min(scene.times), "{scene:?}: goodput {goodput}");
    assert!(back_after < 3.0, "{scene:?}: back after {back_after}");
    assert!(kept > KEPT, "{scene:?}: kept {kept}");
}

const TIMES: [f64; 8] = [1.05, 1.5, 2.0, 3.0, 5.0, 8.0, 10.0, 12.0];

#[test]
fn at_any_load_the_work_goes_on_and_the_end_of_the_load_is_seen() {
    for times in TIMES {
        for refusal in [0.01, 0.02] {
            check(Scene { times, refusal, ..PLAIN });
        }
    }
    // Beyond it, so dear a refusal leaves the core no time.
    for times in TIMES.into_iter().filter(|times| *times <= 5.0) {
        check(Scene { times, refusal: 0.05, ..PLAIN });
    }
}

#[test]
fn on_a_machine_that_is_now_faster_and_now_slower_too() {
    TIMES.into_iter().for_each(|times| check(Scene { times, wave: 0.25, ..PLAIN }));
}

#[test]
fn below_the_capacity_nothing_is_refused() {
    for times in [0.2, 0.5, 0.9] {
        let ran = run(Scene { times, ..PLAIN });
        assert_eq!((ran.refused, ran.back_after), (0, 0.0), "{times} times");
    }
}

#[test]
fn answers_that_come_late_and_a_machine_that_stands_still_now_and_then_cost_little() {
    for times in [1.5, 3.0, 5.0] {
        for (late, stall) in [(0.3, 0.0), (0.1, 0.4)] {
            let ran = run(Scene { times, late, stall, ..PLAIN });
            println!("{times} times, answers late by {late} s, stalls of {stall} s: {ran:?}");
            assert!(ran.goodput > 0.7, "{times} times: {ran:?}");
        }
    }
}

/// Which part the nine of ten keep, of whom one begins to place ten times as much after a rest. It was an ordinary day before,
/// seven tenths of the peak, and the peak was what a closed loop reached.
fn kept_from_rest(scene: Scene, peak: f64, days: usize) -> f64 {
    let mut run = Run::new(scene);
    let mut come = |times: f64, seconds: f64| {
        let end = run.world.now + seconds;
        let mut shares = Vec::new();
        while run.world.now < end {
            if run.step(times * peak) {
                shares.push(run.world.share);
            }
        }
        shares
    };
    come(1.0, 20.0);
    let mut kept = Vec::new();
    for _ in 0..days {
        for (times, seconds) in [(0.0, 3.0), (0.7, 5.0), (0.0, 3.0)] {
            come(times, seconds);
        }
        // The nine ask for 0.63 of 1.33.
        kept.extend(come(1.33, 5.0).iter().map(|share| (share * 1.33 / 0.63).min(1.0)));
    }
    kept.iter().sum::<f64>() / kept.len() as f64
}

#[test]
fn nine_of_ten_keep_theirs_from_the_first_second_in_which_one_begins_to_place_ten_times_as_much() {
    let mut all = Vec::new();
    for (late, wave) in [(0.05, 0.0), (0.1, 0.12), (0.1, 0.25), (0.2, 0.12)] {
        for peak in [1.0, 1.1, 1.2] {
            all.extend((1..=4).map(|days| kept_from_rest(Scene { late, wave, ..PLAIN }, peak, days)));
        }
    }
    let (mean, least) = (all.iter().sum::<f64>() / all.len() as f64, all.iter().copied().fold(1.0, f64::min));
    println!("they keep {mean:.3} on average, {least:.3} at least");
    assert!(mean > 0.975, "{mean:.3} on average, {least:.3} at least");
}
