//! Whom a role trusts with its spans, and as whom it shows itself: one TLS for both wires.

use std::sync::Arc;

use hyper_rustls::ConfigBuilderExt;
use rustls::client::WantsClientCert;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, ConfigBuilder, RootCertStore};

use super::variables::{NamedFile, Variables};

/// What the way to the receiver is encrypted with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Trust {
    /// Who may have signed the receiver's certificate; without it, whom the system trusts.
    authority: Option<NamedFile>,
    /// Certificate and key of this process, for a receiver that asks for them.
    client: Option<(NamedFile, NamedFile)>,
}

const CERTIFICATE: &str = "CERTIFICATE";
const CLIENT_CERTIFICATE: &str = "CLIENT_CERTIFICATE";
const CLIENT_KEY: &str = "CLIENT_KEY";

impl Trust {
    pub fn read(variables: &mut Variables<'_>) -> Trust {
        let [authority, certificate, key] =
            [CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY].map(|option| variables.exporter(option));
        let client = match (certificate, key) {
            (Some(certificate), Some(key)) => Some((certificate.file(), key.file())),
            (None, None) => None,
            (Some(alone), None) => {
                variables.wrong_in(&alone.variable, "a certificate needs its key, OTEL_EXPORTER_OTLP_CLIENT_KEY");
                None
            }
            (None, Some(alone)) => {
                let why = "a key needs its certificate, OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE";
                variables.wrong_in(&alone.variable, why);
                None
            }
        };
        Trust { authority: authority.map(super::variables::Said::file), client }
    }

    /// The variables of it that are set.
    pub fn set(variables: &Variables<'_>) -> Vec<String> {
        let options = [CERTIFICATE, CLIENT_CERTIFICATE, CLIENT_KEY];
        options.into_iter().filter_map(|option| variables.exporter(option)).map(|said| said.variable).collect()
    }

    /// Reads the files. What changes in them counts from the next start.
    ///
    /// # Errors
    /// The variable, its file, and what is wrong with it.
    pub fn client(&self) -> Result<ClientConfig, String> {
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let versions = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions();
        let versions = versions.map_err(|error| error.to_string())?;
        let trusting: ConfigBuilder<ClientConfig, WantsClientCert> = match &self.authority {
            Some(file) => versions.with_root_certificates(roots(file)?),
            None => versions.with_native_roots().map_err(|error| {
                format!("{error} on this system; OTEL_EXPORTER_OTLP_CERTIFICATE may name a file with some")
            })?,
        };
        let Some((certificate, key)) = &self.client else { return Ok(trusting.with_no_client_auth()) };
        let (chain, secret) = (certificates(certificate)?, private_key(key)?);
        trusting.with_client_auth_cert(chain, secret).map_err(|error| {
            let (certificate, key) = (told(certificate), told(key));
            format!("{certificate} and {key}: {error}")
        })
    }
}

fn roots(file: &NamedFile) -> Result<RootCertStore, String> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(file)? {
        roots.add(certificate).map_err(|error| format!("{} holds no usable certificate: {error}", told(file)))?;
    }
    Ok(roots)
}

fn certificates(file: &NamedFile) -> Result<Vec<CertificateDer<'static>>, String> {
    let pem = read(file)?;
    let found: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&pem).collect();
    let found = found.map_err(|error| format!("{}: {error}", told(file)))?;
    if found.is_empty() {
        return Err(format!("{} holds no certificate in PEM", told(file)));
    }
    Ok(found)
}

fn private_key(file: &NamedFile) -> Result<PrivateKeyDer<'static>, String> {
    // What is wrong in it is not told: it could be a part of the key.
    PrivateKeyDer::from_pem_slice(&read(file)?).map_err(|_| format!("{} holds no private key in PEM", told(file)))
}

fn read(file: &NamedFile) -> Result<Vec<u8>, String> {
    std::fs::read(&file.path).map_err(|error| format!("{} cannot be read: {error}", told(file)))
}

fn told(file: &NamedFile) -> String {
    format!("{} ({})", file.variable, file.path.display())
}
