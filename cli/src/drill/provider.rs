//! The sandbox provider, steered from outside.

use serde_json::{Value, json};

use super::script::LOST_ANSWER_RATE;
use crate::exit::Failure;
use crate::http;

/// The provider's mode as it was, to which it goes back.
pub struct Provider {
    url: String,
    before: Value,
    seed: u64,
}

impl Provider {
    /// # Errors
    /// Exit 3 where there is no provider, or one that is not the sandbox: nobody drills with real money.
    pub async fn attach(url: &str, seed: u64) -> Result<Provider, Failure> {
        let not_sandbox = |why: String| {
            let message = format!("the provider at {url} is not the sandbox, and only with it is drilled: {why}");
            Failure::missing(message)
        };
        let (status, body) = http::get(&format!("{url}/sandbox/mode")).await.map_err(not_sandbox)?;
        let before: Value = serde_json::from_str(&body).unwrap_or_default();
        if status != 200 || !before["down"].is_boolean() {
            return Err(not_sandbox(format!("/sandbox/mode answers {status}")));
        }
        Ok(Provider { url: url.to_owned(), before, seed })
    }

    pub async fn lose_answers(&self) -> Result<(), Failure> {
        self.change(json!({ "lost_answer_rate": LOST_ANSWER_RATE, "seed": self.seed })).await
    }

    pub async fn down(&self) -> Result<(), Failure> {
        self.change(json!({ "down": true })).await
    }

    pub async fn up(&self) -> Result<(), Failure> {
        self.change(json!({ "down": false })).await
    }

    /// As it was before the drill.
    pub async fn restore(&self) -> Result<(), Failure> {
        let fields = ["down", "lost_answer_rate", "seed"].map(|name| (name.to_owned(), self.before[name].clone()));
        self.change(Value::Object(fields.into_iter().collect())).await
    }

    async fn change(&self, mode: Value) -> Result<(), Failure> {
        let changed = http::post(&format!("{}/sandbox/mode", self.url), mode.to_string()).await;
        let (status, body) = changed.map_err(|why| Failure::missing(format!("the provider does not answer: {why}")))?;
        if status == 200 { Ok(()) } else { Err(Failure::failed(format!("the provider refuses a mode: {body}"))) }
    }
}
