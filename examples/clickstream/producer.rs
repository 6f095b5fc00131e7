//! Writes the events of a source into the stream, in the order of each key.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::error::ProvideErrorMetadata as _;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use tokio::time::sleep;

use crate::ledger::Receipt;
use crate::source::{Oddities, Source};
use crate::stage::Stage;
use crate::stamp::Stamp;
use crate::window::{Entry, Window};
use crate::{AnyError, chain};

/// How long to wait when nothing is due.
const NAP: Duration = Duration::from_millis(20);
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(2);
/// After so many requests in a row of which nothing was taken the producer gives up: about a minute.
const ATTEMPTS: u32 = 35;
/// Of failures in a row, every so many is told.
const TOLD_EVERY: u32 = 8;

/// How fast events are written.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(crate) enum Pace {
    /// Events per second.
    Rate(f64),
    /// The whole source in this time.
    Spread(Duration),
}

impl Pace {
    /// Whether the next event is due: `count` events were read, which is this share of the source.
    fn allows(self, count: u64, share: Option<f64>, elapsed: Duration) -> bool {
        match self {
            Self::Rate(rate) => (count as f64) < rate * elapsed.as_secs_f64(),
            Self::Spread(time) => {
                share.is_none_or(|share| share <= elapsed.as_secs_f64() / time.as_secs_f64())
            }
        }
    }
}

/// What came of it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Production {
    pub(crate) source: String,
    pub(crate) oddities: Oddities,
    /// How long it took.
    pub(crate) time: Duration,
    /// Records that were refused at first.
    pub(crate) retried: u64,
}

pub(crate) struct Producer {
    pub(crate) kinesis: Client,
    pub(crate) stream: String,
    pub(crate) stage: Arc<Stage>,
    pub(crate) pace: Pace,
    /// Ends the production early.
    pub(crate) stop: Arc<AtomicBool>,
}

impl Producer {
    /// Writes until the source ends. `progress` is told how much of it was read.
    pub(crate) async fn run(
        &self,
        mut source: Source,
        progress: impl Fn(f64),
    ) -> Result<Production, AnyError> {
        let began = self.stage.now();
        let (mut window, mut count, mut retried, mut failures) = (Window::default(), 0, 0, 0);
        let mut is_exhausted = false;
        loop {
            if self.stop.load(Ordering::Relaxed) {
                // What was not put does not count.
                is_exhausted = true;
                window = Window::default();
            }
            let mut is_early = false;
            while !is_exhausted && !is_early && !window.is_full() {
                if !self
                    .pace
                    .allows(count, source.progress(), self.stage.now() - began)
                {
                    is_early = true;
                    continue;
                }
                match source.next().await? {
                    Some(event) => {
                        let counter = self.stage.books().ledger.issue(&event.key);
                        let data = Stamp {
                            run: self.stage.run,
                            counter,
                        }
                        .seal(&event.payload);
                        window.push(Entry {
                            key: event.key,
                            counter,
                            data,
                        });
                        count += 1;
                    }
                    None => is_exhausted = true,
                }
            }
            if let Some(share) = source.progress() {
                progress(share);
            }
            if window.is_empty() {
                if is_exhausted {
                    break;
                }
                sleep(NAP).await;
                continue;
            }
            let batch = window.take();
            let size = batch.len();
            let refused = self.put(batch, failures % TOLD_EVERY == 0).await?;
            failures = if refused.len() < size { 0 } else { failures + 1 };
            if failures >= ATTEMPTS {
                return Err(format!("{} takes no records; is it throttled or gone?", self.stream).into());
            }
            if refused.is_empty() {
                if is_early {
                    sleep(NAP).await;
                }
            } else {
                retried += refused.len() as u64;
                window.put_back(refused);
                sleep((FIRST_PAUSE * 2_u32.saturating_pow(failures)).min(LONGEST_PAUSE)).await;
            }
        }
        Ok(Production {
            source: source.name(),
            oddities: source.oddities(),
            time: self.stage.now() - began,
            retried,
        })
    }

    /// Puts records of different keys; returns those that were refused.
    async fn put(&self, batch: Vec<Entry>, tells: bool) -> Result<Vec<Entry>, AnyError> {
        let records = batch.iter().map(|entry| {
            let record = PutRecordsRequestEntry::builder().partition_key(entry.key.as_str());
            record.data(Blob::new(entry.data.clone())).build()
        });
        let records = records.collect::<Result<Vec<_>, _>>()?;
        let request = self.kinesis.put_records();
        let request = if self.stream.starts_with("arn:") {
            request.stream_arn(&self.stream)
        } else {
            request.stream_name(&self.stream)
        };
        let answer = match request.set_records(Some(records)).send().await {
            Ok(answer) => answer,
            Err(error) => {
                let text = format!("cannot put records: {}", chain(&error));
                let is_final = error
                    .as_service_error()
                    .is_some_and(|service| is_final(service.code()));
                if is_final {
                    return Err(text.into());
                }
                if tells {
                    self.stage.tell(&format!("{text}; trying again"));
                }
                return Ok(batch);
            }
        };
        let mut refused = Vec::new();
        let mut books = self.stage.books();
        for (entry, result) in batch.into_iter().zip(answer.records) {
            match (result.sequence_number, result.shard_id) {
                (Some(sequence), Some(shard)) => {
                    let receipt = Receipt {
                        shard: shard.into(),
                        sequence,
                    };
                    books
                        .ledger
                        .put(&entry.key, entry.counter, entry.bytes(), receipt);
                }
                _ => refused.push(entry),
            }
        }
        Ok(refused)
    }
}

/// Errors that asking again does not mend.
fn is_final(code: Option<&str>) -> bool {
    let code = code.unwrap_or_default();
    let finals = [
        "ResourceNotFound",
        "AccessDenied",
        "InvalidArgument",
        "Validation",
        "UnrecognizedClient",
        "KMS",
    ];
    finals.iter().any(|start| code.starts_with(start)) && code != "KMSThrottlingException"
}

#[cfg(test)]
mod tests {
    use kcl_local::Backend;

    use super::*;
    use crate::view::View;

    #[test]
    fn a_pace_is_kept_by_count_or_by_share() {
        let second = Duration::from_secs(1);
        assert!(Pace::Rate(10.0).allows(9, None, second));
        assert!(!Pace::Rate(10.0).allows(10, None, second));
        assert!(Pace::Spread(second * 4).allows(1_000, Some(0.25), second));
        assert!(!Pace::Spread(second * 4).allows(0, Some(0.26), second));
        assert!(
            Pace::Spread(second).allows(0, None, Duration::ZERO),
            "a source of unknown length"
        );
    }

    #[test]
    fn throttling_passes_and_a_missing_stream_does_not() {
        assert!(!is_final(Some("ProvisionedThroughputExceededException")));
        assert!(!is_final(Some("KMSThrottlingException")));
        assert!(is_final(Some("ResourceNotFoundException")));
        assert!(is_final(Some("AccessDeniedException")));
    }

    #[tokio::test(start_paused = true)]
    async fn throttled_shards_get_every_record_in_the_end_and_in_order() {
        let kinesis = kcl_local::kinesis::KinesisOptions {
            enforce_limits: true,
            ..Default::default()
        };
        let backend = Backend::builder().kinesis(kinesis).build();
        let client = Client::new(&backend.sdk_config());
        client
            .create_stream()
            .stream_name("clicks")
            .shard_count(1)
            .send()
            .await
            .unwrap();
        let stage = Arc::new(Stage::new(7, View::Quiet));
        let producer = Producer {
            kinesis: client.clone(),
            stream: "clicks".into(),
            stage: stage.clone(),
            pace: Pace::Rate(1e9),
            stop: Arc::default(),
        };
        let production = producer.run(Source::generated(1, 5_000), |_| {}).await.unwrap();
        assert!(production.retried > 0, "1,000 records per second are taken");
        assert_eq!(stage.books().ledger.totals().put, 5_000);

        let shard = client
            .get_shard_iterator()
            .stream_name("clicks")
            .shard_id("shardId-000000000000");
        let shard = shard
            .shard_iterator_type("TRIM_HORIZON".into())
            .send()
            .await
            .unwrap();
        let (mut iterator, mut next) = (
            shard.shard_iterator,
            std::collections::BTreeMap::<String, u64>::new(),
        );
        while next.values().sum::<u64>() < 5_000 {
            let answer = client
                .get_records()
                .set_shard_iterator(iterator)
                .send()
                .await
                .unwrap();
            for record in &answer.records {
                let next = next
                    .entry(record.partition_key().unwrap().to_owned())
                    .or_default();
                assert_eq!(
                    Stamp::of(record.data().as_ref()),
                    Some(Stamp {
                        run: 7,
                        counter: *next
                    })
                );
                *next += 1;
            }
            iterator = answer.next_shard_iterator;
            sleep(Duration::from_millis(250)).await;
        }
    }
}
