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
        self.lines_that(|line| line["order_id"] == order_id && line["event"].is_string(), count).await
    }

    /// Such lines, once there are so many.
    pub async fn lines_that(&self, are_meant: impl Fn(&Value) -> bool, count: usize) -> Vec<Value> {
        let mut every = tokio::time::interval(Duration::from_millis(50));
        let logged = async {
            loop {
                every.tick().await;
                let lines: Vec<Value> = self.lines().into_iter().filter(&are_meant).collect();
                if lines.len() >= count {
                    return lines;
                }
            }
        };
        let lines = tokio::time::timeout(PATIENCE, logged).await;
        lines.unwrap_or_else(|_| panic!("fewer than {count} lines are logged:\n{}", self.log()))
    }
}
