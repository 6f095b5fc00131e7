//! HTTPS for a port: a certificate authority that is made for it, and trusted by whoever is told to.

use std::fmt;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa, KeyPair,
    KeyUsagePurpose,
};
use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::PrivateKeyDer;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

/// The names by which a port of this machine is reached.
const LOCAL: [&str; 3] = ["localhost", "127.0.0.1", "::1"];

/// What a client and a server can agree upon: HTTP/2, or HTTP/1.1.
const PROTOCOLS: [&str; 2] = ["h2", "http/1.1"];

/// A certificate for this machine, and the authority that signed it. Both are made when this is, and their keys are kept
/// nowhere but here. Clones share them.
#[derive(Clone)]
pub struct Tls {
    acceptor: TlsAcceptor,
    authority: Arc<str>,
}

/// The certificate cannot be made.
#[derive(Debug, thiserror::Error)]
#[error("no certificate can be made: {0}")]
pub struct TlsError(#[source] Box<dyn std::error::Error + Send + Sync>);

impl Tls {
    /// A certificate for `localhost`, `127.0.0.1`, `::1` and for `names`, which are host names or IP addresses.
    ///
    /// # Errors
    /// If one of `names` is neither.
    pub fn new(names: &[&str]) -> Result<Self, TlsError> {
        let authority = authority().map_err(broken)?;
        let (key, certificate) = certificate(&authority, names).map_err(broken)?;
        let config = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(broken)?
            .with_no_client_auth();
        let mut config = config
            .with_single_cert(vec![certificate.der().clone(), authority.der().clone()], key)
            .map_err(broken)?;
        config.alpn_protocols = PROTOCOLS.map(|name| name.as_bytes().to_vec()).to_vec();
        Ok(Self {
            acceptor: TlsAcceptor::from(Arc::new(config)),
            authority: authority.pem().into(),
        })
    }

    /// The authority's certificate in PEM, for clients to trust.
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// Agrees with a client on keys and on a protocol.
    pub(super) async fn accept<S: AsyncRead + AsyncWrite + Unpin>(
        &self,
        stream: S,
    ) -> std::io::Result<TlsStream<S>> {
        self.acceptor.accept(stream).await
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str("Tls")
    }
}

fn broken(error: impl std::error::Error + Send + Sync + 'static) -> TlsError {
    TlsError(Box::new(error))
}

fn authority() -> Result<CertifiedIssuer<'static, KeyPair>, rcgen::Error> {
    let mut params = CertificateParams::new(Vec::new())?;
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    params
        .distinguished_name
        .push(DnType::CommonName, "kcl-local authority");
    CertifiedIssuer::self_signed(params, KeyPair::generate()?)
}

fn certificate(
    authority: &CertifiedIssuer<'static, KeyPair>,
    names: &[&str],
) -> Result<(PrivateKeyDer<'static>, rcgen::Certificate), rcgen::Error> {
    let names = LOCAL.iter().chain(names).map(|name| (*name).to_owned());
    let mut params = CertificateParams::new(names.collect::<Vec<_>>())?;
    params.distinguished_name.push(DnType::CommonName, "kcl-local");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    // Python asks for it.
    params.use_authority_key_identifier_extension = true;
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    Ok((PrivateKeyDer::Pkcs8(key.serialize_der().into()), certificate))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_authority_is_told_in_pem_and_no_key_with_it() {
        let tls = Tls::new(&["kinesis.test", "192.0.2.1"]).unwrap();
        assert!(tls.authority().starts_with("-----BEGIN CERTIFICATE-----"));
        assert!(!tls.authority().contains("PRIVATE"));
        assert_ne!(tls.authority(), Tls::new(&[]).unwrap().authority());
    }

    #[test]
    fn what_is_no_name_is_refused() {
        let refused = Tls::new(&["ключ"]).unwrap_err();
        assert!(
            refused.to_string().starts_with("no certificate can be made"),
            "{refused}"
        );
    }
}
