//! The command line.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Parser, ValueEnum};

/// Watch a fleet of workers share a stream of click events that is written, split, merged and disturbed, with every
/// record accounted for.
///
/// Without options everything runs in this process: a Kinesis stream of four shards, a DynamoDB for the leases, a
/// producer, three workers and, one after the other, a split, a fourth worker, a merge, a graceful stop and a crash.
/// It takes about forty seconds and ends with a report. The exit status is 1 if a record was lost, if the order of a
/// key was violated, or if the stream was not drained in time.
///
/// With --aws the workers run against the account, or the endpoint, that the usual AWS variables name
/// (AWS_REGION, AWS_PROFILE, AWS_ACCESS_KEY_ID, AWS_ENDPOINT_URL, ...).
#[derive(Debug, Clone, Parser)]
#[command(name = "clickstream", version)]
pub(crate) struct Args {
    /// A file of events to replay instead of generated ones: JSON lines, a web server's access log (common or combined
    /// format), or any other lines of text
    ///
    /// The file is read line by line and may be of any size; the local stream, however, keeps what was written in
    /// memory, so replay some hundred megabytes at most, or use --aws --produce. Lines over 1 MiB, empty lines and
    /// lines that are not UTF-8 are counted and left out.
    pub(crate) file: Option<PathBuf>,

    /// What the file holds
    #[arg(long, value_enum, default_value_t = Format::Auto)]
    pub(crate) format: Format,

    /// The field of JSON lines that becomes the partition key [default: the first of user, session, client, ip and
    /// their usual spellings]
    #[arg(long, value_name = "FIELD")]
    pub(crate) key: Option<String>,

    /// How many events to generate
    #[arg(long, value_name = "N", default_value_t = 60_000)]
    pub(crate) events: u64,

    /// Events per second [default: so many that the events, or the file, last for --seconds]
    #[arg(long, value_name = "R")]
    pub(crate) rate: Option<u32>,

    /// How long events are written, and over which time the disturbances are spread [default: 35; with --aws: until
    /// ctrl-c, or until everything produced is processed]
    #[arg(long, value_name = "S", value_parser = clap::value_parser!(u64).range(1..=86_400))]
    pub(crate) seconds: Option<u64>,

    /// Chooses the generated events and the pauses of the workers
    #[arg(long, default_value_t = 1)]
    pub(crate) seed: u64,

    /// How long a silent worker keeps its leases, in seconds: the price of a crash
    #[arg(long, value_name = "S", default_value_t = 10, value_parser = clap::value_parser!(u64).range(1..=3_600))]
    pub(crate) failover: u64,

    /// Shards of the stream at first
    #[arg(long, value_name = "N", default_value_t = 4, value_parser = clap::value_parser!(i32).range(1..=500))]
    pub(crate) shards: i32,

    /// Let the local shards refuse more than the service's 1,000 records and 1 MiB per second
    #[arg(long, conflicts_with = "aws")]
    pub(crate) limits: bool,

    /// Write and process, but disturb nothing
    #[arg(long, conflicts_with = "aws")]
    pub(crate) calm: bool,

    /// Print the report only
    #[arg(short, long)]
    pub(crate) quiet: bool,

    /// Use AWS, or what AWS_ENDPOINT_URL names, instead of the stream in this process
    #[arg(long, requires = "stream", help_heading = "With AWS")]
    pub(crate) aws: bool,

    /// The stream to process: a name or an ARN
    #[arg(long, value_name = "NAME", requires = "aws", help_heading = "With AWS")]
    pub(crate) stream: Option<String>,

    /// The application, which is also the name of its lease table; the table is created if it is missing
    #[arg(
        long,
        value_name = "NAME",
        default_value = "kcl-clickstream",
        help_heading = "With AWS"
    )]
    pub(crate) application: String,

    /// Workers to run
    #[arg(long, value_name = "N", default_value_t = 2, value_parser = clap::value_parser!(u8).range(1..=3), help_heading = "With AWS")]
    pub(crate) workers: u8,

    /// Also write events, to a stream that is created if it is missing (--shards), and account for them. No other process
    /// may run the same application meanwhile. The stream and the lease table are left behind, and cost money
    #[arg(long, requires = "aws", help_heading = "With AWS")]
    pub(crate) produce: bool,
}

/// What the lines of a file are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Format {
    /// Found out from the first line
    Auto,
    /// One JSON object per line
    Json,
    /// The common or combined log format of web servers
    Access,
    /// Any text: each line is an event, and lines are spread over 256 keys
    Lines,
}

impl Args {
    /// How long the local run writes.
    pub(crate) fn production_time(&self) -> Duration {
        Duration::from_secs(self.seconds.unwrap_or(35))
    }

    pub(crate) fn failover_time(&self) -> Duration {
        Duration::from_secs(self.failover)
    }

    /// How long the workers may take to catch up once nothing is written any more: a crash in the last moment, and
    /// then some.
    pub(crate) fn drain_patience(&self) -> Duration {
        self.failover_time() * 2 + Duration::from_secs(30)
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Args::command().debug_assert();
    }

    #[test]
    fn aws_needs_a_stream_and_what_belongs_to_aws_needs_aws() {
        assert!(Args::try_parse_from(["clickstream"]).is_ok());
        assert!(Args::try_parse_from(["clickstream", "--aws", "--stream", "s", "--produce"]).is_ok());
        assert!(Args::try_parse_from(["clickstream", "--aws"]).is_err());
        assert!(Args::try_parse_from(["clickstream", "--produce"]).is_err());
        assert!(Args::try_parse_from(["clickstream", "--aws", "--stream", "s", "--limits"]).is_err());
    }
}
