//! HTTPS in front of a server that speaks HTTP, with a certificate of its own.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::SystemTime;

use rcgen::{CertificateParams, KeyPair};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;
use tokio_rustls::TlsAcceptor;

/// Ends with the test.
pub struct Https {
    pub url: String,
    serving: JoinHandle<()>,
}

impl Drop for Https {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Passes on to `target` what comes by TLS. The certificate, which ends at this time, is written to `file` for whoever
/// should trust it.
pub async fn before(target: SocketAddr, ends: SystemTime, file: &Path) -> Https {
    let mut params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    params.not_after = ends.into();
    let key = KeyPair::generate().expect("a key");
    let certificate = params.self_signed(&key).expect("a certificate");
    std::fs::write(file, certificate.pem()).expect("written");
    let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let config = ServerConfig::builder_with_provider(provider).with_safe_default_protocol_versions().expect("versions");
    let config = config.with_no_client_auth().with_single_cert(vec![certificate.der().clone()], key).expect("both fit");
    serve(target, config).await
}

/// Passes on to `target` what comes by TLS under this configuration. Where that names protocols, one of them must be said.
pub async fn serve(target: SocketAddr, config: ServerConfig) -> Https {
    let must_say = !config.alpn_protocols.is_empty();
    let acceptor = TlsAcceptor::from(Arc::new(config));
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let port = listener.local_addr().expect("bound").port();
    let serving = tokio::spawn(async move {
        while let Ok((client, _)) = listener.accept().await {
            let acceptor = acceptor.clone();
            tokio::spawn(async move {
                let Ok(mut client) = acceptor.accept(client).await else { return };
                if must_say && client.get_ref().1.alpn_protocol().is_none() {
                    return;
                }
                let Ok(mut server) = TcpStream::connect(target).await else { return };
                // Either may hang up whenever it likes.
                let _ended = tokio::io::copy_bidirectional(&mut client, &mut server).await;
            });
        }
    });
    Https { url: format!("https://localhost:{port}"), serving }
}
