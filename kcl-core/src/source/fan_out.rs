//! Has the records of a shard pushed with `SubscribeToShard`.

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use kcl_lease::{Environment, SequenceNumber};
use tokio::time::{Instant, sleep, sleep_until};

use super::feed::{Feed, Page, Pause, Room};
use super::oldest::oldest;
use crate::aws::{CallError, ErrorClass};
use crate::config::ShardId;
use crate::memory::Wish;
use crate::record::Record;
use crate::stream::{Answer, ConsumerArn, StartingPosition, StreamClient, SubscribeFrom, Subscription};

/// For so long after a subscription began Kinesis refuses the next one of the same consumer to the same shard.
const EXCLUSIVE: Duration = Duration::from_secs(5);
/// A subscription that another one keeps is asked for again at such intervals, and so long without a word: whoever had the shard before
/// may have subscribed just before it died.
const BETWEEN_TRIES: Duration = Duration::from_millis(500);
const IN_USE_PATIENCE: Duration = Duration::from_secs(10);
/// What a subscription told last is gone on with for so long. After that it is proved once more that nothing was trimmed.
const RENEWABLE: Duration = Duration::from_secs(300);
/// A subscription whose events nobody takes is given up after so long. Many of them share a connection, and what is on its way to one
/// may keep the others from theirs.
const PATIENCE: Duration = Duration::from_secs(5);
/// An answer of `GetRecords` is waited for so long.
const READ: Duration = Duration::from_secs(10);
/// What an event without records takes.
const SMALL: u64 = 1 << 10;
const FIRST_THROTTLED: Duration = Duration::from_secs(1);
const LONGEST_THROTTLED: Duration = Duration::from_secs(10);

/// One shard, subscribed to.
#[derive(Debug)]
pub(crate) struct FanOut {
    shard: ShardId,
    stream: StreamClient,
    consumer: ConsumerArn,
    env: Environment,
    /// As whom it subscribed last.
    arn: Option<String>,
    /// Where it goes on; `None` while it is closed.
    from: Option<SubscribeFrom>,
    subscription: Option<Subscription>,
    /// Whether it brought an event that could be read.
    has_understood: bool,
    /// The size of the event that begins to come.
    announced: Option<usize>,
    /// When the last subscription began.
    subscribed: Option<Instant>,
    /// When it last said something.
    heard: Option<Instant>,
    /// What a record takes.
    per_record: Option<u64>,
    throttled: Duration,
}

impl FanOut {
    pub(crate) fn new(shard: ShardId, stream: StreamClient, consumer: ConsumerArn, env: Environment) -> Self {
        Self {
            shard,
            stream,
            consumer,
            env,
            arn: None,
            from: None,
            subscription: None,
            has_understood: false,
            announced: None,
            subscribed: None,
            heard: None,
            per_record: None,
            throttled: FIRST_THROTTLED,
        }
    }

    fn hang_up(&mut self) {
        self.subscription = None;
        self.announced = None;
    }

    /// What the failure of a subscription means.
    async fn broken(&mut self, error: CallError) -> CallError {
        if !self.has_understood {
            self.stream.nothing_was_understood();
        }
        self.hang_up();
        self.refused(error).await
    }

    /// Goes on behind what the last subscription brought, as the five minutes of one are over, or as it broke off.
    async fn renew(&mut self) -> Result<(), CallError> {
        let is_fresh = self.heard.is_some_and(|heard| heard.elapsed() < RENEWABLE);
        // The latest record is another one by now.
        let is_fixed = |from: &SubscribeFrom| *from != SubscribeFrom::Position(StartingPosition::Latest);
        let Some(from) = self.from.clone().filter(|from| is_fresh && is_fixed(from)) else {
            self.close();
            return Err(CallError::new(
                ErrorClass::Expired,
                "SubscribeToShard",
                "the subscription is too old",
            ));
        };
        self.subscribe(from).await.map(|_| ())
    }

    /// Tells the time at the service, if the service told it.
    async fn subscribe(&mut self, from: SubscribeFrom) -> Result<Option<SystemTime>, CallError> {
        self.hang_up();
        let arn = self.consumer.get().await?;
        self.arn = Some(arn.clone());
        if let Some(last) = self.subscribed {
            sleep_until(last + EXCLUSIVE).await;
        }
        let since = Instant::now();
        let error = loop {
            match self.stream.subscribe(&arn, &self.shard, &from).await {
                Ok((subscription, answered_at)) => {
                    tracing::debug!(shard = %self.shard, ?from, "subscribed");
                    self.subscription = Some(subscription);
                    self.has_understood = false;
                    self.subscribed = Some(Instant::now());
                    self.heard = self.subscribed;
                    self.from = Some(from);
                    self.throttled = FIRST_THROTTLED;
                    return Ok(answered_at);
                }
                Err(error) if error.class == ErrorClass::InUse && since.elapsed() < IN_USE_PATIENCE => {
                    sleep(self.env.jittered(BETWEEN_TRIES, 0.5)).await;
                }
                Err(error) => break error,
            }
        };
        Err(self.refused(error).await)
    }

    /// What a refusal means. A consumer that is gone is not a shard that is gone; where the place is refused, it is the reader's to
    /// name another.
    async fn refused(&mut self, error: CallError) -> CallError {
        let is_of_the_place = matches!(error.class, ErrorClass::InvalidArgument | ErrorClass::NotFound);
        if is_of_the_place {
            self.close();
        }
        let Some(arn) = self.arn.as_ref().filter(|_| error.class == ErrorClass::NotFound) else {
            return error;
        };
        match self.consumer.is_gone(arn).await {
            // Of a shard that is gone the listing tells.
            Ok(None) => error,
            Err(unknown) if unknown.class == ErrorClass::AccessDenied => error,
            Ok(Some(told)) | Err(told) => told,
        }
    }

    /// What an event says, as a page.
    async fn page(&mut self, answer: Answer) -> Result<Page, CallError> {
        let Answer {
            records,
            next,
            millis_behind_latest,
            children,
            block,
        } = answer;
        let has_ended = next.is_none() && (!children.is_empty() || self.is_closed().await?);
        let last = records
            .last()
            .map(|record| record.sequence_number().as_str().to_owned());
        if let Some(behind) = next.or(last) {
            self.from = Some(SubscribeFrom::Behind(behind));
        }
        let weight: u64 = records.iter().map(Record::weight).sum();
        if let Some(average) = weight.checked_div(records.len() as u64) {
            let known = self.per_record.unwrap_or(average);
            self.per_record = Some(average.max(known - known / 8));
        }
        Ok(Page {
            records,
            millis_behind_latest,
            end: has_ended.then_some(children),
            block,
            pause: Pause::default(),
        })
    }

    /// Whether the shard is closed, of which an event seems to be the last, though it names nothing that follows. Some servers leave
    /// out where a subscription continues for other reasons.
    async fn is_closed(&self) -> Result<bool, CallError> {
        let graph = self.stream.list_shards(None).await?;
        Ok(graph
            .get(&self.shard)
            .is_some_and(|shard| shard.ends_at.is_some()))
    }
}

#[async_trait]
impl Feed for FanOut {
    fn is_open(&self) -> bool {
        self.from.is_some()
    }

    async fn ready(&mut self) -> Result<(), CallError> {
        while self.announced.is_none() {
            let Some(subscription) = &mut self.subscription else {
                self.renew().await?;
                continue;
            };
            match subscription.announced().await {
                Ok(Some(bytes)) => {
                    self.announced = Some(bytes);
                    self.heard = Some(Instant::now());
                }
                Ok(None) => {
                    tracing::debug!(shard = %self.shard, "the subscription is over");
                    self.hang_up();
                }
                Err(error) => return Err(self.broken(error).await),
            }
        }
        Ok(())
    }

    fn patience(&self) -> Option<Duration> {
        self.subscription.as_ref().map(|_| PATIENCE)
    }

    fn rest(&mut self) {
        self.hang_up();
    }

    async fn open(&mut self, at: &StartingPosition) -> Result<Option<SystemTime>, CallError> {
        self.subscribe(SubscribeFrom::Position(at.clone())).await
    }

    fn close(&mut self) {
        self.hang_up();
        self.from = None;
    }

    async fn next(&mut self, _: Room) -> Result<Page, CallError> {
        let Some(subscription) = self.subscription.as_mut().filter(|_| self.announced.is_some()) else {
            return Ok(Page::default());
        };
        let event = subscription.event().await;
        self.announced = None;
        let page = match event {
            Ok(Some(Some(answer))) => {
                self.has_understood = true;
                self.stream.event_was_understood(&answer);
                self.page(answer).await
            }
            Ok(Some(None) | None) => Ok(Page::default()),
            Err(error) => Err(error),
        };
        match page {
            Ok(page) => Ok(page),
            Err(error) => Err(self.broken(error).await),
        }
    }

    fn wish(&self, _: Option<u64>) -> Wish {
        let bytes = self.announced.map_or(SMALL, |bytes| bytes as u64);
        Wish {
            // Short records take more than their text.
            most: (bytes * 2).max(SMALL),
            least: bytes.max(SMALL),
            is_guess: false,
        }
    }

    fn usual_record(&self) -> Option<u64> {
        self.per_record
    }

    fn throttled(&mut self) -> Duration {
        let pause = self.throttled;
        self.throttled = (pause * 2).min(LONGEST_THROTTLED);
        pause
    }

    async fn oldest(&self) -> Result<Option<SequenceNumber>, CallError> {
        oldest(&self.stream, &self.shard, READ).await
    }
}
