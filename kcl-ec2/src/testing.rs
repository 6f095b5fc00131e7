//! An instance metadata service that speaks version 2 as EC2 does, for tests.
//!
//! Within the process it works in virtual time, and on a port of the loopback interface for processes.
//!
//! ```
//! # use std::time::Duration;
//! # #[tokio::main(flavor = "current_thread", start_paused = true)]
//! # async fn main() {
//! use kcl_ec2::testing::FakeInstance;
//!
//! let instance = FakeInstance::new();
//! let watching = tokio::spawn(instance.watch().notice());
//! instance.target_state("Terminated");
//! assert_eq!(watching.await.unwrap().code(), "auto-scaling");
//! # }
//! ```

use std::collections::{BTreeMap, HashMap};
use std::convert::Infallible;
use std::io;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tokio::time::Instant;

use crate::endpoint::Endpoint;
use crate::imds::{Connect, Imds, LIFE, Stream, TOKEN, TOKENS};
use crate::watch::Watch;

/// What goes wrong with the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub enum Trouble {
    /// Nothing.
    #[default]
    None,
    /// No connection comes about within the process.
    Unreachable,
    /// Nothing is answered.
    Silent,
    /// Tokens do not arrive, as in a container behind a hop limit of 1.
    TokensLost,
    /// Everything is answered with this status.
    Status(u16),
    /// Everything but the token is answered with this status.
    AnswersStatus(u16),
    /// Every token that is shown is refused.
    RefusesTokens,
    /// Whatever is asked for is there, and is a page of another service.
    AnotherService,
    /// Answers have no end.
    Endless,
}

/// How often the service was asked, and what for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
#[non_exhaustive]
pub struct Asked {
    /// Tokens that were given.
    pub tokens: usize,
    /// Questions that showed a token that counts.
    pub answered: usize,
    /// Questions without a token, or with one that has expired.
    pub refused: usize,
}

/// An instance with a metadata service. Clones are the same instance.
#[derive(Debug, Clone, Default)]
pub struct FakeInstance {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// What stands where.
    items: BTreeMap<String, String>,
    /// Tokens, and until when they count.
    tokens: HashMap<String, Instant>,
    longest_life: Option<Duration>,
    trouble: Trouble,
    asked: Asked,
}

impl FakeInstance {
    /// An instance in service that stays.
    pub fn new() -> Self {
        let instance = Self::default();
        instance.put("/latest/meta-data/instance-id", "i-0123456789abcdef0");
        instance.target_state("InService");
        instance
    }

    /// Says something at a path.
    pub fn put(&self, path: &str, text: &str) {
        self.state().items.insert(path.to_owned(), text.to_owned());
    }

    /// EC2 takes the instance back.
    pub fn interrupt(&self, action: &str, time: SystemTime) {
        let time = humantime::format_rfc3339_seconds(time);
        let said = format!(r#"{{"action": "{action}", "time": "{time}"}}"#);
        self.put("/latest/meta-data/spot/instance-action", &said);
    }

    /// Auto Scaling takes the instance to this state.
    pub fn target_state(&self, state: &str) {
        self.put("/latest/meta-data/autoscaling/target-lifecycle-state", state);
    }

    /// EC2 advises to leave the instance.
    pub fn advise_to_rebalance(&self, time: SystemTime) {
        let said = format!(
            r#"{{"noticeTime": "{}"}}"#,
            humantime::format_rfc3339_seconds(time)
        );
        self.put("/latest/meta-data/events/recommendations/rebalance", &said);
    }

    /// From now on this goes wrong.
    pub fn trouble(&self, trouble: Trouble) {
        self.state().trouble = trouble;
    }

    /// Tokens live no longer than this, whatever was asked for.
    pub fn token_life(&self, longest: Duration) {
        self.state().longest_life = Some(longest);
    }

    /// Tokens that were given count no more, as after a stop and a start.
    pub fn forget_tokens(&self) {
        self.state().tokens.clear();
    }

    /// How often it was asked so far.
    pub fn asked(&self) -> Asked {
        self.state().asked
    }

    /// A client of this instance, within the process.
    pub fn imds(&self) -> Imds {
        Imds::over(Endpoint::ipv4(), Arc::new(self.clone()))
    }

    /// Watches this instance, within the process.
    pub fn watch(&self) -> Watch {
        Watch::with(Some(self.imds()))
    }

    /// Answers on a free port of the loopback interface, until what is returned is dropped.
    ///
    /// # Errors
    /// There is no such port.
    pub async fn listen(&self) -> io::Result<Listening> {
        let listener = TcpListener::bind("127.0.0.1:0").await?;
        let address = listener.local_addr()?;
        let instance = self.clone();
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                instance.serve(Box::new(stream));
            }
        });
        Ok(Listening {
            address,
            accepting: accepting.abort_handle(),
        })
    }

    fn serve(&self, stream: Box<dyn Stream>) {
        let instance = self.clone();
        tokio::spawn(async move {
            let service = service_fn(move |request| {
                let instance = instance.clone();
                async move { Ok::<_, Infallible>(instance.respond(&request).await) }
            });
            // A client that goes away in the middle is none of its business.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }

    async fn respond(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let trouble = self.state().trouble;
        let is_token = request.method() == Method::PUT && request.uri().path() == TOKENS;
        match trouble {
            Trouble::Silent => std::future::pending().await,
            Trouble::TokensLost if is_token => std::future::pending().await,
            Trouble::Status(status) => return answer(status, String::new()),
            Trouble::AnswersStatus(status) if !is_token => return answer(status, String::new()),
            Trouble::AnotherService => return answer(200, "<html>welcome</html>".to_owned()),
            Trouble::Endless if !is_token => return answer(200, "a".repeat(1 << 20)),
            _ => {}
        }
        let header = |name| request.headers().get(name).and_then(|value| value.to_str().ok());
        match *request.method() {
            Method::PUT if is_token => self.give_token(header(LIFE)),
            Method::GET => self.say(request.uri().path(), header(TOKEN)),
            _ => answer(405, String::new()),
        }
    }

    fn give_token(&self, life: Option<&str>) -> Response<Full<Bytes>> {
        let life = life.and_then(|life| life.parse().ok());
        let Some(life) = life.filter(|life| (1..=21_600).contains(life)) else {
            return answer(400, String::new());
        };
        let mut state = self.state();
        let life = Duration::from_secs(life).min(state.longest_life.unwrap_or(Duration::MAX));
        state.asked.tokens += 1;
        let token = format!("token-{}", state.asked.tokens);
        state.tokens.insert(token.clone(), Instant::now() + life);
        let mut response = answer(200, token);
        response.headers_mut().insert(LIFE, life.as_secs().into());
        response
    }

    fn say(&self, path: &str, token: Option<&str>) -> Response<Full<Bytes>> {
        let mut state = self.state();
        let counts = token.and_then(|token| state.tokens.get(token));
        let counts = counts.is_some_and(|until| Instant::now() < *until);
        if !counts || state.trouble == Trouble::RefusesTokens {
            state.asked.refused += 1;
            return answer(401, String::new());
        }
        state.asked.answered += 1;
        match state.items.get(path) {
            Some(text) => answer(200, text.clone()),
            None => answer(404, "<?xml version=\"1.0\"?>".to_owned()),
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Connect for FakeInstance {
    fn connect(&self) -> crate::imds::Connecting<'_> {
        Box::pin(async move {
            if self.state().trouble == Trouble::Unreachable {
                return Err(io::ErrorKind::HostUnreachable.into());
            }
            let (ours, theirs) = tokio::io::duplex(4096);
            self.serve(Box::new(theirs));
            Ok(Box::new(ours) as Box<dyn Stream>)
        })
    }
}

/// A metadata service on a port. Dropping it closes the port.
#[derive(Debug)]
pub struct Listening {
    address: SocketAddr,
    accepting: AbortHandle,
}

impl Listening {
    /// What `AWS_EC2_METADATA_SERVICE_ENDPOINT` has to be for a process.
    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Listening {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn answer(status: u16, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(body)));
    *response.status_mut() = StatusCode::from_u16(status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
    response
}
