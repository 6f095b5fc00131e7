//! What eventually consistent reads were answered a moment ago.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use bytes::Bytes;
use http::Response;
use tokio::time::Instant;

use super::Call;
use crate::wire::Service;

/// Answers are forgotten after this time: replicas and indexes of DynamoDB lag by less.
const KEPT: Duration = Duration::from_secs(10);

/// A read, by its operation and its body.
type Read = (String, Bytes);

/// Answers, oldest first.
type Answers = VecDeque<(Instant, Response<Bytes>)>;

/// The last answers to each read that DynamoDB may answer from a replica or an index that lags.
#[derive(Debug, Default)]
pub(crate) struct Past {
    answers: Mutex<BTreeMap<Read, Answers>>,
}

/// The read that a request is, if DynamoDB may answer it with what was true a moment ago.
pub(crate) fn eventually_consistent(call: &Call<'_>) -> Option<Read> {
    let is_read = call.service == Some(Service::DynamoDb)
        && matches!(call.operation, "GetItem" | "Query" | "Scan")
        && !String::from_utf8_lossy(call.body).contains("\"ConsistentRead\":true");
    is_read.then(|| (call.operation.to_owned(), call.body.clone()))
}

impl Past {
    /// Keeps an answer.
    pub(crate) fn remember(&self, read: Read, answer: Response<Bytes>) {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let of_this_read = answers.entry(read).or_default();
        while of_this_read.front().is_some_and(|(at, _)| at.elapsed() > KEPT) {
            of_this_read.pop_front();
        }
        of_this_read.push_back((Instant::now(), answer));
    }

    /// Forgets all of them.
    pub(crate) fn clear(&self) {
        self.answers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clear();
    }

    /// The newest answer to the read that is at least so old, if it is known.
    pub(crate) fn answer(&self, read: &Read, age: Duration) -> Option<Response<Bytes>> {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        let old_enough = |(at, _): &&(Instant, Response<Bytes>)| (age..=KEPT).contains(&at.elapsed());
        let (_, answer) = answers.get(read)?.iter().rev().find(old_enough)?;
        Some(answer.clone())
    }
}
