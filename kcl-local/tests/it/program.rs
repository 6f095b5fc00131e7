//! The commands of the program, for one that serves: when it is ready, what goes wrong, what time it is.

use std::path::PathBuf;
use std::process::Output;

use serde_json::Value;
use tokio::process::Command;
use tokio::time::timeout;

use crate::binary::{PATIENCE, address, program};

/// Runs a command to its end.
async fn run(arguments: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kcl-local"));
    command.env_remove("AWS_ENDPOINT_URL").env_remove("AWS_CA_BUNDLE");
    let command = command.args(arguments).kill_on_drop(true);
    timeout(PATIENCE, command.output()).await.unwrap().unwrap()
}

/// What a command says, which has to succeed.
async fn said(arguments: &[&str]) -> String {
    let output = run(arguments).await;
    let complaint = String::from_utf8(output.stderr).unwrap();
    assert!(output.status.success(), "{arguments:?}: {complaint}");
    String::from_utf8(output.stdout).unwrap()
}

/// What a command complains about, which has to fail.
async fn complaint(arguments: &[&str]) -> String {
    let output = run(arguments).await;
    assert!(!output.status.success(), "{arguments:?}");
    String::from_utf8(output.stderr).unwrap()
}

fn file(name: &str, content: &str) -> String {
    let file = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&file, content).unwrap();
    file.to_str().unwrap().to_owned()
}

#[tokio::test]
async fn it_begins_with_streams_and_with_trouble_and_says_when_it_is_ready() {
    let plan = file(
        "begin.json",
        r#"{ "rules": [{ "name": "slow", "operation": "ListShards", "delay": "1ms" }] }"#,
    );
    let mut serving = program(&[
        "--port", "0", "--create", "orders:2", "--create", "clicks:1", "--faults", &plan,
    ]);
    let address = address(&mut serving).await;
    let port = address.rsplit(':').next().unwrap();
    assert_eq!(said(&["ready", "--port", port]).await, "");
    let health: Value = serde_json::from_str(&said(&["health", "--port", port]).await).unwrap();
    assert_eq!((&health["streams"], &health["faults"]), (&2.into(), &1.into()));
    let endpoint = format!("http://{address}");
    let listed = said(&["faults", "list", "--endpoint", &endpoint]).await;
    assert!(listed.starts_with("slow  met by 0 of 0"), "{listed}");
}

#[tokio::test]
async fn faults_are_added_listed_removed_and_cleared() {
    let mut serving = program(&["--port", "0"]);
    let endpoint = format!("http://{}", address(&mut serving).await);
    let at = ["--endpoint", &endpoint];
    assert_eq!(
        said(&[&["faults", "list"], &at[..]].concat()).await,
        "nothing goes wrong\n"
    );
    let rule = r#"{"name": "full", "operation": "PutRecord", "fault": "throttle"}"#;
    said(&[&["faults", "add"], &at[..], &[rule]].concat()).await;
    let several = file(
        "several.json",
        r#"{ "rules": [{ "fault": "cut" }, { "fault": "freeze", "client": "a" }] }"#,
    );
    let added = said(&[&["faults", "add"], &at[..], &[&format!("@{several}")]].concat()).await;
    assert!(
        added.starts_with("rule-1") && added.contains("\nrule-2"),
        "{added}"
    );

    let wrong = complaint(&[&["faults", "add"], &at[..], &[r#"{"fault": "throttel"}"#]].concat()).await;
    assert!(wrong.contains("expected one of `error`, `throttle`"), "{wrong}");
    said(&[&["faults", "remove"], &at[..], &["rule-1"]].concat()).await;
    let unknown = complaint(&[&["faults", "remove"], &at[..], &["rule-1"]].concat()).await;
    assert!(unknown.contains("there is no rule called rule-1"), "{unknown}");
    let listed = said(&[&["faults", "list", "--json"], &at[..]].concat()).await;
    let listed: Value = serde_json::from_str(&listed).unwrap();
    assert_eq!(listed["rules"].as_array().unwrap().len(), 2);
    said(&[&["faults", "clear"], &at[..]].concat()).await;
    assert_eq!(
        said(&[&["faults", "list"], &at[..]].concat()).await,
        "nothing goes wrong\n"
    );
}

#[tokio::test]
async fn time_is_shown_and_changed() {
    let mut serving = program(&["--port", "0"]);
    let endpoint = format!("http://{}", address(&mut serving).await);
    let clock = async |arguments: &[&str]| -> Value {
        let said = said(&[&["clock", "--endpoint", &endpoint], arguments].concat()).await;
        serde_json::from_str(&said).unwrap()
    };
    let before = clock(&["--pace", "paused"]).await["now_millis"].as_u64().unwrap();
    let after = clock(&["--advance", "25h"]).await;
    assert_eq!(
        after["now_millis"].as_u64().unwrap(),
        before + 25 * 60 * 60 * 1000
    );
    assert_eq!(clock(&[]).await, after);
    assert_eq!(clock(&["--pace", "60"]).await["pace"], 60.0);
    said(&["reset", "--endpoint", &endpoint]).await;
    assert_eq!(clock(&[]).await["pace"], 1.0);
}

#[tokio::test]
#[cfg(feature = "tls")]
async fn commands_speak_https_to_whom_they_are_told_to_trust() {
    let authority = file("trusted.pem", "");
    let mut serving = program(&["--port", "0", "--tls", &authority]);
    let address = address(&mut serving).await;
    let endpoint = format!("https://{}", address.rsplit("//").next().unwrap());
    said(&["ready", "--endpoint", &endpoint, "--trust", &authority]).await;
    let wrong = complaint(&["health", "--endpoint", &endpoint]).await;
    assert!(wrong.contains("--trust FILE"), "{wrong}");
}

#[tokio::test]
async fn whoever_is_not_there_is_not_ready() {
    let free = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = free.local_addr().unwrap().port().to_string();
    drop(free);
    let said = complaint(&["ready", "--port", &port, "--timeout", "200ms"]).await;
    assert!(
        said.contains("is not ready after 200ms: cannot connect"),
        "{said}"
    );
}

#[tokio::test]
async fn what_it_cannot_begin_with_is_told_before_it_serves() {
    let plan = file("wrong.json", r#"{ "rules": [{ "fault": "throttel" }] }"#);
    for (arguments, expected) in [
        (&["--faults", &plan][..], "cannot plan the faults in"),
        (
            &["--faults", "no/such/file"],
            "cannot plan the faults in no/such/file",
        ),
        (&["--create", "no spaces:1"], "cannot create no spaces"),
        (&["--create", "orders"], "such as orders:2"),
        (&["--account-id", "1"], "twelve digits"),
        (&["--create-delay", "soon"], "write 500ms, 10s or 5m"),
    ] {
        let said = complaint(&[&["--port", "0"], arguments].concat()).await;
        assert!(said.contains(expected), "{arguments:?}: {said}");
    }
}

#[tokio::test]
async fn its_log_can_be_read_by_programs() {
    use tokio::io::{AsyncBufReadExt as _, BufReader};
    let mut serving = program(&["--port", "0", "--log-format", "json"]);
    let mut log = BufReader::new(serving.stderr.take().unwrap()).lines();
    let line = timeout(PATIENCE, log.next_line())
        .await
        .unwrap()
        .unwrap()
        .unwrap();
    let line: Value = serde_json::from_str(&line).unwrap();
    assert_eq!(line["message"], "listening");
    let endpoint = line["endpoint"].as_str().unwrap();
    said(&["ready", "--endpoint", endpoint]).await;
}
