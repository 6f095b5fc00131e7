//! The program itself, against a backend on a port.

use std::process::{Output, Stdio};

use kcl_lease::{Lease, LeaseStore as _};
use kcl_local::transport::tcp::Server;
use tokio::process::Command;

use super::world::World;

fn kcl(server: Option<&Server>, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcl"));
    command
        .args(arguments)
        .env_clear()
        .env("AWS_REGION", "us-east-1")
        .env("AWS_ACCESS_KEY_ID", "local")
        .env("AWS_SECRET_ACCESS_KEY", "local")
        .env("AWS_EC2_METADATA_DISABLED", "true")
        .stdin(Stdio::null());
    if let Some(server) = server {
        command.env("AWS_ENDPOINT_URL", server.endpoint_url());
    }
    command
}

async fn told(mut command: Command) -> (i32, String, String) {
    let Output {
        status,
        stdout,
        stderr,
    } = command.output().await.expect("it runs");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code().expect("it ended"), text(stdout), text(stderr))
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_looks_and_changes_and_ends_with_codes() {
    let world = World::without_stream();
    let server = world.backend.listen("127.0.0.1:0").await.expect("a free port");
    let run = async |arguments: &[&str]| told(kcl(Some(&server), arguments)).await;

    let (code, _, err) = run(&["list", "--table", "app"]).await;
    assert_eq!(code, 1, "{err}");
    assert!(
        err.starts_with("kcl: ") && err.contains("check the name given with --table"),
        "{err}"
    );

    world.store().prepare().await.expect("made");
    let version = kcl_lease::ClientVersion::new(kcl_lease::ClientVersion::CURRENT, "w", 1);
    world.store().agree_on_version(&version).await.expect("agreed");
    let lease = Lease::new("shardId-000000000000", kcl_core::Checkpoint::TrimHorizon);
    world.store().create(&lease).await.expect("made");
    let (code, out, _) = run(&["-a", "app", "list"]).await;
    assert_eq!(code, 3);
    assert!(out.contains("shardId-000000000000  no owner"), "{out}");
    assert!(!out.contains('\u{1b}'), "no colours where nobody looks");
    let (_, coloured, _) = run(&["-a", "app", "list", "--color", "always"]).await;
    assert!(coloured.contains("\u{1b}[31mno owner"), "{coloured}");
    let (code, out, _) = run(&["-a", "app", "list", "--json"]).await;
    assert_eq!(code, 3);
    let json: serde_json::Value = serde_json::from_str(&out).expect("JSON");
    assert_eq!(json["shards"][0]["state"], "unowned");

    let (code, _, err) = run(&["-a", "app", "pause", "--all"]).await;
    assert_eq!(code, 2, "{err}");
    assert!(err.contains("there is nobody to ask"), "{err}");
    let (code, out, err) = run(&["-a", "app", "pause", "--all", "-y"]).await;
    assert_eq!(code, 0, "{out}{err}");
    let row = world.store().get(&lease.key).await.expect("read").expect("there");
    assert!(row.paused_since.is_some() && row.counter == lease.counter);
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_arguments_and_places_that_cannot_be_reached_are_told_apart() {
    let (code, _, err) = told(kcl(None, &["list"])).await;
    assert_eq!(code, 2);
    assert!(err.contains("--application NAME"), "{err}");
    let (code, ..) = told(kcl(None, &["lost"])).await;
    assert_eq!(code, 2);
    let (code, _, err) = told(kcl(None, &["-a", "app", "reset", "--all", "--to", "soon"])).await;
    assert_eq!(code, 2);
    assert!(err.contains("2026-11-28T20:00:00Z"), "{err}");
    // A port that nobody listens to any more.
    let world = World::without_stream();
    let server = world.backend.listen("127.0.0.1:0").await.expect("a free port");
    let url = server.endpoint_url();
    drop(server);
    let (code, _, err) = told(kcl(None, &["-a", "app", "list", "--endpoint-url", &url])).await;
    assert_eq!(code, 1);
    assert!(err.contains("check --endpoint-url"), "{err}");
}

#[tokio::test(flavor = "multi_thread")]
async fn each_shell_gets_its_completions() {
    for shell in ["bash", "zsh", "fish", "elvish", "powershell"] {
        let (code, out, _) = told(kcl(None, &["completions", shell])).await;
        assert_eq!(code, 0);
        assert!(out.contains("explain") && out.contains("endpoint-url"), "{shell}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_reader_that_goes_away_is_no_failure() {
    let world = World::without_stream();
    let creation = world.kinesis.create_stream().stream_name("clicks").shard_count(1);
    creation.send().await.expect("created");
    let server = world.backend.listen("127.0.0.1:0").await.expect("a free port");
    let start = tokio::time::Instant::now();
    while world
        .kinesis
        .put_record()
        .stream_name("clicks")
        .partition_key("k")
        .data(aws_sdk_kinesis::primitives::Blob::new("x".repeat(200_000)))
        .send()
        .await
        .is_err()
    {
        assert!(start.elapsed().as_secs() < 60, "the stream becomes active");
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
    let arguments = ["tail", "clicks", "--from", "beginning", "--no-follow"];
    let mut child = kcl(Some(&server), &arguments)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("it starts");
    drop(child.stdout.take());
    let output = child.wait_with_output().await.expect("it ends");
    assert_eq!(output.status.code(), Some(0), "{output:?}");
}
