//! A command line tool for the lease tables of the Kinesis Client Library, for applications in Rust and in Java.
//!
//! The program `kcl` parses its [arguments](Arguments) and calls [`run`]. The library is there for it, and for tests that
//! run commands in their own process, against a backend of their own.
//!
//! - `table`: reading a table, once or for a while, and judging it. What the library knows is not decided anew here: rows are read by
//!   its store, and judged and planned for by its leader's own rules.
//! - `commands`: one file for each command. A command makes a report, which is pure, and shows it as text or as JSON.
//! - `screen`: lines of text whose parts are escaped before they reach a terminal.

mod arguments;
mod commands;
mod failure;
mod screen;
mod table;

pub use self::arguments::{Arguments, Colour};
pub use self::commands::run;
pub use self::failure::{Failure, Status};
pub use self::screen::{Ask, Screen};
