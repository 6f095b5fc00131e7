//! The streams that a worker reads: one, or several, which may change.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{FanOut, InitialPosition, InvalidStream, RetrievalOptions, Stream};
use crate::processor_error::ProcessorError;

/// What a worker reads: one stream, or several.
///
/// A name or an ARN is one stream. Its leases are called as its shards, and the table is of this stream alone.
///
/// Several streams share the table and the fleet, with the leases that multi-stream applications of the Java KCL have: each is called
/// with the stream's id in front. A table is of one kind or the other, and a worker refuses one that is not of its own kind.
///
/// ```
/// use kcl_core::{InitialPosition, Streams, TrackedStream};
///
/// let one = Streams::from("clicks");
/// let several = Streams::fixed([
///     TrackedStream::new("orders").initial_position(InitialPosition::TrimHorizon),
///     TrackedStream::new("arn:aws:kinesis:eu-west-1:123456789012:stream/clicks"),
/// ]);
/// # let _ = (one, several);
/// ```
#[derive(Clone)]
pub struct Streams(pub(crate) Given);

#[derive(Clone)]
pub(crate) enum Given {
    /// By name or ARN.
    One(String),
    Fixed(Vec<TrackedStream>),
    Tracked(Arc<dyn StreamTracker>),
}

impl Streams {
    /// These streams, for as long as the worker runs. It is a table of several streams also if it is one.
    pub fn fixed<S: Into<TrackedStream>>(streams: impl IntoIterator<Item = S>) -> Self {
        Self(Given::Fixed(streams.into_iter().map(Into::into).collect()))
    }

    /// The streams that a tracker names, from time to time.
    pub fn tracked(tracker: impl StreamTracker) -> Self {
        Self(Given::Tracked(Arc::new(tracker)))
    }
}

impl From<&str> for Streams {
    fn from(stream: &str) -> Self {
        Self(Given::One(stream.to_owned()))
    }
}

impl From<String> for Streams {
    fn from(stream: String) -> Self {
        Self(Given::One(stream))
    }
}

impl From<&String> for Streams {
    fn from(stream: &String) -> Self {
        Self(Given::One(stream.clone()))
    }
}

impl From<Stream> for Streams {
    fn from(stream: Stream) -> Self {
        Self(Given::One(stream.to_string()))
    }
}

impl fmt::Debug for Streams {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.0 {
            Given::One(stream) => f.debug_tuple("Streams").field(stream).finish(),
            Given::Fixed(streams) => f.debug_tuple("Streams").field(streams).finish(),
            Given::Tracked(_) => f.write_str("Streams(tracked)"),
        }
    }
}

/// Names the streams that an application reads. Every worker asks it when it starts and then
/// [from time to time](crate::WorkerBuilder::streams_interval); all workers should be told the same.
///
/// ```
/// use kcl_core::{async_trait, ProcessorError, StreamTracker, TrackedStream};
///
/// /// Reads the names from a file, a line for each.
/// struct InFile(std::path::PathBuf);
///
/// #[async_trait]
/// impl StreamTracker for InFile {
///     async fn streams(&self) -> Result<Vec<TrackedStream>, ProcessorError> {
///         let names = std::fs::read_to_string(&self.0)?;
///         Ok(names.lines().map(TrackedStream::from).collect())
///     }
/// }
/// ```
#[async_trait]
pub trait StreamTracker: Send + Sync + 'static {
    /// The streams to read from now on.
    ///
    /// If it fails, panics, or takes longer than half a minute, the streams stay as they were, and the status says why
    /// (`streams-failing`).
    async fn streams(&self) -> Result<Vec<TrackedStream>, ProcessorError>;
}

#[async_trait]
impl StreamTracker for Vec<TrackedStream> {
    async fn streams(&self) -> Result<Vec<TrackedStream>, ProcessorError> {
        Ok(self.clone())
    }
}

/// One of several streams, and how it is read. What is not said here is as the worker has it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TrackedStream {
    stream: String,
    initial_position: Option<InitialPosition>,
    /// Whether, and how, it is read by fan-out.
    fan_out: Option<Option<FanOut>>,
    max_records: Option<u32>,
    idle_time: Option<Duration>,
    min_read_interval: Option<Duration>,
    prefetch_bytes_per_shard: Option<u64>,
    deaggregate: Option<bool>,
}

impl TrackedStream {
    /// A stream by its name or its ARN.
    pub fn new(stream: impl Into<String>) -> Self {
        Self {
            stream: stream.into(),
            initial_position: None,
            fan_out: None,
            max_records: None,
            idle_time: None,
            min_read_interval: None,
            prefetch_bytes_per_shard: None,
            deaggregate: None,
        }
    }

    /// Where reading of the stream starts: see [`WorkerBuilder::initial_position`](crate::WorkerBuilder::initial_position).
    #[must_use]
    pub fn initial_position(mut self, position: InitialPosition) -> Self {
        self.initial_position = Some(position);
        self
    }

    /// Reads it by enhanced fan-out: see [`WorkerBuilder::fan_out`](crate::WorkerBuilder::fan_out).
    #[must_use]
    pub fn fan_out(mut self, fan_out: FanOut) -> Self {
        self.fan_out = Some(Some(fan_out));
        self
    }

    /// Polls it, where the worker's other streams are read by enhanced fan-out.
    #[must_use]
    pub fn polling(mut self) -> Self {
        self.fan_out = Some(None);
        self
    }

    /// See [`WorkerBuilder::max_records`](crate::WorkerBuilder::max_records).
    #[must_use]
    pub fn max_records(mut self, limit: u32) -> Self {
        self.max_records = Some(limit);
        self
    }

    /// See [`WorkerBuilder::idle_time`](crate::WorkerBuilder::idle_time).
    #[must_use]
    pub fn idle_time(mut self, time: Duration) -> Self {
        self.idle_time = Some(time);
        self
    }

    /// See [`WorkerBuilder::min_read_interval`](crate::WorkerBuilder::min_read_interval).
    #[must_use]
    pub fn min_read_interval(mut self, interval: Duration) -> Self {
        self.min_read_interval = Some(interval);
        self
    }

    /// See [`WorkerBuilder::prefetch_bytes_per_shard`](crate::WorkerBuilder::prefetch_bytes_per_shard).
    #[must_use]
    pub fn prefetch_bytes_per_shard(mut self, bytes: u64) -> Self {
        self.prefetch_bytes_per_shard = Some(bytes);
        self
    }

    /// See [`WorkerBuilder::deaggregate`](crate::WorkerBuilder::deaggregate).
    #[must_use]
    pub fn deaggregate(mut self, wanted: bool) -> Self {
        self.deaggregate = Some(wanted);
        self
    }

    pub(crate) fn stream(&self) -> Result<Stream, InvalidStream> {
        Stream::parse(&self.stream)
    }

    /// What is wrong with it, for a client of this region and a worker that reads its streams so.
    pub(crate) fn problems(&self, region: &str, of_worker: &RetrievalOptions) -> Vec<String> {
        let stream = match self.stream() {
            Ok(stream) => stream,
            Err(error) => return vec![format!("stream {error}")],
        };
        let retrieval = self.retrieval(of_worker).problems().into_iter();
        let mut problems: Vec<_> = retrieval
            .map(|problem| format!("stream {stream}: {problem}"))
            .collect();
        problems.extend(stream.problem_in(region));
        problems
    }

    /// How it is read by a worker that reads its streams so.
    pub(crate) fn retrieval(&self, of_worker: &RetrievalOptions) -> RetrievalOptions {
        let theirs = of_worker.clone();
        RetrievalOptions {
            initial_position: self.initial_position.unwrap_or(theirs.initial_position),
            fan_out: self.fan_out.clone().unwrap_or(theirs.fan_out),
            max_records: self.max_records.unwrap_or(theirs.max_records),
            idle_time: self.idle_time.unwrap_or(theirs.idle_time),
            min_read_interval: self.min_read_interval.unwrap_or(theirs.min_read_interval),
            prefetch_bytes_per_shard: self
                .prefetch_bytes_per_shard
                .unwrap_or(theirs.prefetch_bytes_per_shard),
            deaggregate: self.deaggregate.unwrap_or(theirs.deaggregate),
            ..theirs
        }
    }
}

impl From<&str> for TrackedStream {
    fn from(stream: &str) -> Self {
        Self::new(stream)
    }
}

impl From<String> for TrackedStream {
    fn from(stream: String) -> Self {
        Self::new(stream)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_stream_does_not_say_is_as_the_worker_has_it() {
        let of_worker = RetrievalOptions {
            max_records: 7,
            fan_out: Some(FanOut::default()),
            ..RetrievalOptions::default()
        };
        assert_eq!(TrackedStream::new("orders").retrieval(&of_worker), of_worker);
        let own = TrackedStream::new("orders")
            .initial_position(InitialPosition::Latest)
            .polling()
            .max_records(8)
            .idle_time(Duration::from_secs(2))
            .min_read_interval(Duration::from_millis(1))
            .prefetch_bytes_per_shard(9)
            .deaggregate(false)
            .retrieval(&of_worker);
        let expected = RetrievalOptions {
            initial_position: InitialPosition::Latest,
            fan_out: None,
            max_records: 8,
            idle_time: Duration::from_secs(2),
            min_read_interval: Duration::from_millis(1),
            prefetch_bytes_per_shard: 9,
            deaggregate: false,
            ..of_worker
        };
        assert_eq!(own, expected);
    }
}
