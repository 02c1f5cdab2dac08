//! What is measured, as data. Every metric has its entry in a catalogue: from it come HELP and TYPE, the buckets, the page
//! `docs/metrics.md`, and the zeros with which counters begin.

use metrics::{Key, KeyName, Level, Metadata};
use spillway_proto::Ledger;

/// Upper bounds for durations, in seconds: from an fsync of a fast disk to a client that gives up.
pub const SECONDS: &[f64] =
    &[0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0];

/// Upper bounds for counts of things in one commit or message.
pub const COUNTS: &[f64] = &[1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0];

/// One metric. Its series carry the label `role` besides those named here.
#[derive(Clone, Copy, Debug)]
pub struct Figure {
    pub name: &'static str,
    pub kind: Kind,
    pub unit: Unit,
    /// What is counted or measured; for who reads a dashboard.
    pub meaning: &'static str,
    pub roles: Roles,
    pub labels: &'static [Label],
    /// It is there, as 0, from the first scrape on, wherever the values of its labels are known beforehand.
    pub from_zero: bool,
}

/// Part of a catalogue, under a heading of its own on the page.
#[derive(Clone, Copy, Debug)]
pub struct Section {
    pub title: &'static str,
    pub figures: &'static [Figure],
}

#[derive(Clone, Copy, Debug)]
pub enum Kind {
    Counter,
    Gauge,
    /// With these upper bounds. Without any the exporter would make a summary, which cannot be added up over processes.
    Histogram(&'static [f64]),
}

impl Kind {
    /// As the exposition format has it.
    pub fn name(self) -> &'static str {
        match self {
            Kind::Counter => "counter",
            Kind::Gauge => "gauge",
            Kind::Histogram(_) => "histogram",
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    Seconds,
    /// Seconds of Unix time.
    Timestamp,
    Bytes,
    /// From 0 to 1.
    Ratio,
    /// So many of something: its plural.
    Count(&'static str),
    /// What each value stands for.
    Level(&'static str),
}

impl Unit {
    /// How the name of a metric of this unit ends, before `_total`; `None` where it ends in what is counted.
    pub fn suffix(self) -> Option<&'static str> {
        match self {
            Unit::Seconds => Some("_seconds"),
            Unit::Timestamp => Some("_seconds"),
            Unit::Bytes => Some("_bytes"),
            Unit::Ratio => Some("_ratio"),
            Unit::Count(_) | Unit::Level(_) => None,
        }
    }

    /// For a person.
    pub fn words(self) -> &'static str {
        match self {
            Unit::Seconds => "seconds",
            Unit::Timestamp => "Unix time in seconds",
            Unit::Bytes => "bytes",
            Unit::Ratio => "0 to 1",
            Unit::Count(what) | Unit::Level(what) => what,
        }
    }
}

/// Which roles show it, each on its own admin port.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Roles {
    /// Every role that keeps a ledger.
    Ledgers,
    /// This one.
    Only(&'static str),
    /// Every role that keeps a ledger, and the process besides where it plays several.
    Everywhere,
    /// The process: once, under the name of its one role, or as `up` on the gateway's port.
    Process,
}

impl Roles {
    /// Whether a role shows it.
    pub fn has(self, role: &str) -> bool {
        match self {
            Roles::Ledgers | Roles::Everywhere => Ledger::ALL.iter().any(|ledger| ledger.name() == role),
            Roles::Only(one) => one == role,
            Roles::Process => false,
        }
    }
}

/// A label besides `role`.
#[derive(Clone, Copy, Debug)]
pub struct Label {
    pub name: &'static str,
    pub values: Values,
}

/// What a label can hold. Always few: never an id.
#[derive(Clone, Copy, Debug)]
pub enum Values {
    /// One of these.
    Of(&'static [&'static str]),
    /// The name of a ledger that the role hears.
    Heard,
    /// The name of a ledger that hears the role.
    Hearer,
    /// The number of a partition.
    Partition,
    /// Known to the process alone, and what bounds them.
    Bounded(&'static str),
}

/// The number of a partition.
pub const PARTITION: Label = Label { name: "partition", values: Values::Partition };

/// Whose stream it came from.
pub const SOURCE: Label = Label { name: "source", values: Values::Heard };

/// A label with these values.
pub const fn one_of(name: &'static str, values: &'static [&'static str]) -> Label {
    Label { name, values: Values::Of(values) }
}

/// A label whose values something else bounds.
pub const fn bounded(name: &'static str, by: &'static str) -> Label {
    Label { name, values: Values::Bounded(by) }
}

impl Figure {
    const fn new(name: &'static str, kind: Kind, unit: Unit, meaning: &'static str) -> Figure {
        let from_zero = matches!(kind, Kind::Counter);
        Figure { name, kind, unit, meaning, roles: Roles::Ledgers, labels: &[], from_zero }
    }

    /// Something that only grows; of ledgers, unless it is said otherwise.
    pub const fn counter(name: &'static str, what: &'static str, meaning: &'static str) -> Figure {
        Figure::new(name, Kind::Counter, Unit::Count(what), meaning)
    }

    /// Something that goes up and down.
    pub const fn gauge(name: &'static str, unit: Unit, meaning: &'static str) -> Figure {
        Figure::new(name, Kind::Gauge, unit, meaning)
    }

    /// Durations with these upper bounds.
    pub const fn duration(name: &'static str, bounds: &'static [f64], meaning: &'static str) -> Figure {
        Figure::new(name, Kind::Histogram(bounds), Unit::Seconds, meaning)
    }

    /// Counts of something.
    pub const fn sizes(name: &'static str, what: &'static str, meaning: &'static str) -> Figure {
        Figure::new(name, Kind::Histogram(COUNTS), Unit::Count(what), meaning)
    }

    pub const fn by(self, labels: &'static [Label]) -> Figure {
        Figure { labels, ..self }
    }

    pub const fn of(self, role: &'static str) -> Figure {
        Figure { roles: Roles::Only(role), ..self }
    }

    pub const fn of_process(self) -> Figure {
        Figure { roles: Roles::Process, ..self }
    }

    pub const fn of_everybody(self) -> Figure {
        Figure { roles: Roles::Everywhere, ..self }
    }

    pub const fn in_unit(self, unit: Unit) -> Figure {
        Figure { unit, ..self }
    }

    /// 0 is the truth before anything happened.
    pub const fn from_zero(self) -> Figure {
        Figure { from_zero: true, ..self }
    }

    /// Tells the recorder its HELP line.
    pub fn describe(&self) {
        let (name, meaning) = (KeyName::from_const_str(self.name), self.meaning.into());
        metrics::with_recorder(|recorder| match self.kind {
            Kind::Counter => recorder.describe_counter(name, None, meaning),
            Kind::Gauge => recorder.describe_gauge(name, None, meaning),
            Kind::Histogram(_) => recorder.describe_histogram(name, None, meaning),
        });
    }

    /// Begins every series whose labels are known beforehand: a rate or an alarm then has something to go by.
    pub fn begin(&self, role: &str) {
        if !self.from_zero {
            return;
        }
        for labels in self.known(role) {
            let labels: Vec<metrics::Label> =
                labels.into_iter().map(|(name, value)| metrics::Label::new(name, value)).collect();
            let key = Key::from_parts(self.name, labels);
            metrics::with_recorder(|recorder| match self.kind {
                Kind::Counter => recorder.register_counter(&key, &METADATA).increment(0),
                Kind::Gauge => recorder.register_gauge(&key, &METADATA).increment(0.0),
                Kind::Histogram(_) => drop(recorder.register_histogram(&key, &METADATA)),
            });
        }
    }

    /// Every series that a role can be expected to show; none where a label's values are not known beforehand.
    fn known(&self, role: &str) -> Vec<Vec<(&'static str, String)>> {
        let mut known = vec![vec![("role", role.to_owned())]];
        for label in self.labels {
            let values = label.values.of(role);
            let with = |series: &Vec<(&'static str, String)>, value: &&str| {
                let mut series = series.clone();
                series.push((label.name, (*value).to_owned()));
                series
            };
            known = known.iter().flat_map(|series| values.iter().map(move |value| with(series, value))).collect();
        }
        known
    }
}

const METADATA: Metadata<'static> = Metadata::new(module_path!(), Level::INFO, Some(module_path!()));

impl Values {
    /// What is known beforehand.
    pub fn of(self, role: &str) -> Vec<&'static str> {
        let all = || Ledger::ALL.into_iter();
        match self {
            Values::Of(values) => values.to_vec(),
            Values::Heard => {
                let role = all().find(|ledger| ledger.name() == role);
                role.map(|role| role.hears().iter().map(|heard| heard.name()).collect()).unwrap_or_default()
            }
            Values::Hearer => {
                let hears = |ledger: &Ledger| ledger.hears().iter().any(|heard| heard.name() == role);
                all().filter(hears).map(Ledger::name).collect()
            }
            Values::Partition | Values::Bounded(_) => vec![],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_known_beforehand_is_every_combination_of_values() {
        const LABELS: &[Label] = &[SOURCE, one_of("how", &["a", "b"])];
        let figure = Figure::counter("spillway_x_total", "x", "X.").by(LABELS);
        let known = figure.known("payments");
        assert_eq!(known.len(), 4, "{known:?}");
        let first: Vec<_> = known[0].iter().map(|(name, value)| format!("{name}={value}")).collect();
        assert_eq!(first, ["role=payments", "source=inventory", "how=a"]);
        assert!(figure.by(&[PARTITION]).known("payments").is_empty(), "how many partitions there are is not known");
        assert_eq!(figure.by(&[]).known("payments").len(), 1);
    }

    #[test]
    fn who_hears_and_who_is_heard_are_two_sides_of_one_thing() {
        assert_eq!(Values::Heard.of("notifications"), ["orders"]);
        assert!(Values::Hearer.of("orders").contains(&"notifications"));
        assert!(Values::Heard.of("gateway").is_empty() && Values::Heard.of("up").is_empty());
    }
}
