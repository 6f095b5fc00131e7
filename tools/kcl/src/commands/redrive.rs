//! `kcl redrive`: puts the dead letters of a file back into a stream, as `kcl-redrive` does.

use std::mem;

use aws_types::SdkConfig;
use kcl_dead_letters::command::{RedriveArguments, Told, described, redrive};
use serde::Serialize;

use super::lag::kinesis;
use crate::failure::{Failure, Status};
use crate::screen::Screen;

/// What came of it, for programs.
#[derive(Debug, Serialize)]
struct Report {
    dry_run: bool,
    done: u64,
    failed: u64,
    unreadable: u64,
    problems: Vec<String>,
}

pub(super) async fn run(
    sdk: &SdkConfig,
    arguments: &RedriveArguments,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    let (mut told, mut problems) = (Vec::new(), Vec::new());
    let client = async || kinesis(sdk);
    let mut tell = |what: Told<'_>| match what {
        Told::WouldPutBack(letter) => told.push(format!("would put back {}", described(letter))),
        Told::PutBack(letter) => told.push(format!("put back {}", described(letter))),
        Told::Problem(problem) => problems.push(problem),
        _ => {}
    };
    let summary = redrive(arguments.clone(), client, &mut tell).await;
    let (told, problems) = (mem::take(&mut told), mem::take(&mut problems));
    if !screen.json {
        told.into_iter().try_for_each(|line| screen.line(line))?;
        for problem in &problems {
            screen.complain(problem.as_str())?;
        }
    }
    let summary = summary.map_err(|error| Failure::Refused(error.to_string()))?;
    let report = Report {
        dry_run: arguments.dry_run,
        done: summary.done,
        failed: summary.failed,
        unreadable: summary.unreadable,
        problems,
    };
    if screen.json {
        screen.report(&report, false)?;
    } else {
        let (done, failed, unreadable) = (report.done, report.failed, report.unreadable);
        screen.line(match arguments.dry_run {
            true => format!("{done} would be put back, {unreadable} unreadable"),
            false => format!("{done} put back, {failed} not taken, {unreadable} unreadable"),
        })?;
    }
    match report.failed {
        0 => Ok(Status::attention_if(report.unreadable > 0)),
        failed => Err(Failure::Refused(format!("{failed} letters were not taken"))),
    }
}
