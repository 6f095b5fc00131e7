//! Shards that an operator lets be processed anew while the fleet runs: in the histories of some seeds.

use std::time::Duration;

use tokio::time::sleep;

use crate::edits::Edit;
use crate::faults::{REWINDS, Wanted};
use crate::processor::Stage;
use crate::seeds::Dice;
use crate::watcher::Watcher;

/// Histories of a thousand that have such orders.
const HISTORIES: u64 = 100;

/// Whether an operator orders that in a seed's history.
#[must_use]
pub fn are_in(seed: u64, wanted: &Wanted) -> bool {
    wanted.has(REWINDS, Dice::of(seed, "has rewinds").happens(HISTORIES))
}

/// Orders it now and then, of one shard or of all, until the world is calm.
pub async fn run(stage: Stage, watcher: Watcher, mut dice: Dice) {
    loop {
        sleep(Duration::from_millis(dice.between(1_000, 20_000))).await;
        if stage.is_calm() {
            return;
        }
        // Nobody who reads the row before would change one that cannot be read.
        let rows = watcher.rows().into_iter();
        let rows = rows.filter(|(shard, row)| !row.has_ended() && !watcher.is_unreadable(shard));
        let shards: Vec<_> = rows.map(|(shard, _)| shard).collect();
        let is_for_all = dice.happens(200);
        let Some(one) = dice.pick(&shards) else { continue };
        stage.network.count("shard to be processed anew");
        for shard in shards.iter().filter(|shard| is_for_all || *shard == one) {
            watcher.edit_this(shard, Edit::Ordered);
        }
    }
}
