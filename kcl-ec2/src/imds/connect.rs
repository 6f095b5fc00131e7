//! How a connection comes about.

use std::fmt;
use std::future::Future;
use std::io;
use std::pin::Pin;

use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;

use crate::endpoint::Endpoint;

/// Bytes both ways.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<S: AsyncRead + AsyncWrite + Send + Unpin> Stream for S {}

/// A connection that is being made.
pub(crate) type Connecting<'a> = Pin<Box<dyn Future<Output = io::Result<Box<dyn Stream>>> + Send + 'a>>;

/// Makes connections to the service: over TCP, or within a test.
pub(crate) trait Connect: fmt::Debug + Send + Sync {
    fn connect(&self) -> Connecting<'_>;
}

/// Straight to the address: what is link-local is never asked for through a proxy.
impl Connect for Endpoint {
    fn connect(&self) -> Connecting<'_> {
        Box::pin(async move {
            let stream = TcpStream::connect((self.host(), self.port())).await?;
            Ok(Box::new(stream) as Box<dyn Stream>)
        })
    }
}
