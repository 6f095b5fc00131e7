//! The script that lets an instance go, with an instance metadata service and an `aws` that stand in for those of EC2.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::PathBuf;
use std::process::Command;

use kcl_ec2::testing::{FakeInstance, Listening};

use super::folder;

const GROUP: &str = "stack-consumers";

struct Machine {
    service: Listening,
    programs: PathBuf,
}

impl Machine {
    async fn of(instance: &FakeInstance, test: &str) -> Self {
        let programs = std::env::temp_dir().join(format!("kcl-deployments-{}-{test}", std::process::id()));
        fs::create_dir_all(&programs).expect("made");
        let aws = programs.join("aws");
        fs::write(&aws, "#!/bin/sh\necho \"$@\"\n").expect("written");
        fs::set_permissions(&aws, fs::Permissions::from_mode(0o755)).expect("ours");
        let service = instance.listen().await.expect("a port");
        Self { service, programs }
    }

    /// Whether the script succeeded, and what it gave to `aws`.
    async fn complete(&self) -> (bool, String) {
        let path = std::env::var("PATH").unwrap_or_default();
        let mut script = Command::new("sh");
        script
            .arg(folder().join("ec2/complete-lifecycle"))
            .env("PATH", format!("{}:{path}", self.programs.display()))
            .env("GROUP", GROUP)
            .env("NO_PROXY", "127.0.0.1")
            .env("AWS_EC2_METADATA_SERVICE_ENDPOINT", self.service.url());
        let output = tokio::task::spawn_blocking(move || script.output())
            .await
            .expect("no panic");
        let output = output.expect("a shell");
        (
            output.status.success(),
            String::from_utf8_lossy(&output.stdout).into_owned(),
        )
    }
}

impl Drop for Machine {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.programs);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_worker_that_left_lets_its_instance_go_and_one_that_was_restarted_does_not() {
    if Command::new("curl").arg("--version").output().is_err() {
        eprintln!("SKIPPED: there is no curl on this machine, which the script needs");
        return;
    }
    let instance = FakeInstance::new();
    instance.put("/latest/meta-data/placement/region", "eu-west-1");
    let machine = Machine::of(&instance, "lets-go").await;
    assert_eq!(
        machine.complete().await,
        (true, String::new()),
        "it is in service"
    );
    instance.target_state("Standby");
    assert_eq!(machine.complete().await, (true, String::new()));
    instance.target_state("Terminated");
    let expected = format!(
        "autoscaling complete-lifecycle-action --lifecycle-hook-name hand-over --auto-scaling-group-name {GROUP} \
         --lifecycle-action-result CONTINUE --instance-id i-0123456789abcdef0 --region eu-west-1\n"
    );
    assert_eq!(machine.complete().await, (true, expected));
    drop(machine);
}
