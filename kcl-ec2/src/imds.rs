//! The instance metadata service, version 2: a token by `PUT`, then questions with it.

mod connect;
mod exchange;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use hyper::header::HeaderValue;
use hyper::{Method, StatusCode};
use tokio::time::Instant;

pub(crate) use self::connect::Connect;
#[cfg(feature = "testing")]
pub(crate) use self::connect::{Connecting, Stream};
use self::exchange::{Answer, exchange};
use crate::endpoint::Endpoint;

/// Where tokens are to be had.
pub(crate) const TOKENS: &str = "/latest/api/token";
/// The header with which a token is shown.
pub(crate) const TOKEN: &str = "x-aws-ec2-metadata-token";
/// The header with a token's life in seconds, in the question and in the answer.
pub(crate) const LIFE: &str = "x-aws-ec2-metadata-token-ttl-seconds";
/// The longest life that the service gives.
const LONGEST_LIFE: Duration = Duration::from_secs(21_600);
/// The service is on the same machine.
const SLOWEST_ANSWER: Duration = Duration::from_secs(2);

/// A client of the instance metadata service. It speaks version 2 only: instances can be set to answer nothing else.
///
/// ```no_run
/// # async fn ask() -> Result<(), kcl_ec2::ImdsError> {
/// use kcl_ec2::{Endpoint, Imds};
///
/// let mut imds = Imds::new(Endpoint::ipv4());
/// if let Some(id) = imds.get("/latest/meta-data/instance-id").await? {
///     println!("this is {id}");
/// }
/// # Ok(())
/// # }
/// ```
pub struct Imds {
    endpoint: Endpoint,
    connect: Arc<dyn Connect>,
    token: Option<Token>,
}

struct Token {
    value: HeaderValue,
    renewed_at: Instant,
}

/// The instance metadata service did not say what it was asked for.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ImdsError {
    /// There is no connection to be had.
    #[error(
        "the instance metadata service at {endpoint} cannot be reached: this machine is no EC2 instance, or a firewall stands between"
    )]
    Unreachable {
        /// Where it was expected.
        endpoint: Endpoint,
        /// What the system says.
        #[source]
        source: io::Error,
    },
    /// It did not answer in time.
    #[error(
        "the instance metadata service at {endpoint} gave no answer to {what} in {limit:?}: this machine is no EC2 instance, or this is a \
         container and the hop limit of the instance's metadata options is 1; it has to be 2 then"
    )]
    Silent {
        /// Where it was expected.
        endpoint: Endpoint,
        /// What was asked.
        what: String,
        /// How long it had.
        limit: Duration,
    },
    /// It gives no tokens.
    #[error(
        "{endpoint} gives no tokens (status {status}): the instance metadata service is turned off for this instance (metadata options, \
         HttpEndpoint), or another service answers there"
    )]
    NoTokens {
        /// Where it answered.
        endpoint: Endpoint,
        /// What it answered.
        status: u16,
    },
    /// A new token was refused as well.
    #[error("the instance metadata service at {endpoint} refuses the token that it has just given")]
    TokenRefused {
        /// Where it answered.
        endpoint: Endpoint,
    },
    /// It is asked too much, or has trouble of its own.
    #[error(
        "the instance metadata service is busy (status {status}) and did not answer {what}; it is asked again"
    )]
    Busy {
        /// What was asked.
        what: String,
        /// What it answered.
        status: u16,
    },
    /// It answered what AWS does not document.
    #[error("the instance metadata service answered {what} with {how}")]
    Unexpected {
        /// What was asked.
        what: String,
        /// What is wrong with the answer.
        how: String,
    },
    /// The connection broke in the middle.
    #[error("the connection to the instance metadata service broke")]
    Broken(#[source] hyper::Error),
}

impl ImdsError {
    /// Whether this is how it looks where there is no such service: elsewhere than on EC2, or where it is turned off.
    pub fn is_absence(&self) -> bool {
        matches!(
            self,
            Self::Unreachable { .. } | Self::Silent { .. } | Self::NoTokens { .. }
        )
    }
}

impl Imds {
    /// The service at this endpoint. Nothing is asked yet.
    pub fn new(endpoint: Endpoint) -> Self {
        let connect = Arc::new(endpoint.clone());
        Self::over(endpoint, connect)
    }

    pub(crate) fn over(endpoint: Endpoint, connect: Arc<dyn Connect>) -> Self {
        Self {
            endpoint,
            connect,
            token: None,
        }
    }

    /// What stands at a path such as `/latest/meta-data/instance-id`; nothing where there is nothing, which is normal for what is only
    /// there at times. Takes no longer than eight seconds: two for each of at most four requests, as a token may have to be renewed.
    ///
    /// # Errors
    /// See [`ImdsError`]. Whoever asks later may be answered.
    pub async fn get(&mut self, path: &str) -> Result<Option<String>, ImdsError> {
        for _ in 0..2 {
            let token = self.token().await?;
            let what = format!("GET {path}");
            let answer = self.ask(&what, Method::GET, path, TOKEN, token).await?;
            match answer.status {
                StatusCode::OK => {
                    let text = String::from_utf8(answer.body.into());
                    return text.map(Some).map_err(|_| ImdsError::Unexpected {
                        what,
                        how: "what is no text".to_owned(),
                    });
                }
                StatusCode::NOT_FOUND => return Ok(None),
                // It expired, or is of a time before the instance was stopped.
                StatusCode::UNAUTHORIZED => self.token = None,
                status => return Err(failure(what, status)),
            }
        }
        let endpoint = self.endpoint.clone();
        Err(ImdsError::TokenRefused { endpoint })
    }

    /// The token at hand, or a new one when its life is nearly over.
    async fn token(&mut self) -> Result<HeaderValue, ImdsError> {
        if let Some(token) = self
            .token
            .as_ref()
            .filter(|token| Instant::now() < token.renewed_at)
        {
            return Ok(token.value.clone());
        }
        let asked_at = Instant::now();
        let what = format!("PUT {TOKENS}");
        let life = HeaderValue::from(LONGEST_LIFE.as_secs());
        let answer = self.ask(&what, Method::PUT, TOKENS, LIFE, life).await?;
        if answer.status != StatusCode::OK {
            return Err(match failure(what, answer.status) {
                busy @ ImdsError::Busy { .. } => busy,
                _ => ImdsError::NoTokens {
                    endpoint: self.endpoint.clone(),
                    status: answer.status.as_u16(),
                },
            });
        }
        let mut value = HeaderValue::from_bytes(&answer.body)
            .ok()
            .filter(|value| !value.is_empty())
            .ok_or_else(|| ImdsError::Unexpected {
                what,
                how: "what cannot be a token".to_owned(),
            })?;
        value.set_sensitive(true);
        let life = answer.life.map_or(LONGEST_LIFE, |life| life.min(LONGEST_LIFE));
        self.token = Some(Token {
            value: value.clone(),
            renewed_at: asked_at + life / 10 * 9,
        });
        Ok(value)
    }

    async fn ask(
        &self,
        what: &str,
        method: Method,
        path: &str,
        name: &'static str,
        value: HeaderValue,
    ) -> Result<Answer, ImdsError> {
        let exchanged = exchange(&*self.connect, &self.endpoint, what, method, path, (name, value));
        match tokio::time::timeout(SLOWEST_ANSWER, exchanged).await {
            Ok(answer) => answer,
            Err(_) => Err(ImdsError::Silent {
                endpoint: self.endpoint.clone(),
                what: what.to_owned(),
                limit: SLOWEST_ANSWER,
            }),
        }
    }
}

fn failure(what: String, status: StatusCode) -> ImdsError {
    if status == StatusCode::TOO_MANY_REQUESTS || status.is_server_error() {
        let status = status.as_u16();
        return ImdsError::Busy { what, status };
    }
    let how = format!("status {}", status.as_u16());
    ImdsError::Unexpected { what, how }
}

impl fmt::Debug for Imds {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Imds")
            .field("endpoint", &self.endpoint)
            .field("has_token", &self.token.is_some())
            .finish_non_exhaustive()
    }
}
