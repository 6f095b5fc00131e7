//! How often streams are described.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::time::{Instant, sleep_until};

/// An account may describe streams 20 times a second (limit of the service), and others do so, too.
const BETWEEN: Duration = Duration::from_millis(65);

/// Whose turn it is, one after the other. Clones share it.
#[derive(Debug, Clone, Default)]
pub(crate) struct Pace {
    next: Arc<Mutex<Option<Instant>>>,
}

impl Pace {
    pub(crate) async fn turn(&self) {
        let now = Instant::now();
        let mine = {
            let mut next = self.next.lock().unwrap_or_else(PoisonError::into_inner);
            let mine = next.map_or(now, |next| next.max(now));
            *next = Some(mine + BETWEEN);
            mine
        };
        sleep_until(mine).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn turns_come_one_after_the_other_and_are_not_saved_up() {
        let pace = Pace::default();
        tokio::time::advance(Duration::from_secs(60)).await;
        let start = Instant::now();
        for _ in 0..26 {
            pace.clone().turn().await;
        }
        assert_eq!(start.elapsed(), BETWEEN * 25);
    }
}
