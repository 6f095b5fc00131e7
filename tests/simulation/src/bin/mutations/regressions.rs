//! Bugs that the simulator found once: the histories that would find them again hold, and so do all scripts.

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
        .flat_map(|mutation| {
            let histories = mutation.histories(&list.histories);
            let was_real = mutation.was_real.as_deref();
            let wrong = was_real.unwrap_or(&mutation.name);
            let seeds: Vec<_> = match (&mutation.script, mutation.seed) {
                (Some(_), _) => histories.each().collect(),
                (None, seed) => seed.filter(|_| was_real.is_some()).into_iter().collect(),
            };
            seeds
                .into_iter()
                .map(move |seed| (histories.clone(), seed, wrong))
        })
        .collect();
    assert!(!regressions.is_empty());
    // The longest first, so that no thread is alone with one at the end.
    regressions.sort_by_key(|(histories, ..)| std::cmp::Reverse(histories.seconds));
    let threads = vec![(); crew::cores()];
    let broken = jobs::run(&threads, &regressions, |(), _, (histories, seed, wrong)| {
        let rule = histories.broken_by(*seed)?;
        let replay = histories.size().replay(*seed);
        Some(format!("{wrong}\n  again? broken: {rule}\n  {replay}"))
    });
    let broken: Vec<_> = broken.into_iter().flatten().collect();
    assert!(broken.is_empty(), "{}", broken.join("\n"));
}
