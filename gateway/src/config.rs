//! What the gateway takes from the configuration.

use std::net::{Ipv4Addr, SocketAddr};
use std::num::{NonZeroU64, NonZeroUsize};

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use spillway_shared::config::{Problem, Validate, join};
use spillway_shared::grpc::GrpcLimits;

/// No timer here has a reason to be longer.
const LONGEST_MS: u64 = 30 * 24 * 3600 * 1000;

/// The gateway: what it listens on, and how much it takes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GatewayConfig {
    /// What clients call: orders, inventory, health, reflection.
    pub grpc: GrpcConfig,
    /// What operators call: audit. Never routed from outside.
    pub ops: OpsConfig,
    /// How orders are followed.
    pub watch: WatchConfig,
    /// When orders are refused because more come than can be carried out in time.
    pub admission: AdmissionConfig,
    /// Bytes of accepted orders that may wait to be heard by every service. When they are used up, no order is accepted
    /// until they are heard. An order takes about 500; leave the disk as much room twice, for the outbox and the rest.
    pub outbox_budget_bytes: NonZeroU64,
    /// Milliseconds for which another service is waited for.
    pub call_timeout_ms: NonZeroU64,
}

impl Default for GatewayConfig {
    fn default() -> GatewayConfig {
        GatewayConfig {
            grpc: GrpcConfig::default(),
            ops: OpsConfig::default(),
            watch: WatchConfig::default(),
            admission: AdmissionConfig::default(),
            outbox_budget_bytes: const { NonZeroU64::new(4 << 30).expect("not zero") },
            call_timeout_ms: const { NonZeroU64::new(5_000).expect("not zero") },
        }
    }
}

/// The listener for clients.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct GrpcConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What it takes.
    pub limits: GrpcLimits,
}

impl Default for GrpcConfig {
    fn default() -> GrpcConfig {
        GrpcConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 50051)), limits: GrpcLimits::default() }
    }
}

/// The listener for operators.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct OpsConfig {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What it takes.
    pub limits: GrpcLimits,
}

impl Default for OpsConfig {
    fn default() -> OpsConfig {
        OpsConfig { listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 50052)), limits: GrpcLimits::default() }
    }
}

/// How orders are followed.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct WatchConfig {
    /// Orders followed at once. One more is refused with RESOURCE_EXHAUSTED and told when to try again. Each asks orders
    /// at least every 2 s.
    pub max: NonZeroUsize,
    /// Milliseconds, 10 % more or less, after which a client is told to watch anew from where it is, so that watches
    /// spread over gateways that came later.
    pub max_age_ms: NonZeroU64,
    /// Milliseconds for which a watch bears with orders that does not answer; then it ends with UNAVAILABLE.
    pub patience_ms: NonZeroU64,
}

impl Default for WatchConfig {
    fn default() -> WatchConfig {
        WatchConfig {
            max: const { NonZeroUsize::new(1000).expect("not zero") },
            max_age_ms: const { NonZeroU64::new(600_000).expect("not zero") },
            patience_ms: const { NonZeroU64::new(30_000).expect("not zero") },
        }
    }
}

/// When orders are refused because more come than can be carried out in time.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct AdmissionConfig {
    /// Milliseconds that an order may wait behind others: for its commit, and to be heard from service to service. Where
    /// it would wait for longer, orders are refused with RESOURCE_EXHAUSTED, those first whose customer places most. An
    /// outage of a service, of JetStream or of the provider refuses nobody.
    pub wait_ms: NonZeroU64,
}

impl Default for AdmissionConfig {
    fn default() -> AdmissionConfig {
        AdmissionConfig { wait_ms: const { NonZeroU64::new(1_000).expect("not zero") } }
    }
}

impl Validate for GatewayConfig {
    fn problems(&self, at: &str, out: &mut Vec<Problem>) {
        self.grpc.limits.problems(&join(&join(at, "grpc"), "limits"), out);
        self.ops.limits.problems(&join(&join(at, "ops"), "limits"), out);
        let is_same = self.grpc.listen == self.ops.listen && self.grpc.listen.port() != 0;
        if is_same {
            out.push(Problem::new(join(&join(at, "ops"), "listen"), "must not be the address of grpc.listen"));
        }
        let times = [
            ("call_timeout_ms", self.call_timeout_ms),
            ("admission.wait_ms", self.admission.wait_ms),
            ("watch.max_age_ms", self.watch.max_age_ms),
            ("watch.patience_ms", self.watch.patience_ms),
        ];
        let too_long = times.iter().filter(|(_, time)| time.get() > LONGEST_MS);
        out.extend(
            too_long
                .map(|(key, _)| Problem::new(join(at, key), format!("must not be more than {LONGEST_MS} (30 days)"))),
        );
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn keys(config: &GatewayConfig) -> Vec<String> {
        let mut problems = Vec::new();
        config.problems("gateway", &mut problems);
        problems.into_iter().map(|problem| problem.key).collect()
    }

    #[test]
    fn the_defaults_are_right_and_survive_a_round_trip() {
        let config = GatewayConfig::default();
        assert_eq!(keys(&config), Vec::<String>::new());
        let text = serde_json::to_string(&config).expect("serializable");
        assert_eq!(serde_json::from_str::<GatewayConfig>(&text).expect("the same"), config);
    }

    #[test]
    fn all_mistakes_are_told_with_their_keys() {
        let text = r#"{
            "grpc": {"listen": "127.0.0.1:6000", "limits": {"default_deadline_ms": 90000}},
            "ops": {"listen": "127.0.0.1:6000"},
            "watch": {"max_age_ms": 99999999999}
        }"#;
        let config: GatewayConfig = serde_json::from_str(text).expect("well-formed");
        let wanted = ["gateway.grpc.limits.default_deadline_ms", "gateway.ops.listen", "gateway.watch.max_age_ms"];
        assert_eq!(keys(&config), wanted);
        assert!(serde_json::from_str::<GatewayConfig>(r#"{"watch": {"max": 0}}"#).is_err());
        assert!(serde_json::from_str::<GatewayConfig>(r#"{"outbox_budget": 1}"#).is_err());
    }
}
