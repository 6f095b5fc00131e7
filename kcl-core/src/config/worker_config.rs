//! The options of a worker and their defaults, each stated once.

use std::time::Duration;

use kcl_lease::{FleetOptions, TableOptions, WorkerId};
use serde::{Deserialize, Serialize};

use super::{FailurePolicy, FanOut, FormerStreams, InitialPosition, OtherStream, ReadEncoding};

/// Everything that can be set on a worker, in groups: what the setters of [`WorkerBuilder`](crate::WorkerBuilder) set, and
/// document.
///
/// It can be read with [serde](https://serde.rs) from whatever a service is configured by: a file, or the environment. What is
/// left out has its default, and what is not known is refused by its name. Durations are written as people write them (`10s`,
/// `1m 30s`), names and choices in small letters with underscores.
///
/// ```
/// use std::time::Duration;
/// use kcl_core::WorkerConfig;
///
/// let config: WorkerConfig = toml::from_str(r#"
///     [fleet]
///     failover_time = "5s"
///     [retrieval]
///     initial_position = "latest"
///     [processing]
///     failure_policy = { attempts = 5, time = "1m", then = "skip" }
/// "#)?;
/// assert_eq!(config.fleet.failover_time, Duration::from_secs(5));
///
/// let mistake = toml::from_str::<WorkerConfig>("fleet.failover = '5s'").unwrap_err();
/// assert!(mistake.to_string().contains("unknown field `failover`, expected one of `failover_time`"));
/// # Ok::<(), toml::de::Error>(())
/// ```
///
/// From variables such as `KCL__FLEET__FAILOVER_TIME=5s`, with the crate [`config`](https://docs.rs/config):
///
/// ```
/// # fn main() -> Result<(), config::ConfigError> {
/// use kcl_core::WorkerConfig;
///
/// let variables = config::Environment::with_prefix("KCL").separator("__").try_parsing(true);
/// # let variables = variables.source(Some([("KCL__FLEET__FAILOVER_TIME".to_owned(), "5s".to_owned()),
/// #     ("KCL__RETRIEVAL__MAX_RECORDS".to_owned(), "500".to_owned())].into()));
/// let settings = config::Config::builder().add_source(variables).build()?;
/// let config: WorkerConfig = settings.try_deserialize()?;
/// # assert_eq!(config.fleet.failover_time, std::time::Duration::from_secs(5));
/// # assert_eq!(config.retrieval.max_records, 500);
/// # Ok(())
/// # }
/// ```
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct WorkerConfig {
    /// See [`WorkerBuilder::worker_id`](crate::WorkerBuilder::worker_id).
    pub worker_id: Option<WorkerId>,
    /// The lease table.
    pub table: TableOptions,
    /// How the workers of an application get along.
    pub fleet: FleetOptions,
    /// The leases of the stream.
    pub leases: LeaseOptions,
    /// How the stream is read.
    pub retrieval: RetrievalOptions,
    /// What happens to the records.
    pub processing: ProcessingOptions,
}

/// What the leader does for the stream's leases, and what happens if they are of another stream.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct LeaseOptions {
    /// See [`WorkerBuilder::on_other_stream`](crate::WorkerBuilder::on_other_stream).
    pub on_other_stream: OtherStream,
    /// See [`WorkerBuilder::audit_interval`](crate::WorkerBuilder::audit_interval).
    #[serde(with = "humantime_serde")]
    pub audit_interval: Duration,
    /// See [`WorkerBuilder::cleanup_interval`](crate::WorkerBuilder::cleanup_interval).
    #[serde(with = "humantime_serde")]
    pub cleanup_interval: Duration,
    /// See [`WorkerBuilder::streams_interval`](crate::WorkerBuilder::streams_interval).
    #[serde(with = "humantime_serde")]
    pub streams_interval: Duration,
    /// See [`WorkerBuilder::former_streams`](crate::WorkerBuilder::former_streams).
    pub former_streams: FormerStreams,
    /// See [`WorkerBuilder::takes_over_from_one_stream`](crate::WorkerBuilder::takes_over_from_one_stream).
    pub takes_over_from_one_stream: bool,
}

impl Default for LeaseOptions {
    fn default() -> Self {
        Self {
            on_other_stream: OtherStream::default(),
            audit_interval: Duration::from_secs(120),
            cleanup_interval: Duration::from_secs(60),
            streams_interval: Duration::from_secs(60),
            former_streams: FormerStreams::default(),
            takes_over_from_one_stream: false,
        }
    }
}

/// Where, how much and how often is read.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct RetrievalOptions {
    /// See [`WorkerBuilder::initial_position`](crate::WorkerBuilder::initial_position).
    pub initial_position: InitialPosition,
    /// See [`WorkerBuilder::max_records`](crate::WorkerBuilder::max_records).
    pub max_records: u32,
    /// See [`WorkerBuilder::idle_time`](crate::WorkerBuilder::idle_time).
    #[serde(with = "humantime_serde")]
    pub idle_time: Duration,
    /// See [`WorkerBuilder::min_read_interval`](crate::WorkerBuilder::min_read_interval).
    #[serde(with = "humantime_serde")]
    pub min_read_interval: Duration,
    /// See [`WorkerBuilder::prefetch_bytes_per_shard`](crate::WorkerBuilder::prefetch_bytes_per_shard).
    pub prefetch_bytes_per_shard: u64,
    /// See [`WorkerBuilder::prefetch_bytes_per_worker`](crate::WorkerBuilder::prefetch_bytes_per_worker).
    pub prefetch_bytes_per_worker: u64,
    /// See [`WorkerBuilder::empty_batches`](crate::WorkerBuilder::empty_batches).
    pub empty_batches: bool,
    /// See [`WorkerBuilder::read_encoding`](crate::WorkerBuilder::read_encoding).
    pub read_encoding: ReadEncoding,
    /// See [`WorkerBuilder::deaggregate`](crate::WorkerBuilder::deaggregate).
    pub deaggregate: bool,
    /// See [`WorkerBuilder::fan_out`](crate::WorkerBuilder::fan_out).
    pub fan_out: Option<FanOut>,
}

impl Default for RetrievalOptions {
    fn default() -> Self {
        Self {
            initial_position: InitialPosition::default(),
            max_records: 10_000,
            idle_time: Duration::from_secs(1),
            min_read_interval: Duration::from_millis(200),
            prefetch_bytes_per_shard: 8 << 20,
            prefetch_bytes_per_worker: 256 << 20,
            empty_batches: false,
            read_encoding: ReadEncoding::default(),
            deaggregate: true,
            fan_out: None,
        }
    }
}

/// What becomes of records, and of the calls that process them.
#[derive(Debug, Clone, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
#[non_exhaustive]
pub struct ProcessingOptions {
    /// See [`WorkerBuilder::failure_policy`](crate::WorkerBuilder::failure_policy).
    pub failure_policy: FailurePolicy,
    /// See [`WorkerBuilder::max_batch_records`](crate::WorkerBuilder::max_batch_records).
    pub max_batch_records: Option<u32>,
    /// See [`WorkerBuilder::max_batch_bytes`](crate::WorkerBuilder::max_batch_bytes).
    pub max_batch_bytes: Option<u64>,
    /// See [`WorkerBuilder::stalled_after`](crate::WorkerBuilder::stalled_after).
    #[serde(with = "humantime_serde")]
    pub stalled_after: Duration,
    /// See [`WorkerBuilder::batch_window`](crate::WorkerBuilder::batch_window).
    #[serde(with = "humantime_serde")]
    pub batch_window: Duration,
    /// See [`WorkerBuilder::drain_timeout`](crate::WorkerBuilder::drain_timeout). Default: the hand-off time-out.
    #[serde(with = "humantime_serde")]
    pub drain_timeout: Option<Duration>,
    /// See [`WorkerBuilder::stop_timeout`](crate::WorkerBuilder::stop_timeout).
    #[serde(with = "humantime_serde")]
    pub stop_timeout: Duration,
}

impl Default for ProcessingOptions {
    fn default() -> Self {
        Self {
            failure_policy: FailurePolicy::default(),
            max_batch_records: None,
            max_batch_bytes: None,
            batch_window: Duration::ZERO,
            stalled_after: Duration::from_secs(300),
            drain_timeout: None,
            stop_timeout: Duration::from_secs(20),
        }
    }
}

impl WorkerConfig {
    /// How long a call may keep a lease.
    pub(crate) fn drain_timeout(&self) -> Duration {
        self.processing
            .drain_timeout
            .unwrap_or(self.fleet.hand_off_timeout)
    }
}

#[cfg(test)]
mod tests {
    use std::time::UNIX_EPOCH;

    use kcl_lease::{Balancing, Billing, Load, TableCreation};

    use super::*;
    use crate::config::StreamConsumer;

    fn read(text: &str) -> Result<WorkerConfig, String> {
        toml::from_str(text).map_err(|error| error.to_string())
    }

    #[test]
    fn what_is_left_out_has_its_default() {
        let (read, made) = (read("").expect("valid"), WorkerConfig::default());
        assert_eq!(format!("{read:?}"), format!("{made:?}"));
    }

    #[test]
    fn what_was_written_is_read_again() {
        let mut config = WorkerConfig {
            worker_id: Some("one".into()),
            ..WorkerConfig::default()
        };
        config.table.tags = [("team".to_owned(), "clicks".to_owned())].into();
        config.table.billing = Billing::Provisioned { read: 5, write: 7 };
        config.fleet.max_leases = Some(7);
        config.retrieval.initial_position =
            InitialPosition::AtTimestamp(UNIX_EPOCH + Duration::from_secs(1_800_000_000));
        config.processing.drain_timeout = Some(Duration::from_millis(1500));
        let text = toml::to_string(&config).expect("all of it can be written");
        let again = read(&text).expect("valid");
        assert_eq!(format!("{again:?}"), format!("{config:?}"), "{text}");
    }

    #[test]
    fn people_write_it_as_they_would() {
        let config = read(
            r#"
            worker_id = "i-0123"
            [table]
            name = "leases"
            creation = "must_exist"
            billing = { provisioned = { read = 5, write = 5 } }
            tags = { team = "clicks" }
            [fleet]
            failover_time = "1m 30s"
            balancing = "count"
            load = "unreported"
            [leases]
            on_other_stream = "begin_anew"
            [retrieval]
            initial_position = { at_timestamp = "2026-11-28T00:00:00Z" }
            idle_time = "250ms"
            fan_out = { consumer = { name = "mine" }, or_polling = true }
            [processing]
            failure_policy = { attempts = 5, time = "1m", then = "dead_letter", even_unproven_after = "2h" }
            "#,
        )
        .expect("valid");
        assert_eq!(config.fleet.failover_time, Duration::from_secs(90));
        assert_eq!(config.fleet.balancing, Balancing::Count);
        assert!(matches!(config.fleet.load, Load::Unreported));
        assert_eq!(config.table.creation, TableCreation::MustExist);
        assert_eq!(config.leases.on_other_stream, OtherStream::BeginAnew);
        assert_eq!(config.retrieval.idle_time, Duration::from_millis(250));
        let mine = FanOut::of(StreamConsumer::Name("mine".to_owned())).or_polling(true);
        assert_eq!(config.retrieval.fan_out, Some(mine));
        let as_application = read("[retrieval.fan_out]").expect("nothing has to be said of it");
        assert_eq!(as_application.retrieval.fan_out, Some(FanOut::default()));
        let java = read("retrieval.initial_position = 'LATEST'").expect("as the Java KCL writes it");
        assert_eq!(java.retrieval.initial_position, InitialPosition::Latest);
    }

    #[test]
    fn mistakes_are_refused_by_name() {
        for (text, told) in [
            ("failover_time = '5s'", "unknown field `failover_time`"),
            (
                "fleet.failover = '5s'",
                "unknown field `failover`, expected one of",
            ),
            ("table.nome = 'x'", "unknown field `nome`"),
            ("leases.x = 1", "unknown field `x`"),
            ("retrieval.max_record = 1", "unknown field `max_record`"),
            ("processing.stop = '1s'", "unknown field `stop`"),
            ("fleet.failover_time = '5'", "expected a duration"),
            (
                "fleet.failover_time = '5 parsecs'",
                "string \"5 parsecs\", expected a duration",
            ),
            ("retrieval.fan_out.name = 'x'", "unknown field `name`"),
            ("fleet.balancing = 'luck'", "unknown variant `luck`"),
            ("fleet.load = 'source'", "unknown variant `source`"),
            (
                "processing.failure_policy = { attempts = 0, time = '1s' }",
                "nonzero",
            ),
            (
                "processing.failure_policy = { attempts = 1, tyme = '1s' }",
                "unknown field `tyme`",
            ),
            (
                "processing.failure_policy.then = 'give_up'",
                "unknown variant `give_up`",
            ),
        ] {
            let error = read(text).expect_err(text);
            assert!(error.contains(told), "{text}: {error}");
        }
    }
}
