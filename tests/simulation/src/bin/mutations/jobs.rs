//! Several at a time.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};

/// Does the work for every item, with its number: one item at a time for each of the hands. The results are in the order
/// of the items.
pub(crate) fn run<Hand, Item, Done>(
    hands: &[Hand],
    items: &[Item],
    work: impl Fn(&Hand, usize, &Item) -> Done + Sync,
) -> Vec<Done>
where
    Hand: Sync,
    Item: Sync,
    Done: Send,
{
    let next = AtomicUsize::new(0);
    let done = Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for hand in hands {
            let (next, done, work) = (&next, &done, &work);
            scope.spawn(move || {
                loop {
                    let number = next.fetch_add(1, Ordering::Relaxed);
                    let Some(item) = items.get(number) else { return };
                    let result = work(hand, number, item);
                    done.lock()
                        .unwrap_or_else(PoisonError::into_inner)
                        .push((number, result));
                }
            });
        }
    });
    let mut done = done.into_inner().unwrap_or_else(PoisonError::into_inner);
    done.sort_by_key(|(number, _)| *number);
    done.into_iter().map(|(_, result)| result).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_in_the_order_of_the_items() {
        let items: Vec<usize> = (0..100).collect();
        let done = run(&[(), (), ()], &items, |(), number, item| (number, item * 2));
        let expected: Vec<_> = items.iter().map(|item| (*item, item * 2)).collect();
        assert_eq!(done, expected);
    }
}
