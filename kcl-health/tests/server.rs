//! What is answered while a worker lives, and when it has trouble.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::io::{Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use kcl_core::{ProcessorError, Worker, WorkerHandle, each_batch};
use kcl_health::HealthServer;
use kcl_local::Backend;
use kcl_local::faults::{Fault, FaultScript, Rule};
use tokio::time::{sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

/// The status line and the body of an answer.
fn get(address: SocketAddr, path: &str) -> (u16, String) {
    ask(
        address,
        &format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"),
    )
}

fn ask(address: SocketAddr, request: &str) -> (u16, String) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(PATIENCE)).unwrap();
    stream.write_all(request.as_bytes()).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    let status = answer.split(' ').nth(1).unwrap_or_default().parse().unwrap_or(0);
    let body = answer.split_once("\r\n\r\n").map(|(_, body)| body.to_owned());
    (status, body.unwrap_or_default())
}

async fn until(what: &str, is_so: impl Fn() -> bool) {
    let waiting = async {
        while !is_so() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(PATIENCE, waiting)
        .await
        .unwrap_or_else(|_| panic!("{what}"));
}

/// A backend with a stream of one shard, what goes wrong in it, and a worker.
async fn world() -> (Backend, FaultScript, Worker) {
    let faults = FaultScript::new();
    let backend = Backend::builder().faults(faults.clone()).build();
    let aws = backend.sdk_config();
    let kinesis = aws_sdk_kinesis::Client::new(&aws);
    let create = kinesis.create_stream().stream_name("clicks").shard_count(1);
    create.send().await.unwrap();
    let processors = each_batch(async |_, _| Ok::<(), ProcessorError>(()));
    let worker = Worker::builder("orders", "clicks", processors).aws_config(&aws);
    (backend, faults, worker.build().unwrap())
}

fn says(handle: &WorkerHandle, code: &str) -> bool {
    handle
        .status()
        .problems
        .iter()
        .any(|problem| problem.code == code)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_is_ready_once_it_has_joined_and_live_until_it_has_ended() {
    let (_backend, _faults, worker) = world().await;
    let handle = worker.handle();
    let serving = HealthServer::new(handle.clone())
        .metrics(|| "kcl_leads 1\n".to_owned())
        .listen("127.0.0.1:0")
        .unwrap();
    let at = serving.address();
    assert_eq!((get(at, "/live").0, get(at, "/ready").0), (200, 503));
    let running = tokio::spawn(worker.run());
    until("it processes", || handle.status().leases_held == 1).await;
    for path in ["/live", "/ready", "/health"] {
        let (status, body) = get(at, path);
        assert_eq!(status, 200, "{path}: {body}");
        assert!(body.contains("\"because\":[]"), "{body}");
    }
    let (status, body) = get(at, "/status");
    assert!(status == 200 && body.contains("\"worker_id\""), "{body}");
    assert_eq!(get(at, "/metrics"), (200, "kcl_leads 1\n".to_owned()));
    assert_eq!(get(at, "/").0, 404);
    assert_eq!(
        ask(
            at,
            "POST /live HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        .0,
        405
    );
    handle.shutdown().await;
    running.await.unwrap().unwrap();
    let (status, body) = get(at, "/live");
    assert!(status == 503 && body.contains("it has ended"), "{body}");
    drop(serving);
    until("nobody listens", || TcpStream::connect(at).is_err()).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_no_restart_mends_is_told_and_is_no_reason_for_one() {
    let (_backend, faults, worker) = world().await;
    let handle = worker.handle();
    let serving = HealthServer::new(handle.clone()).listen("127.0.0.1:0").unwrap();
    let running = tokio::spawn(worker.run());
    until("it processes", || handle.status().leases_held == 1).await;
    faults.add(Rule::on("UpdateItem").fault(Fault::throttled()));
    until("it says so", || says(&handle, "renewal-failing")).await;
    let (status, body) = get(serving.address(), "/health");
    assert!(status == 503 && body.contains("renewal-failing"), "{body}");
    assert_eq!(get(serving.address(), "/live").0, 200);
    assert_eq!(get(serving.address(), "/ready").0, 200);
    faults.clear();
    handle.shutdown().await;
    running.await.unwrap().unwrap();
}

#[test]
fn it_answers_while_the_runtime_of_the_application_is_blocked() {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let (_backend, _faults, worker) = runtime.block_on(world());
    let serving = HealthServer::new(worker.handle()).listen("127.0.0.1:0").unwrap();
    // Nothing of the runtime's runs.
    assert_eq!(get(serving.address(), "/live").0, 200);
}

#[tokio::test(flavor = "multi_thread")]
async fn who_says_nothing_or_nonsense_is_no_trouble_to_others() {
    let (_backend, _faults, worker) = world().await;
    let serving = HealthServer::new(worker.handle()).listen("127.0.0.1:0").unwrap();
    let at = serving.address();
    let silent: Vec<_> = (0..40).map(|_| TcpStream::connect(at).unwrap()).collect();
    assert_eq!(ask(at, "\u{0}\u{1} nonsense\r\n\r\n").0, 400);
    assert_eq!(get(at, "/live").0, 200);
    drop(silent);
    assert_eq!(get(at, "/live").0, 200);
}
