//! The log, line by line.

use std::time::Duration;

use serde_json::Value;

use super::{PATIENCE, System};

impl System {
    /// Every line of the log that is JSON, in order.
    pub fn lines(&self) -> Vec<Value> {
        self.log().lines().filter_map(|line| serde_json::from_str(line).ok()).collect()
    }

    /// What was logged of an order: (service, event), once it is so many lines.
    pub async fn lines_of(&self, order_id: &str, count: usize) -> Vec<Value> {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        let of_order = |line: &Value| line["order_id"] == order_id && line["event"].is_string();
        let logged = async {
            loop {
                every.tick().await;
                let lines: Vec<Value> = self.lines().into_iter().filter(of_order).collect();
                if lines.len() >= count {
                    return lines;
                }
            }
        };
        let lines = tokio::time::timeout(PATIENCE, logged).await;
        lines.unwrap_or_else(|_| panic!("fewer than {count} lines about {order_id}:\n{}", self.log()))
    }
}
