//! A moto server.

use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Mutex;
use std::time::{Duration, Instant};

const PACKAGE: &str = "moto[server]==5.1.22";
/// For so long it may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two tests are not to fetch it at once.
static FETCHING: Mutex<()> = Mutex::new(());

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

    /// Sends a request without a body; the first line of the answer.
    #[cfg_attr(not(feature = "aws"), expect(dead_code, reason = "buckets are made so"))]
    pub(crate) fn request(&self, method: &str, path: &str) -> String {
        let mut stream = TcpStream::connect(self.address).expect("it listens");
        let host = self.address;
        let request = format!(
            "{method} {path} HTTP/1.1\r\nHost: {host}\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
        );
        stream.write_all(request.as_bytes()).expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        answer.lines().next().unwrap_or_default().to_owned()
    }
}

impl Drop for Moto {
    fn drop(&mut self) {
        let _ = self.server.kill();
        let _ = self.server.wait();
    }
}

/// The Python of an environment that has it, or why there is none.
fn fetched() -> Result<PathBuf, String> {
    let _one = FETCHING.lock().expect("whole");
    let home = Path::new(env!("CARGO_TARGET_TMPDIR")).join("moto");
    let python = home.join("bin/python3");
    let stamp = home.join("made-of");
    if std::fs::read_to_string(&stamp).is_ok_and(|made_of| made_of == PACKAGE) {
        return Ok(python);
    }
    let run = |program: &Path, arguments: &[&str]| {
        let output = Command::new(program)
            .args(arguments)
            .stdin(Stdio::null())
            .output()
            .map_err(|error| format!("{} cannot be started: {error}", program.display()))?;
        if output.status.success() {
            return Ok(());
        }
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let last = said.lines().last().unwrap_or_default();
        Err(format!("{} {}: {last}", program.display(), arguments.join(" ")))
    };
    run(Path::new("python3"), &["-m", "venv", &home.to_string_lossy()])?;
    let install = [
        "-m",
        "pip",
        "install",
        "--quiet",
        "--disable-pip-version-check",
        PACKAGE,
    ];
    run(&python, &install)?;
    std::fs::write(&stamp, PACKAGE).map_err(|error| format!("{}: {error}", stamp.display()))?;
    Ok(python)
}
