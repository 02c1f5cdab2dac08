//! The certificate that the provider shows: when it ends, so that somebody renews it before.

use std::future::Future;
use std::pin::Pin;
use std::task::{Context, Poll};

use http::Uri;
use hyper_rustls::MaybeHttpsStream;
use hyper_util::rt::TokioIo;
use rustls::pki_types::CertificateDer;
use tokio::net::TcpStream;
use tower::Service;
use x509_parser::prelude::{FromDer, X509Certificate};

/// A connector that looks at the certificate of every connection that it makes. One that cannot be made, because the
/// certificate has ended, leaves the figure where it was: in the past.
#[derive(Clone, Debug)]
pub(super) struct Noting<C>(pub C);

type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

impl<C> Service<Uri> for Noting<C>
where
    C: Service<Uri, Response = Stream>,
    C::Future: Send + 'static,
{
    type Response = Stream;
    type Error = C::Error;
    type Future = Pin<Box<dyn Future<Output = Result<Stream, C::Error>> + Send>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), C::Error>> {
        self.0.poll_ready(cx)
    }

    fn call(&mut self, to: Uri) -> Self::Future {
        let connecting = self.0.call(to);
        Box::pin(async move {
            let stream = connecting.await?;
            if let MaybeHttpsStream::Https(tls) = &stream {
                let (_, session) = tls.inner().get_ref();
                session.peer_certificates().and_then(<[_]>::first).into_iter().for_each(note);
            }
            Ok(stream)
        })
    }
}

fn note(certificate: &CertificateDer<'_>) {
    match ends(certificate) {
        Some(unix) => {
            metrics::gauge!("spillway_certificate_expiry_timestamp_seconds", "role" => "payments",
                "certificate" => "provider")
            .set(unix as f64);
        }
        None => tracing::debug!("the provider's certificate does not say when it ends"),
    }
}

/// In seconds of Unix time.
fn ends(certificate: &[u8]) -> Option<i64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    Some(certificate.validity().not_after.timestamp())
}
