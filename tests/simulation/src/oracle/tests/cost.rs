//! How much DynamoDB is asked.

use super::*;
use crate::oracle::cost;

#[test]
fn a_worker_that_asks_more_than_its_work_takes_is_found() {
    let spent = |requests, faults| What::Spent {
        over: Duration::from_secs(10),
        requests,
        faults,
    };
    let judged = |requests, faults, batches: u64| {
        let mut events = vec![(0, "a", starts("a"))];
        events.extend((0..batches).map(|call| (1, "a", ended(0, 2, call, true))));
        events.push((10, "a", spent(requests, faults)));
        broken(events)
    };
    assert_eq!(judged(60, 0, 0), [""; 0]);
    assert_eq!(judged(100, 0, 0), [cost::DEAR]);
    assert_eq!(judged(100, 10, 0), [""; 0]);
    assert_eq!(judged(100, 0, 10), [""; 0]);
    assert_eq!(judged(85, 0, 0), [""; 0], "it has just joined");
}
