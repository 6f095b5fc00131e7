//! A TCP proxy between a process and the backend, and what a bad network does on the way.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::sleep;
use tokio_util::task::AbortOnDropHandle;

/// What a link does with what is sent over it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Weather {
    /// Passes it on.
    Fair,
    /// Resets connections, old and new.
    Down,
    /// Holds it back in both directions, and passes it on once the weather changes.
    Silent,
    /// Passes requests on, and resets the connection when the answer comes.
    AnswersLost,
    /// Passes it on late.
    Slow(Duration),
}

/// A port that leads to another. Dropping it breaks its connections.
#[derive(Debug)]
pub struct Link {
    address: SocketAddr,
    weather: watch::Sender<Weather>,
    _accepting: AbortOnDropHandle<()>,
}

impl Link {
    /// A free port of this machine that leads to `target`.
    pub async fn to(target: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
        let address = listener.local_addr().expect("it is bound");
        let (weather, seen) = watch::channel(Weather::Fair);
        let accepting = tokio::spawn(accept(listener, target, seen));
        Self {
            address,
            weather,
            _accepting: AbortOnDropHandle::new(accepting),
        }
    }

    /// The port.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// The endpoint that a client is to be given.
    pub fn endpoint_url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Changes the weather.
    pub fn set(&self, weather: Weather) {
        self.weather.send_replace(weather);
    }
}

async fn accept(listener: TcpListener, target: SocketAddr, weather: watch::Receiver<Weather>) {
    let mut connections = JoinSet::new();
    loop {
        match listener.accept().await {
            Ok((client, _)) => drop(connections.spawn(connect(client, target, weather.clone()))),
            Err(_) => sleep(Duration::from_millis(50)).await,
        }
        while connections.try_join_next().is_some() {}
    }
}

/// Lets a connection live until either side closes it or the weather breaks it.
async fn connect(mut client: TcpStream, target: SocketAddr, mut weather: watch::Receiver<Weather>) {
    let Ok(mut server) = TcpStream::connect(target).await else {
        return;
    };
    // Otherwise small answers would wait for acknowledgements.
    let _ = (client.set_nodelay(true), server.set_nodelay(true));
    let is_broken = {
        let (requests, answers) = (weather.clone(), weather.clone());
        let (mut from_client, mut to_client) = client.split();
        let (mut from_server, mut to_server) = server.split();
        tokio::select! {
            biased;
            _ = weather.wait_for(|weather| *weather == Weather::Down) => true,
            ended = pump(&mut from_client, &mut to_server, requests, false) => ended.is_err(),
            ended = pump(&mut from_server, &mut to_client, answers, true) => ended.is_err(),
        }
    };
    if is_broken {
        // A close is then a reset.
        let _ = (client.set_zero_linger(), server.set_zero_linger());
    }
}

async fn pump(
    from: &mut (impl AsyncReadExt + Unpin),
    to: &mut (impl AsyncWriteExt + Unpin),
    mut weather: watch::Receiver<Weather>,
    are_answers: bool,
) -> io::Result<()> {
    let mut bytes = vec![0; 16 * 1024];
    loop {
        let count = from.read(&mut bytes).await?;
        if count == 0 {
            return Ok(());
        }
        let now = weather.wait_for(|weather| *weather != Weather::Silent).await;
        match now.map(|now| *now) {
            Ok(Weather::AnswersLost) if are_answers => return Err(io::ErrorKind::ConnectionReset.into()),
            Ok(Weather::Slow(delay)) => sleep(delay).await,
            _ => {}
        }
        to.write_all(&bytes[..count]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use tokio::time::{Instant, timeout};

    use super::*;

    const PATIENCE: Duration = Duration::from_secs(10);

    /// Sends back what it is sent, and counts the bytes.
    async fn echo() -> (SocketAddr, Arc<AtomicUsize>) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let heard = Arc::new(AtomicUsize::new(0));
        let hears = heard.clone();
        tokio::spawn(async move {
            while let Ok((mut stream, _)) = listener.accept().await {
                let hears = hears.clone();
                tokio::spawn(async move {
                    let mut bytes = [0; 64];
                    while let Ok(count @ 1..) = stream.read(&mut bytes).await {
                        hears.fetch_add(count, Ordering::SeqCst);
                        let _ = stream.write_all(&bytes[..count]).await;
                    }
                });
            }
        });
        (address, heard)
    }

    async fn call(stream: &mut TcpStream) -> io::Result<()> {
        stream.write_all(b"ping").await?;
        let mut answer = [0; 4];
        stream.read_exact(&mut answer).await.map(drop)
    }

    #[tokio::test]
    async fn fair_and_slow_weather_pass_everything_on() {
        let (server, _) = echo().await;
        let link = Link::to(server).await;
        let mut client = TcpStream::connect(link.address).await.unwrap();
        call(&mut client).await.unwrap();
        link.set(Weather::Slow(Duration::from_millis(100)));
        let start = Instant::now();
        call(&mut client).await.unwrap();
        assert!(start.elapsed() >= Duration::from_millis(200), "both ways");
    }

    #[tokio::test]
    async fn what_was_sent_in_silence_arrives_afterwards() {
        let (server, heard) = echo().await;
        let link = Link::to(server).await;
        let mut client = TcpStream::connect(link.address).await.unwrap();
        link.set(Weather::Silent);
        let waited = timeout(Duration::from_millis(200), call(&mut client)).await;
        assert!(waited.is_err(), "no answer");
        assert_eq!(heard.load(Ordering::SeqCst), 0);
        link.set(Weather::Fair);
        let mut answer = [0; 4];
        timeout(PATIENCE, client.read_exact(&mut answer))
            .await
            .unwrap()
            .unwrap();
        assert_eq!(heard.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn a_request_whose_answer_is_lost_was_delivered() {
        let (server, heard) = echo().await;
        let link = Link::to(server).await;
        link.set(Weather::AnswersLost);
        let mut client = TcpStream::connect(link.address).await.unwrap();
        timeout(PATIENCE, call(&mut client))
            .await
            .unwrap()
            .expect_err("reset");
        assert_eq!(heard.load(Ordering::SeqCst), 4);
    }

    #[tokio::test]
    async fn a_link_that_is_down_resets_connections_until_it_is_up_again() {
        let (server, heard) = echo().await;
        let link = Link::to(server).await;
        let mut old = TcpStream::connect(link.address).await.unwrap();
        call(&mut old).await.unwrap();
        link.set(Weather::Down);
        let mut new = TcpStream::connect(link.address).await.unwrap();
        for client in [&mut old, &mut new] {
            timeout(PATIENCE, call(client)).await.unwrap().expect_err("reset");
        }
        link.set(Weather::Fair);
        let mut next = TcpStream::connect(link.address).await.unwrap();
        call(&mut next).await.unwrap();
        assert_eq!(heard.load(Ordering::SeqCst), 8);
    }
}
