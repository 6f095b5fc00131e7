//! The arguments of the program.

use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};
use clap_complete::Shell;
use kcl_core::{Balancing, Stream};
use kcl_dead_letters::command::RedriveArguments;
use kcl_lease::{ExtendedSequenceNumber, LeaseKey, WorkerId};

use crate::screen::{Moment, moment};

/// Looks at, explains and changes the lease tables of applications of the Kinesis Client Library, in Rust or in Java.
///
/// Credentials, region and endpoint are taken from where the AWS CLI takes them. Exit codes: 0 all is well; 1 the command failed; 2 wrong
/// arguments; 3 what was found needs attention, such as shards without owner; 4 nothing was changed because the answer was no.
#[derive(Debug, Parser)]
#[command(name = "kcl", version, max_term_width = 110)]
pub struct Arguments {
    #[command(flatten)]
    pub(crate) global: Global,

    #[command(subcommand)]
    pub(crate) command: Command,
}

/// When text is coloured.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Colour {
    /// On a terminal, unless NO_COLOR is set.
    #[default]
    Auto,
    /// Always.
    Always,
    /// Never.
    Never,
}

#[derive(Debug, Clone, Args)]
pub(crate) struct Global {
    /// Name of the lease table, if it is not the application's
    #[arg(long, global = true, help_heading = "Which table")]
    pub(crate) table: Option<String>,

    /// Name of the application, after which its tables are called
    #[arg(long, short, global = true, help_heading = "Which table")]
    pub(crate) application: Option<String>,

    /// Name of the table of Java workers of 3.0 to 3.4 for the leader's lock, if it has one of its own
    #[arg(long, global = true, value_name = "TABLE", help_heading = "Which table")]
    pub(crate) coordinator_state_table: Option<String>,

    /// Name of the table of those workers for their metrics, if it has one of its own
    #[arg(long, global = true, value_name = "TABLE", help_heading = "Which table")]
    pub(crate) worker_metrics_table: Option<String>,

    /// Where DynamoDB and Kinesis are, if not at AWS
    #[arg(long, global = true, value_name = "URL", help_heading = "Which table")]
    pub(crate) endpoint_url: Option<String>,

    /// The region
    #[arg(long, global = true, help_heading = "Which table")]
    pub(crate) region: Option<String>,

    /// The profile of the AWS configuration
    #[arg(long, global = true, help_heading = "Which table")]
    pub(crate) profile: Option<String>,

    /// Write JSON
    #[arg(long, global = true, help_heading = "Output")]
    pub(crate) json: bool,

    /// When text is coloured
    #[arg(
        long,
        global = true,
        value_enum,
        default_value_t,
        value_name = "WHEN",
        help_heading = "Output"
    )]
    pub(crate) color: Colour,
}

impl Arguments {
    /// Where the services are, if not at AWS.
    pub fn endpoint_url(&self) -> Option<&str> {
        self.global.endpoint_url.as_deref()
    }

    /// The region, if it is named.
    pub fn region(&self) -> Option<&str> {
        self.global.region.as_deref()
    }

    /// The profile, if one is named.
    pub fn profile(&self) -> Option<&str> {
        self.global.profile.as_deref()
    }

    /// When text is coloured.
    pub fn colour(&self) -> Colour {
        self.global.color
    }

    /// Whether JSON is written.
    pub fn is_json(&self) -> bool {
        self.global.json
    }
}

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Show workers, leader and shards, from one look at the table
    List(ListArguments),
    /// Say of a shard who has it, since when, why it does not move, and what the leader would do next
    Explain(ExplainArguments),
    /// Say what a leader would write now, or if a worker left
    Plan(PlanArguments),
    /// Watch workers, shards and hand-offs
    Watch(WatchArguments),
    /// Say what the table costs, now and with other settings
    Cost(CostArguments),
    /// Hand a shard over to a worker
    Move(MoveArguments),
    /// Hand all shards of a worker over to others, and let it have none until it is stopped or `undrain`
    Drain(DrainArguments),
    /// End the draining of a worker
    Undrain(UndrainArguments),
    /// Pause the processing of shards, whoever has them; workers in Java do not heed it
    Pause(PauseArguments),
    /// End a pause
    Resume(PauseArguments),
    /// Let shards be processed anew from another position; refuses while workers in Java run
    Reset(ResetArguments),
    /// Say how far the migration from KCL 2.x, or to a single table, is, and what is next
    Migrate,
    /// Put the dead letters of a file back into a stream
    Redrive(RedriveArguments),
    /// Write the records of a stream as JSON lines, without an application
    Tail(TailArguments),
    /// Write the completions for a shell
    Completions {
        /// The shell
        shell: Shell,
    },
}

/// How long the table is watched before something is said of who lives.
#[derive(Debug, Clone, Args)]
pub(crate) struct Watching {
    /// Watch the table for so long. Default: the fail-over time that its workers tell, or 10 s, and a second more
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) watch_for: Option<Duration>,

    /// The workers' fail-over time, if they do not tell it as Java workers do not. Default: 10 s
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration)]
    pub(crate) failover_time: Option<Duration>,

    /// By what the workers balance: utilization, throughput or count
    #[arg(long, value_name = "RULE", value_parser = balancing)]
    pub(crate) balancing: Option<Balancing>,

    /// The most leases that a worker is given
    #[arg(long, value_name = "LEASES")]
    pub(crate) max_leases: Option<usize>,
}

/// What all commands have in common that change something.
#[derive(Debug, Clone, Args)]
pub(crate) struct Changing {
    /// Do not ask
    #[arg(long, short)]
    pub(crate) yes: bool,

    /// Only say what would be written
    #[arg(long)]
    pub(crate) dry_run: bool,
}

#[derive(Debug, Args)]
pub(crate) struct ListArguments {
    /// Ask Kinesis how far each shard is behind: one read of each. The stream is the one that the table names, or --stream
    #[arg(long)]
    pub(crate) lag: bool,

    /// Name or ARN of the stream
    #[arg(long, value_parser = Stream::parse)]
    pub(crate) stream: Option<Stream>,
}

#[derive(Debug, Args)]
pub(crate) struct ExplainArguments {
    /// The shard, or the key of its lease
    pub(crate) shard: LeaseKey,

    #[command(flatten)]
    pub(crate) watching: Watching,
}

#[derive(Debug, Args)]
pub(crate) struct PlanArguments {
    /// Plan as if this worker had left
    #[arg(long, value_name = "WORKER")]
    pub(crate) without: Vec<WorkerId>,

    #[command(flatten)]
    pub(crate) watching: Watching,
}

#[derive(Debug, Args)]
pub(crate) struct WatchArguments {
    /// Look at the table so often
    #[arg(long, value_name = "TIME", default_value = "2s", value_parser = humantime::parse_duration)]
    pub(crate) every: Duration,

    /// Look so many times, then end
    #[arg(long, value_name = "TIMES")]
    pub(crate) looks: Option<u64>,

    /// Ask Kinesis every 10 s how far each shard is behind
    #[arg(long)]
    pub(crate) lag: bool,

    /// Name or ARN of the stream
    #[arg(long, value_parser = Stream::parse)]
    pub(crate) stream: Option<Stream>,
}

#[derive(Debug, Args)]
pub(crate) struct CostArguments {
    /// Count writes for so long
    #[arg(long, value_name = "TIME", default_value = "30s", value_parser = humantime::parse_duration)]
    pub(crate) watch_for: Duration,

    /// Other fail-over times to compare with
    #[arg(long, value_name = "TIME", value_parser = humantime::parse_duration, value_delimiter = ',', default_value = "5s,10s,30s,60s")]
    pub(crate) failover_times: Vec<Duration>,

    /// Dollars for a million write request units. Default: us-east-1
    #[arg(long, value_name = "DOLLARS", default_value_t = 0.625)]
    pub(crate) price_of_writes: f64,

    /// Dollars for a million read request units
    #[arg(long, value_name = "DOLLARS", default_value_t = 0.125)]
    pub(crate) price_of_reads: f64,

    /// Dollars for a provisioned write capacity unit for an hour
    #[arg(long, value_name = "DOLLARS", default_value_t = 0.00065)]
    pub(crate) price_of_write_capacity: f64,

    /// Dollars for a provisioned read capacity unit for an hour
    #[arg(long, value_name = "DOLLARS", default_value_t = 0.00013)]
    pub(crate) price_of_read_capacity: f64,
}

#[derive(Debug, Args)]
pub(crate) struct MoveArguments {
    /// The shard, or the key of its lease
    pub(crate) shard: LeaseKey,

    /// The worker that is to have it
    pub(crate) worker: WorkerId,

    /// Do not wait until the hand-off is over
    #[arg(long)]
    pub(crate) no_wait: bool,

    #[command(flatten)]
    pub(crate) changing: Changing,

    #[command(flatten)]
    pub(crate) watching: Watching,
}

#[derive(Debug, Args)]
pub(crate) struct DrainArguments {
    /// The worker that is to have nothing
    pub(crate) worker: WorkerId,

    /// Do not wait until the hand-offs are over
    #[arg(long)]
    pub(crate) no_wait: bool,

    /// Hand over what it has now, without a note: the leader will give it shards again
    #[arg(long)]
    pub(crate) once: bool,

    #[command(flatten)]
    pub(crate) changing: Changing,

    #[command(flatten)]
    pub(crate) watching: Watching,
}

#[derive(Debug, Args)]
pub(crate) struct UndrainArguments {
    /// The worker that may have shards again
    pub(crate) worker: WorkerId,

    #[command(flatten)]
    pub(crate) changing: Changing,
}

#[derive(Debug, Args)]
pub(crate) struct PauseArguments {
    /// The shards, or the keys of their leases
    #[arg(required_unless_present = "all", conflicts_with = "all")]
    pub(crate) shards: Vec<LeaseKey>,

    /// All shards that are not finished
    #[arg(long)]
    pub(crate) all: bool,

    #[command(flatten)]
    pub(crate) changing: Changing,
}

#[derive(Debug, Args)]
pub(crate) struct ResetArguments {
    /// The shards, or the keys of their leases
    #[arg(required_unless_present_any = ["all", "stream_only"])]
    pub(crate) shards: Vec<LeaseKey>,

    /// All shards
    #[arg(long, conflicts_with = "shards")]
    pub(crate) all: bool,

    /// All shards of this stream, in a table of several: the name, or account:name:epoch
    #[arg(long = "only-stream", value_name = "STREAM", conflicts_with_all = ["shards", "all"])]
    pub(crate) stream_only: Option<String>,

    /// Where to begin: beginning, latest, a time (2026-11-28T20:00:00Z, or "2h" ago), or for a single shard a position (digits, or
    /// digits:index), behind which processing goes on
    #[arg(long, value_name = "POSITION", value_parser = target)]
    pub(crate) to: Target,

    /// Name or ARN of the stream, to look up a time or a position. Default: the one that the table names
    #[arg(long, value_parser = Stream::parse)]
    pub(crate) stream: Option<Stream>,

    /// Do not wait until the workers that run have begun anew
    #[arg(long)]
    pub(crate) no_wait: bool,

    #[command(flatten)]
    pub(crate) changing: Changing,

    #[command(flatten)]
    pub(crate) watching: Watching,
}

#[derive(Debug, Args)]
pub(crate) struct TailArguments {
    /// Name or ARN of the stream
    #[arg(value_parser = Stream::parse)]
    pub(crate) stream: Stream,

    /// Where to begin: beginning, latest, a time (2026-11-28T20:00:00Z, or "2h" ago), or with --shard a position, behind which it begins
    #[arg(long, value_name = "POSITION", default_value = "latest", value_parser = target)]
    pub(crate) from: Target,

    /// Only this shard, and those that follow it
    #[arg(long)]
    pub(crate) shard: Option<String>,

    /// End after so many records
    #[arg(long, value_name = "RECORDS")]
    pub(crate) limit: Option<u64>,

    /// End where the shards end now, instead of waiting for more
    #[arg(long)]
    pub(crate) no_follow: bool,

    /// Write every payload in base64, also where it is text
    #[arg(long)]
    pub(crate) base64: bool,

    /// Leave aggregates as they are
    #[arg(long)]
    pub(crate) whole: bool,
}

/// A place in a shard.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Target {
    Beginning,
    Latest,
    Time(Moment),
    Behind(ExtendedSequenceNumber),
}

fn target(text: &str) -> Result<Target, String> {
    match text.to_ascii_lowercase().as_str() {
        "beginning" | "trim_horizon" | "trim-horizon" => return Ok(Target::Beginning),
        "latest" | "end" => return Ok(Target::Latest),
        _ => {}
    }
    if let Some(moment) = moment(text) {
        return Ok(Target::Time(moment));
    }
    text.parse().map(Target::Behind).map_err(|_| {
        "it is none of: beginning, latest, a time such as 2026-11-28T20:00:00Z or 2h (ago), a position such as 4959:3".to_owned()
    })
}

fn balancing(text: &str) -> Result<Balancing, String> {
    match text {
        "utilization" => Ok(Balancing::Utilization),
        "throughput" => Ok(Balancing::Throughput),
        "count" => Ok(Balancing::Count),
        _ => Err("it is none of: utilization, throughput, count".to_owned()),
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory as _;

    use super::*;

    #[test]
    fn the_arguments_are_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn a_target_is_a_place_a_time_or_a_position() {
        assert_eq!(target("beginning"), Ok(Target::Beginning));
        assert_eq!(target("LATEST"), Ok(Target::Latest));
        assert_eq!(
            target("2h"),
            Ok(Target::Time(Moment::Ago(Duration::from_secs(7_200))))
        );
        let position = "49590338271490256608559692538361571095921575989136588898:3";
        assert_eq!(
            target(position),
            Ok(Target::Behind(position.parse().expect("a position")))
        );
        assert!(target("yesterday").is_err());
    }
}
