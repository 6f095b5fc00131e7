//! A backend in a process of its own: the same program once more, which serves when it is told to.

use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use kcl_local::Backend;

use crate::servers::Remote;

/// A program is to serve, and nothing else, when it is called with this.
const SERVE: &str = "--serve-backend";

/// A bundled backend in another process. It ends when this is dropped.
#[derive(Debug)]
pub struct BackendProcess {
    child: Child,
    endpoint: String,
}

impl BackendProcess {
    /// Serves until the standard input ends, if this process is one of them; whether it was. To be called first in `main`.
    pub async fn serve_if_told() -> bool {
        if std::env::args().all(|argument| argument != SERVE) {
            return false;
        }
        let server = Backend::start().listen("127.0.0.1:0").await.expect("a port");
        println!("{}", server.local_addr().port());
        let mut nothing = String::new();
        tokio::task::spawn_blocking(move || std::io::stdin().read_line(&mut nothing))
            .await
            .expect("no panic")
            .expect("standard input");
        true
    }

    /// Starts one.
    pub fn start() -> Self {
        let program = std::env::current_exe().expect("the name of this program");
        let mut child = Command::new(program)
            .arg(SERVE)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .expect("this program starts");
        let mut port = String::new();
        let mut said = BufReader::new(child.stdout.take().expect("its output"));
        said.read_line(&mut port).expect("its port");
        let endpoint = format!("http://127.0.0.1:{}", port.trim());
        Self { child, endpoint }
    }

    /// Where it is.
    pub fn servers(&self) -> Remote {
        Remote::at(&self.endpoint)
    }
}

impl Drop for BackendProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
