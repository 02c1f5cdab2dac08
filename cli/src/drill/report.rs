//! What a drill tells at its end.

use std::collections::BTreeMap;
use std::fmt;
use std::fmt::Write as _;

use serde::Serialize;

use super::orders::Ends;
use crate::check;
use crate::exit::Failure;

/// Something that was done, and how long after the begin.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Deed {
    pub seconds: f64,
    pub what: String,
}

impl fmt::Display for Deed {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:>6.1} s  {}", self.seconds, self.what)
    }
}

/// The outcome of a drill.
#[derive(Clone, Debug, Serialize)]
pub struct Report {
    pub installation: String,
    pub seed: u64,
    pub seconds: f64,
    /// Orders a second.
    pub rate: u32,
    pub deeds: Vec<Deed>,
    /// Orders that were sent.
    pub sent: u64,
    pub accepted: u64,
    /// Answers that were no acceptance, by gRPC code.
    pub not_accepted: BTreeMap<String, u64>,
    pub ends: Ends,
    /// What was counted meanwhile, by the name of the metric; only what is not 0.
    pub counters: BTreeMap<String, u64>,
    pub check: check::Report,
}

/// Invariants that the first lines tell: what the checker calls them, and what people do.
const HEADLINES: [(&str, &str); 3] = [("lost", "lost"), ("charged_twice", "double charged"), ("oversold", "oversold")];

impl Report {
    /// How the verb ends.
    ///
    /// # Errors
    /// As the checker's report says; exit 1 where orders are still open.
    pub fn outcome(&self) -> Result<(), Failure> {
        self.check.outcome()?;
        match self.ends.open {
            0 => Ok(()),
            open => Err(Failure::failed(format!("{open} accepted orders are still open"))),
        }
    }

    pub fn text(&self) -> String {
        let mut text = format!("drill at {}: {:.0} s, seed {}\n\n", self.installation, self.seconds, self.seed);
        let mut line = |words: String| text += &format!("{words}\n");
        self.deeds.iter().for_each(|deed| line(deed.to_string()));
        line(String::new());
        let ends = &self.ends;
        let why = format!("{} confirmed, {} rejected, {} other", ends.confirmed, ends.rejected, ends.other);
        line(format!("{:<16}{}", "accepted", self.accepted));
        line(format!("{:<16}{} ({why})", "finished", ends.finished()));
        if ends.open > 0 {
            line(format!("{:<16}{}", "still open", ends.open));
            ends.open_because.iter().for_each(|because| line(format!("  {because}")));
        }
        for (code, count) in &self.not_accepted {
            line(format!("{:<16}{count} {code}", "not accepted"));
        }
        for (name, words) in HEADLINES {
            let found = self.check.violations_of(name);
            line(format!("{words:<16}{}", found.map_or("not known".to_owned(), |count| count.to_string())));
        }
        text + &self.underneath() + &self.rest()
    }

    /// What really happened.
    fn underneath(&self) -> String {
        let mut text = "\nwhat happened underneath\n".to_owned();
        let counts = &self.check.counts;
        let told = [
            ("calls that the provider did not answer", counts.provider_unanswered),
            ("payments with an unknown outcome", counts.unknown_outcomes),
            ("  of them settled", counts.unknown_outcomes_settled),
            ("repeats that the provider knew by their key", counts.provider_repeats_absorbed),
            ("batches that no stream holds any more", counts.not_in_streams),
        ];
        for (words, count) in told {
            writeln!(text, "  {words:<48}{count}").expect("text takes all");
        }
        for (name, count) in self.counters.iter().filter(|(_, count)| **count > 0) {
            writeln!(text, "  {name:<48}{count}").expect("text takes all");
        }
        text
    }

    /// Every other invariant.
    fn rest(&self) -> String {
        let mut text = "\nwhat must hold\n".to_owned();
        for judged in &self.check.invariants {
            let found = judged.violations.map_or("not known".to_owned(), |count| count.to_string());
            writeln!(text, "  {:<32}{found}", judged.name).expect("text takes all");
            for row in &judged.rows {
                writeln!(text, "    {}  {}", row.subject, row.detail).expect("text takes all");
            }
        }
        for lacking in &self.check.unreachable {
            writeln!(text, "  not looked at: {}: {}", lacking.what, lacking.why).expect("text takes all");
        }
        text
    }
}
