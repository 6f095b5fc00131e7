//! Whether the stream is still the one that this worker began with, as its parts ask and its worker answers.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

use crate::aws::CallError;

/// A question that is asked once for all who have it. Clones are the same one.
#[derive(Debug, Clone)]
pub(crate) struct Doubt {
    state: Arc<watch::Sender<State>>,
}

/// Something gave reason to ask.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Question(u64);

#[derive(Debug, Clone)]
struct State {
    asked: Question,
    answered: Question,
    /// When the last question was answered.
    settled_at: Option<Instant>,
    /// There is no such stream at present, as this call was told. What will have its name is to be looked at before anything of
    /// it is read.
    gone: Option<CallError>,
}

impl Doubt {
    /// Nobody doubts.
    pub(crate) fn new() -> Self {
        let state = State {
            asked: Question(0),
            answered: Question(0),
            settled_at: None,
            gone: None,
        };
        Self {
            state: Arc::new(watch::Sender::new(state)),
        }
    }

    /// Asks.
    pub(crate) fn raise(&self) -> Question {
        let mut question = Question(0);
        self.state.send_modify(|state| {
            state.asked.0 += 1;
            question = state.asked;
        });
        question
    }

    /// Completes when the stream was found to be the same after this question was asked; never if it was not.
    pub(crate) async fn settled(&self, question: Question) {
        self.until(|state| state.answered >= question).await;
    }

    /// Whether the stream was found to be the same not longer ago than this.
    pub(crate) fn was_settled_within(&self, time: Duration) -> bool {
        let settled_at = self.state.borrow().settled_at;
        settled_at.is_some_and(|at| at.elapsed() <= time)
    }

    /// What tells that there is no such stream at present.
    pub(crate) fn gone(&self) -> Option<CallError> {
        self.state.borrow().gone.clone()
    }

    /// Completes when there is a stream, and it is the same.
    pub(crate) async fn until_there(&self) {
        self.until(|state| state.gone.is_none()).await;
    }

    /// The next question without an answer.
    pub(crate) async fn asked(&self) -> Question {
        self.until(|state| state.asked > state.answered).await.asked
    }

    /// The stream was the same after this question was asked.
    pub(crate) fn settle(&self, question: Question) {
        self.state.send_modify(|state| {
            state.answered = state.answered.max(question);
            state.settled_at = Some(Instant::now());
            state.gone = None;
        });
    }

    /// What was asked so far is answered.
    pub(crate) fn settle_all(&self) {
        let asked = self.state.borrow().asked;
        self.settle(asked);
    }

    /// There is no such stream.
    pub(crate) fn miss(&self, error: CallError) {
        self.state.send_modify(|state| state.gone = Some(error));
    }

    async fn until(&self, holds: impl FnMut(&State) -> bool) -> State {
        let mut states = self.state.subscribe();
        let state = states.wait_for(holds).await.ok().map(|state| state.clone());
        match state {
            Some(state) => state,
            // This end is the sender's.
            None => std::future::pending().await,
        }
    }
}

#[cfg(test)]
mod tests {
    use futures_util::FutureExt as _;

    use super::*;
    use crate::aws::ErrorClass;

    #[test]
    fn an_answer_settles_what_was_asked_before_it_and_no_more() {
        let doubt = Doubt::new();
        assert_eq!(doubt.asked().now_or_never(), None);
        let (first, second) = (doubt.raise(), doubt.raise());
        let asked = doubt.asked().now_or_never().expect("asked");
        let third = doubt.raise();
        doubt.settle(asked);
        assert!(doubt.settled(first).now_or_never().is_some());
        assert!(doubt.settled(second).now_or_never().is_some());
        assert!(doubt.settled(third).now_or_never().is_none());
        assert_eq!(doubt.asked().now_or_never(), Some(third));
        doubt.settle_all();
        assert!(doubt.settled(third).now_or_never().is_some());
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_is_fresh_for_a_while() {
        let (doubt, while_fresh) = (Doubt::new(), Duration::from_secs(5));
        assert!(!doubt.was_settled_within(while_fresh), "nobody asked");
        doubt.settle_all();
        tokio::time::advance(while_fresh).await;
        assert!(doubt.was_settled_within(while_fresh));
        tokio::time::advance(Duration::from_millis(1)).await;
        assert!(!doubt.was_settled_within(while_fresh));
    }

    #[test]
    fn a_stream_that_is_gone_is_waited_for_by_all_who_read() {
        let doubt = Doubt::new();
        assert!(doubt.until_there().now_or_never().is_some());
        let asked = doubt.raise();
        assert!(
            doubt.until_there().now_or_never().is_some(),
            "it may be one shard"
        );
        let error = CallError::new(ErrorClass::NotFound, "DescribeStreamSummary", "no such stream");
        doubt.miss(error.clone());
        assert_eq!(doubt.gone().map(|gone| gone.to_string()), Some(error.to_string()));
        assert!(doubt.until_there().now_or_never().is_none());
        assert!(doubt.settled(asked).now_or_never().is_none());
        doubt.settle(asked);
        assert!(doubt.until_there().now_or_never().is_some());
    }
}
