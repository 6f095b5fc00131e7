//! Bugs that the simulator found once: the histories that would find them again hold.

use std::path::Path;

use kcl_simulation::crew;

use crate::jobs;
use crate::list::List;

#[test]
fn what_was_wrong_once_is_not_wrong_again() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let list = List::load(&root).unwrap();
    let mut regressions: Vec<_> = list
        .mutations
        .iter()
        .filter_map(|mutation| {
            let histories = mutation.histories(&list.histories);
            Some((histories, mutation.seed?, mutation.was_real.as_deref()?))
        })
        .collect();
    assert!(!regressions.is_empty());
    // The longest first, so that no thread is alone with one at the end.
    regressions.sort_by_key(|(histories, ..)| std::cmp::Reverse(histories.seconds));
    let threads = vec![(); crew::cores()];
    let broken = jobs::run(&threads, &regressions, |(), _, (histories, seed, was_real)| {
        let rule = histories.broken_by(*seed)?;
        let replay = histories.size().replay(*seed);
        Some(format!("{was_real}\n  again? broken: {rule}\n  {replay}"))
    });
    let broken: Vec<_> = broken.into_iter().flatten().collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
