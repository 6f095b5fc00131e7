//! What can be said on the command line.

#[cfg(feature = "tls")]
use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use kcl_local::kinesis::operation_names;

/// Kinesis Data Streams and DynamoDB on one local port, in memory, for development and tests.
///
/// Without a command it serves. The commands are for one that serves already: in this shell, in another, or in a container.
#[derive(Debug, Parser)]
#[command(version, args_conflicts_with_subcommands = true)]
pub(crate) struct Arguments {
    #[command(flatten)]
    pub(crate) serve: Serve,

    #[command(subcommand)]
    pub(crate) command: Option<Command>,
}

#[derive(Debug, Args)]
pub(crate) struct Serve {
    /// Port to listen on; 0 takes any free one
    #[arg(short, long, default_value_t = 4567)]
    pub(crate) port: u16,

    /// Host to listen on. Nothing protects the port: give anything but a loopback address only where every machine that
    /// reaches it may read and change everything
    #[arg(long, default_value = "127.0.0.1")]
    pub(crate) host: String,

    /// Region that the ARNs of streams name
    #[arg(long, default_value = "us-east-1")]
    pub(crate) region: String,

    /// Account that ARNs name: twelve digits
    #[arg(long, default_value = "000000000000", value_parser = account)]
    pub(crate) account_id: String,

    /// Serve HTTPS, with a certificate that is made now for this host; whom clients have to trust is written to this file
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE")]
    pub(crate) tls: Option<PathBuf>,

    /// Create a stream before anybody can connect, and after each reset; may be given several times
    #[arg(long = "create", value_name = "STREAM:SHARDS", value_parser = stream)]
    pub(crate) streams: Vec<(String, u32)>,

    /// Begin with the trouble that this file plans, in JSON; see `kcl-local faults`
    #[arg(long, value_name = "FILE")]
    pub(crate) faults: Option<std::path::PathBuf>,

    /// How the log is written that goes to the standard error
    #[arg(long, value_enum, default_value_t = LogFormat::Text)]
    pub(crate) log_format: LogFormat,

    /// Another name by which this is reached, for the addresses below /_kcl-local; may be given several times
    #[arg(long, value_name = "NAME")]
    pub(crate) allow_host: Vec<String>,

    /// Let scripts of pages from this origin ask the services, or from every one (*), and not from this machine only; may be
    /// given several times
    #[arg(long, value_name = "ORIGIN")]
    pub(crate) allow_origin: Vec<String>,

    #[command(flatten)]
    pub(crate) limits: Limits,
}

/// How much like the service it is.
#[derive(Debug, Args)]
#[command(next_help_heading = "Limits and delays of Kinesis (durations such as 500ms or 10s)")]
pub(crate) struct Limits {
    /// What the others default to: `fast` has no delays and no rates, `faithful` those of the service
    #[arg(long, value_enum, default_value_t = Profile::Fast)]
    pub(crate) profile: Profile,

    /// Whether shards refuse what exceeds their rates
    #[arg(long, value_name = "BOOL")]
    pub(crate) enforce_limits: Option<bool>,

    /// How many records a second a shard takes, if limits are enforced
    #[arg(long, value_name = "NUMBER")]
    pub(crate) shard_records_in: Option<u32>,

    /// How many bytes a second a shard takes, if limits are enforced
    #[arg(long, value_name = "BYTES")]
    pub(crate) shard_bytes_in: Option<u32>,

    /// How many GetRecords a second a shard answers, if limits are enforced
    #[arg(long, value_name = "NUMBER")]
    pub(crate) shard_reads: Option<u32>,

    /// How many bytes a second are read from a shard, if limits are enforced
    #[arg(long, value_name = "BYTES")]
    pub(crate) shard_bytes_out: Option<u32>,

    /// How often a second an operation may be called; may be repeated
    #[arg(long, value_name = "OPERATION=NUMBER", value_parser = calls)]
    pub(crate) calls: Vec<(&'static str, u32)>,

    /// How often in 24 hours the shard count of a stream may be updated
    #[arg(long, value_name = "NUMBER")]
    pub(crate) shard_count_updates: Option<u32>,

    /// How many streams may be CREATING at a time
    #[arg(long, value_name = "NUMBER")]
    pub(crate) streams_creating: Option<u32>,

    /// For how long a shard of an on-demand stream has to be busy before it is split in two
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) on_demand_reaction: Option<Duration>,

    /// How many open shards all streams may have
    #[arg(long, value_name = "NUMBER")]
    pub(crate) shard_limit: Option<u32>,

    /// How long a new stream is CREATING
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) create_delay: Option<Duration>,

    /// How long a deleted stream is DELETING
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) delete_delay: Option<Duration>,

    /// How long a stream is UPDATING after a split, a merge or another change
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) update_delay: Option<Duration>,

    /// How long a new consumer is CREATING, and one that was deregistered DELETING
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) consumer_delay: Option<Duration>,

    /// How long a subscription to a shard lasts
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) subscription_lifetime: Option<Duration>,

    /// For how long a consumer may not subscribe to a shard again
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) resubscribe_interval: Option<Duration>,

    /// After how long without records a subscriber gets an event without records
    #[arg(long, value_name = "DURATION", value_parser = duration)]
    pub(crate) heartbeat: Option<Duration>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Profile {
    Fast,
    Faithful,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum LogFormat {
    Text,
    Json,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Wait until it answers: the exit code is 0 then, and 1 if it does not in time
    Ready {
        #[command(flatten)]
        whom: Whom,
        /// How long to wait
        #[arg(long, default_value = "10s", value_name = "DURATION", value_parser = duration)]
        timeout: Duration,
    },
    /// Say how it is, in JSON
    Health {
        #[command(flatten)]
        whom: Whom,
    },
    /// Show and change what goes wrong
    Faults {
        #[command(subcommand)]
        what: Faults,
    },
    /// Show its time, pause it, move it on or make it go faster
    Clock {
        #[command(flatten)]
        whom: Whom,
        /// How fast time goes: real, paused, or how many times as fast
        #[arg(long)]
        pace: Option<String>,
        /// Move time on by this much
        #[arg(long, value_name = "DURATION")]
        advance: Option<String>,
        /// Move time on to this time, such as 2026-12-01T08:00:00Z
        #[arg(long, value_name = "TIME", conflicts_with = "advance")]
        advance_to: Option<String>,
    },
    /// Empty it, and bring back what it began with
    Reset {
        #[command(flatten)]
        whom: Whom,
    },
}

#[derive(Debug, Subcommand)]
pub(crate) enum Faults {
    /// List the rules, and how many requests each has met
    List {
        #[command(flatten)]
        whom: Whom,
        /// As JSON
        #[arg(long)]
        json: bool,
    },
    /// Add a rule, or several
    Add {
        #[command(flatten)]
        whom: Whom,
        /// In JSON: {"operation": "GetRecords", "fault": "throttle"}; or @FILE, or - for the standard input
        rule: String,
    },
    /// Put the rules of a file in the place of those that are there
    Set {
        #[command(flatten)]
        whom: Whom,
        /// In JSON: {"rules": [...]}; or @FILE, or - for the standard input
        plan: String,
    },
    /// Remove a rule by its name
    Remove {
        #[command(flatten)]
        whom: Whom,
        /// The name, as it is listed
        name: String,
    },
    /// Remove all rules
    Clear {
        #[command(flatten)]
        whom: Whom,
    },
}

/// Which one is meant.
#[derive(Debug, Args)]
pub(crate) struct Whom {
    /// Where it is; AWS_ENDPOINT_URL if that is set, and otherwise http://127.0.0.1:4567
    #[arg(long, value_name = "URL")]
    pub(crate) endpoint: Option<String>,

    /// Its port on this machine, in place of an endpoint
    #[arg(long, conflicts_with = "endpoint")]
    pub(crate) port: Option<u16>,

    /// Whom to trust where it speaks HTTPS: the file that it wrote; AWS_CA_BUNDLE if that is set
    #[cfg(feature = "tls")]
    #[arg(long, value_name = "FILE")]
    pub(crate) trust: Option<PathBuf>,
}

fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}: write 500ms, 10s or 5m"))
}

fn calls(text: &str) -> Result<(&'static str, u32), String> {
    let wrong = || "write an operation of Kinesis and a number, such as ListShards=5".to_owned();
    let (wanted, number) = text.split_once('=').ok_or_else(wrong)?;
    let name = operation_names().find(|name| *name == wanted).ok_or_else(wrong)?;
    Ok((name, number.parse().map_err(|_| wrong())?))
}

fn account(text: &str) -> Result<String, String> {
    let is_good = text.len() == 12 && text.bytes().all(|byte| byte.is_ascii_digit());
    is_good
        .then(|| text.to_owned())
        .ok_or_else(|| "an account has twelve digits".to_owned())
}

fn stream(text: &str) -> Result<(String, u32), String> {
    let wrong = || "write a name and a number of shards, such as orders:2".to_owned();
    let (name, shards) = text.rsplit_once(':').ok_or_else(wrong)?;
    let shards = shards
        .parse()
        .ok()
        .filter(|shards| *shards > 0)
        .ok_or_else(wrong)?;
    Ok((name.to_owned(), shards))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_can_be_said_makes_sense() {
        <Arguments as clap::CommandFactory>::command().debug_assert();
    }

    #[test]
    fn a_stream_has_a_name_and_shards() {
        assert_eq!(stream("orders:2"), Ok(("orders".to_owned(), 2)));
        for text in ["orders", "orders:", "orders:0", "orders:x", "orders:-1"] {
            assert!(stream(text).is_err(), "{text}");
        }
    }

    #[test]
    fn an_account_has_twelve_digits() {
        assert!(account("123456789012").is_ok());
        assert!(account("1234").is_err() && account("12345678901x").is_err());
    }
}
