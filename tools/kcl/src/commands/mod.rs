//! The commands, each in a file of its own.

mod changing;
mod completions;
mod cost;
mod drain;
mod explain;
mod lag;
mod list;
mod migrate;
mod moving;
mod pause;
mod plan;
mod redrive;
mod reset;
mod tail;
mod waiting;
mod watch;

use aws_types::SdkConfig;
use kcl_lease::Environment;

use crate::arguments::{Arguments, Command};
use crate::failure::{Failure, Status};
use crate::screen::Screen;
use crate::table::Table;

/// Does what the arguments say, with clients of this configuration.
///
/// # Errors
/// The command could not do what it was told; what it had written until then stays written.
pub async fn run(
    arguments: Arguments,
    sdk: &SdkConfig,
    env: &Environment,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    let table = || Table::of(&arguments.global, sdk, env);
    match &arguments.command {
        Command::List(list) => list::run(&table()?, sdk, list, screen).await,
        Command::Explain(explain) => explain::run(&table()?, explain, screen).await,
        Command::Plan(plan) => plan::run(&table()?, plan, screen).await,
        Command::Watch(watch) => watch::run(&table()?, sdk, watch, screen).await,
        Command::Cost(cost) => cost::run(&table()?, cost, screen).await,
        Command::Move(moving) => moving::run(&table()?, moving, screen).await,
        Command::Drain(drain) => drain::run(&table()?, drain, screen).await,
        Command::Undrain(undrain) => drain::end(&table()?, undrain, screen).await,
        Command::Pause(pause) => pause::run(&table()?, pause, true, screen).await,
        Command::Resume(pause) => pause::run(&table()?, pause, false, screen).await,
        Command::Reset(reset) => reset::run(&table()?, sdk, reset, screen).await,
        Command::Migrate => migrate::run(&table()?, screen).await,
        Command::Redrive(redrive) => redrive::run(sdk, redrive, screen).await,
        Command::Tail(tail) => tail::run(sdk, env, tail, screen).await,
        Command::Completions { shell } => completions::run(*shell, screen),
    }
}
