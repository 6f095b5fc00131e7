//! What a worker of several streams begins with.

use std::sync::Arc;

use futures_util::FutureExt as _;
use kcl_lease::Health;
use tokio::sync::watch;

use super::agenda::Named;
use super::pace::Pace;
use super::read_stream::ReadStream;
use crate::config::{OtherStream, ReadEncoding, Stream, StreamId, StreamTracker};
use crate::processor_error::ProcessorError;
use crate::stream::{LeaseKeys, StreamClient};

/// Several streams, as a worker was configured to read them.
#[derive(Clone)]
pub(crate) struct SeveralStreams {
    pub(crate) tracker: Arc<dyn StreamTracker>,
    pub(crate) kinesis: aws_sdk_kinesis::Client,
    /// The region that the client calls.
    pub(crate) region: String,
    pub(crate) encoding: ReadEncoding,
    pub(crate) policy: OtherStream,
    pub(crate) metrics: kcl_lease::Metrics,
    pub(crate) pace: Pace,
    /// As they were named last.
    pub(crate) named: watch::Sender<Arc<Vec<Named>>>,
}

impl SeveralStreams {
    pub(crate) fn new(
        tracker: Arc<dyn StreamTracker>,
        kinesis: aws_sdk_kinesis::Client,
        region: String,
        encoding: ReadEncoding,
        policy: OtherStream,
        metrics: kcl_lease::Metrics,
    ) -> Self {
        Self {
            tracker,
            kinesis,
            region,
            encoding,
            policy,
            metrics,
            pace: Pace::default(),
            named: watch::Sender::default(),
        }
    }

    /// As they were named last.
    pub(crate) fn names(&self) -> Vec<String> {
        let named = self.named.borrow();
        named.iter().map(|named| named.stream.to_string()).collect()
    }

    pub(crate) fn client(&self, stream: Stream) -> StreamClient {
        StreamClient::new(self.kinesis.clone(), stream)
            .reading_in(self.encoding)
            .counted_by(self.metrics.clone())
    }

    /// One of them, as it was named.
    pub(crate) fn read(&self, id: &StreamId, named: &Named) -> ReadStream {
        let stream = id.in_region(&self.region);
        let mut read = ReadStream::new(
            LeaseKeys::among_others(id.clone()),
            self.client(stream),
            self.policy,
            Health::default(),
            named.retrieval.clone(),
        );
        read.recognition.pace = Some(self.pace.clone());
        read
    }

    /// Asks the tracker, which may panic.
    pub(crate) async fn ask(&self) -> Result<Vec<crate::config::TrackedStream>, ProcessorError> {
        let asking = std::panic::AssertUnwindSafe(self.tracker.streams()).catch_unwind();
        match asking.await {
            Ok(answer) => answer,
            Err(panic) => Err(ProcessorError::from_panic(panic)),
        }
    }
}

impl std::fmt::Debug for SeveralStreams {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("SeveralStreams")
            .field("named", &self.named.borrow().len())
            .finish_non_exhaustive()
    }
}
