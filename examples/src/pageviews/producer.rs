//! Clicks of visitors who do not exist.

use std::collections::BTreeMap;
use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kcl_core::Environment;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use super::click::Click;
use crate::{AnyError, chain};

const PAGES: [&str; 8] = [
    "/",
    "/",
    "/search",
    "/category/books",
    "/category/garden",
    "/item/1048",
    "/basket",
    "/checkout",
];
const USERS: u64 = 2_000;
/// Records are put so many times a second.
const PUTS: u32 = 10;
/// A request takes no more records.
const MOST_AT_ONCE: usize = 500;
/// A stream that takes nothing for so long is given up.
const PATIENCE: Duration = Duration::from_secs(60);

/// Clicks that Kinesis has acknowledged, by page.
pub type Put = BTreeMap<String, u64>;

/// Puts clicks into a stream.
#[derive(Debug)]
pub struct Producer {
    kinesis: Client,
    stream: String,
    rate: u32,
    dice: fastrand::Rng,
    put: Put,
}

impl Producer {
    /// Of about so many clicks a second. The seed decides who clicks where.
    pub fn new(kinesis: Client, stream: impl Into<String>, rate: u32, seed: u64) -> Self {
        Self {
            kinesis,
            stream: stream.into(),
            rate: rate.max(1),
            dice: fastrand::Rng::with_seed(seed),
            put: Put::new(),
        }
    }

    /// Puts clicks until `stop` completes. What was put: no click is left half put.
    ///
    /// # Errors
    /// The stream refuses them, or has taken nothing for a minute.
    pub async fn run(mut self, stop: impl Future<Output = ()>) -> Result<Put, AnyError> {
        let mut stop = std::pin::pin!(stop);
        let mut ticks = interval(Duration::from_secs(1) / PUTS);
        ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut due = 0;
        loop {
            tokio::select! {
                biased;
                () = &mut stop => return Ok(self.put),
                _ = ticks.tick() => {}
            }
            due += self.rate;
            let clicks: Vec<_> = (0..due / PUTS).map(|_| self.click()).collect::<Result<_, _>>()?;
            due %= PUTS;
            for clicks in clicks.chunks(MOST_AT_ONCE) {
                self.put_all(clicks.to_vec()).await?;
            }
        }
    }

    fn click(&mut self) -> Result<(&'static str, PutRecordsRequestEntry), AnyError> {
        let page = PAGES[self.dice.usize(..PAGES.len())];
        let user = self.dice.u64(..USERS);
        let payload = Click::payload(user, page, Environment::system().now());
        let entry = PutRecordsRequestEntry::builder().partition_key(format!("user-{user}"));
        Ok((page, entry.data(Blob::new(payload)).build()?))
    }

    async fn put_all(&mut self, clicks: Vec<(&'static str, PutRecordsRequestEntry)>) -> Result<(), AnyError> {
        let (mut left, mut taken_at, mut pause) = (clicks, Instant::now(), Duration::from_millis(50));
        loop {
            let records = left.iter().map(|(_, entry)| entry.clone()).collect();
            let request = self.kinesis.put_records().stream_name(&self.stream);
            let answer = request.set_records(Some(records)).send().await;
            let answer = answer.map_err(|error| format!("cannot put clicks: {}", chain(&error)))?;
            let before = left.len();
            let answered = left.into_iter().zip(answer.records());
            left = answered
                .filter_map(|((page, entry), record)| match record.error_code() {
                    None => {
                        *self.put.entry(page.to_owned()).or_default() += 1;
                        None
                    }
                    Some(_) => Some((page, entry)),
                })
                .collect();
            if left.is_empty() {
                return Ok(());
            }
            if left.len() < before {
                taken_at = Instant::now();
            } else if taken_at.elapsed() > PATIENCE {
                return Err(format!(
                    "{} has taken no clicks for a minute; has it too few shards?",
                    self.stream
                )
                .into());
            }
            sleep(pause).await;
            pause = (pause * 2).min(Duration::from_secs(2));
        }
    }
}
