//! Worker processes on one stream, each with a link of its own to either service.

use std::io::PipeWriter;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use kcl_local::transport::tcp::Server;
use kcl_tests::process::{Process, Signal, sign_as};
use kcl_tests::{Link, Weather, World, WorldOptions};
use tokio::time::Instant;

use crate::postgres;
use crate::takeovers::Cause;
use crate::timeline::note;
use crate::witness::Witness;
use crate::worker;

/// A worker that was told to leave, and then is disturbed no more, does so in this time.
const LEAVING: Duration = Duration::from_secs(60);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Service {
    Kinesis,
    DynamoDb,
    Database,
}

/// Where the workers keep sums.
#[derive(Debug, Clone)]
pub(crate) enum Sums {
    /// A file of SQLite.
    File(PathBuf),
    /// A PostgreSQL, which each worker reaches over a link of its own.
    Server(SocketAddr),
}

/// A worker process.
pub(crate) struct Member {
    pub(crate) name: String,
    process: Process,
    kinesis: Link,
    dynamodb: Link,
    database: Option<Link>,
    is_told_to_leave: bool,
    is_frozen: bool,
}

pub(crate) struct Fleet {
    pub(crate) world: World,
    pub(crate) witness: Witness,
    pub(crate) members: Vec<Member>,
    /// Processes so far.
    pub(crate) processes: usize,
    /// Where workers keep sums that are started from now on, if they do.
    pub(crate) sums: Option<Sums>,
    prefix: String,
    names: usize,
    server: Server,
    failover: Duration,
    tells: PipeWriter,
    listening: JoinHandle<()>,
    logs: PathBuf,
}

impl Member {
    pub(crate) fn is_told_to_leave(&self) -> bool {
        self.is_told_to_leave
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.is_frozen
    }

    pub(crate) fn process(&self) -> u32 {
        self.process.id()
    }

    pub(crate) fn set(&self, service: Service, weather: Weather) {
        match service {
            Service::Kinesis => self.kinesis.set(weather),
            Service::DynamoDb => self.dynamodb.set(weather),
            Service::Database => self.database.iter().for_each(|link| link.set(weather)),
        }
    }
}

impl Fleet {
    /// No workers yet. Their names will begin with `prefix`, and a silent one will keep its leases for `failover`.
    pub(crate) async fn new(logs: &str, prefix: &str, failover: Duration) -> Self {
        let world = World::new(WorldOptions {
            shards: 4,
            failover_time: failover,
            machine_time: true,
            ..WorldOptions::default()
        })
        .await;
        let server = world
            .servers
            .backend
            .listen("127.0.0.1:0")
            .await
            .expect("a free port");
        let logs = Path::new(env!("CARGO_TARGET_TMPDIR"))
            .join("processes")
            .join(logs);
        // Those of an earlier run, if there was one.
        let _ = std::fs::remove_dir_all(&logs);
        let (heard, tells) = std::io::pipe().expect("a pipe");
        let witness = Witness::new(&world.ledger);
        let listening = witness.listen(heard);
        Self {
            world,
            witness,
            members: Vec::new(),
            processes: 0,
            sums: None,
            prefix: prefix.to_owned(),
            names: 0,
            server,
            failover,
            tells,
            listening,
            logs,
        }
    }

    /// Starts a worker of a new name.
    pub(crate) async fn start(&mut self) {
        self.names += 1;
        self.start_named(&format!("{}{}", self.prefix, self.names)).await;
    }

    async fn start_named(&mut self, name: &str) {
        self.processes += 1;
        let address: SocketAddr = self.server.local_addr();
        let (kinesis, dynamodb) = (Link::to(address).await, Link::to(address).await);
        let log = self.logs.join(format!("{name}-{}.log", self.processes));
        let mut command = Command::new(std::env::current_exe().expect("this program"));
        sign_as(&mut command, name)
            .env(worker::NAME, name)
            .env(worker::FAILOVER_MILLIS, self.failover.as_millis().to_string())
            .envs([
                ("AWS_ENDPOINT_URL_KINESIS", kinesis.endpoint_url()),
                ("AWS_ENDPOINT_URL_DYNAMODB", dynamodb.endpoint_url()),
            ])
            .stdin(Stdio::piped())
            .stdout(self.tells.try_clone().expect("a pipe"));
        let database = match &self.sums {
            Some(Sums::Server(address)) => Some(Link::to(*address).await),
            _ => None,
        };
        match (&self.sums, &database) {
            (Some(Sums::File(path)), _) => drop(command.env(worker::SUMS, path)),
            (_, Some(link)) => drop(command.env(worker::SUMS, postgres::url(link.address()))),
            _ => {}
        }
        if std::env::var_os("RUST_LOG").is_none() {
            command.env("RUST_LOG", "kcl_core=info,kcl_lease=info");
        }
        note(&format!("start {name}"));
        self.members.push(Member {
            name: name.to_owned(),
            process: Process::start(name, &mut command, &log),
            kinesis,
            dynamodb,
            database,
            is_told_to_leave: false,
            is_frozen: false,
        });
    }

    /// Ends a worker without warning.
    pub(crate) fn kill(&mut self, index: usize) {
        self.end(index, Cause::Killed);
    }

    /// The same, and starts a worker of the same name.
    pub(crate) async fn restart(&mut self, index: usize) {
        let name = self.end(index, Cause::Restarted);
        self.start_named(&name).await;
    }

    fn end(&mut self, index: usize, cause: Cause) -> String {
        let member = self.members.remove(index);
        note(&format!("kill {}", member.name));
        let killed_at = Instant::now();
        member.process.kill();
        self.disturbed(&member.name, cause, killed_at);
        self.witness.books().gone(&member.name);
        member.name
    }

    pub(crate) fn tell_to_leave(&mut self, index: usize) {
        let member = &mut self.members[index];
        note(&format!("tell {} to leave", member.name));
        member.is_told_to_leave = true;
        member.process.signal(Signal::TERM);
        let name = member.name.clone();
        self.disturbed(&name, Cause::ToldToLeave, Instant::now());
    }

    pub(crate) fn freeze(&mut self, index: usize) {
        let member = &mut self.members[index];
        member.is_frozen = true;
        member.process.signal(Signal::STOP);
        let name = member.name.clone();
        self.disturbed(&name, Cause::Frozen, Instant::now());
    }

    /// Lets a process go on, if it is still there.
    pub(crate) fn thaw(&mut self, process: u32) {
        let found = self.members.iter_mut().find(|member| member.process() == process);
        if let Some(member) = found {
            note(&format!("thaw {}", member.name));
            member.is_frozen = false;
            self.witness.books().take_overs.thawed(&member.name);
            member.process.signal(Signal::CONT);
        }
    }

    fn disturbed(&self, name: &str, cause: Cause, at: Instant) {
        self.witness.books().take_overs.disturbed(name, cause, at);
    }

    /// Forgets those that left as they were told to. Panics if one ended otherwise.
    pub(crate) fn reap(&mut self) {
        self.members.retain_mut(|member| {
            let Some(status) = member.process.has_ended() else {
                return true;
            };
            let log = member.process.log().display();
            assert!(
                member.is_told_to_leave && status.success(),
                "{} ended with {status}, see {log}",
                member.name
            );
            note(&format!("{} has left", member.name));
            false
        });
    }

    /// Waits until those have left that were told to.
    pub(crate) async fn until_left(&mut self) {
        for member in self.members.iter_mut().filter(|member| member.is_told_to_leave) {
            member.process.ended(LEAVING).await;
        }
        self.reap();
    }

    /// Tells all to leave, and waits until they have and everything was heard that they told. What was put and heard.
    pub(crate) async fn close(mut self) -> (World, Witness) {
        for index in 0..self.members.len() {
            self.tell_to_leave(index);
        }
        self.until_left().await;
        drop(self.tells);
        self.listening.join().expect("every line was understood");
        (self.world, self.witness)
    }
}
