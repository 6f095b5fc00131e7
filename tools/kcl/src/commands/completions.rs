//! `kcl completions`: what a shell needs to complete the arguments.

use clap::CommandFactory as _;
use clap_complete::{Shell, generate};

use crate::arguments::Arguments;
use crate::failure::{Failure, Status};
use crate::screen::Screen;

pub(super) fn run(shell: Shell, screen: &mut Screen<'_>) -> Result<Status, Failure> {
    let mut script = Vec::new();
    generate(shell, &mut Arguments::command(), "kcl", &mut script);
    screen.raw(&script)?;
    Ok(Status::Fine)
}
