//! Polls a shard with `GetRecords`.

pub(crate) mod appetite;
mod pace;

use std::time::{Duration, SystemTime};

use async_trait::async_trait;
use kcl_lease::SequenceNumber;
use tokio::time::Instant;

use self::appetite::{Appetite, Volume};
use self::pace::{Found, Pace};
use super::feed::{Feed, Page, Room};
use super::oldest::oldest;
use crate::aws::{CallError, ErrorClass};
use crate::config::{RetrievalOptions, ShardId};
use crate::memory::Wish;
use crate::record::Record;
use crate::stream::{Answer, StartingPosition, StreamClient};

/// One shard, polled.
#[derive(Debug)]
pub(crate) struct Polling {
    shard: ShardId,
    stream: StreamClient,
    appetite: Appetite,
    pace: Pace,
    iterator: Option<String>,
}

impl Polling {
    pub(crate) fn new(shard: ShardId, stream: StreamClient, options: &RetrievalOptions) -> Self {
        Self {
            shard,
            stream,
            appetite: Appetite::new(options.max_records),
            pace: Pace::new(options.min_read_interval, options.idle_time),
            iterator: None,
        }
    }

    /// Makes the call, and learns from it how large the next one should be.
    async fn ask(&mut self, iterator: &str, limit: u32) -> Result<Answer, CallError> {
        let (asked, bound) = (Instant::now(), self.appetite.bound());
        let result = self.stream.records(iterator, limit, bound).await;
        let took = asked.elapsed();
        match &result {
            Ok(answer) => {
                let weights = answer.records.iter().map(Record::weight);
                let found = Volume {
                    records: answer.records.len() as u64,
                    bytes: weights.sum(),
                    is_behind: answer.millis_behind_latest.is_some_and(|millis| millis > 0),
                };
                self.appetite.answered(limit, found, took);
            }
            Err(_) if took >= bound => {
                self.appetite.timed_out(limit);
                tracing::debug!(shard = %self.shard, limit, ?bound, "a read was not answered in time; asking for less");
            }
            Err(error) => {
                if refuses_iterator(error.class) {
                    self.iterator = None;
                }
            }
        }
        result
    }
}

/// Whether nothing more can be read with the iterator that was used.
fn refuses_iterator(class: ErrorClass) -> bool {
    matches!(
        class,
        ErrorClass::Expired | ErrorClass::InvalidArgument | ErrorClass::NotFound
    )
}

#[async_trait]
impl Feed for Polling {
    fn is_open(&self) -> bool {
        self.iterator.is_some()
    }

    async fn ready(&mut self) -> Result<(), CallError> {
        Ok(())
    }

    fn patience(&self) -> Option<Duration> {
        None
    }

    fn rest(&mut self) {}

    async fn open(&mut self, at: &StartingPosition) -> Result<Option<SystemTime>, CallError> {
        let (iterator, answered_at) = self.stream.shard_iterator(&self.shard, at).await?;
        self.iterator = Some(iterator);
        Ok(answered_at)
    }

    fn close(&mut self) {
        self.iterator = None;
    }

    async fn next(&mut self, room: Room) -> Result<Page, CallError> {
        let Some(iterator) = self.iterator.clone() else {
            return Err(CallError::new(
                ErrorClass::Expired,
                "GetRecords",
                "there is no shard iterator",
            ));
        };
        let limit = self.appetite.limit(room);
        let answer = self.ask(&iterator, limit).await?;
        let Answer {
            records,
            next,
            millis_behind_latest,
            children,
            block,
        } = answer;
        let end = next.is_none().then_some(children);
        self.iterator = next;
        let pause = self.pace.after(Found {
            records: records.len(),
            bytes: records.iter().map(Record::size).sum(),
            millis_behind_latest,
        });
        Ok(Page {
            records,
            millis_behind_latest,
            end,
            block,
            pause,
        })
    }

    fn wish(&self, usual_record: Option<u64>) -> Wish {
        self.appetite.wish(usual_record)
    }

    fn usual_record(&self) -> Option<u64> {
        self.appetite.per_record()
    }

    fn throttled(&mut self) -> Duration {
        self.pace.throttled()
    }

    async fn oldest(&self) -> Result<Option<SequenceNumber>, CallError> {
        oldest(&self.stream, &self.shard, self.appetite.bound()).await
    }
}
