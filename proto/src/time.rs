//! Points in time: `jiff::Timestamp` in code, Unix microseconds in SQL, `google.protobuf.Timestamp` on the wire.

pub use jiff::Timestamp;

/// Unix time in microseconds, as SQL keeps it.
pub fn to_micros(at: Timestamp) -> i64 {
    at.as_microsecond()
}

/// The time that SQL keeps as Unix microseconds. Out of range means the nearest time there is.
pub fn from_micros(micros: i64) -> Timestamp {
    Timestamp::from_microsecond(micros).unwrap_or(if micros < 0 { Timestamp::MIN } else { Timestamp::MAX })
}

/// As the wire has it.
pub fn to_wire(at: Timestamp) -> prost_types::Timestamp {
    let nanos = at.as_nanosecond();
    // The range of Timestamp fits: -9999 to 9999, in seconds.
    let seconds = i64::try_from(nanos.div_euclid(1_000_000_000)).expect("a timestamp's seconds fit");
    let nanos = i32::try_from(nanos.rem_euclid(1_000_000_000)).expect("under a billion");
    prost_types::Timestamp { seconds, nanos }
}

/// From the wire. `None` where it is out of range.
pub fn from_wire(at: &prost_types::Timestamp) -> Option<Timestamp> {
    if !(0..1_000_000_000).contains(&at.nanos) {
        return None;
    }
    Timestamp::new(at.seconds, at.nanos).ok()
}

/// Cut to whole microseconds: what SQL gives back is then what was put in.
pub fn whole_micros(at: Timestamp) -> Timestamp {
    from_micros(to_micros(at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_time_survives_the_wire_and_sql(micros in -60_000_000_000_000_000i64..200_000_000_000_000_000) {
            let at = from_micros(micros);
            prop_assert_eq!(from_wire(&to_wire(at)), Some(at));
            prop_assert_eq!(to_micros(at), micros);
        }
    }

    #[test]
    fn nanoseconds_out_of_range_are_refused() {
        assert_eq!(from_wire(&prost_types::Timestamp { seconds: 0, nanos: -1 }), None);
        assert_eq!(from_wire(&prost_types::Timestamp { seconds: 0, nanos: 1_000_000_000 }), None);
        assert_eq!(from_wire(&prost_types::Timestamp { seconds: i64::MAX, nanos: 0 }), None);
    }
}
