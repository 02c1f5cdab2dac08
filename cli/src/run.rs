//! `spillway run`: one role, in this process.

use serde_json::json;
use spillway_shared::config::Flag;

use crate::cli::{Format, Role, RunArgs};
use crate::context::Context;
use crate::exit::{Exit, Failure};
use crate::system::{self, Instruments, said, signals::Signals};

/// Runs the role until a signal; then drains it.
///
/// # Errors
/// What keeps it from starting, or what ended it by itself.
pub async fn run(args: RunArgs, ctx: &Context) -> Result<(), Failure> {
    let role = args.role;
    let config = ctx.load_config(flags(&args))?.config;
    let instruments = Instruments::start(&config, role.name(), ctx.output.format())?;
    system::raise_file_limit();
    let mut signals = Signals::listen()?;
    let running = system::start(role, &config, &instruments).await?;
    let (output, addresses) = (ctx.output.clone(), running.addresses.clone());
    let is_log_alone = config.log.makes_stdout_json_lines(output.format());
    said::print(move || match output.format() {
        Format::Json => output.json(&json!({ "role": role.name(), "addresses": addresses })),
        // The line "started" says it to whoever reads lines of JSON.
        Format::Table if is_log_alone => Ok(()),
        Format::Table => {
            let rows = addresses.iter().map(|(name, at)| vec![name.clone(), at.clone()]).collect();
            output.text(&format!("{} runs\n", role.name()))?;
            output.table(&[], rows)
        }
    })
    .await?;
    tracing::info!(addresses = ?running.addresses, "started");
    let stopping = running.life.shutting_down();
    tokio::select! {
        signal = signals.next() => tracing::info!(signal, "stopping"),
        () = stopping.cancelled() => {}
    }
    running.life.shut_down();
    let (drained, ended) = tokio::select! {
        finished = running.finish() => finished,
        signal = signals.next() => {
            tracing::warn!(signal, "stopping at once");
            return Err(Failure::quiet(Exit::Failed));
        }
    };
    tracing::info!(millis = drained.took.as_millis(), cut = ?drained.cut, "stopped");
    ended.map_err(|failed| Failure::failed(format!("{} ended by itself: {failed}", role.name())))
}

/// The flags of the verb as keys of the configuration.
fn flags(args: &RunArgs) -> Vec<Flag> {
    let mut flags = Vec::new();
    let mut set = |flag: &'static str, key: &str, value: Option<String>| {
        flags.extend(value.map(|value| Flag::new(flag, key, value)));
    };
    set("--data", "data", args.data.as_ref().map(|path| path.display().to_string()));
    set("--nats-url", "nats.url", args.nats_url.clone());
    set("--partitions", "partitions", args.partitions.map(|n| n.to_string()));
    let listen_key = match args.role {
        Role::Provider => "provider.listen",
        Role::Gateway | Role::Orders | Role::Inventory | Role::Payments | Role::Notifications | Role::Audit => {
            "gateway.grpc.listen"
        }
    };
    set("--listen", listen_key, args.listen.map(|at| at.to_string()));
    set("--ops-listen", "gateway.ops.listen", args.ops_listen.map(|at| at.to_string()));
    let admin_key = match args.role {
        Role::Provider => "provider.admin".to_owned(),
        role => format!("admin.{}", role.name()),
    };
    set("--admin", &admin_key, args.admin.map(|at| at.to_string()));
    set("--provider-url", "payments.provider.url", args.provider_url.clone());
    flags
}
