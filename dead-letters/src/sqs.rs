//! Dead letters in an SQS queue.

use std::fmt;
use std::time::Duration;

use async_trait::async_trait;
use aws_sdk_sqs::Client;
use aws_sdk_sqs::error::DisplayErrorContext;
use aws_sdk_sqs::types::{BatchResultErrorEntry, SendMessageBatchRequestEntry};
use kcl_core::Environment;
use kcl_core::dead_letters::{DeadLetter, DeadLetterError, DeadLetters};
use tokio::time::{Instant, sleep, timeout};

/// What one request takes.
/// <https://docs.aws.amazon.com/AWSSimpleQueueService/latest/APIReference/API_SendMessageBatch.html>
const MOST_MESSAGES: usize = 10;
/// What a message may have, and those of a request together.
const MOST_BYTES: usize = 1 << 20;
/// Characters of a deduplication id.
const LONGEST_ID: usize = 128;

/// For how long messages are sent again that a queue did not take.
const PATIENCE: Duration = Duration::from_secs(10);
const FIRST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// Keeps dead letters in an SQS queue, for as long as that retains messages. A message's body is the JSON of one letter.
///
/// SQS takes messages of 1 MiB, which is a record of some 780 KB; older endpoints, and queues that were told so, take less:
/// tell it by [`max_message_bytes`](Self::max_message_bytes).
///
/// In a FIFO queue (its URL ends with `.fifo`) the letters of a shard are a message group, and a letter that is sent again within
/// five minutes is dropped. It needs the permission `sqs:SendMessage`.
///
/// ```no_run
/// # async fn example(client: aws_sdk_sqs::Client) {
/// let queue = "https://sqs.eu-west-1.amazonaws.com/123456789012/orders-dead-letters";
/// let sink = kcl_dead_letters::SqsDeadLetters::new(client, queue);
/// # }
/// ```
#[derive(Clone)]
pub struct SqsDeadLetters {
    client: Client,
    queue_url: String,
    env: Environment,
    max_message_bytes: usize,
}

/// A message as it is sent.
#[derive(Debug)]
struct Message {
    /// The letter's.
    id: String,
    shard_id: String,
    body: String,
}

impl SqsDeadLetters {
    /// In the queue with this URL, which must be there.
    pub fn new(client: Client, queue_url: impl Into<String>) -> Self {
        Self {
            client,
            queue_url: queue_url.into(),
            env: Environment::system(),
            max_message_bytes: MOST_BYTES,
        }
    }

    /// The largest message that the queue takes, and all messages of a request together. Default: 1 MiB.
    #[must_use]
    pub fn max_message_bytes(mut self, bytes: usize) -> Self {
        self.max_message_bytes = bytes.min(MOST_BYTES);
        self
    }

    /// Where chance for the pauses between attempts comes from. Default: the machine.
    #[must_use]
    pub fn environment(mut self, env: Environment) -> Self {
        self.env = env;
        self
    }

    fn failed(&self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> DeadLetterError {
        DeadLetterError::failed(format!("the queue {}", self.queue_url), source)
    }

    fn message(&self, letter: &DeadLetter) -> Result<Message, DeadLetterError> {
        let json = letter.to_json().map_err(|error| self.failed(error))?;
        let json = String::from_utf8(json).map_err(|error| self.failed(error))?;
        // SQS takes all characters but these; elsewhere than in a text JSON has none of them.
        let body = json.replace('\u{fffe}', "\\ufffe").replace('\u{ffff}', "\\uffff");
        if body.len() > self.max_message_bytes {
            return Err(DeadLetterError::TooLarge {
                id: letter.id().to_owned(),
                bytes: body.len(),
                limit: self.max_message_bytes,
                place: format!("the queue {}", self.queue_url),
            });
        }
        Ok(Message {
            id: letter.id().to_owned(),
            shard_id: letter.shard_id.clone(),
            body,
        })
    }

    /// Sends what fits into one request, and what of it is refused once more.
    async fn send(&self, mut left: Vec<Message>) -> Result<(), DeadLetterError> {
        let deadline = Instant::now() + PATIENCE;
        let mut pause = FIRST_PAUSE;
        loop {
            let Some(refusal) = self.attempt(&mut left).await? else {
                return Ok(());
            };
            let jittered = self.env.jittered(pause, 0.5);
            if refusal.sender_fault() || Instant::now() + jittered > deadline {
                let message = refusal.message().unwrap_or_default();
                return Err(self.failed(format!(
                    "{} letters were refused: {}: {message}",
                    left.len(),
                    refusal.code()
                )));
            }
            sleep(jittered).await;
            pause = (pause * 2).min(LONGEST_PAUSE);
        }
    }

    /// Sends these, and leaves those that did not arrive. Why one did not: rather one that never will.
    async fn attempt(
        &self,
        left: &mut Vec<Message>,
    ) -> Result<Option<BatchResultErrorEntry>, DeadLetterError> {
        let entries = left.iter().enumerate().map(|(index, message)| {
            let entry = SendMessageBatchRequestEntry::builder()
                .id(index.to_string())
                .message_body(&message.body);
            let entry = match self.queue_url.ends_with(".fifo") {
                true => entry
                    .message_group_id(&message.shard_id)
                    .message_deduplication_id(end_of(&message.id)),
                false => entry,
            };
            entry.build().map_err(|error| self.failed(error))
        });
        let request = self
            .client
            .send_message_batch()
            .queue_url(&self.queue_url)
            .set_entries(Some(entries.collect::<Result<_, _>>()?));
        let Ok(answer) = timeout(PATIENCE, request.send()).await else {
            return Err(self.failed(format!("no answer within {PATIENCE:?}")));
        };
        // The SDK has repeated what may pass.
        let answer = answer.map_err(|error| self.failed(DisplayErrorContext(error).to_string()))?;
        let mut index = 0;
        left.retain(|_| {
            let id = index.to_string();
            index += 1;
            !answer.successful().iter().any(|sent| sent.id() == id)
        });
        if left.is_empty() {
            return Ok(None);
        }
        let mut refusals = answer.failed;
        refusals.sort_by_key(|refusal| !refusal.sender_fault());
        let unanswered = "some letters were not answered";
        let refusal = refusals.into_iter().next();
        Ok(Some(refusal.ok_or_else(|| self.failed(unanswered))?))
    }
}

/// In the same order, as much in each request as it takes.
fn requests(messages: Vec<Message>, most_bytes: usize) -> Vec<Vec<Message>> {
    let mut requests: Vec<Vec<Message>> = Vec::new();
    let mut filled = 0;
    for message in messages {
        let bytes = message.body.len();
        match requests.last_mut() {
            Some(request) if request.len() < MOST_MESSAGES && filled + bytes <= most_bytes => {
                request.push(message);
                filled += bytes;
            }
            _ => {
                requests.push(vec![message]);
                filled = bytes;
            }
        }
    }
    requests
}

/// The end of an id, which tells more than its beginning.
fn end_of(id: &str) -> &str {
    let cut = id.char_indices().rev().nth(LONGEST_ID - 1);
    cut.map_or(id, |(at, _)| &id[at..])
}

#[async_trait]
impl DeadLetters for SqsDeadLetters {
    async fn write(&self, letters: &[DeadLetter]) -> Result<(), DeadLetterError> {
        let messages = letters.iter().map(|letter| self.message(letter));
        for request in requests(messages.collect::<Result<_, _>>()?, self.max_message_bytes) {
            self.send(request).await?;
        }
        Ok(())
    }
}

impl fmt::Debug for SqsDeadLetters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SqsDeadLetters")
            .field("queue_url", &self.queue_url)
            .field("max_message_bytes", &self.max_message_bytes)
            .finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
