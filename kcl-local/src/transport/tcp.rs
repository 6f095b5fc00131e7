//! The backend on a port: HTTP/1.1 with keep-alive and HTTP/2, without TLS (by prior knowledge) or with it (by ALPN).
//!
//! One port serves both services. Requests pass the same [`faults`](crate::faults) as in-process ones; a client is known
//! by the access key id that it signs with.

mod connection;
mod cors;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, lookup_host};
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use connection::Connection;

use crate::Backend;
#[cfg(feature = "tls")]
use crate::transport::tls::Tls;

/// How a [`Server`] treats its peers.
#[derive(Debug, Clone)]
pub struct ListenOptions {
    /// Whether an address that other machines can reach is accepted. There is no authentication: whoever reaches the
    /// port may read and change everything. Off by default.
    pub allow_remote: bool,
    /// How long a connection may be silent: before its first request, between requests (HTTP/1.1), and from the first to
    /// the last byte of a request's headers. 75 s by default.
    pub idle_timeout: Duration,
    /// How long a request's body may take. 60 s by default.
    pub body_timeout: Duration,
    /// What HTTPS is spoken with; none by default, and then it is HTTP.
    #[cfg(feature = "tls")]
    pub tls: Option<Tls>,
    /// Names by which the server is reached, besides `localhost`, its addresses and, where other machines can reach it, names
    /// without a dot. The addresses below `/_kcl-local` answer to no other, so that no page of a browser gets there by a
    /// name that was made to mean this machine.
    pub hosts: Vec<String>,
    /// Origins of pages whose scripts may ask the services, such as `https://app.example`, besides those on this machine; `*` is
    /// every one. AWS lets every page ask, but there a page needs credentials.
    pub origins: Vec<String>,
    /// How long [`Server::shutdown`] waits for requests under way before it breaks their connections. 5 s by default.
    pub drain_timeout: Duration,
}

impl Default for ListenOptions {
    fn default() -> Self {
        Self {
            allow_remote: false,
            idle_timeout: Duration::from_secs(75),
            body_timeout: Duration::from_secs(60),
            #[cfg(feature = "tls")]
            tls: None,
            hosts: Vec::new(),
            origins: Vec::new(),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

impl ListenOptions {
    /// What addresses of the server begin with.
    fn scheme(&self) -> &'static str {
        #[cfg(feature = "tls")]
        if self.tls.is_some() {
            return "https";
        }
        "http"
    }
}

/// Why a backend cannot listen.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ListenError {
    /// The address is none, or its name is unknown.
    #[error("{address} is not an address to listen on: give host:port, such as 127.0.0.1:4567")]
    Address {
        /// What was asked for.
        address: String,
        /// What the resolver said, if it was asked.
        source: Option<io::Error>,
    },
    /// Other machines could reach the address.
    #[error(
        "{address} can be reached from other machines and nothing protects it: listen on 127.0.0.1 or ::1, or allow it explicitly"
    )]
    NotLoopback {
        /// The first such address.
        address: SocketAddr,
    },
    /// The operating system refused.
    #[error("cannot listen on {address}: {source}")]
    Bind {
        /// The address tried last.
        address: SocketAddr,
        /// Why, for example because the port is in use.
        source: io::Error,
    },
}

/// A backend that listens. Dropping it breaks its connections; [`shutdown`](Self::shutdown) lets them finish.
#[derive(Debug)]
pub struct Server {
    local_addr: SocketAddr,
    scheme: &'static str,
    stop: CancellationToken,
    /// Cancelled last, and by drop: ends connections whatever they are doing.
    kill: CancellationToken,
    accepting: JoinHandle<()>,
}

impl Backend {
    /// Listens on a loopback address such as `127.0.0.1:0`; port 0 takes any free one.
    ///
    /// # Errors
    /// If the address is unknown, is not a loopback address, or is in use.
    pub async fn listen(&self, address: &str) -> Result<Server, ListenError> {
        self.listen_with(address, ListenOptions::default()).await
    }

    /// Listens as the options say.
    ///
    /// # Errors
    /// If the address is unknown, is not a loopback address although it should be, or is in use.
    pub async fn listen_with(&self, address: &str, options: ListenOptions) -> Result<Server, ListenError> {
        let listener = bind(address, options.allow_remote).await?;
        let local_addr = listener
            .local_addr()
            .map_err(|source| unknown(address, Some(source)))?;
        let (stop, kill) = (CancellationToken::new(), CancellationToken::new());
        let connection = Connection::new(
            self,
            options.clone(),
            local_addr.ip().is_loopback(),
            stop.clone(),
            kill.clone(),
        );
        let accepting = tokio::spawn(accept(
            listener,
            connection,
            options.drain_timeout,
            stop.clone(),
            kill.clone(),
        ));
        Ok(Server {
            local_addr,
            scheme: options.scheme(),
            stop,
            kill,
            accepting,
        })
    }
}

impl Server {
    /// The address, with the port that port 0 became.
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// The endpoint that clients are to be given.
    pub fn endpoint_url(&self) -> String {
        format!("{}://{}", self.scheme, self.local_addr)
    }

    /// Stops accepting, ends subscriptions, lets requests under way finish within the drain time-out, and returns when every
    /// connection is closed.
    pub async fn shutdown(mut self) {
        self.stop.cancel();
        if let Err(error) = (&mut self.accepting).await {
            tracing::error!(%error, "the listener ended unexpectedly");
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.cancel();
        self.kill.cancel();
    }
}

async fn bind(address: &str, allow_remote: bool) -> Result<TcpListener, ListenError> {
    let candidates: Vec<_> = lookup_host(address)
        .await
        .map_err(|source| unknown(address, Some(source)))?
        .collect();
    if let Some(&address) = candidates
        .iter()
        .find(|candidate| !allow_remote && !candidate.ip().is_loopback())
    {
        return Err(ListenError::NotLoopback { address });
    }
    let mut refused = unknown(address, None);
    for address in candidates {
        match TcpListener::bind(address).await {
            Ok(listener) => return Ok(listener),
            Err(source) => refused = ListenError::Bind { address, source },
        }
    }
    Err(refused)
}

fn unknown(address: &str, source: Option<io::Error>) -> ListenError {
    ListenError::Address {
        address: address.to_owned(),
        source,
    }
}

/// How long to wait before the next try when accepting fails, as it does when file descriptors run out.
const ACCEPT_PAUSE: Duration = Duration::from_millis(50);

async fn accept(
    listener: TcpListener,
    connection: Arc<Connection>,
    drain: Duration,
    stop: CancellationToken,
    kill: CancellationToken,
) {
    let connections = TaskTracker::new();
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection.clone().serve(stream));
                }
                Err(error) => {
                    tracing::warn!(%error, "cannot accept a connection");
                    tokio::time::sleep(ACCEPT_PAUSE).await;
                }
            },
        }
    }
    drop(listener);
    connections.close();
    if tokio::time::timeout(drain, connections.wait()).await.is_err() {
        tracing::warn!(
            connections = connections.len(),
            "breaking connections that did not finish in time"
        );
        kill.cancel();
        connections.wait().await;
    }
}
