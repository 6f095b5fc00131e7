//! The consumer of the stream as which shards are subscribed to.

use std::sync::Arc;
use std::time::Duration;

use aws_sdk_kinesis::types::ConsumerStatus;
use kcl_lease::Environment;
use tokio::sync::Mutex;
use tokio::time::{Instant, sleep};

use super::client::StreamClient;
use crate::aws::{CallError, ErrorClass};
use crate::config::StreamConsumer;

/// A new consumer can be used after so long, usually within seconds.
const PATIENCE: Duration = Duration::from_secs(30);
const BETWEEN_LOOKS: Duration = Duration::from_secs(1);
/// All shards of a worker need it at once: what one of them was told, the others believe for so long.
const BELIEVED: Duration = Duration::from_secs(1);

/// Finds out the ARN of a consumer, and registers it if there is none of its name. Clones share what they know.
#[derive(Debug, Clone)]
pub(crate) struct ConsumerArn {
    stream: StreamClient,
    env: Environment,
    wanted: Wanted,
    known: Arc<Mutex<Known>>,
}

#[derive(Debug, Clone)]
enum Wanted {
    Name(String),
    Arn(String),
}

#[derive(Debug, Default)]
enum Known {
    #[default]
    Nothing,
    Arn(String),
    Failure(CallError, Instant),
}

/// What is known of a consumer by its name.
pub(super) struct Registered {
    pub(super) arn: String,
    pub(super) status: ConsumerStatus,
}

impl ConsumerArn {
    pub(crate) fn new(
        stream: StreamClient,
        env: Environment,
        consumer: &StreamConsumer,
        application: &str,
    ) -> Self {
        let wanted = match consumer {
            StreamConsumer::OfApplication => Wanted::Name(application.to_owned()),
            StreamConsumer::Name(name) => Wanted::Name(name.clone()),
            StreamConsumer::Arn(arn) => Wanted::Arn(arn.clone()),
        };
        Self {
            stream,
            env,
            wanted,
            known: Arc::default(),
        }
    }

    /// The ARN of a consumer that can be used.
    pub(crate) async fn get(&self) -> Result<String, CallError> {
        let name = match &self.wanted {
            Wanted::Arn(arn) => return Ok(arn.clone()),
            Wanted::Name(name) => name,
        };
        let mut known = self.known.lock().await;
        match &*known {
            Known::Arn(arn) => return Ok(arn.clone()),
            Known::Failure(error, at) if at.elapsed() < BELIEVED => return Err(error.clone()),
            Known::Nothing | Known::Failure(..) => {}
        }
        let found = self.find(name).await;
        *known = match &found {
            Ok(arn) => Known::Arn(arn.clone()),
            Err(error) => Known::Failure(error.clone(), Instant::now()),
        };
        found
    }

    /// Kinesis does not know the shard or the consumer. If it is the consumer, that is told: it was deregistered, or the stream was made
    /// anew. One that was named is registered again.
    pub(crate) async fn is_gone(&self, arn: &str) -> Result<Option<CallError>, CallError> {
        let registered = match &self.wanted {
            Wanted::Name(name) => {
                let stream_arn = self.stream.arn().await?;
                self.stream.registered(&stream_arn, name).await
            }
            Wanted::Arn(arn) => self.stream.registered_as(arn).await,
        };
        match registered {
            Ok(registered) if registered.arn == arn && registered.status != ConsumerStatus::Deleting => {
                return Ok(None);
            }
            Err(error) if error.class != ErrorClass::NotFound => return Err(error),
            Ok(_) | Err(_) => {}
        }
        let mut known = self.known.lock().await;
        if matches!(&*known, Known::Arn(known) if known == arn) {
            *known = Known::Nothing;
        }
        let class = match &self.wanted {
            Wanted::Name(_) => ErrorClass::Transient,
            Wanted::Arn(_) => ErrorClass::Other,
        };
        let text = format!("the consumer {arn} is no longer registered");
        Ok(Some(CallError::new(class, "SubscribeToShard", text)))
    }

    async fn find(&self, name: &str) -> Result<String, CallError> {
        let stream_arn = self.stream.arn().await?;
        let since = Instant::now();
        let mut is_registered = false;
        loop {
            let found = match self.stream.registered(&stream_arn, name).await {
                Ok(found) => Some(found),
                Err(error) if error.class == ErrorClass::NotFound => None,
                Err(error) => return Err(error),
            };
            match found {
                Some(Registered {
                    arn,
                    status: ConsumerStatus::Active,
                }) => return Ok(arn),
                Some(_) => {}
                None if is_registered => {}
                None => match self.stream.register(&stream_arn, name).await {
                    Ok(()) => {
                        tracing::info!(consumer = name, stream = %stream_arn, "registered as a consumer of the stream");
                        is_registered = true;
                    }
                    // Another worker was quicker.
                    Err(error) if error.class == ErrorClass::InUse => {}
                    Err(error) => return Err(error),
                },
            }
            if since.elapsed() >= PATIENCE {
                let text = format!("the consumer {name} is not active after {PATIENCE:?}");
                return Err(CallError::new(
                    ErrorClass::Transient,
                    "DescribeStreamConsumer",
                    text,
                ));
            }
            // Five calls per second are allowed for each stream, and all workers start together.
            sleep(self.env.jittered(BETWEEN_LOOKS, 0.5)).await;
        }
    }
}
