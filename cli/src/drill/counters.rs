//! What really happened underneath, from the counters of every role.

use std::collections::BTreeMap;

use crate::http;

/// A counter of one role: its name and labels, and its value.
type Series = BTreeMap<String, f64>;

/// Counters of all roles, also of those that ended meanwhile and count from zero again.
#[derive(Default)]
pub struct Counters {
    before: Series,
    /// Of processes that ended, what they had counted.
    carried: Series,
}

impl Counters {
    /// From here on is counted.
    pub async fn begin(&mut self, admins: &[String]) {
        self.before = read(admins).await;
    }

    /// A process is about to be killed: what it counted stays counted.
    pub async fn before_kill(&mut self, admin: &str) {
        for (series, value) in read(std::slice::from_ref(&admin.to_owned())).await {
            let counted = value - self.before.remove(&series).unwrap_or(0.0);
            *self.carried.entry(series).or_default() += counted;
        }
    }

    /// What was counted since the begin, by the name of the counter.
    pub async fn end(&self, admins: &[String]) -> BTreeMap<String, u64> {
        let mut all = self.carried.clone();
        for (series, value) in read(admins).await {
            *all.entry(series.clone()).or_default() += value - self.before.get(&series).copied().unwrap_or(0.0);
        }
        let mut sums: BTreeMap<String, f64> = BTreeMap::new();
        for (series, value) in all {
            let name = series.split('{').next().unwrap_or_default().to_owned();
            *sums.entry(name).or_default() += value;
        }
        sums.into_iter().map(|(name, sum)| (name, sum.max(0.0).round() as u64)).collect()
    }
}

/// Every role shows its own series.
async fn read(admins: &[String]) -> Series {
    let mut all = Series::new();
    for admin in admins {
        let Ok((200, text)) = http::get(&format!("http://{admin}/metrics")).await else { continue };
        all.extend(parse(&text));
    }
    all
}

/// The counters of ours in the Prometheus text format.
fn parse(text: &str) -> Series {
    let lines = text.lines().filter(|line| line.starts_with("spillway_"));
    let read = lines.filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let name = series.split('{').next()?;
        name.ends_with("_total").then(|| Some((series.to_owned(), value.parse().ok()?)))?
    });
    read.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counters_are_read_and_everything_else_is_left() {
        let text = "# TYPE spillway_a_total counter\nspillway_a_total{role=\"orders\"} 3\n\
                    spillway_a_total{role=\"payments\"} 4.0\nspillway_backlog{role=\"orders\"} 9\nother_total 5\n";
        let read = parse(text);
        assert_eq!(read.len(), 2, "{read:?}");
        assert_eq!(read["spillway_a_total{role=\"payments\"}"], 4.0);
    }
}
