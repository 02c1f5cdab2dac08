//! Where a drill takes place.

use crate::check::Looking;
use crate::cli::{CheckArgs, DrillArgs, Role};
use crate::config::Config;
use crate::context::Context;
use crate::exit::Failure;
use crate::http;

use super::ephemeral::Ephemeral;
use super::running::Running;

/// How long the roles may take to be ready.
const READY_WITHIN: std::time::Duration = std::time::Duration::from_secs(60);

const LOOK_EVERY: std::time::Duration = std::time::Duration::from_millis(100);

/// All roles but the provider.
pub const ROLES: [Role; 6] =
    [Role::Gateway, Role::Inventory, Role::Payments, Role::Orders, Role::Notifications, Role::Audit];

/// Where a drill takes place.
pub struct Installation {
    kind: Kind,
    /// gRPC of the gateway, with its scheme.
    pub gateway: String,
    pub nats: String,
    pub provider: String,
    config: Config,
}

enum Kind {
    Ephemeral(Box<Ephemeral>),
    Running(Box<Running>),
}

impl Installation {
    /// The one that runs, or one of the drill's own.
    ///
    /// # Errors
    /// Exit 3 where something that is needed is missing.
    pub async fn of(args: &DrillArgs, ctx: &Context) -> Result<Installation, Failure> {
        let mut config = ctx.load_config(Vec::new())?.config;
        if args.running {
            let kind = Kind::Running(Box::new(Running::new(&config)));
            let (nats, provider) = (args.nats_url.clone(), args.provider_url.clone());
            config.nats.url = nats.unwrap_or(config.nats.url);
            config.payments.provider.url = provider.unwrap_or(config.payments.provider.url);
            let (gateway, nats) = (ctx.global.address.clone(), config.nats.url.clone());
            let provider = config.payments.provider.url.clone();
            return Ok(Installation { kind, gateway, nats, provider, config });
        }
        let own = Ephemeral::start(args, ctx).await?;
        config.nats.url = own.nats_url();
        config.data = own.data();
        config.payments.provider.url = own.address(Role::Provider, "provider").unwrap_or_default();
        let gateway = format!("http://{}", own.address(Role::Gateway, "grpc").unwrap_or_default());
        let (nats, provider) = (config.nats.url.clone(), config.payments.provider.url.clone());
        Ok(Installation { kind: Kind::Ephemeral(Box::new(own)), gateway, nats, provider, config })
    }

    pub fn name(&self) -> String {
        match &self.kind {
            Kind::Ephemeral(_) => "an installation of its own".to_owned(),
            Kind::Running(_) => format!("the installation at {}", self.gateway),
        }
    }

    pub fn partitions(&self) -> u16 {
        self.config.partitions
    }

    /// Where a role answers `/ready` and `/metrics`.
    pub fn admin(&self, role: Role) -> Option<String> {
        match &self.kind {
            Kind::Ephemeral(own) => own.address(role, "admin"),
            Kind::Running(running) => running.admin(role),
        }
    }

    pub fn admins(&self) -> Vec<String> {
        ROLES.iter().filter_map(|role| self.admin(*role)).collect()
    }

    /// Kills a role. `Err` says why it was left alone.
    pub async fn kill(&mut self, role: Role) -> Result<(), String> {
        match &mut self.kind {
            Kind::Ephemeral(own) => own.kill(role).await.map_err(|failure| failure.text()),
            Kind::Running(running) => running.kill(role).await,
        }
    }

    /// Starts it again where it was; answers by whom.
    ///
    /// # Errors
    /// Where it does not start.
    pub async fn revive(&mut self, role: Role) -> Result<&'static str, Failure> {
        match &mut self.kind {
            Kind::Ephemeral(own) => own.begin(role).await.map(|()| ""),
            Kind::Running(running) => running.begin(role).await,
        }
    }

    /// Waits until all roles say that they are ready.
    ///
    /// # Errors
    /// Exit 3 with the roles that are not.
    pub async fn until_ready(&self) -> Result<(), Failure> {
        let give_up = tokio::time::Instant::now() + READY_WITHIN;
        for role in ROLES {
            let url = format!("http://{}/ready", self.admin(role).unwrap_or_default());
            loop {
                let last = match http::get(&url).await {
                    Ok((200, _)) => break,
                    Ok((_, body)) => body,
                    Err(why) => why,
                };
                if tokio::time::Instant::now() >= give_up {
                    return Err(Failure::missing(format!("{} is not ready: {last}", role.name())));
                }
                tokio::time::sleep(LOOK_EVERY).await;
            }
        }
        Ok(())
    }

    /// What the checker is to look at.
    ///
    /// # Errors
    /// Exit 3 where NATS cannot be reached.
    pub async fn looking(&self, history: std::path::PathBuf) -> Result<Looking, Failure> {
        let args = CheckArgs {
            data: None,
            history: Some(history),
            nats_url: None,
            provider_url: None,
            mail: None,
            without: Vec::new(),
            stuck_after: 120,
            rows: 10,
        };
        Looking::by(&args, &self.config).await
    }

    pub async fn end(self) {
        match self.kind {
            Kind::Ephemeral(own) => own.end().await,
            Kind::Running(_) => {}
        }
    }
}
