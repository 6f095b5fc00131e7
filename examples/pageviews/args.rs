//! The command line.

use std::net::SocketAddr;
use std::time::Duration;

use clap::{Parser, Subcommand};

/// Counts views of pages per minute. Without a command it shows that in this process, with a spot notice and a crash.
#[derive(Debug, Parser)]
#[command(name = "pageviews", args_conflicts_with_subcommands = true)]
pub(crate) struct Args {
    #[command(subcommand)]
    pub(crate) command: Option<Command>,

    /// How long clicks are put, at least 16
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(16..))]
    pub(crate) seconds: u64,
}

/// What is done with a stream of AWS, or of whatever endpoint the usual AWS variables name.
#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Put clicks into the stream
    Produce {
        /// The stream
        #[arg(long)]
        stream: String,
        /// Clicks per second
        #[arg(long, default_value_t = 100)]
        rate: u32,
        /// Make the stream with so many shards, unless it exists
        #[arg(long, value_name = "SHARDS")]
        create: Option<i32>,
    },
    /// Count the clicks, with other workers of the same application
    Consume(Consume),
    /// Show what was counted
    Views {
        /// The table with the results
        #[arg(long)]
        results: String,
    },
    /// Ask a worker's health endpoint, for containers without curl: fails unless the answer is 200
    Probe {
        /// Such as http://127.0.0.1:8080/live
        url: String,
    },
}

#[derive(Debug, Parser)]
pub(crate) struct Consume {
    /// The stream
    #[arg(long)]
    pub(crate) stream: String,

    /// The application, which names the lease table
    #[arg(long, default_value = "pageviews")]
    pub(crate) application: String,

    /// The table with the results
    #[arg(long)]
    pub(crate) results: String,

    /// Make the table with the results, unless it exists
    #[arg(long)]
    pub(crate) create_results: bool,

    /// Where to answer probes, and Prometheus: /live, /ready, /health, /status, /metrics
    #[arg(long, default_value = "127.0.0.1:8080")]
    pub(crate) health: SocketAddr,

    /// Leave when the instance metadata service of EC2 says that the instance goes
    #[arg(long)]
    pub(crate) notices: bool,

    /// How long clicks wait to be counted together
    #[arg(long, default_value = "1s", value_parser = humantime::parse_duration)]
    pub(crate) window: Duration,

    /// How long a silent worker keeps its leases; the same for all workers
    #[arg(long, default_value = "10s", value_parser = humantime::parse_duration)]
    pub(crate) failover_time: Duration,

    /// How long a stop may take: less than what passes between the signal and the kill
    #[arg(long, default_value = "20s", value_parser = humantime::parse_duration)]
    pub(crate) stop_timeout: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    const UNIT: &str = include_str!("../../docs/deployments/ec2/pageviews.service");
    const EC2: &str = include_str!("../../docs/deployments/ec2/template.yml");
    const ECS: &str = include_str!("../../docs/deployments/ecs/template.yml");
    const KUBERNETES: &str = include_str!("../../docs/deployments/kubernetes/pageviews.yml");

    /// What systemd starts, with something for each variable.
    fn started(unit: &str) -> Vec<&str> {
        let line = unit
            .lines()
            .find_map(|line| line.trim().strip_prefix("ExecStart="));
        let word = |word| match word {
            "${ClicksPerSecond}" => "1000",
            word => word,
        };
        line.expect("a command").split(' ').map(word).collect()
    }

    /// The list below a field, without dashes, comments and quotes; references stand for a word.
    fn listed<'a>(text: &'a str, field: &str) -> Vec<&'a str> {
        let lines = text
            .lines()
            .map(str::trim)
            .skip_while(|line| *line != field)
            .skip(1);
        let items = lines.take_while(|line| line.starts_with("- "));
        std::iter::once("pageviews")
            .chain(items.map(|line| &line[2..]))
            .collect()
    }

    fn understood(words: &[&str]) -> Command {
        let args = Args::try_parse_from(words).unwrap_or_else(|error| panic!("{words:?}: {error}"));
        args.command.expect("a command")
    }

    #[test]
    fn the_deployments_start_it_with_options_that_it_has() {
        let clicks = EC2.split("clicks.service").nth(1).expect("the producer's unit");
        assert!(matches!(
            understood(&started(clicks)),
            Command::Produce { rate: 1000, .. }
        ));
        let probe = ["/pageviews", "probe", "http://127.0.0.1:8080/live"];
        assert!(ECS.contains("[CMD, /pageviews, probe, \"http://127.0.0.1:8080/live\"]"));
        assert!(matches!(understood(&probe), Command::Probe { .. }));
        for (words, notices, health) in [
            (started(UNIT), true, "127.0.0.1:8080"),
            (listed(ECS, "Command:"), false, "127.0.0.1:8080"),
            (listed(KUBERNETES, "args:"), false, "0.0.0.0:8080"),
        ] {
            let Command::Consume(consume) = understood(&words) else {
                panic!("{words:?}");
            };
            assert_eq!(consume.stop_timeout, Duration::from_secs(20));
            assert_eq!(consume.notices, notices, "{words:?}");
            assert_eq!(consume.health.to_string(), health);
        }
    }
}
