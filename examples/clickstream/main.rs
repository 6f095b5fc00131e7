//! Workers share a stream that is written, split, merged and disturbed, and every record is accounted for.
//!
//! ```console
//! $ cargo run --release --example clickstream
//! $ cargo run --release --example clickstream -- /var/log/nginx/access.log
//! $ cargo run --release --example clickstream -- --help
//! ```
//!
//! Read [`processor`] first: it is the application. [`fleet`] starts, stops and kills workers; [`ledger`] and
//! [`takeovers`] decide whether the promises were kept.

mod args;
mod aws;
mod fleet;
mod ledger;
mod local;
mod processor;
mod producer;
mod report;
mod run;
mod script;
mod source;
mod stage;
mod stamp;
mod takeovers;
mod view;
mod window;

use std::io;
use std::process::ExitCode;

use clap::Parser as _;
use kcl_examples::{AnyError, chain, streams};
use tracing_subscriber::EnvFilter;

use crate::args::Args;

#[tokio::main]
async fn main() -> ExitCode {
    let args = Args::parse();
    // RUST_LOG=info shows what the library has to say.
    tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::try_from_default_env().unwrap_or_else(|_| EnvFilter::new("off")))
        .with_writer(io::stderr)
        .init();
    let finished = if args.aws {
        aws::run(&args).await
    } else {
        local::run(&args).await
    };
    match finished {
        Ok(report) => {
            view::say(&report.text());
            let broken = report.broken();
            if broken.is_empty() {
                view::say("Every promise was kept.");
                return ExitCode::SUCCESS;
            }
            for promise in broken {
                view::say(&format!("BROKEN: {promise}"));
            }
        }
        Err(error) => eprintln!("clickstream: {error}"),
    }
    ExitCode::FAILURE
}
