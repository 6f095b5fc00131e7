//! Back into a stream.

use std::fmt;

use async_trait::async_trait;
use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use kcl_lease::Environment;

use super::super::letter::DeadLetter;
use super::super::patience::{PATIENCE, Patience};
use super::destination::Destination;
use crate::config::Stream;
use crate::processor_error::ProcessorError;
use crate::stream::ended;

/// Puts the records of dead letters into a stream: that from which they came, or another one.
///
/// A record goes back under its partition key, and its explicit hash key if that is known, and so to the end of the shard that
/// has these keys now. A user record of an aggregate goes back as a plain record. It needs the permission `kinesis:PutRecord`.
///
/// ```no_run
/// # async fn example(aws: &aws_config::SdkConfig) -> Result<(), Box<dyn std::error::Error>> {
/// use kcl_core::Stream;
/// use kcl_core::dead_letters::{JsonLines, Redrive, ToStream};
///
/// let mut letters = JsonLines::new("dead-letters.jsonl").letters();
/// let mut stream = ToStream::new(aws_sdk_kinesis::Client::new(aws), Stream::parse("orders")?);
/// let told = Redrive::new().run(&mut letters, &mut stream).await?;
/// println!("{} records are in the stream again", told.done);
/// # Ok(())
/// # }
/// ```
pub struct ToStream {
    client: Client,
    stream: Stream,
    env: Environment,
}

impl ToStream {
    /// Into this stream.
    pub fn new(client: Client, stream: Stream) -> Self {
        Self {
            client,
            stream,
            env: Environment::system(),
        }
    }

    /// Where chance for the pauses between attempts comes from. Default: the machine.
    #[must_use]
    pub fn environment(mut self, env: Environment) -> Self {
        self.env = env;
        self
    }
}

#[async_trait]
impl Destination for ToStream {
    async fn put(&mut self, letter: &DeadLetter) -> Result<(), ProcessorError> {
        let request = self.client.put_record();
        let request = request
            .set_stream_name(self.stream.request_name())
            .set_stream_arn(self.stream.request_arn())
            .set_partition_key(Some(letter.partition_key.clone()).filter(|key| !key.is_empty()))
            .set_explicit_hash_key(letter.explicit_hash_key.clone())
            .data(Blob::new(letter.data.as_ref()));
        let mut patience = Patience::new(&self.env);
        while let Err(error) = ended("PutRecord", PATIENCE, request.clone().send()).await {
            patience.after(error).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for ToStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ToStream")
            .field("stream", &self.stream)
            .finish_non_exhaustive()
    }
}
