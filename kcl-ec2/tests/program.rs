//! The command `kcl-ec2-watch`, against an instance metadata service on a port.
#![allow(clippy::expect_used, clippy::unwrap_used, reason = "tests")]

use std::process::{Output, Stdio};
use std::time::{Duration, UNIX_EPOCH};

use kcl_ec2::testing::{FakeInstance, Listening};
use tokio::process::{Child, Command};
use tokio::time::{Instant, sleep, timeout};

const PATIENCE: Duration = Duration::from_secs(30);

fn start(service: &Listening, arguments: &[&str]) -> Child {
    Command::new(env!("CARGO_BIN_EXE_kcl-ec2-watch"))
        .args(arguments)
        .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", service.url())
        .env_remove("AWS_EC2_METADATA_DISABLED")
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .kill_on_drop(true)
        .spawn()
        .expect("it starts")
}

async fn ended(child: Child) -> (Option<i32>, String, String) {
    let output = timeout(PATIENCE, child.wait_with_output()).await;
    let Output {
        status,
        stdout,
        stderr,
    } = output.expect("it ends").expect("ours");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    (status.code(), text(stdout), text(stderr))
}

async fn until_asked(instance: &FakeInstance) {
    let deadline = Instant::now() + PATIENCE;
    while instance.asked().answered < 4 {
        assert!(Instant::now() < deadline, "it asks");
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_command_is_started_when_there_is_a_notice_and_not_before() {
    let instance = FakeInstance::new();
    let service = instance.listen().await.expect("a port");
    let script = "echo $KCL_EC2_NOTICE at $KCL_EC2_AT";
    let mut child = start(&service, &["--interval", "100ms", "--", "sh", "-c", script]);
    until_asked(&instance).await;
    assert!(child.try_wait().expect("ours").is_none());
    instance.interrupt("terminate", UNIX_EPOCH + Duration::from_secs(1_800_000_000));
    let (code, told, said) = ended(child).await;
    assert_eq!(
        (code, told.as_str()),
        (Some(0), "spot-interruption at 2027-01-15T08:00:00Z\n"),
        "{said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_as_the_command_does_so_that_a_unit_is_started_again() {
    let instance = FakeInstance::new();
    instance.target_state("Terminated");
    let service = instance.listen().await.expect("a port");
    let (code, _, said) = ended(start(&service, &["--", "sh", "-c", "exit 7"])).await;
    assert!(
        code == Some(7) && said.contains("sh ended with"),
        "{code:?} {said}"
    );
    let (code, _, said) = ended(start(&service, &["--", "/no/such/program"])).await;
    assert!(
        code == Some(2) && said.contains("cannot be started"),
        "{code:?} {said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_script_can_ask_whether_the_instance_goes() {
    let instance = FakeInstance::new();
    let service = instance.listen().await.expect("a port");
    assert_eq!(ended(start(&service, &["--once"])).await.0, Some(1));
    instance.target_state("Terminated");
    let (code, told, _) = ended(start(&service, &["--once"])).await;
    assert_eq!(code, Some(0));
    assert!(
        told.contains("Auto Scaling takes this instance to the state Terminated"),
        "{told}"
    );
    let nowhere = ["--once", "--endpoint", "http://127.0.0.1:9"];
    let (code, _, said) = ended(start(&service, &nowhere)).await;
    assert!(
        code == Some(2) && said.contains("no EC2 instance"),
        "{code:?} {said}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_meant_is_refused() {
    let service = FakeInstance::new().listen().await.expect("a port");
    for (arguments, expected) in [
        (vec![], "<COMMAND>"),
        (vec!["--endpoint", "https://a", "--once"], "write http://HOST"),
        (vec!["--interval", "often", "--once"], "--interval"),
    ] {
        let (code, _, said) = ended(start(&service, &arguments)).await;
        assert!(
            code == Some(2) && said.contains(expected),
            "{arguments:?}: {said}"
        );
    }
}
