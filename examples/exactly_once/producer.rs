//! Puts amounts for accounts, and remembers the sums.

use std::time::Duration;

use aws_sdk_kinesis::Client;
use aws_sdk_kinesis::primitives::Blob;
use aws_sdk_kinesis::types::PutRecordsRequestEntry;
use kcl_aggregation::{Aggregator, UserRecord};
use kcl_examples::AnyError;
use kcl_examples::exactly_once::Totals;
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::sleep;

/// Accounts: enough that each shard has some.
const ACCOUNTS: usize = 60;

/// Kinesis records at a time, and the time between two puts.
const AT_ONCE: usize = 60;
const PAUSE: Duration = Duration::from_millis(40);

/// One Kinesis record in so many is an aggregate, of so many amounts.
const AGGREGATED: usize = 4;
const AMOUNTS: usize = 3;

pub(crate) struct Producer {
    task: JoinHandle<Result<Totals, AnyError>>,
    stop: oneshot::Sender<()>,
}

impl Producer {
    pub(crate) fn start(kinesis: &Client, stream: &str, seed: u64) -> Self {
        let (kinesis, stream) = (kinesis.clone(), stream.to_owned());
        let (stop, mut stopped) = oneshot::channel();
        let task = tokio::spawn(async move {
            let (mut dice, mut put) = (fastrand::Rng::with_seed(seed), Totals::new());
            while stopped.try_recv() == Err(oneshot::error::TryRecvError::Empty) {
                put_some(&kinesis, &stream, &mut dice, &mut put).await?;
                sleep(PAUSE).await;
            }
            Ok(put)
        });
        Self { task, stop }
    }

    /// Ends between two puts. What was put.
    pub(crate) async fn stop(self) -> Result<Totals, AnyError> {
        let _ = self.stop.send(());
        self.task.await?
    }
}

async fn put_some(
    kinesis: &Client,
    stream: &str,
    dice: &mut fastrand::Rng,
    put: &mut Totals,
) -> Result<(), AnyError> {
    let mut left = Vec::with_capacity(AT_ONCE);
    for index in 0..AT_ONCE {
        let account = format!("account {}", dice.usize(..ACCOUNTS));
        let amounts = if index % AGGREGATED == 0 { AMOUNTS } else { 1 };
        let amounts: Vec<i64> = (0..amounts).map(|_| dice.i64(-100..1000)).collect();
        let total = put.entry(account.clone()).or_default();
        total.balance += amounts.iter().sum::<i64>();
        total.records += i64::try_from(amounts.len())?;
        let data = payload(&account, &amounts)?;
        let entry = PutRecordsRequestEntry::builder().partition_key(account);
        left.push(entry.data(Blob::new(data)).build()?);
    }
    while !left.is_empty() {
        let request = kinesis.put_records().stream_name(stream);
        let answer = request.set_records(Some(left.clone())).send().await?;
        let answered = left.into_iter().zip(answer.records());
        left = answered
            .filter_map(|(entry, record)| record.error_code().is_some().then_some(entry))
            .collect();
    }
    Ok(())
}

/// One amount as it is, several as an aggregate.
fn payload(account: &str, amounts: &[i64]) -> Result<Vec<u8>, AnyError> {
    if let [amount] = amounts {
        return Ok(amount.to_string().into_bytes());
    }
    let mut aggregator = Aggregator::default();
    for amount in amounts {
        aggregator.push(UserRecord::new(account, amount.to_string()))?;
    }
    let aggregate = aggregator.finish().ok_or("an aggregate of nothing")?;
    Ok(aggregate.data.to_vec())
}
