//! A PostgreSQL of the test's own, if one is installed: in a temporary folder, on a port of this machine.

use std::fs;
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use kcl_tests::eventually;
use kcl_tests::process::{Process, Signal};

/// The user of the database; nobody is asked for a password.
const USER: &str = "sums";

/// PostgreSQL refuses to run as root. Then it runs as one of these.
const OTHERS: [&str; 2] = ["postgres", "nobody"];

const STARTING: Duration = Duration::from_secs(60);

/// The URL of the database behind a port.
pub(crate) fn url(address: SocketAddr) -> String {
    format!("postgres://{USER}@{address}/postgres")
}

/// A server. It ends when this is dropped.
pub(crate) struct Postgres {
    server: Option<Process>,
    folder: PathBuf,
    pub(crate) address: SocketAddr,
}

/// Whose files and processes they are.
#[derive(Debug, Clone, Copy)]
struct Account {
    user: u32,
    group: u32,
}

impl Postgres {
    /// Starts one. `Err` says why that cannot be.
    pub(crate) async fn start(log: &Path) -> Result<Self, String> {
        let programs = programs()
            .ok_or("PostgreSQL is not installed: initdb is not in PATH, nor in /usr/lib/postgresql/*/bin")?;
        let account = account()?;
        let folder = std::env::temp_dir().join(format!("kcl-postgres-{}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        if let Some(Account { user, group }) = account {
            chown(&folder, Some(user), Some(group)).map_err(|error| error.to_string())?;
        }
        let data = folder.join("data");
        let mut initdb = command(&programs.join("initdb"), account, &folder);
        initdb.arg("--pgdata").arg(&data).args([
            "--username",
            USER,
            "--auth=trust",
            "--no-sync",
            "--encoding=UTF8",
            "--locale=C",
        ]);
        let made = initdb.output().map_err(|error| format!("initdb: {error}"))?;
        if !made.status.success() {
            let said = String::from_utf8_lossy(&made.stderr).into_owned();
            let _ = fs::remove_dir_all(&folder);
            return Err(format!("initdb failed: {said}"));
        }
        let port = TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let address = port.map_err(|error| error.to_string())?;
        let mut server = command(&programs.join("postgres"), account, &folder);
        server
            .arg("-D")
            .arg(&data)
            .args(["-h", "127.0.0.1", "-p", &address.port().to_string(), "-k", ""])
            // The server is not killed.
            .args(["-c", "fsync=off"]);
        let mut postgres = Self {
            server: Some(Process::start("PostgreSQL", &mut server, log)),
            folder,
            address,
        };
        let server = postgres.server.as_mut().expect("just started");
        eventually(
            STARTING,
            || {
                assert!(
                    server.has_ended().is_none(),
                    "PostgreSQL ended, see {}",
                    log.display()
                );
                TcpStream::connect(address).ok()
            },
            || format!("PostgreSQL does not listen, see {}", log.display()),
        )
        .await;
        Ok(postgres)
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        if let Some(server) = self.server.take() {
            // It ends its processes within five seconds, and frees what they share.
            server.end(Signal::QUIT);
        }
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn command(program: &Path, account: Option<Account>, folder: &Path) -> Command {
    let mut command = Command::new(program);
    command
        .current_dir(folder)
        .stdin(Stdio::null())
        .stdout(Stdio::null());
    if let Some(Account { user, group }) = account {
        command.uid(user).gid(group);
    }
    command
}

/// The folder that has both programs.
fn programs() -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let mut folders: Vec<_> = std::env::split_paths(&path).collect();
    let versions = fs::read_dir("/usr/lib/postgresql")
        .into_iter()
        .flatten()
        .flatten();
    folders.extend(versions.map(|version| version.path().join("bin")));
    let has_both = |folder: &PathBuf| {
        ["initdb", "postgres"]
            .iter()
            .all(|name| folder.join(name).exists())
    };
    folders.into_iter().find(has_both)
}

/// Somebody else, if this is root.
fn account() -> Result<Option<Account>, String> {
    if !rustix::process::getuid().is_root() {
        return Ok(None);
    }
    let users = fs::read_to_string("/etc/passwd").map_err(|error| format!("/etc/passwd: {error}"))?;
    let account = |name: &str| {
        let line = users.lines().find(|line| line.split(':').next() == Some(name))?;
        let mut fields = line.split(':').skip(2).map(|field| field.parse().ok());
        let (user, group) = (fields.next()??, fields.next()??);
        Some(Account { user, group })
    };
    let found = OTHERS.into_iter().find_map(account);
    let missing = || {
        format!(
            "PostgreSQL does not run as root, and there is no user {}",
            OTHERS.join(" or ")
        )
    };
    found.map(Some).ok_or_else(missing)
}
