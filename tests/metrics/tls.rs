//! A provider over https: the sandbox, with TLS before it.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use spillway_sandbox::{Sandbox, SandboxConfig, Synchronous};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;

/// When its certificate ends: 1 March 2031, 00:00 UTC, as Unix time in seconds.
pub const ENDS: i64 = 1_930_089_600;

pub struct Provider {
    pub url: String,
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
        let listener = TcpListener::bind(any).await.expect("a port");
        let url = format!("https://localhost:{}", listener.local_addr().expect("bound").port());
        let provider = Provider { url, stop, sandbox, folder };
        tokio::spawn(serve(listener, provider.acceptor(), behind, provider.stop.clone()));
        provider
    }

    /// The file of the certificate that must be trusted.
    pub fn trusted(&self) -> PathBuf {
        self.folder.path().join("trusted.pem")
    }

    fn acceptor(&self) -> TlsAcceptor {
        let key = KeyPair::generate().expect("a key");
        let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
        params.not_after = date_time_ymd(2031, 3, 1);
        let certificate = params.self_signed(&key).expect("signed");
        std::fs::write(self.trusted(), certificate.pem()).expect("written");
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let crypto = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(crypto)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_no_client_auth()
            .with_single_cert(vec![certificate.der().clone()], key)
            .expect("a certificate and its key");
        TlsAcceptor::from(Arc::new(config))
    }

    pub async fn stop(self) {
        self.stop.cancel();
        self.sandbox.await.expect("no panic");
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, behind: SocketAddr, stop: CancellationToken) {
    loop {
        let accepted = tokio::select! {
            accepted = listener.accept() => accepted,
            () = stop.cancelled() => return,
        };
        let Ok((stream, _)) = accepted else { continue };
        let (acceptor, stop) = (acceptor.clone(), stop.clone());
        tokio::spawn(async move {
            let carried = async {
                let mut outside = acceptor.accept(stream).await?;
                let mut inside = TcpStream::connect(behind).await?;
                tokio::io::copy_bidirectional(&mut outside, &mut inside).await
            };
            // A client that goes away is no failure of the test.
            tokio::select! {
                _ended = carried => {}
                () = stop.cancelled() => {}
            }
        });
    }
}
