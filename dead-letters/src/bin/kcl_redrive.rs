//! Puts the dead letters of a file back into a stream: `kcl-redrive dead-letters.jsonl orders`.

use std::error::Error;
use std::io::{self, Write as _};
use std::process::ExitCode;

use aws_config::BehaviorVersion;
use aws_sdk_kinesis::Client;
use clap::Parser;
use kcl_dead_letters::command::{RedriveArguments, Told, described, redrive};

/// Puts the dead letters of a file back into a stream, where all its applications get them. Which are back is written to FILE.done;
/// these are not put back again.
#[derive(Debug, Parser)]
#[command(name = "kcl-redrive", version)]
struct Arguments {
    #[command(flatten)]
    redrive: RedriveArguments,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse().redrive;
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let result = runtime
        .map_err(Into::into)
        .and_then(|runtime| runtime.block_on(run(arguments)));
    match result {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            let _ = writeln!(io::stderr(), "{error}");
            ExitCode::FAILURE
        }
    }
}

/// Whether all went as it should.
async fn run(arguments: RedriveArguments) -> Result<bool, Box<dyn Error>> {
    let is_dry = arguments.dry_run;
    let client = async || Client::new(&aws_config::load_defaults(BehaviorVersion::latest()).await);
    let mut tell = |told: Told<'_>| {
        let _ = match told {
            Told::WouldPutBack(letter) => writeln!(io::stdout(), "would put back {}", described(letter)),
            Told::PutBack(letter) => writeln!(io::stdout(), "put back {}", described(letter)),
            Told::Problem(problem) => writeln!(io::stderr(), "{problem}"),
            _ => Ok(()),
        };
    };
    let summary = redrive(arguments, client, &mut tell).await?;
    let (done, failed, unreadable) = (summary.done, summary.failed, summary.unreadable);
    if is_dry {
        writeln!(io::stdout(), "{done} would be put back, {unreadable} unreadable")?;
    } else {
        writeln!(
            io::stdout(),
            "{done} put back, {failed} not taken, {unreadable} unreadable"
        )?;
    }
    Ok(failed == 0)
}
