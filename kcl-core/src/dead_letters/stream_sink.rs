//! Dead letters in another Kinesis stream.

use std::fmt;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kcl_lease::Environment;

use super::letter::DeadLetter;
use super::patience::{PATIENCE, Patience};
use super::sink::{DeadLetterError, DeadLetters};
use crate::aws::{CallError, ErrorClass};
use crate::config::Stream;
use crate::stream::ended;

/// What one request takes.
/// <https://docs.aws.amazon.com/kinesis/latest/APIReference/API_PutRecords.html>
const MOST_RECORDS: usize = 500;
const MOST_BYTES: usize = 10 << 20;
/// Characters that a partition key may have.
const LONGEST_KEY: usize = 256;

/// Keeps dead letters in another Kinesis stream, for as long as that retains its records. Each record's data is the JSON of a
/// letter, and its partition key that of the record that was given up.
///
/// A letter has a third more bytes than its record, and some 600 more. A stream takes records of 1 MiB unless it was told to
/// take more, up to 10 MiB: tell it so, and [`max_record_bytes`](Self::max_record_bytes), if dead records may be larger than some
/// 780 KB.
///
/// What the stream throttles is repeated for ten seconds before the write fails. It needs the permission `kinesis:PutRecords`.
///
/// ```no_run
/// # async fn example(aws: &aws_config::SdkConfig) -> Result<(), Box<dyn std::error::Error>> {
/// use kcl_core::Stream;
/// use kcl_core::dead_letters::StreamDeadLetters;
///
/// let client = aws_sdk_kinesis::Client::new(aws);
/// let sink = StreamDeadLetters::new(client, Stream::parse("orders-dead-letters")?);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct StreamDeadLetters {
    client: Client,
    stream: Stream,
    env: Environment,
    max_record_bytes: usize,
}

impl StreamDeadLetters {
    /// In this stream, which must be there.
    pub fn new(client: Client, stream: Stream) -> Self {
        Self {
            client,
            stream,
            env: Environment::system(),
            max_record_bytes: 1 << 20,
        }
    }

    /// The largest record that the stream takes, partition key included. Default: 1 MiB, as a stream's that was told nothing else.
    #[must_use]
    pub fn max_record_bytes(mut self, bytes: usize) -> Self {
        self.max_record_bytes = bytes.min(MOST_BYTES);
        self
    }

    /// Where chance for the pauses between attempts comes from. Default: the machine.
    #[must_use]
    pub fn environment(mut self, env: Environment) -> Self {
        self.env = env;
        self
    }

    fn place(&self) -> String {
        format!("the stream {}", self.stream)
    }

    fn entry(&self, letter: &DeadLetter) -> Result<Entry, DeadLetterError> {
        let data = letter.to_json();
        let data = data.map_err(|error| DeadLetterError::failed(self.place(), error))?;
        let given = match letter.partition_key.as_str() {
            "" => letter.id(),
            given => given,
        };
        let key: String = given.chars().take(LONGEST_KEY).collect();
        let bytes = data.len() + key.len();
        if bytes > self.max_record_bytes {
            return Err(DeadLetterError::TooLarge {
                id: letter.id().to_owned(),
                bytes,
                limit: self.max_record_bytes,
                place: self.place(),
            });
        }
        let entry = PutRecordsRequestEntry::builder()
            .data(Blob::new(data))
            .partition_key(key)
            .build();
        let entry = entry.map_err(|error| DeadLetterError::failed(self.place(), error))?;
        Ok(Entry { entry, bytes })
    }

    /// Puts what fits into one request, and what of it is refused once more.
    async fn put(&self, mut left: Vec<PutRecordsRequestEntry>) -> Result<(), DeadLetterError> {
        let mut patience = Patience::new(&self.env);
        while let Err(error) = self.attempt(&mut left).await {
            let over = patience.after(error).await;
            over.map_err(|error| DeadLetterError::failed(self.place(), error))?;
        }
        Ok(())
    }

    /// Puts these, and leaves those that were refused.
    async fn attempt(&self, left: &mut Vec<PutRecordsRequestEntry>) -> Result<(), CallError> {
        let request = self.client.put_records();
        let request = request
            .set_stream_name(self.stream.request_name())
            .set_stream_arn(self.stream.request_arn())
            .set_records(Some(left.clone()));
        let answer = ended("PutRecords", PATIENCE, request.send()).await?;
        if answer.records().len() != left.len() {
            let text = format!(
                "{} of {} records were answered",
                answer.records().len(),
                left.len()
            );
            return Err(CallError::new(ErrorClass::Other, "PutRecords", text));
        }
        let mut refused = None;
        let mut results = answer.records().iter();
        left.retain(|_| {
            let result = results.next();
            let is_stored =
                result.is_some_and(|it| it.sequence_number().is_some() && it.error_code().is_none());
            if !is_stored {
                refused = result;
            }
            !is_stored
        });
        match refused {
            None => Ok(()),
            Some(result) => {
                let code = result.error_code().unwrap_or("InternalFailure");
                Err(CallError::of_code("PutRecords", code, result.error_message()))
            }
        }
    }
}

/// A letter as it is put.
#[derive(Debug)]
struct Entry {
    entry: PutRecordsRequestEntry,
    bytes: usize,
}

/// In the same order, as much in each request as it takes.
fn requests(entries: Vec<Entry>) -> Vec<Vec<PutRecordsRequestEntry>> {
    let mut requests = Vec::new();
    let (mut request, mut filled) = (Vec::new(), 0);
    for Entry { entry, bytes } in entries {
        if request.len() == MOST_RECORDS || filled + bytes > MOST_BYTES {
            requests.push(std::mem::take(&mut request));
            filled = 0;
        }
        request.push(entry);
        filled += bytes;
    }
    requests.push(request);
    requests.retain(|request| !request.is_empty());
    requests
}

#[async_trait]
impl DeadLetters for StreamDeadLetters {
    async fn write(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        let entries = letters.iter().map(|letter| self.entry(letter));
        for request in requests(entries.collect::<Result<_, _>>()?) {
            self.put(request).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for StreamDeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("StreamDeadLetters")
            .field("stream", &self.stream)
            .field("max_record_bytes", &self.max_record_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sizes(bytes: impl IntoIterator<Item = usize>) -> Vec<usize> {
        let entry = |bytes| {
            let built = PutRecordsRequestEntry::builder().data(Blob::new("x")).build();
            let entry = built.expect("complete");
            Entry { entry, bytes }
        };
        let entries = bytes.into_iter().map(entry).collect();
        requests(entries).iter().map(Vec::len).collect()
    }

    #[test]
    fn a_request_has_as_many_letters_as_the_service_takes() {
        assert_eq!(sizes([]), [0; 0]);
        assert_eq!(sizes([1; 500]), [500]);
        assert_eq!(sizes([1; 1001]), [500, 500, 1]);
        assert_eq!(sizes([5 << 20, 5 << 20, 1]), [2, 1]);
        assert_eq!(sizes([10 << 20, 10 << 20]), [1, 1]);
    }
}
