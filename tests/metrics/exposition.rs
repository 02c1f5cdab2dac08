//! What a scrape says, read strictly: whatever Prometheus or promtool would complain of is a failure here.

use std::collections::{BTreeMap, BTreeSet};

pub type Labels = BTreeMap<String, String>;

/// A metric of one scrape.
#[derive(Debug, Default)]
pub struct Family {
    pub kind: String,
    pub help: String,
    pub samples: Vec<Sample>,
}

#[derive(Debug)]
pub struct Sample {
    /// What follows the name of a histogram: `_bucket`, `_sum`, `_count`; else empty.
    pub part: String,
    pub labels: Labels,
    pub value: f64,
}

impl Family {
    /// Each series once: of a histogram without its bounds.
    pub fn series(&self) -> BTreeSet<Labels> {
        let bare =
            |sample: &Sample| sample.labels.clone().into_iter().filter(|(name, _)| name != "le").collect::<Labels>();
        self.samples.iter().map(bare).collect()
    }

    /// The sum of all samples of a part that have these labels.
    pub fn sum(&self, part: &str, labels: &[(&str, &str)]) -> f64 {
        let has = |sample: &&Sample| {
            sample.part == part
                && labels.iter().all(|(name, value)| sample.labels.get(*name).is_some_and(|is| is == value))
        };
        self.samples.iter().filter(has).map(|sample| sample.value).sum()
    }
}

/// The families of a scrape, by name.
pub fn parse(text: &str) -> BTreeMap<String, Family> {
    let mut families: BTreeMap<String, Family> = BTreeMap::new();
    let mut current = String::new();
    for line in text.lines().filter(|line| !line.is_empty()) {
        if let Some(rest) = line.strip_prefix("# HELP ") {
            let (name, help) = rest.split_once(' ').expect("a name and a sentence");
            assert!(!families.contains_key(name), "{name} stands twice");
            current = name.to_owned();
            families.entry(current.clone()).or_default().help = help.to_owned();
        } else if let Some(rest) = line.strip_prefix("# TYPE ") {
            let (name, kind) = rest.split_once(' ').expect("a name and a type");
            assert_eq!(name, current, "its HELP stands before its TYPE");
            families.entry(current.clone()).or_default().kind = kind.to_owned();
        } else {
            let family = families.get_mut(&current).unwrap_or_else(|| panic!("{line}: no TYPE before it"));
            let sample = sample(line, &current, &family.kind);
            family.samples.push(sample);
        }
    }
    families.iter().for_each(|(name, family)| check(name, family));
    families
}

fn sample(line: &str, family: &str, kind: &str) -> Sample {
    let (series, value) = line.rsplit_once(' ').expect("a value");
    let (name, labels) = series.strip_suffix('}').and_then(|s| s.split_once('{')).unwrap_or((series, ""));
    let part = name.strip_prefix(family).unwrap_or_else(|| panic!("{line} stands among {family}"));
    assert!(part.is_empty() != (kind == "histogram"), "{line} is no part of a {kind}");
    let value = value.parse().unwrap_or_else(|_| panic!("{line}: no number"));
    Sample { part: part.to_owned(), labels: read_labels(labels), value }
}

/// No value of ours holds a quote or a backslash.
fn read_labels(text: &str) -> Labels {
    let mut labels = Labels::new();
    for pair in text.split("\",").filter(|pair| !pair.is_empty()) {
        let (name, value) = pair.trim_end_matches('"').split_once("=\"").unwrap_or_else(|| panic!("{text}"));
        assert!(labels.insert(name.to_owned(), value.to_owned()).is_none(), "{name} twice in {text}");
    }
    labels
}

fn check(name: &str, family: &Family) {
    assert!(!family.samples.is_empty() && !family.kind.is_empty() && !family.help.is_empty(), "{name}: {family:?}");
    let mut seen = BTreeSet::new();
    for sample in &family.samples {
        assert!(seen.insert((sample.part.clone(), sample.labels.clone())), "{name} twice: {sample:?}");
        assert!(family.kind == "gauge" || sample.value >= 0.0, "{name}: {sample:?}");
    }
    if family.kind != "histogram" {
        return;
    }
    for series in family.series() {
        let own: Vec<&Sample> =
            family.samples.iter().filter(|s| series.iter().all(|(name, is)| s.labels.get(name) == Some(is))).collect();
        let buckets: Vec<&Sample> = own.iter().copied().filter(|sample| sample.part == "_bucket").collect();
        assert!(buckets.windows(2).all(|pair| pair[0].value <= pair[1].value), "{name} {series:?} falls: {buckets:?}");
        let last = buckets.last().unwrap_or_else(|| panic!("{name} {series:?} has no buckets"));
        assert_eq!(last.labels["le"], "+Inf", "{name}");
        let count = own.iter().find(|sample| sample.part == "_count").map(|sample| sample.value);
        assert_eq!(Some(last.value), count, "{name} {series:?}");
    }
}
