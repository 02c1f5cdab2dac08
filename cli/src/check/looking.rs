//! What to check, and by what.

use std::path::PathBuf;
use std::time::Duration;

use spillway_shared::bus::{Bus, BusConfig};

use crate::cli::CheckArgs;
use crate::config::Config;
use crate::exit::Failure;

/// What is looked at besides the ledgers, and may be left out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, clap::ValueEnum, serde::Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Part {
    /// The payment provider's own ledger (the sandbox's)
    Provider,
    /// The folder of mails
    Mail,
    /// What JetStream holds
    Streams,
    /// The clients' history
    History,
}

impl Part {
    pub fn name(self) -> &'static str {
        match self {
            Part::Provider => "provider",
            Part::Mail => "mail",
            Part::Streams => "streams",
            Part::History => "history",
        }
    }
}

/// Where the ledgers are.
#[derive(Clone)]
pub enum Place {
    /// They are asked over NATS.
    Asked { bus: Box<Bus> },
    /// They lie in the data folder of a stopped system.
    Files { data: PathBuf },
}

/// Where the provider's ledger is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Provider {
    /// The sandbox at this address.
    Asked(String),
    /// Its file.
    File(PathBuf),
}

/// A check that is to be made.
#[derive(Clone)]
pub struct Looking {
    pub place: Place,
    /// How many partitions there are.
    pub partitions: u16,
    pub provider: Option<Provider>,
    /// The folder of mails.
    pub mail: Option<PathBuf>,
    /// The NATS whose streams are read.
    pub streams: Option<async_nats::Client>,
    /// What the clients asked for and were told (`load --history`).
    pub history: Option<PathBuf>,
    /// From this age on an undecided order that waits for nothing is stuck, and what was not heard is overdue.
    pub stuck_after: Duration,
    /// How many rows of each violation are told.
    pub rows: usize,
    /// Between the first look and the second.
    pub pause: Duration,
}

/// Between the two looks at a live system.
pub const PAUSE: Duration = Duration::from_secs(2);

impl Looking {
    /// By the command line and the configuration.
    ///
    /// # Errors
    /// Exit 3 where NATS cannot be reached.
    pub async fn by(args: &CheckArgs, config: &Config) -> Result<Self, Failure> {
        let is_wanted = |part: Part| !args.without.contains(&part);
        let stuck_after = Duration::from_secs(args.stuck_after);
        let files = args.data.clone();
        let client = match (&files, &args.nats_url) {
            (Some(_), None) => None,
            (Some(_), Some(_)) | (None, _) => Some(connect(&config.nats).await?),
        };
        let provider = match (&args.provider_url, &files) {
            (Some(url), _) => Provider::Asked(url.clone()),
            (None, Some(data)) => Provider::File(data.join("provider").join("provider.db")),
            (None, None) => Provider::Asked(config.payments.provider.url.clone()),
        };
        let folder = || match (&args.mail, &files, &config.notifications.mail_folder) {
            (Some(folder), _, _) => folder.clone(),
            (None, Some(data), _) => data.join("mail"),
            (None, None, Some(folder)) => folder.clone(),
            (None, None, None) => config.data.join("mail"),
        };
        let mail = is_wanted(Part::Mail).then(folder);
        let streams = client.as_ref().filter(|_| is_wanted(Part::Streams)).map(|bus| bus.client().clone());
        let place = match (files, client) {
            (Some(data), _) => Place::Files { data },
            (None, Some(bus)) => Place::Asked { bus: Box::new(bus) },
            (None, None) => return Err(Failure::usage("neither --data nor NATS")),
        };
        Ok(Looking {
            place,
            partitions: config.partitions,
            provider: is_wanted(Part::Provider).then_some(provider),
            mail,
            streams,
            history: args.history.clone().filter(|_| is_wanted(Part::History)),
            stuck_after,
            rows: args.rows,
            pause: PAUSE,
        })
    }
}

/// A connection of the checker's own.
async fn connect(nats: &BusConfig) -> Result<Bus, Failure> {
    let bus = Bus::connect(nats, "check").await.map_err(|e| Failure::missing(e.to_string()))?;
    let mut connected = bus.connected();
    let waited = tokio::time::timeout(Duration::from_secs(5), connected.wait_for(|is_connected| *is_connected)).await;
    match waited {
        Ok(Ok(_)) => Ok(bus),
        Ok(Err(_)) | Err(_) => Err(Failure::missing(format!(
            "NATS does not answer at {}; name it with --nats-url, or a stopped system's folder with --data",
            nats.url
        ))),
    }
}
