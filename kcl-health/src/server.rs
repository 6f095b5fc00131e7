//! The server: a thread of its own, so that it answers whatever the application does with its runtime.

use std::convert::Infallible;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use bytes::Bytes;
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::header::CONTENT_TYPE;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use kcl_core::WorkerHandle;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, oneshot};
use tokio::time::{sleep, timeout};

use crate::answers::Answers;

/// So many ask at once; others are turned away.
const MOST_CONNECTIONS: usize = 64;
/// For so long a request may be on its way.
const SLOWEST_REQUEST: Duration = Duration::from_secs(5);
/// For so long a connection may be kept.
const LONGEST_CONNECTION: Duration = Duration::from_secs(300);
/// Before the next connection is tried when one could not be accepted, such as for want of files.
const PAUSE: Duration = Duration::from_millis(100);

/// Answers how a worker is. See the [crate's page](crate) for what it answers.
///
/// ```no_run
/// # async fn serve(worker: kcl_core::Worker) -> Result<(), Box<dyn std::error::Error>> {
/// use kcl_health::HealthServer;
///
/// let _health = HealthServer::new(worker.handle()).listen("0.0.0.0:8080")?;
/// worker.run_until_signal().await?;
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct HealthServer {
    answers: Answers,
}

/// A server that listens until this is dropped.
#[derive(Debug)]
pub struct Serving {
    address: SocketAddr,
    _stop: oneshot::Sender<()>,
}

impl HealthServer {
    /// For this worker.
    pub fn new(worker: WorkerHandle) -> Self {
        Self {
            answers: Answers::new(worker),
        }
    }

    /// What `/metrics` answers, in the text format of Prometheus. It is called on the server's thread. Default: not found.
    #[must_use]
    pub fn metrics(mut self, render: impl Fn() -> String + Send + Sync + 'static) -> Self {
        self.answers = self.answers.with_metrics(render);
        self
    }

    /// Listens, and answers from now on. Port 0 is a free one: see [`Serving::address`]. Nothing is asked of whoever connects: listen
    /// on an address that only those reach who may know.
    ///
    /// # Errors
    /// The address cannot be listened on, or there is no thread to be had.
    pub fn listen(self, address: impl ToSocketAddrs) -> io::Result<Serving> {
        let listener = std::net::TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        let address = listener.local_addr()?;
        let (stop, stopped) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        thread::Builder::new()
            .name("kcl-health".to_owned())
            .spawn(move || runtime.block_on(serve(listener, self.answers, stopped)))?;
        Ok(Serving { address, _stop: stop })
    }
}

impl Serving {
    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        self.address
    }
}

async fn serve(listener: std::net::TcpListener, answers: Answers, mut stopped: oneshot::Receiver<()>) {
    let listener = match TcpListener::from_std(listener) {
        Ok(listener) => listener,
        Err(error) => {
            tracing::error!(%error, "nobody is told how the worker is");
            return;
        }
    };
    let places = Arc::new(Semaphore::new(MOST_CONNECTIONS));
    loop {
        let accepted = tokio::select! {
            biased;
            _ = &mut stopped => return,
            accepted = listener.accept() => accepted,
        };
        let Ok((stream, _)) = accepted else {
            sleep(PAUSE).await;
            continue;
        };
        let Ok(place) = places.clone().try_acquire_owned() else {
            continue;
        };
        let answers = answers.clone();
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let response = respond(&answers, &request);
                async move { Ok::<_, Infallible>(response) }
            });
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(SLOWEST_REQUEST)
                .serve_connection(TokioIo::new(stream), service);
            // Whoever goes away in the middle is not worth a word.
            let _ = timeout(LONGEST_CONNECTION, connection).await;
            drop(place);
        });
    }
}

fn respond(answers: &Answers, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let answer = answers.answer(request.method(), request.uri().path());
    let mut response = Response::new(Full::new(Bytes::from(answer.body)));
    *response.status_mut() = answer.status;
    let kind = hyper::header::HeaderValue::from_static(answer.kind);
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
