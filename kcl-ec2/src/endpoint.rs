//! Where the instance metadata service is. Pure.

use std::fmt;
use std::str::FromStr;

use hyper::Uri;

/// Turns the service off for a process, as the AWS SDKs have it.
const DISABLED: &str = "AWS_EC2_METADATA_DISABLED";
/// A URL of the service, as the AWS SDKs have it.
const ENDPOINT: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT";
/// `IPv4` or `IPv6`, as the AWS SDKs have it; it does not count where a URL is given.
const MODE: &str = "AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE";

/// Where the instance metadata service answers.
///
/// ```
/// use kcl_ec2::Endpoint;
///
/// let endpoint: Endpoint = "http://[fd00:ec2::254]".parse()?;
/// assert_eq!(endpoint, Endpoint::ipv6());
/// # Ok::<(), kcl_ec2::EndpointError>(())
/// ```
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Endpoint {
    /// Without brackets.
    host: String,
    port: u16,
}

/// A setting names no endpoint.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum EndpointError {
    /// It is no URL of the kind that is needed.
    #[error("{0:?} is no endpoint of the instance metadata service: write http://HOST or http://HOST:PORT")]
    Url(String),
    /// It is no such mode.
    #[error("{MODE} is {0:?}: write IPv4 or IPv6")]
    Mode(String),
}

impl Endpoint {
    /// The link-local address of every instance: `http://169.254.169.254`.
    pub fn ipv4() -> Self {
        Self {
            host: "169.254.169.254".to_owned(),
            port: 80,
        }
    }

    /// The address for instances of the Nitro System in subnets with IPv6: `http://[fd00:ec2::254]`. The instance's metadata options
    /// have to turn it on.
    pub fn ipv6() -> Self {
        Self {
            host: "fd00:ec2::254".to_owned(),
            port: 80,
        }
    }

    /// What the environment says: `AWS_EC2_METADATA_SERVICE_ENDPOINT` (a URL), `AWS_EC2_METADATA_SERVICE_ENDPOINT_MODE` (`IPv4` or
    /// `IPv6`), otherwise [`ipv4`](Self::ipv4). None if `AWS_EC2_METADATA_DISABLED` is `true`.
    ///
    /// # Errors
    /// A variable is set to something else.
    pub fn from_env() -> Result<Option<Self>, EndpointError> {
        Self::from_variables(|name| std::env::var(name).ok())
    }

    fn from_variables(variable: impl Fn(&str) -> Option<String>) -> Result<Option<Self>, EndpointError> {
        let variable = |name| variable(name).filter(|value| !value.is_empty());
        if variable(DISABLED).is_some_and(|value| value.eq_ignore_ascii_case("true")) {
            return Ok(None);
        }
        if let Some(url) = variable(ENDPOINT) {
            return url.parse().map(Some);
        }
        match variable(MODE) {
            None => Ok(Some(Self::ipv4())),
            Some(mode) if mode.eq_ignore_ascii_case("ipv4") => Ok(Some(Self::ipv4())),
            Some(mode) if mode.eq_ignore_ascii_case("ipv6") => Ok(Some(Self::ipv6())),
            Some(mode) => Err(EndpointError::Mode(mode)),
        }
    }

    pub(crate) fn host(&self) -> &str {
        &self.host
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// As the header `Host` names it.
    pub(crate) fn authority(&self) -> String {
        let host = match self.host.contains(':') {
            true => format!("[{}]", self.host),
            false => self.host.clone(),
        };
        match self.port {
            80 => host,
            port => format!("{host}:{port}"),
        }
    }
}

impl FromStr for Endpoint {
    type Err = EndpointError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wrong = || EndpointError::Url(text.to_owned());
        let uri: Uri = text.parse().map_err(|_| wrong())?;
        let is_plain =
            uri.scheme_str() == Some("http") && matches!(uri.path(), "" | "/") && uri.query().is_none();
        let host = uri
            .host()
            .filter(|host| is_plain && !host.is_empty())
            .ok_or_else(wrong)?;
        if uri
            .authority()
            .is_some_and(|authority| authority.as_str().contains('@'))
        {
            return Err(wrong());
        }
        Ok(Self {
            host: host.trim_matches(['[', ']']).to_owned(),
            port: uri.port_u16().unwrap_or(80),
        })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}", self.authority())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn from(variables: &[(&str, &str)]) -> Result<Option<String>, EndpointError> {
        let found = |name: &str| {
            let variable = variables.iter().find(|(key, _)| *key == name);
            variable.map(|(_, value)| (*value).to_owned())
        };
        Endpoint::from_variables(found).map(|endpoint| endpoint.map(|endpoint| endpoint.to_string()))
    }

    #[test]
    fn the_environment_says_where_the_service_is() {
        let at = |url: &str| Ok(Some(url.to_owned()));
        assert_eq!(from(&[]), at("http://169.254.169.254"));
        assert_eq!(from(&[(ENDPOINT, "")]), at("http://169.254.169.254"));
        assert_eq!(from(&[(MODE, "IPv6")]), at("http://[fd00:ec2::254]"));
        assert_eq!(
            from(&[(ENDPOINT, "http://127.0.0.1:1338/"), (MODE, "IPv6")]),
            at("http://127.0.0.1:1338")
        );
        assert_eq!(from(&[(DISABLED, "True"), (ENDPOINT, "http://a")]), Ok(None));
        assert_eq!(from(&[(DISABLED, "false")]), at("http://169.254.169.254"));
    }

    #[test]
    fn what_is_no_endpoint_is_refused_with_what_to_write() {
        for url in [
            "127.0.0.1:80",
            "https://a",
            "http://a/latest",
            "http://",
            "http://u@a",
            "a b",
        ] {
            let refused = from(&[(ENDPOINT, url)]).unwrap_err().to_string();
            assert!(refused.contains("write http://HOST"), "{url}: {refused}");
        }
        let refused = from(&[(MODE, "v6")]).unwrap_err().to_string();
        assert!(refused.contains("write IPv4 or IPv6"), "{refused}");
    }

    #[test]
    fn an_address_of_ipv6_is_connected_to_without_its_brackets() {
        let endpoint: Endpoint = "http://[::1]:1338".parse().unwrap();
        assert_eq!((endpoint.host(), endpoint.port()), ("::1", 1338));
        assert_eq!(endpoint.authority(), "[::1]:1338");
    }
}
