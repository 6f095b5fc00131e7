//! Enhanced fan-out as other clients speak it: boto3, and the package kcl-rs in its default mode, against the bundled backend on a
//! port. (The Java KCL's is a scenario of `mixed_fleet`.)
//!
//! Needs Python 3 with `venv`, and what pip fetches once; where one of them is missing the suite says so and passes. What takes a
//! minute runs with `KCL_SUBSCRIBERS=all`, or by its name.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitCode, Stdio};
use std::sync::mpsc;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use kcl_local::Backend;
use kcl_local::faults::{Fault, FaultScript, Rule, RuleId};
use kcl_local::kinesis::KinesisOptions;
use kcl_local::transport::tcp::{ListenOptions, Server};
use kcl_local::transport::tls::Tls;
use kcl_tests::fetch;
use kcl_tests::runner::{Scenario, Suite};
use serde_json::Value;

const SOURCE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/subscribers");
const STREAM: &str = "clicks";
const SHARD: &str = "shardId-000000000000";

/// So long a subscriber may be silent: kcl-rs takes half a minute to begin with anything.
const PATIENCE: Duration = Duration::from_secs(90);

fn out(name: &str) -> PathBuf {
    Path::new(env!("CARGO_TARGET_TMPDIR"))
        .join("subscribers")
        .join(name)
}

/// Fetches a package into an environment of its own.
fn python(name: &str, package: &str) -> Result<(), String> {
    fetch::require(&[("python3", "--version")])?;
    let home = out(name);
    let script = format!(
        "python3 -m venv '{0}' && '{0}/bin/pip' install --quiet --disable-pip-version-check {package}",
        home.display()
    );
    let mut shell = Command::new("sh");
    shell.args(["-c", &script]);
    fetch::fill(&home, package, &mut shell).map_err(|said| format!("pip could not fetch {package}: {said}"))
}

/// A stream of one shard on a port, whose subscriptions live for six seconds.
struct World {
    kinesis: Client,
    server: Server,
    subscribed: (FaultScript, RuleId),
}

impl World {
    async fn new(options: ListenOptions) -> Self {
        let faults = FaultScript::new();
        let rule = faults.add(Rule::on("SubscribeToShard").fault(Fault::none()));
        let kinesis = KinesisOptions {
            subscription_lifetime: Duration::from_secs(6),
            ..KinesisOptions::default()
        };
        let backend = Backend::builder().kinesis(kinesis).faults(faults.clone()).build();
        let kinesis = Client::new(&backend.sdk_config());
        let create = kinesis.create_stream().stream_name(STREAM).shard_count(1);
        create.send().await.expect("created");
        let server = backend
            .listen_with("127.0.0.1:0", options)
            .await
            .expect("a free port");
        Self {
            kinesis,
            server,
            subscribed: (faults, rule),
        }
    }

    async fn consumer(&self) -> String {
        let summary = self.kinesis.describe_stream_summary().stream_name(STREAM);
        let summary = summary.send().await.expect("described");
        let arn = summary
            .stream_description_summary
            .expect("it is there")
            .stream_arn;
        let register = self.kinesis.register_stream_consumer().consumer_name("boto");
        let consumer = register.stream_arn(arn).send().await.expect("registered");
        consumer.consumer.expect("it is there").consumer_arn
    }

    async fn put(&self, number: u64) {
        let put = self.kinesis.put_record().stream_name(STREAM);
        let put = put
            .partition_key(number.to_string())
            .data(Blob::new(number.to_string()));
        put.send().await.expect("put");
    }

    async fn split(&self) {
        let split = self.kinesis.split_shard().stream_name(STREAM);
        let split = split
            .shard_to_split(SHARD)
            .new_starting_hash_key((1_u128 << 127).to_string());
        split.send().await.expect("split");
    }

    /// How many requests for a subscription have come.
    fn subscriptions(&self) -> u64 {
        let (faults, rule) = &self.subscribed;
        faults.hits(*rule)
    }
}

/// A program that tells what it is told, line by line. Dropping it kills it.
struct Subscriber {
    child: Child,
    lines: mpsc::Receiver<Value>,
}

impl Subscriber {
    fn start(environment: &str, program: &str, arguments: &[&str]) -> Self {
        let mut child = Command::new(out(environment).join("bin/python"))
            .arg(format!("{SOURCE}/{program}"))
            .args(arguments)
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .spawn()
            .expect("it starts");
        let output = BufReader::new(child.stdout.take().expect("piped"));
        let (said, lines) = mpsc::channel();
        std::thread::spawn(move || {
            for line in output.lines().map_while(Result::ok) {
                let told = serde_json::from_str(&line).unwrap_or_else(|_| panic!("no JSON: {line}"));
                if said.send(told).is_err() {
                    return;
                }
            }
        });
        Self { child, lines }
    }

    /// What it tells next; none if it has ended.
    fn next(&self) -> Option<Value> {
        match self.lines.recv_timeout(PATIENCE) {
            Ok(told) => Some(told),
            Err(mpsc::RecvTimeoutError::Disconnected) => None,
            Err(mpsc::RecvTimeoutError::Timeout) => panic!("silent for {PATIENCE:?}"),
        }
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn texts(list: &Value) -> Vec<String> {
    let text = |it: &Value| it.as_str().expect("text").to_owned();
    list.as_array()
        .map(|list| list.iter().map(text).collect())
        .unwrap_or_default()
}

fn numbers(end: u64) -> Vec<String> {
    (0..end).map(|number| number.to_string()).collect()
}

async fn boto_over_http() {
    boto(ListenOptions::default(), None).await;
}

async fn boto_over_https() {
    let tls = Tls::new(&[]).expect("a certificate");
    let authority = out("authority.pem");
    std::fs::write(&authority, tls.authority()).expect("written");
    let options = ListenOptions {
        tls: Some(tls),
        ..ListenOptions::default()
    };
    boto(options, authority.to_str()).await;
}

/// Every record comes once and in order, across renewals, up to the shard's end and its children.
async fn boto(options: ListenOptions, authority: Option<&str>) {
    const RECORDS: u64 = 90;
    let world = World::new(options).await;
    let (endpoint, consumer) = (world.server.endpoint_url(), world.consumer().await);
    let mut arguments = vec![endpoint.as_str(), &consumer, SHARD];
    arguments.extend(authority);
    let boto = Subscriber::start("boto3", "boto.py", &arguments);
    let told = boto.next().expect("it subscribes");
    assert_eq!(told["subscribed"], 200);
    let writer = tokio::spawn(async move {
        for number in 0..RECORDS {
            world.put(number).await;
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        world.split().await;
        world
    });
    let (seen, refused, children, lives) = tokio::task::spawn_blocking(move || {
        let (mut seen, mut refused, mut children, mut lives) = (Vec::new(), 0, Vec::new(), 1);
        while let Some(told) = boto.next() {
            seen.extend(texts(&told["records"]));
            children.extend(texts(&told["children"]));
            refused += u64::from(told["refused"] == "ResourceInUseException");
            lives += u64::from(told["subscribed"] == 200);
        }
        (seen, refused, children, lives)
    })
    .await
    .expect("it listens");
    assert_eq!(seen, numbers(RECORDS));
    assert_eq!(children, ["shardId-000000000001", "shardId-000000000002"]);
    assert!(lives >= 2, "it was renewed");
    assert_eq!(refused, lives, "each second subscription at once is refused");
    writer.await.expect("it writes").server.shutdown().await;
}

/// kcl-rs reads a shard across renewals, and both of its children, without loss; what it repeats is its business.
async fn kcl_rs() {
    let world = World::new(ListenOptions::default()).await;
    let endpoint = world.server.endpoint_url();
    let worker = Subscriber::start("kcl-rs", "kcl_rs_worker.py", &[&endpoint, STREAM]);
    let (mut seen, mut ended, mut put) = (std::collections::BTreeSet::new(), Vec::new(), 0);
    let mut shards = std::collections::BTreeSet::new();
    world.put(put).await;
    while let Some(told) = worker.next() {
        seen.extend(texts(&told["records"]));
        ended.extend(told["shard_ended"].as_str().map(str::to_owned));
        if let Some(shard) = told["shard"].as_str() {
            shards.insert(shard.to_owned());
        }
        // Each record that comes calls for the next, so that there is always one on its way.
        let is_caught_up = seen.len() as u64 == put + 1;
        if shards.len() == 3 && is_caught_up {
            break;
        }
        if is_caught_up && !told["records"].is_null() {
            tokio::time::sleep(Duration::from_millis(200)).await;
            if put == 120 {
                world.split().await;
            }
            put += 1;
            world.put(put).await;
        }
    }
    assert_eq!(ended, [SHARD]);
    assert!(world.subscriptions() >= 4, "renewals, and the children's");
    let missing: Vec<_> = numbers(put + 1)
        .into_iter()
        .filter(|it| !seen.contains(it))
        .collect();
    assert!(missing.is_empty(), "{missing:?}");
}

fn main() -> ExitCode {
    let suite = Suite {
        scenarios: &[
            Scenario {
                name: "boto3_over_http",
                is_short: true,
                prepare: || python("boto3", "boto3==1.44.8"),
                run: || Box::pin(boto_over_http()),
            },
            Scenario {
                name: "boto3_over_https",
                is_short: true,
                prepare: || python("boto3", "boto3==1.44.8"),
                run: || Box::pin(boto_over_https()),
            },
            Scenario {
                name: "kcl_rs_in_its_default_mode",
                is_short: false,
                prepare: || python("kcl-rs", "kcl-rs==0.1.4"),
                run: || Box::pin(kcl_rs()),
            },
        ],
        all: Some("KCL_SUBSCRIBERS"),
        at_once: 3,
        limit: Duration::from_secs(300),
    };
    suite.run()
}
