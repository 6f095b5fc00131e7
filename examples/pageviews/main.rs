//! The reference application: views of pages per minute in a DynamoDB table, each click counted once.
//!
//! ```console
//! $ cargo run --release --example pageviews                   # all of it in this process: a spot notice, a crash, and exact counts
//! $ cargo run --release --example pageviews -- consume --help # on AWS, or wherever the usual AWS variables lead
//! ```
//!
//! Read `examples/src/pageviews` for the application, and `docs/deployments` for where it runs.

mod args;
mod aws;
mod local;
mod probe;

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::Parser as _;
use kcl_examples::AnyError;
use tracing_subscriber::EnvFilter;

use crate::args::{Args, Command};

fn main() -> ExitCode {
    let args = Args::parse();
    if let Some(Command::Probe { url }) = &args.command {
        return ended(probe::ask(url));
    }
    // The library has something to say where it runs for long.
    let usual = if args.command.is_some() { "info" } else { "off" };
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new(usual)))
        .with_writer(io::stderr)
        .init();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    ended(runtime.map_err(Into::into).and_then(|runtime| {
        runtime.block_on(async {
            match args.command {
                None => local::run(args.seconds).await,
                Some(command) => aws::run(command).await,
            }
        })
    }))
}

fn ended(result: Result<(), AnyError>) -> ExitCode {
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            let _ = writeln!(io::stderr(), "pageviews: {error}");
            ExitCode::FAILURE
        }
    }
}

/// Says something to whoever started this, who may have closed the output.
fn say(line: &str) {
    let _ = writeln!(io::stdout(), "{line}");
}
