//! What the program prints can be pasted as it stands.

use std::process::Stdio;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::process::Command;
use tokio::time::timeout;

use crate::binary::program;

/// Python takes its time to begin where other builds run.
const PATIENCE: Duration = Duration::from_secs(120);

/// The indented lines below a heading.
fn below<'a>(greeting: &'a str, heading: &str) -> Vec<&'a str> {
    let lines = greeting
        .lines()
        .skip_while(|line| !line.starts_with(heading))
        .skip(1);
    lines
        .take_while(|line| line.is_empty() || line.starts_with("  "))
        .collect()
}

/// All that the program says before it waits for requests.
async fn greeting(arguments: &[&str]) -> (tokio::process::Child, String) {
    let mut serving = program(arguments);
    let mut output = BufReader::new(serving.stdout.take().unwrap()).lines();
    let mut greeting = String::new();
    while !greeting.contains("ctrl-c") {
        let line = timeout(PATIENCE, output.next_line()).await.unwrap().unwrap();
        greeting.push_str(&line.expect("it greets"));
        greeting.push('\n');
    }
    (serving, greeting)
}

async fn is_there(command: &str, arguments: &[&str]) -> bool {
    let mut command = Command::new(command);
    let command = command
        .args(arguments)
        .stdout(Stdio::null())
        .stderr(Stdio::null());
    command.status().await.is_ok_and(|status| status.success())
}

/// Runs a program with a text as its last argument, in an environment without anything of AWS.
async fn pasted(program: &str, option: &str, text: &str) -> String {
    let mut command = Command::new(program);
    command
        .arg(option)
        .arg(text)
        .stdin(Stdio::null())
        .kill_on_drop(true);
    for (name, _) in std::env::vars().filter(|(name, _)| name.starts_with("AWS_")) {
        command.env_remove(name);
    }
    command
        .env("AWS_CONFIG_FILE", "/dev/null")
        .env("AWS_SHARED_CREDENTIALS_FILE", "/dev/null");
    command.env("AWS_EC2_METADATA_DISABLED", "true");
    let output = timeout(PATIENCE, command.output()).await.unwrap().unwrap();
    let complaint = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}\n{complaint}");
    String::from_utf8(output.stdout).unwrap()
}

#[tokio::test]
#[cfg(unix)]
async fn the_lines_for_the_shell_and_for_python_do_what_they_say() {
    let folder = std::path::Path::new(env!("CARGO_TARGET_TMPDIR")).join("it's whom to trust");
    std::fs::create_dir_all(&folder).unwrap();
    let authority = folder.join("authority.pem");
    let kinds: &[&[&str]] = if cfg!(feature = "tls") {
        &[
            &["--port", "0"],
            &[
                "--port",
                "0",
                "--region",
                "eu-west-1",
                "--tls",
                authority.to_str().unwrap(),
            ],
        ]
    } else {
        &[&["--port", "0"]]
    };
    for arguments in kinds {
        let (_serving, greeting) = greeting(arguments).await;
        assert!(!greeting.contains('\u{1b}'), "no colours where nobody sees them");
        let mut shell = below(&greeting, "For any AWS SDK").join("\n");
        let python = below(&greeting, "In Python");
        let python: Vec<_> = python
            .iter()
            .map(|line| line.strip_prefix("  ").unwrap_or(line))
            .collect();

        if is_there("aws", &["--version"]).await {
            shell.insert_str(0, "set -e\n");
            shell.push_str(
                "\n  aws kinesis list-streams --output text\n  aws sts get-caller-identity --output text\n",
            );
            let said = pasted("sh", "-c", &shell).await;
            assert!(
                said.contains("SequenceNumber") && said.contains("shardId-000000000001"),
                "{said}"
            );
            assert!(said.contains("orders") && said.contains("user/local"), "{said}");
        } else {
            println!("the AWS CLI is missing: its recipes are skipped (pip install awscli)");
        }
        if is_there("python3", &["-c", "import boto3"]).await {
            let script = format!(
                "{}\nprint(kinesis.list_streams()['StreamNames'])",
                python.join("\n")
            );
            let said = pasted("python3", "-c", &script).await;
            assert!(said.trim() == "['orders']" || said.trim() == "[]", "{said}");
        } else {
            println!("boto3 is missing: its recipe is skipped (pip install boto3)");
        }
    }
}
