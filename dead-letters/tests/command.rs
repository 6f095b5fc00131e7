//! The command `kcl-redrive`, against the bundled backend over TCP.
#![allow(clippy::expect_used, reason = "tests")]

use std::fs;
use std::path::PathBuf;
use std::process::Output;
use std::time::{Duration, UNIX_EPOCH};

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::client::Waiters as _;
use aws_sdk_kinesis::types::ShardIteratorType;
use kcl_core::dead_letters::{DeadLetter, DeadLetters, GivenUp, JsonLines};
use kcl_core::{ProcessorError, Stream, testing};
use kcl_local::Backend;
use kcl_local::faults::{Fault, FaultScript, Rule};
use kcl_local::transport::tcp::Server;
use tokio::process::Command;

/// A stream `orders` behind a port, and a file of letters.
struct World {
    client: Client,
    faults: FaultScript,
    server: Server,
    folder: PathBuf,
}

impl World {
    async fn with_letters(test: &str, numbers: std::ops::Range<u64>) -> Self {
        let faults = FaultScript::new();
        let backend = Backend::builder().faults(faults.clone()).build();
        let client = Client::new(&backend.sdk_config());
        let creation = client.create_stream().stream_name("orders").shard_count(1);
        creation.send().await.expect("created");
        client
            .wait_until_stream_exists()
            .stream_name("orders")
            .wait(Duration::from_secs(60))
            .await
            .expect("active");
        let server = backend.listen("127.0.0.1:0").await.expect("a free port");
        let folder = std::env::temp_dir().join(format!("kcl-redrive-{}-{test}", std::process::id()));
        let _ = fs::remove_dir_all(&folder);
        fs::create_dir_all(&folder).expect("made");
        let world = Self {
            client,
            faults,
            server,
            folder,
        };
        let letters: Vec<_> = numbers.map(letter).collect();
        JsonLines::new(world.file())
            .write(&letters)
            .await
            .expect("written");
        world
    }

    fn file(&self) -> PathBuf {
        self.folder.join("letters.jsonl")
    }

    async fn redrive(&self, options: &[&str]) -> (bool, String, String) {
        let mut command = Command::new(env!("CARGO_BIN_EXE_kcl-redrive"));
        command
            .arg(self.file())
            .args(options)
            .env("AWS_ENDPOINT_URL", self.server.endpoint_url())
            .env("AWS_REGION", "us-east-1")
            .env("AWS_ACCESS_KEY_ID", "local")
            .env("AWS_SECRET_ACCESS_KEY", "local");
        let Output {
            status,
            stdout,
            stderr,
        } = command.output().await.expect("it runs");
        let text = |bytes| String::from_utf8(bytes).expect("text");
        (status.success(), text(stdout), text(stderr))
    }

    /// The payloads of the stream.
    async fn stored(&self) -> Vec<String> {
        let iterator = self.client.get_shard_iterator().stream_name("orders");
        let iterator = iterator
            .shard_id("shardId-000000000000")
            .shard_iterator_type(ShardIteratorType::TrimHorizon);
        let iterator = iterator.send().await.expect("there").shard_iterator;
        let page = self.client.get_records().set_shard_iterator(iterator);
        let records = page.send().await.expect("read").records;
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).expect("text");
        records
            .iter()
            .map(|record| text(record.data().as_ref()))
            .collect()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn letter(number: u64) -> DeadLetter {
    let record = testing::record(format!("order {number}")).sequence_number(number);
    let error = ProcessorError::from("no such customer");
    let given_up = GivenUp {
        application: "billing",
        worker: &"w1".into(),
        stream: &Stream::parse("orders").expect("a name"),
        shard_id: &"shardId-000000000000".into(),
        error: error.as_error(),
        attempts: 7,
        first_failed_at: UNIX_EPOCH + Duration::from_secs(1_800_000_000),
        given_up_at: UNIX_EPOCH + Duration::from_secs(1_800_000_060),
    };
    DeadLetter::new(&record.build(), &given_up)
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_looked_at_and_then_put_back_each_once() {
    let world = World::with_letters("once", 1..4).await;
    let mut text = fs::read(world.file()).expect("there");
    text.extend_from_slice(b"what a crash left");
    fs::write(world.file(), text).expect("written");

    let (is_well, told, problems) = world.redrive(&["orders", "--dry-run"]).await;
    assert!(
        is_well && told.ends_with("3 would be put back, 1 unreadable\n"),
        "{told}{problems}"
    );
    assert!(
        told.contains("would put back orders/shardId-000000000000/2/0 (7 bytes, given up by billing"),
        "{told}"
    );
    assert!(problems.contains("line 4 of"), "{problems}");
    assert_eq!(world.stored().await, [""; 0]);

    let (is_well, told, problems) = world.redrive(&["orders", "--limit", "2"]).await;
    assert!(
        is_well && told.ends_with("2 put back, 0 not taken, 0 unreadable\n"),
        "{told}{problems}"
    );
    assert_eq!(world.stored().await, ["order 1", "order 2"]);

    for (expected, stored) in [("1 put back", 3), ("0 put back", 3)] {
        let (is_well, told, problems) = world.redrive(&["orders"]).await;
        assert!(is_well && told.contains(expected), "{told}{problems}");
        assert_eq!(world.stored().await.len(), stored);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_goes_wrong_is_told_and_ends_with_failure() {
    let world = World::with_letters("wrong", 1..3).await;
    let denied = Rule::on("PutRecord")
        .times(1)
        .fault(Fault::respond(400, "AccessDeniedException"));
    world.faults.add(denied);
    let (is_well, told, problems) = world.redrive(&["orders"]).await;
    assert!(
        !is_well && told.ends_with("1 put back, 1 not taken, 0 unreadable\n"),
        "{told}"
    );
    assert!(
        problems.contains("orders/shardId-000000000000/1/0 was not taken"),
        "{problems}"
    );
    assert!(problems.contains("check the IAM policy"), "{problems}");
    for (options, expected) in [
        (vec!["no stream"], "names no stream"),
        (vec!["nowhere"], "check the name, region and account"),
        (vec!["orders", "--limit", "0"], "--limit"),
    ] {
        let (is_well, _, problems) = world.redrive(&options).await;
        assert!(!is_well && problems.contains(expected), "{options:?}: {problems}");
    }
    fs::remove_file(world.file()).expect("there");
    let (is_well, _, problems) = world.redrive(&["orders", "--dry-run"]).await;
    assert!(
        !is_well && problems.contains("letters.jsonl failed"),
        "{problems}"
    );
}
