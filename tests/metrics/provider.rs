//! A provider over https: the sandbox, with TLS before it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::time::{Duration, SystemTime};

use spillway_sandbox::{Sandbox, SandboxConfig, Synchronous};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::tls::{self, Https};

/// When its certificate ends: 1 March 2031, 00:00 UTC, as Unix time in seconds.
pub const ENDS: u64 = 1_930_089_600;

pub struct Provider {
    pub https: Https,
    stop: CancellationToken,
    sandbox: JoinHandle<()>,
    folder: TempDir,
}

impl Provider {
    pub async fn start() -> Provider {
        let folder = tempfile::tempdir().expect("a folder");
        let any = SocketAddr::from((Ipv4Addr::LOCALHOST, 0));
        let config =
            SandboxConfig { listen: any, admin: any, synchronous: Synchronous::Off, ..SandboxConfig::default() };
        let sandbox = Sandbox::bind(config, folder.path()).await.expect("the sandbox starts");
        let (behind, stop) = (sandbox.addresses().api, CancellationToken::new());
        let stopped = stop.clone().cancelled_owned();
        let sandbox = tokio::spawn(async move { sandbox.run(stopped).await.expect("the sandbox runs") });
        let ends = SystemTime::UNIX_EPOCH + Duration::from_secs(ENDS);
        let https = tls::before(behind, ends, &folder.path().join("trusted.pem")).await;
        Provider { https, stop, sandbox, folder }
    }

    /// The file of the certificate that must be trusted.
    pub fn trusted(&self) -> PathBuf {
        self.folder.path().join("trusted.pem")
    }

    pub async fn stop(self) {
        drop(self.https);
        self.stop.cancel();
        self.sandbox.await.expect("no panic");
    }
}
