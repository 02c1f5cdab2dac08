//! What really happened, as the processes count it.

use super::{System, sums};

impl System {
    /// The sum of a counter over all its labels but these; 0 where a process has not counted it yet.
    pub async fn counted(&self, role: &str, name: &str, labels: &[&str]) -> u64 {
        let (status, text) = sums::get(&format!("http://{}/metrics", self.admin(role))).await;
        assert_eq!(status, 200, "{text}");
        sum(&text, name, labels)
    }
}

fn sum(text: &str, name: &str, labels: &[&str]) -> u64 {
    let samples = text.lines().filter_map(|line| {
        let (series, value) = line.rsplit_once(' ')?;
        let rest = series.strip_prefix(name)?;
        let is_it = rest.is_empty() || rest.starts_with('{');
        (is_it && labels.iter().all(|label| rest.contains(label))).then(|| value.parse::<f64>().ok()).flatten()
    });
    samples.sum::<f64>() as u64
}
