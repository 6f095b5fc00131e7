//! Kinesis and DynamoDB on a local port, in memory: `kcl-local --port 4567`. And what can be told to one that runs.

mod arguments;
mod ask;
mod commands;
mod greeting;
mod profile;
mod serve;

use std::io::{self, IsTerminal as _};
use std::process::ExitCode;

use clap::Parser;
use tracing_subscriber::EnvFilter;

use arguments::{Arguments, LogFormat};

type AnyError = Box<dyn std::error::Error + Send + Sync>;

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    log(arguments.serve.log_format);
    let done = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(AnyError::from)
        .and_then(|runtime| {
            runtime.block_on(async {
                match arguments.command {
                    None => serve::serve(arguments.serve).await,
                    Some(command) => commands::run(command).await,
                }
            })
        });
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("kcl-local: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Logs go to the standard error, as `RUST_LOG` says.
fn log(format: LogFormat) {
    let usual = match format {
        LogFormat::Text => "warn",
        LogFormat::Json => "info",
    };
    let filter = EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual));
    let log = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(io::stderr);
    match format {
        LogFormat::Text => log
            .with_ansi(io::stderr().is_terminal() && std::env::var_os("NO_COLOR").is_none())
            .init(),
        LogFormat::Json => log.json().flatten_event(true).init(),
    }
}
