//! Asking one that serves, over HTTP or HTTPS.

use std::time::Duration;

use bytes::Bytes;
use http::header::{CONTENT_TYPE, HOST};
use http::{Method, Request, StatusCode, Uri};
use http_body_util::{BodyExt as _, Full, Limited};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::AnyError;
use crate::arguments::Whom;

/// No answer is larger.
const LARGEST: usize = 64 * 1024 * 1024;
/// An answer takes no longer than this.
const PATIENCE: Duration = Duration::from_secs(30);

/// One that serves.
#[derive(Debug)]
pub(crate) struct Server {
    endpoint: Uri,
    #[cfg(feature = "tls")]
    trust: Option<std::path::PathBuf>,
}

impl Server {
    pub(crate) fn of(whom: Whom) -> Result<Self, AnyError> {
        let named = whom.port.map(|port| format!("http://127.0.0.1:{port}"));
        let named = named.or(whom.endpoint);
        let named = named.or_else(|| std::env::var("AWS_ENDPOINT_URL").ok());
        let endpoint = named.unwrap_or_else(|| "http://127.0.0.1:4567".to_owned());
        let wrong = || format!("{endpoint} is no endpoint: write http://127.0.0.1:4567");
        let uri: Uri = endpoint.parse().map_err(|_| wrong())?;
        if !matches!(uri.scheme_str(), Some("http" | "https")) || uri.host().is_none() {
            return Err(wrong().into());
        }
        Ok(Self {
            endpoint: uri,
            #[cfg(feature = "tls")]
            trust: whom
                .trust
                .or_else(|| std::env::var_os("AWS_CA_BUNDLE").map(Into::into)),
        })
    }

    /// Where it is.
    pub(crate) fn endpoint(&self) -> &Uri {
        &self.endpoint
    }

    /// Asks for an address below `/_kcl-local`, and returns the answer.
    ///
    /// # Errors
    /// What it says if it refuses, or why it cannot be asked.
    pub(crate) async fn ask(&self, method: Method, path: &str, body: Bytes) -> Result<Value, AnyError> {
        let asked = tokio::time::timeout(PATIENCE, self.send(method, path, body)).await;
        let (status, answer) =
            asked.map_err(|_| format!("{} did not answer within {PATIENCE:?}", self.endpoint))??;
        let answer: Value = serde_json::from_slice(&answer).map_err(|_| {
            format!(
                "{} answered {status}, and not as kcl-local does: is it one?",
                self.endpoint
            )
        })?;
        if status.is_success() {
            return Ok(answer);
        }
        let said = answer.get("error").and_then(Value::as_str);
        Err(said
            .map_or_else(|| format!("it answered {status}"), str::to_owned)
            .into())
    }

    async fn send(&self, method: Method, path: &str, body: Bytes) -> Result<(StatusCode, Bytes), AnyError> {
        let authority = self.endpoint.authority().ok_or("the endpoint names no host")?;
        let is_secure = self.endpoint.scheme_str() == Some("https");
        let host = authority.host();
        let port = authority.port_u16().unwrap_or(if is_secure { 443 } else { 80 });
        let request = Request::builder()
            .method(method)
            .uri(format!("/_kcl-local{path}"))
            .header(HOST, authority.as_str())
            .header(CONTENT_TYPE, "application/json")
            .body(Full::new(body))?;
        let bare = host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((bare, port))
            .await
            .map_err(|error| format!("cannot connect to {}: {error}", self.endpoint))?;
        if is_secure {
            #[cfg(feature = "tls")]
            return exchange(self.secured(stream, bare).await?, request).await;
            #[cfg(not(feature = "tls"))]
            return Err("this program was built without HTTPS".into());
        }
        exchange(stream, request).await
    }

    #[cfg(feature = "tls")]
    async fn secured(
        &self,
        stream: TcpStream,
        host: &str,
    ) -> Result<tokio_rustls::client::TlsStream<TcpStream>, AnyError> {
        use std::sync::Arc;

        use rustls::crypto::aws_lc_rs;
        use rustls::pki_types::pem::PemObject as _;
        use rustls::pki_types::{CertificateDer, ServerName};
        use rustls::{ClientConfig, RootCertStore};

        let file = self
            .trust
            .as_ref()
            .ok_or("it speaks HTTPS: say whom to trust with --trust FILE, the file that it wrote")?;
        let wrong = |error: String| format!("cannot trust what is in {}: {error}", file.display());
        let mut trusted = RootCertStore::empty();
        let certificates = CertificateDer::pem_file_iter(file).map_err(|error| wrong(error.to_string()))?;
        for certificate in certificates {
            let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
            trusted
                .add(certificate)
                .map_err(|error| wrong(error.to_string()))?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(trusted)
            .with_no_client_auth();
        let name = ServerName::try_from(host.to_owned())?;
        let connector = tokio_rustls::TlsConnector::from(Arc::new(config));
        Ok(connector.connect(name, stream).await?)
    }
}

async fn exchange(
    stream: impl AsyncRead + AsyncWrite + Unpin + Send + 'static,
    request: Request<Full<Bytes>>,
) -> Result<(StatusCode, Bytes), AnyError> {
    let (mut sender, connection) = hyper::client::conn::http1::handshake(TokioIo::new(stream)).await?;
    // It ends with the connection, and whoever waits for the answer hears of its errors.
    tokio::spawn(connection);
    let answer = sender.send_request(request).await?;
    let status = answer.status();
    let body = Limited::new(answer.into_body(), LARGEST).collect().await?;
    Ok((status, body.to_bytes()))
}
