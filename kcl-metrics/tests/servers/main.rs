//! Metrics in a CloudWatch that others wrote: moto, of PyPI, behind the model of botocore, since moto does not read CBOR. Without Python the
//! test says that it is skipped.
#![cfg(feature = "cloudwatch")]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "tests with a program in real time"
)]

#[path = "../../../dead-letters/tests/servers/fetched.rs"]
mod fetched;

use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{Ipv4Addr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

use aws_sdk_cloudwatch::Client;
use aws_sdk_cloudwatch::config::{BehaviorVersion, Credentials, Region};
use kcl_lease::{Counter, Gauge, Labels};
use kcl_metrics::CloudWatch;
use serde_json::Value;

/// A server that ends with the test.
struct Server {
    process: Child,
    port: u16,
}

impl Server {
    /// Starts one. If it cannot be had, says why, and that the test is skipped.
    fn start() -> Option<Self> {
        let python = fetched::fetched();
        let python = python.inspect_err(|why| eprintln!("SKIPPED: {why}")).ok()?;
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/servers/cloudwatch.py");
        let mut process = Command::new(python)
            .arg(script)
            .stdout(Stdio::piped())
            .spawn()
            .expect("Python starts");
        let mut port = String::new();
        let told = BufReader::new(process.stdout.take().expect("piped")).read_line(&mut port);
        let mut server = Self { process, port: 0 };
        told.expect("the server tells its port");
        server.port = port.trim().parse().expect("a port");
        Some(server)
    }

    fn client(&self) -> Client {
        let config = aws_sdk_cloudwatch::Config::builder()
            .behavior_version(BehaviorVersion::latest())
            .region(Region::from_static("us-east-1"))
            .credentials_provider(Credentials::new("tests", "secret", None, None, "tests"))
            .http_client(aws_smithy_http_client::Builder::new().build_http())
            .endpoint_url(format!("http://127.0.0.1:{}", self.port));
        Client::from_conf(config.build())
    }

    /// What it has, as boto3 reads it.
    fn found(&self) -> Value {
        let mut stream = TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).expect("it listens");
        stream.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("sent");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("answered");
        let (_, body) = answer.split_once("\r\n\r\n").expect("a body");
        serde_json::from_str(body).expect("JSON")
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
async fn what_was_put_can_be_read_back() {
    let Some(server) = Server::start() else { return };
    let numbers = CloudWatch::new("orders").worker_id("w1").by_shard(200);
    let exporter = numbers.put_with(server.client()).expect("started");
    let recorder = exporter.recorder();
    // So many that the request is compressed.
    for shard in 0..200 {
        let shard = format!("shardId-{shard:012}");
        recorder.add(Counter::RecordsProcessed, Labels::of_shard(&shard), 7);
        recorder.set(Gauge::MillisBehindLatest, Labels::of_shard(&shard), 40.0);
    }
    assert_eq!(exporter.finish().await, 0, "nothing is lost");
    let found = server.found();
    let listed = found["listed"].as_array().expect("a list");
    for expected in [
        &["LostLeases", "RenewAllLeases", "w1"][..],
        &["MillisBehindLatest", "ApplicationTracker"],
        &["RecordsProcessed", "ProcessTask"],
        &["RecordsProcessed", "ProcessTask", "shardId-000000000199"],
    ] {
        let is_it = |it: &Value| it.as_array().is_some_and(|it| it.iter().eq(expected.iter()));
        assert!(listed.iter().any(is_it), "{expected:?} in {listed:?}");
    }
    assert_eq!(listed.len(), 605);
    assert_eq!(found["points"], serde_json::json!([[8_000.0, 40.0]]));
    assert_eq!(found["compressed"], true);
}
