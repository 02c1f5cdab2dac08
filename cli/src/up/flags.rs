//! The flags of `up` as keys of the configuration.

use std::net::{Ipv4Addr, SocketAddr};

use spillway_shared::config::Flag;

use crate::cli::UpArgs;

/// One key for each flag that was given.
pub fn keys(args: &UpArgs) -> Vec<Flag> {
    let mut flags = Vec::new();
    let mut set = |flag: &'static str, key: &str, value: Option<String>| {
        flags.extend(value.map(|value| Flag::new(flag, key, value)));
    };
    let local = |port: Option<u16>| port.map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)).to_string());
    set("--data", "data", args.data.as_ref().map(|path| path.display().to_string()));
    set("--nats-url", "nats.url", args.nats_url.clone());
    set("--provider-url", "payments.provider.url", args.provider_url.clone());
    set("--partitions", "partitions", args.partitions.map(|n| n.to_string()));
    set("--grpc-port", "gateway.grpc.listen", local(args.grpc_port));
    set("--ops-port", "gateway.ops.listen", local(args.ops_port));
    set("--admin-port", "admin.gateway", local(args.admin_port));
    // A free port for the gateway's admin server means free ports for all of them; else they follow on its heels.
    for (index, role) in (1..).zip(["orders", "inventory", "payments", "notifications", "audit"]) {
        let port = args.admin_port.map(|port| if port == 0 { 0 } else { port.saturating_add(index) });
        set("--admin-port", &format!("admin.{role}"), local(port));
    }
    set("--provider-port", "provider.listen", local(args.provider_port));
    set("--provider-admin-port", "provider.admin", local(args.provider_admin_port));
    set("--nats-port", "nats_server.port", args.nats_port.map(|port| port.to_string()));
    set("--nats-monitoring-port", "nats_server.monitoring_port", args.nats_monitoring_port.map(|p| p.to_string()));
    let port = |port: Option<u16>| port.map(|port| port.to_string());
    set("--prometheus-port", "telemetry_servers.prometheus_port", port(args.prometheus_port));
    set("--jaeger-port", "telemetry_servers.jaeger_port", port(args.jaeger_port));
    set("--otlp-port", "telemetry_servers.otlp_port", port(args.otlp_port));
    flags
}
