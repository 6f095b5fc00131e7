//! Starts a command when this instance is about to go: `kcl-ec2-watch -- systemctl stop clickstream`.

use std::error::Error;
use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::time::Duration;

use clap::Parser;
use kcl_ec2::{Endpoint, Notice, Watch};
use tokio::process::Command;
use tracing_subscriber::EnvFilter;

/// What `--once` exits with when the instance stays.
const STAYS: u8 = 1;
/// What it exits with when it does not work.
const FAILED: u8 = 2;

/// Waits until EC2 or Auto Scaling says that this instance is about to go, and starts a command then.
///
/// The command finds the reason in KCL_EC2_NOTICE (spot-interruption, auto-scaling or rebalance) and, where it is known, the time in
/// KCL_EC2_AT. This program ends as the command does.
#[derive(Debug, Parser)]
#[command(name = "kcl-ec2-watch", version)]
struct Arguments {
    /// The command, and what it is given; behind `--`
    #[arg(last = true, required_unless_present = "once")]
    command: Vec<OsString>,

    /// Ask once and start nothing: ends with 0 if the instance is about to go, with 1 if it stays, with 2 if there was no answer
    #[arg(long, conflicts_with = "command")]
    once: bool,

    /// How often to ask, such as 5s
    #[arg(long, default_value = "5s", value_parser = humantime::parse_duration)]
    interval: Duration,

    /// Take the advice to rebalance for a notice, too
    #[arg(long)]
    on_rebalance: bool,

    /// Where the instance metadata service is; otherwise as the environment says, as for the AWS SDKs
    #[arg(long, value_name = "URL")]
    endpoint: Option<Endpoint>,

    /// Ask by IPv6
    #[arg(long, conflicts_with = "endpoint")]
    ipv6: bool,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("info"));
    tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let ended = runtime
        .map_err(|error| error.to_string())
        .and_then(|runtime| runtime.block_on(run(arguments)));
    ended.unwrap_or_else(|error| {
        let _ = writeln!(io::stderr(), "kcl-ec2-watch: {error}");
        ExitCode::from(FAILED)
    })
}

async fn run(arguments: Arguments) -> Result<ExitCode, String> {
    let watch = match (arguments.endpoint, arguments.ipv6) {
        (Some(endpoint), _) => Watch::at(endpoint),
        (None, true) => Watch::at(Endpoint::ipv6()),
        (None, false) => Watch::from_env().map_err(|error| error.to_string())?,
    };
    let mut watch = watch
        .interval(arguments.interval)
        .on_rebalance(arguments.on_rebalance);
    if arguments.once {
        return Ok(match watch.look().await.map_err(|error| told(&error))? {
            Some(notice) => {
                // Whoever started this may have closed its output.
                let _ = writeln!(io::stdout(), "{notice}");
                ExitCode::SUCCESS
            }
            None => ExitCode::from(STAYS),
        });
    }
    let notice = watch.notice().await;
    start(&notice, &arguments.command).await
}

/// An error with what is behind it.
fn told(error: &dyn Error) -> String {
    let behind = error.source().map(told);
    behind.map_or_else(|| error.to_string(), |behind| format!("{error}: {behind}"))
}

async fn start(notice: &Notice, command: &[OsString]) -> Result<ExitCode, String> {
    let Some((program, its)) = command.split_first() else {
        return Err("there is no command".to_owned());
    };
    let mut child = Command::new(program);
    child.args(its).env("KCL_EC2_NOTICE", notice.code());
    if let Some(at) = notice.at {
        child.env("KCL_EC2_AT", humantime::format_rfc3339_seconds(at).to_string());
    }
    let name = program.to_string_lossy();
    let status = child.status().await;
    let status = status.map_err(|error| format!("{name} cannot be started: {error}"))?;
    if status.success() {
        return Ok(ExitCode::SUCCESS);
    }
    let _ = writeln!(io::stderr(), "kcl-ec2-watch: {name} ended with {status}");
    let code = status.code().and_then(|code| u8::try_from(code).ok());
    Ok(ExitCode::from(code.unwrap_or(FAILED)))
}
