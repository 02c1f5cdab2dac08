//! An authority that signs certificates, of receivers and of those who send.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, IsCa, KeyPair};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig};

pub struct Authority {
    issuer: CertifiedIssuer<'static, KeyPair>,
    /// Its own certificate, as a file.
    pub file: PathBuf,
}

impl Authority {
    /// Of this name, with its certificate in this folder.
    pub fn new(name: &str, folder: &Path) -> Authority {
        let mut params = CertificateParams::new(Vec::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(rcgen::DnType::CommonName, name);
        let issuer = CertifiedIssuer::self_signed(params, KeyPair::generate().expect("a key")).expect("a certificate");
        let file = folder.join(format!("{name}.pem"));
        std::fs::write(&file, issuer.pem()).expect("written");
        Authority { issuer, file }
    }

    fn issue(&self, name: &str) -> (rcgen::Certificate, KeyPair) {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("a name");
        (params.signed_by(&key, &self.issuer).expect("a certificate"), key)
    }

    /// Certificate and key of this name, each in a file of this folder.
    pub fn files(&self, name: &str, folder: &Path) -> [PathBuf; 2] {
        let (certificate, key) = self.issue(name);
        let files = ["certificate", "key"].map(|what| folder.join(format!("{name}-{what}.pem")));
        std::fs::write(&files[0], certificate.pem()).expect("written");
        std::fs::write(&files[1], key.serialize_pem()).expect("written");
        files
    }

    /// A server of this name for HTTP/2 and HTTP/1.1, which lets in everybody, or those alone whom this authority signed.
    pub fn server(&self, name: &str, lets_in: Option<&Authority>) -> ServerConfig {
        let (certificate, key) = self.issue(name);
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let config = ServerConfig::builder_with_provider(provider.clone());
        let config = config.with_safe_default_protocol_versions().expect("versions");
        let config = match lets_in {
            None => config.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                roots.add(CertificateDer::from(authority.issuer.der().to_vec())).expect("a root");
                let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                config.with_client_cert_verifier(verifier.expect("a verifier"))
            }
        };
        let key = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
        let mut config = config.with_single_cert(vec![certificate.der().clone()], key).expect("both fit");
        config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        config
    }
}
