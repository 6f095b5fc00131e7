//! What is wanted of the faults of a history, instead of what chance makes of them.

use std::fmt;
use std::str::FromStr;

use serde::Deserialize;

use super::Deed;
use crate::scripts::{self, Script};

/// What is wanted of the faults of a history, by their names in the summary.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, clap::Args, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Wanted {
    /// Has workers tell of their loads in every history, not only in one of twenty.
    #[arg(long)]
    pub loads: bool,
    /// Leaves out a kind of fault, by its name in the summary, the `loads`, or the look at the `status`; may be repeated.
    #[arg(long, value_name = "KIND")]
    pub without: Vec<String>,
    /// Disturbs the fleet and the stream in this way and no other, in every history; may be repeated.
    #[arg(long, value_name = "KIND", value_parser = deed)]
    pub only: Vec<String>,
    /// Sets how often a fault of single requests happens, per thousand requests, instead of drawing it; `all` stands for
    /// all that are not named; may be repeated.
    #[arg(long, value_name = "KIND=PER_MILLE")]
    pub rate: Vec<Rate>,
    /// Plays this script: its deeds and faults, and no others. It says how many workers and shards there are, and how long it
    /// takes.
    #[arg(long, value_name = "NAME", value_parser = script)]
    pub script: Option<String>,
}

/// Some workers have another fail-over time than the others: by its name in what is wanted.
pub const TWO_FAILOVER_TIMES: &str = "two fail-over times";
/// Some records are put together: by its name in what is wanted.
pub const AGGREGATES: &str = "aggregates";

/// Workers handle records beside each other: by its name in what is wanted.
pub const SINGLE_RECORDS: &str = "single records";

/// Workers and shards are paused: by its name in what is wanted.
pub const PAUSES: &str = "pauses";

/// Shards are ordered to be processed anew while the fleet runs: by its name in what is wanted.
pub const REWINDS: &str = "rewinds";

/// Workers read the stream as one of several: by its name in what is wanted.
pub const SEVERAL_STREAMS: &str = "several streams";

/// Workers have failure policies by which nothing is given up: by its name in what is wanted.
pub const POLICIES: &str = "failure policies";

/// Workers tell soon of shards that get no further: by its name in what is wanted.
pub const STALLS: &str = "stalls";

/// Some workers subscribe to shards: by its name in what is wanted.
pub(super) const FAN_OUT: &str = "fan-out";

/// How often a kind of fault happens.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Deserialize)]
#[serde(try_from = "String")]
pub struct Rate {
    kind: String,
    per_mille: u64,
}

/// The name of something that can be done to the fleet or to the stream.
fn deed(name: &str) -> Result<String, String> {
    let others = [
        TWO_FAILOVER_TIMES,
        AGGREGATES,
        FAN_OUT,
        SINGLE_RECORDS,
        PAUSES,
        REWINDS,
        SEVERAL_STREAMS,
        POLICIES,
        STALLS,
    ];
    let names = Deed::names().chain(others);
    if names.clone().any(|known| known == name) {
        return Ok(name.to_owned());
    }
    let names: Vec<_> = names.collect();
    Err(format!("wanted: one of {}", names.join(", ")))
}

/// The name of a script.
fn script(name: &str) -> Result<String, String> {
    match scripts::named(name) {
        Some(_) => Ok(name.to_owned()),
        None => Err("wanted: one that --scripts lists".to_owned()),
    }
}

impl Wanted {
    /// What is played instead of what chance makes of the history.
    #[must_use]
    pub fn script(&self) -> Option<&'static Script> {
        scripts::named(self.script.as_deref()?)
    }

    /// Whether this kind is left out.
    pub fn lacks(&self, kind: &str) -> bool {
        self.without.iter().any(|name| name == kind)
    }

    /// Whether this kind is among the only ones. Nothing is said when none are named.
    pub(super) fn is_among_the_only(&self, kind: &str) -> Option<bool> {
        (!self.only.is_empty()).then(|| self.only.iter().any(|name| name == kind))
    }

    /// Whether a history has something of this kind that is to be in it.
    pub fn has(&self, kind: &str, is_in: bool) -> bool {
        !self.lacks(kind) && self.script.is_none() && self.is_among_the_only(kind).unwrap_or(is_in)
    }

    pub(super) fn rate(&self, kind: &str) -> Option<u64> {
        let given = |kind: &str| self.rate.iter().find(|rate| rate.kind == kind);
        given(kind).or_else(|| given("all")).map(|rate| rate.per_mille)
    }

    /// The same on a command line.
    #[must_use]
    pub fn arguments(&self) -> Vec<String> {
        let without = self
            .without
            .iter()
            .map(|kind| ["--without".to_owned(), kind.clone()]);
        let only = self.only.iter().map(|kind| ["--only".to_owned(), kind.clone()]);
        let rate = self
            .rate
            .iter()
            .map(|rate| ["--rate".to_owned(), rate.to_string()]);
        let loads = self.loads.then(|| "--loads".to_owned());
        let others = without.chain(only).chain(rate).flatten();
        let script = self.script.iter();
        let script = script.flat_map(|name| ["--script".to_owned(), name.clone()]);
        loads.into_iter().chain(others).chain(script).collect()
    }
}

impl fmt::Display for Rate {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}={}", self.kind, self.per_mille)
    }
}

impl FromStr for Rate {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (kind, per_mille) = text.split_once('=').ok_or("wanted: KIND=PER_MILLE")?;
        Ok(Self {
            kind: kind.to_owned(),
            per_mille: per_mille
                .parse()
                .map_err(|error| format!("{per_mille}: {error}"))?,
        })
    }
}

impl TryFrom<String> for Rate {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

/// As it is typed.
impl fmt::Display for Wanted {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for argument in self.arguments() {
            if argument.contains(' ') {
                write!(f, " {argument:?}")?;
            } else {
                write!(f, " {argument}")?;
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, clap::Parser)]
    struct Cli {
        #[command(flatten)]
        wanted: Wanted,
    }

    #[test]
    fn arguments_are_understood_again() {
        let wanted = Wanted {
            loads: true,
            without: vec!["status".to_owned()],
            only: vec!["kill and return".to_owned(), TWO_FAILOVER_TIMES.to_owned()],
            rate: vec!["answer lost=50".parse().unwrap()],
            script: None,
        };
        let line = std::iter::once("simulation".to_owned()).chain(wanted.arguments());
        let read = <Cli as clap::Parser>::parse_from(line);
        assert_eq!(read.wanted, wanted);
        assert_eq!(
            wanted.to_string(),
            r#" --loads --without status --only "kill and return" --only "two fail-over times" --rate "answer lost=50""#
        );
    }

    #[test]
    fn a_script_is_understood_again_and_an_unknown_one_refused() {
        let name = scripts::ALL[0].name;
        let wanted = Wanted {
            script: Some(name.to_owned()),
            ..Wanted::default()
        };
        assert_eq!(wanted.to_string(), format!(" --script {name}"));
        let line = std::iter::once("simulation".to_owned()).chain(wanted.arguments());
        let read = <Cli as clap::Parser>::parse_from(line);
        assert_eq!(read.wanted.script().map(|script| script.name), Some(name));
        assert!(<Cli as clap::Parser>::try_parse_from(["simulation", "--script", "hamlet"]).is_err());
    }

    #[test]
    fn a_disturbance_that_is_not_known_is_refused() {
        let read = <Cli as clap::Parser>::try_parse_from(["simulation", "--only", "flood"]);
        assert!(read.unwrap_err().to_string().contains("kill and return"));
    }

    #[test]
    fn a_rate_without_a_number_is_refused() {
        assert!("late".parse::<Rate>().is_err());
        assert!("late=often".parse::<Rate>().is_err());
    }
}
