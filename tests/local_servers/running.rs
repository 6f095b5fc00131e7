//! The two servers, started once for all scenarios.

use std::net::TcpListener;
use std::process::{Command, Stdio};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use kcl_tests::process::Process;
use kcl_tests::{Remote, Servers};
use tokio::time::{Instant, sleep};

use crate::fetched::{dynamodb_local, kinesis_local, out};

/// Ended when dropped.
struct Running {
    servers: Remote,
    kinesis: Process,
    dynamodb: Process,
}

static RUNNING: Mutex<Option<Result<Running, String>>> = Mutex::new(None);

/// A server that is not there after this long does not start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Starts the servers, unless they run; why they cannot.
pub(crate) fn start() -> Result<(), String> {
    let mut running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    let begin = || {
        let (kinesis, dynamodb) = (kinesis_local()?, dynamodb_local()?);
        Ok(Running::start(&kinesis, &dynamodb))
    };
    match running.get_or_insert_with(begin) {
        Ok(_) => Ok(()),
        Err(reason) => Err(reason.clone()),
    }
}

/// Where the servers are.
pub(crate) fn endpoints() -> Remote {
    let running = RUNNING.lock().unwrap_or_else(PoisonError::into_inner);
    match &*running {
        Some(Ok(running)) => running.servers.clone(),
        _ => panic!("the runner made sure that the servers run"),
    }
}

/// Ends the servers.
pub(crate) fn stop() {
    drop(RUNNING.lock().unwrap_or_else(PoisonError::into_inner).take());
}

/// Ports that were free a moment ago.
fn ports<const COUNT: usize>() -> [String; COUNT] {
    let listeners: [TcpListener; COUNT] =
        std::array::from_fn(|_| TcpListener::bind("127.0.0.1:0").expect("a free port"));
    listeners.map(|listener| listener.local_addr().expect("it is bound").port().to_string())
}

impl Running {
    fn start(kinesis: &std::path::Path, dynamodb: &std::path::Path) -> Self {
        let [plain, tls, table] = ports();
        let logs = out().join("logs");
        let mut command = Command::new("node");
        command
            .arg("main.js")
            // Its certificate lies there.
            .current_dir(kinesis)
            .env("KINESIS_MOCK_PLAIN_PORT", &plain)
            .env("KINESIS_MOCK_TLS_PORT", tls)
            .env("SHARD_LIMIT", "500")
            .env("LOG_LEVEL", "WARN")
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let kinesis = Process::start("kinesis-local", &mut command, &logs.join("kinesis-local.log"));
        let libraries = dynamodb.display();
        let mut command = Command::new("java");
        command
            // It leaves a file where it is started.
            .current_dir(out())
            .args(["-XX:+UseSerialGC", "-Xmx256m"])
            .arg(format!("-Dsqlite4java.library.path={libraries}"))
            .args(["-cp", &format!("{libraries}/*")])
            .arg("com.amazonaws.services.dynamodbv2.local.main.ServerRunner")
            .args(["-inMemory", "-sharedDb", "-disableTelemetry", "-port", &table])
            .stdin(Stdio::null())
            .stdout(Stdio::null());
        let dynamodb = Process::start("DynamoDB Local", &mut command, &logs.join("dynamodb-local.log"));
        let servers = Remote {
            kinesis: format!("http://127.0.0.1:{plain}"),
            dynamodb: format!("http://127.0.0.1:{table}"),
        };
        let mut running = Self {
            servers,
            kinesis,
            dynamodb,
        };
        running.until_they_answer();
        running
    }

    fn until_they_answer(&mut self) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .expect("a runtime");
        runtime.block_on(async {
            let aws = self.servers.aws("");
            let (kinesis, dynamodb) = (
                aws_sdk_kinesis::Client::new(&aws),
                aws_sdk_dynamodb::Client::new(&aws),
            );
            let start = Instant::now();
            while kinesis.list_streams().send().await.is_err() || dynamodb.list_tables().send().await.is_err()
            {
                for server in [&mut self.kinesis, &mut self.dynamodb] {
                    let ended = server.has_ended();
                    assert!(
                        ended.is_none(),
                        "{} ended, see {}",
                        server.name(),
                        server.log().display()
                    );
                }
                assert!(
                    start.elapsed() < PATIENCE,
                    "the servers do not answer, see {}",
                    out().join("logs").display()
                );
                sleep(Duration::from_millis(100)).await;
            }
        });
    }
}
