//! A moto server.

use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use crate::fetched::fetched;

/// For so long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// A server that ends with the test.
pub(crate) struct Moto {
    server: Child,
    address: SocketAddr,
}

impl Moto {
    /// Starts one. If it cannot be had, says why, and that the test is skipped.
    pub(crate) fn start() -> Option<Self> {
        let python = fetched();
        let python = python.inspect_err(|why| eprintln!("SKIPPED: {why}")).ok()?;
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
        let address = port.and_then(|port| port.local_addr()).expect("a free port");
        let server = Command::new(python)
            .args(["-m", "moto.server", "-H", "127.0.0.1", "-p"])
            .arg(address.port().to_string())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto starts");
        let mut moto = Self { server, address };
        let deadline = Instant::now() + PATIENCE;
        while TcpStream::connect(address).is_err() {
            let ended = moto.server.try_wait().expect("known");
            assert!(ended.is_none(), "moto ended: {ended:?}");
            assert!(Instant::now() < deadline, "moto does not listen");
            std::thread::sleep(Duration::from_millis(50));
        }
        Some(moto)
    }

    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}
