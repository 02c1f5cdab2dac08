//! The configuration of every role in one file. The doc comments are the manual; `docs/cli.md` says how its layers
//! work.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use spillway_gateway::GatewayConfig;
use spillway_notifications::NotificationsConfig;
use spillway_orders::OrdersConfig;
use spillway_payments::PaymentsConfig;
use spillway_sandbox::SandboxConfig;
use spillway_shared::bus::BusConfig;
use spillway_shared::config::{Problem, Validate, join, redact_urls};
use spillway_shared::telemetry::TelemetryConfig;

use crate::check::CheckConfig;
use crate::cli::Role;
use crate::logs::LogConfig;
use crate::system::nats::NatsServerConfig;
use crate::up::telemetry::TelemetryServersConfig;

/// Environment variables that begin so are keys.
pub const ENVIRONMENT_PREFIX: &str = "SPILLWAY_";

/// Environment variables with the prefix that are no keys: the configuration file, the folder for fetched programs,
/// and what the client verbs call.
pub const ENVIRONMENT_EXCEPTIONS: &[&str] =
    &["SPILLWAY_CONFIG", "SPILLWAY_CACHE", "SPILLWAY_ADDRESS", "SPILLWAY_OPS_ADDRESS"];

/// The configuration of Spillway.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The folder of the ledgers.
    pub data: PathBuf,
    /// How many partitions there are, 1 to 64: the same for all roles, and for the life of the data.
    #[schemars(range(min = 1, max = 64))]
    pub partitions: u16,
    /// How long stopping may take, in seconds, until what is still in hand is cut.
    pub drain_timeout_s: u64,
    /// For how long a ledger gathers what comes, in milliseconds, so that it goes into one commit and one message: until
    /// what it said before is acknowledged, and so long at most under full load, from 2,500 inputs a second on or where it
    /// waits for a processor for three tenths of its time; less with less, and not at all below 1,250 and a tenth.
    pub gather_ms: u64,
    /// What is logged, and how.
    pub log: LogConfig,
    /// Where traces go, and how many.
    pub telemetry: TelemetryConfig,
    /// Where each role answers `/health` and `/ready`.
    pub admin: AdminConfig,
    /// NATS and JetStream.
    pub nats: BusConfig,
    /// The nats-server that `up` starts.
    pub nats_server: NatsServerConfig,
    /// The Prometheus and the Jaeger that `up --telemetry` starts.
    pub telemetry_servers: TelemetryServersConfig,
    /// The gateway role.
    pub gateway: GatewayConfig,
    /// The orders role.
    pub orders: OrdersConfig,
    /// The payments role.
    pub payments: PaymentsConfig,
    /// The notifications role.
    pub notifications: NotificationsConfig,
    /// The sandbox payment provider.
    pub provider: SandboxConfig,
    /// The check that the role audit makes again and again.
    pub check: CheckConfig,
}

/// Where each role answers `/health` and `/ready`; port 0 takes a free one. The sandbox provider's is
/// `provider.admin`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct AdminConfig {
    pub gateway: SocketAddr,
    pub orders: SocketAddr,
    pub inventory: SocketAddr,
    pub payments: SocketAddr,
    pub notifications: SocketAddr,
    pub audit: SocketAddr,
}

impl Default for Config {
    fn default() -> Self {
        Config {
            data: ".spillway".into(),
            partitions: 1,
            drain_timeout_s: 30,
            gather_ms: 25,
            log: LogConfig::default(),
            telemetry: TelemetryConfig::default(),
            admin: AdminConfig::default(),
            nats: BusConfig::default(),
            nats_server: NatsServerConfig::default(),
            telemetry_servers: TelemetryServersConfig::default(),
            gateway: GatewayConfig::default(),
            orders: OrdersConfig::default(),
            payments: PaymentsConfig::default(),
            notifications: NotificationsConfig::default(),
            provider: SandboxConfig::default(),
            check: CheckConfig::default(),
        }
    }
}

impl Default for AdminConfig {
    fn default() -> Self {
        let at = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
        AdminConfig {
            gateway: at(8080),
            orders: at(8081),
            inventory: at(8082),
            payments: at(8083),
            notifications: at(8084),
            audit: at(8085),
        }
    }
}

impl Config {
    /// Where a role answers `/health` and `/ready`.
    pub fn admin_of(&self, role: Role) -> SocketAddr {
        match role {
            Role::Gateway => self.admin.gateway,
            Role::Orders => self.admin.orders,
            Role::Inventory => self.admin.inventory,
            Role::Payments => self.admin.payments,
            Role::Notifications => self.admin.notifications,
            Role::Audit => self.admin.audit,
            Role::Provider => self.provider.admin,
        }
    }
}

/// What every role tells of its configuration, beside its own section.
const TOLD: [&str; 6] = ["data", "partitions", "drain_timeout_s", "gather_ms", "log", "nats"];

/// What nobody is told of it: who signs in somewhere. Secrets hide themselves.
const UNTOLD: [&str; 1] = ["username"];

impl Config {
    /// What a role tells of the configuration in force: what all roles have in common, and its own section.
    pub fn told_by(&self, role: Role) -> Value {
        let Ok(Value::Object(mut sections)) = serde_json::to_value(self) else { return Value::Null };
        let own = [role.name(), if role == Role::Audit { "check" } else { role.name() }];
        sections.retain(|key, _| TOLD.contains(&key.as_str()) || own.contains(&key.as_str()));
        let mut told = Value::Object(sections);
        redact_urls(&mut told);
        leave_out(&mut told);
        told
    }
}

fn leave_out(value: &mut Value) {
    if let Value::Object(fields) = value {
        fields.retain(|key, _| !UNTOLD.contains(&key.as_str()));
        fields.values_mut().for_each(leave_out);
    }
}

impl Validate for Config {
    fn problems(&self, at: &str, out: &mut Vec<Problem>) {
        let mut say = |key: &str, message: &str| out.push(Problem::new(join(at, key), message));
        if !(1..=64).contains(&self.partitions) {
            say("partitions", "must be 1 to 64");
        }
        if self.data.as_os_str().is_empty() {
            say("data", "must name a folder");
        }
        if !(1..=3600).contains(&self.drain_timeout_s) {
            say("drain_timeout_s", "must be 1 to 3600");
        }
        if self.gather_ms > 1000 {
            say("gather_ms", "must be at most 1000");
        }
        if self.check.stuck_after_s == 0 {
            say("check.stuck_after_s", "must be at least 1");
        }
        self.log.problems(&join(at, "log"), out);
        self.telemetry.problems(&join(at, "telemetry"), out);
        self.gateway.problems(&join(at, "gateway"), out);
        self.orders.problems(&join(at, "orders"), out);
        self.payments.problems(&join(at, "payments"), out);
        self.notifications.problems(&join(at, "notifications"), out);
        let nats = self.nats.problems().into_iter();
        out.extend(nats.map(|(key, message)| Problem::new(join(&join(at, "nats"), key), message)));
    }
}

#[cfg(test)]
mod tests {
    use spillway_shared::config::{Environment, Sources, load};

    use super::*;

    fn loaded(variables: &[(&str, &str)]) -> Result<Config, Vec<String>> {
        let variables = variables.iter().map(|(name, value)| ((*name).into(), (*value).into())).collect();
        let environment = Environment { variables, prefix: ENVIRONMENT_PREFIX, exceptions: ENVIRONMENT_EXCEPTIONS };
        let loaded = load::<Config>(&Sources { file: None, environment, flags: Vec::new() });
        loaded.map(|loaded| loaded.config).map_err(|bad| bad.0.into_iter().map(|problem| problem.key).collect())
    }

    #[test]
    fn the_defaults_are_sound() {
        assert_eq!(loaded(&[]), Ok(Config::default()));
    }

    #[test]
    fn what_the_client_verbs_and_the_cache_take_from_the_environment_is_no_key() {
        let variables = ENVIRONMENT_EXCEPTIONS.iter().map(|name| (*name, "x")).collect::<Vec<_>>();
        assert_eq!(loaded(&variables), Ok(Config::default()));
    }

    #[test]
    fn every_section_is_checked_and_all_mistakes_are_told_at_once() {
        let mistakes = [
            ("SPILLWAY_PARTITIONS", "65", "partitions"),
            ("SPILLWAY_DATA", "", "data"),
            ("SPILLWAY_DRAIN_TIMEOUT_S", "0", "drain_timeout_s"),
            ("SPILLWAY_CHECK__STUCK_AFTER_S", "0", "check.stuck_after_s"),
            ("SPILLWAY_LOG__LEVEL", "info,x=loud", "log.level"),
            ("SPILLWAY_LOG__MAX_LINES_PER_SECOND", "0", "log.max_lines_per_second"),
            ("SPILLWAY_TELEMETRY__OTLP_ENDPOINT", "ftp://x:4317", "telemetry.otlp_endpoint"),
            ("SPILLWAY_NATS__STREAM__REPLICAS", "2", "nats.stream.replicas"),
            ("SPILLWAY_GATEWAY__OPS__LISTEN", "127.0.0.1:50051", "gateway.ops.listen"),
            ("SPILLWAY_ORDERS__ORDER_DEADLINE_S", "0", "orders.order_deadline_s"),
            ("SPILLWAY_PAYMENTS__PROVIDER__URL", "x", "payments.provider.url"),
            ("SPILLWAY_NOTIFICATIONS__FROM", "x", "notifications.from"),
            ("SPILLWAY_PROVIDER__SLOW_MS", "soon", "provider.slow_ms"),
            ("SPILLWAY_ADMIN__AUDIT", "8085", "admin.audit"),
        ];
        let variables: Vec<_> = mistakes.iter().map(|(name, value, _)| (*name, *value)).collect();
        let mut told = loaded(&variables).expect_err("nothing is right");
        told.sort_unstable();
        let mut keys: Vec<_> = mistakes.iter().map(|(_, _, key)| *key).collect();
        keys.sort_unstable();
        assert_eq!(told, keys);
    }

    #[test]
    fn a_role_tells_its_own_section_and_no_secret() {
        let mut config = Config::default();
        config.nats.url = "nats://ada:canary@127.0.0.1:4222".to_owned();
        config.payments.provider.token = Some("canary".into());
        config.notifications.smtp.username = Some("canary".to_owned());
        config.notifications.smtp.password = Some("canary".into());
        for role in [Role::Gateway, Role::Payments, Role::Notifications, Role::Audit] {
            let told = config.told_by(role);
            assert!(!told.to_string().contains("canary"), "{told}");
            assert_eq!(told["nats"]["url"], "nats://***@127.0.0.1:4222");
            assert_eq!(
                (told.get("payments").is_some(), told.get("check").is_some()),
                match role {
                    Role::Payments => (true, false),
                    Role::Audit => (false, true),
                    _ => (false, false),
                }
            );
        }
    }

    #[test]
    fn no_token_is_shown_not_even_the_sandbox_s() {
        let variables = ["SPILLWAY_PROVIDER__TOKEN", "SPILLWAY_PAYMENTS__PROVIDER__TOKEN"]
            .map(|name| (name.to_owned(), "canary".to_owned()));
        let environment = Environment {
            variables: variables.to_vec(),
            prefix: ENVIRONMENT_PREFIX,
            exceptions: ENVIRONMENT_EXCEPTIONS,
        };
        let loaded = load::<Config>(&Sources { file: None, environment, flags: Vec::new() }).expect("sound");
        assert!(!loaded.to_toml(true).contains("canary") && !loaded.to_json().to_string().contains("canary"));
    }
}
