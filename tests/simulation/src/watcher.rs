//! Looks ten times a second, from outside, at those rows of the lease table that were written, and notes what changed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use aws_sdk_kinesis::types::Shard;
use kcl_local::Backend;
use kcl_local::kinesis::Kinesis;
use tokio::time::{Instant, sleep};

use crate::damage::Damage;
use crate::edits::Edit;
use crate::fleet::{APPLICATION, Fleet};
use crate::history::{Name, Row, Shown, What};
use crate::processor::Stage;
use crate::seeds::Dice;
use crate::table::{Item, Leases, Table};
use crate::workload::{STREAM, Workload};

/// How often it is counted what workers ask of DynamoDB.
const ACCOUNTS: Duration = Duration::from_secs(10);
const PERIOD: Duration = Duration::from_millis(100);
/// How often it is looked what workers say of their shards.
const STATUS: Duration = Duration::from_millis(500);
const RARELY: Duration = Duration::from_secs(60);

/// The outsider. Clones are the same one.
#[derive(Clone)]
pub struct Watcher {
    stage: Stage,
    leases: Arc<Mutex<Leases>>,
    kinesis: Kinesis,
    to_delete: Arc<AtomicU64>,
    to_edit: Arc<AtomicU64>,
    rests: Arc<AtomicBool>,
    damaged: Arc<Mutex<Vec<Damaged>>>,
    world: Name,
}

/// A row that was made unreadable.
struct Damaged {
    shard: Name,
    damage: Damage,
    before: serde_json::Value,
    mended_at: Instant,
}

impl Watcher {
    /// A watcher of the lease table in this backend.
    pub fn new(stage: Stage, backend: &Backend) -> Self {
        let table = Table::new(backend.dynamodb(), APPLICATION).of_several(stage.reads_several);
        Self {
            stage,
            leases: Arc::new(Mutex::new(Leases::new(table))),
            kinesis: backend.kinesis().clone(),
            to_delete: Arc::default(),
            to_edit: Arc::default(),
            rests: Arc::default(),
            damaged: Arc::default(),
            world: "world".into(),
        }
    }

    fn leases(&self) -> MutexGuard<'_, Leases> {
        self.leases.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The leases as last seen.
    pub fn rows(&self) -> BTreeMap<Name, Row> {
        self.leases().rows().clone()
    }

    /// Has a lease's row deleted soon.
    pub fn delete_some_row(&self) {
        self.to_delete.fetch_add(1, Ordering::Relaxed);
    }

    /// Has a lease's row changed by hand soon.
    pub fn edit_some_row(&self) {
        self.to_edit.fetch_add(1, Ordering::Relaxed);
    }

    /// Looks rarely from now on, or again as often as ever: nobody is there to do anything.
    pub fn rest(&self, rests: bool) {
        self.rests.store(rests, Ordering::Relaxed);
    }

    /// Deletes the whole table.
    pub fn delete_table(&self) {
        self.look();
        self.note(What::TableDeleted);
        let gone = self.leases().delete_table();
        for shard in gone {
            let shard = self.stage.streams.name_of_row(&shard);
            self.note(What::RowDeletedByHand { shard });
        }
    }

    /// Whether the leases are of the stream that is there.
    pub fn is_of_the_stream(&self) -> bool {
        self.stage.streams.is_recorded()
    }

    /// Whether a row is yet to be deleted or edited.
    pub fn is_about_to_touch(&self) -> bool {
        self.to_delete.load(Ordering::Relaxed) + self.to_edit.load(Ordering::Relaxed) > 0
    }

    /// Notes which leases were set aside with their streams.
    pub fn tell_what_is_kept(&self) {
        let items = self.leases().table().items();
        for (created, shard, checkpoint) in items.into_iter().filter_map(Item::into_kept) {
            let shard = self.stage.streams.name_of_kept(&shard, created);
            self.note(What::Kept { shard, checkpoint });
        }
    }

    /// Whether there is a lease table with leases.
    pub fn has_leases(&self) -> bool {
        !self.leases().rows().is_empty()
    }

    /// Has Kinesis trim every record of the shards that a worker processes.
    pub fn trim_what_belongs_to(&self, id: &str) {
        self.look();
        // The shards of the other stream have the same ids.
        if !self.stage.streams.is_recorded() {
            return;
        }
        let its = self
            .rows()
            .into_iter()
            .filter(|(_, row)| row.actual_owner() == Some(id));
        for (shard, _) in its {
            self.kinesis.trim(STREAM, &shard);
            let shard = self.stage.streams.name_of_row(&shard);
            self.note(What::Trimmed { shard });
        }
    }

    /// The leases that name a worker, and whether its own row is there.
    pub fn left_by(&self, id: &str) -> (Vec<String>, bool) {
        let mut owned = Vec::new();
        let mut has_row = false;
        for item in self.leases().table().items() {
            has_row |= item.is_worker() && item.key() == id;
            let key = item.key().to_owned();
            let names = |owner: &Option<String>| owner.as_deref() == Some(id);
            if item
                .into_lease()
                .is_some_and(|row| names(&row.owner) || names(&row.checkpoint_owner))
            {
                owned.push(self.stage.streams.name_of_row(&key).to_string());
            }
        }
        owned.sort();
        (owned, has_row)
    }

    /// What workers cannot process, as their rows say: by worker, the leases that failed there.
    pub fn failed(&self) -> BTreeMap<String, BTreeSet<Name>> {
        let items = self.leases().table().items();
        let workers = items.into_iter().filter(Item::is_worker);
        let failed = workers.map(|item| (item.key().to_owned(), item.failing_leases()));
        failed.collect()
    }

    /// What a lease's row says of its throughput, in KB/s.
    pub fn throughput(&self, shard: &Name) -> Option<f64> {
        self.leases().table().item(shard)?.throughput()
    }

    /// Watches for ever.
    pub async fn run(self, fleet: Fleet, workload: Arc<tokio::sync::Mutex<Workload>>, mut dice: Dice) {
        let (mut accounts, mut statuses) = (Instant::now(), Instant::now());
        let are_shown = self.stage.has_pauses || self.stage.stalled_after.is_some();
        loop {
            self.look();
            if accounts.elapsed() >= ACCOUNTS {
                accounts = Instant::now();
                self.call_to_account(&fleet);
            }
            if are_shown && statuses.elapsed() >= STATUS {
                statuses = Instant::now();
                self.look_at_statuses(&fleet);
            }
            if self.to_delete.load(Ordering::Relaxed) > 0 {
                self.to_delete.fetch_sub(1, Ordering::Relaxed);
                let open = workload.lock().await.open_shards().await;
                self.delete(&open, &mut dice);
            }
            if self.to_edit.load(Ordering::Relaxed) > 0 {
                self.to_edit.fetch_sub(1, Ordering::Relaxed);
                let open = workload.lock().await.open_shards().await;
                self.edit(&open, &fleet.each(|member| member.id.clone()), &mut dice);
            }
            self.mend_what_is_due();
            self.look_for_the_mistaken(&fleet);
            fleet.look_for_leavers();
            for (shard, holders) in self.stage.contested() {
                self.note(What::SeveralValid { shard, holders });
            }
            fleet.look_for_the_dead();
            fleet.start_what_is_due();
            let rests = self.rests.load(Ordering::Relaxed);
            sleep(if rests { RARELY } else { PERIOD }).await;
        }
    }

    /// Whoever believes to own a shard must be the one that its row names.
    fn look_for_the_mistaken(&self, fleet: &Fleet) {
        let ids: BTreeMap<Name, String> = fleet.ids();
        let rows = self.rows().into_iter();
        let rows: BTreeMap<_, _> = rows
            .map(|(shard, row)| (self.stage.streams.name_of_row(&shard), row))
            .collect();
        for (shard, who) in self.stage.believers() {
            let (Some(row), Some(id)) = (rows.get(&shard), ids.get(&who)) else {
                continue;
            };
            if row.actual_owner() != Some(id) {
                let owner = row.actual_owner().map(ToOwned::to_owned);
                self.stage.history.record(&who, What::Mistaken { shard, owner });
            }
        }
    }

    fn look_at_statuses(&self, fleet: &Fleet) {
        let statuses = fleet.each(|member| (member.who.clone(), member.handle.status()));
        for (who, status) in statuses {
            let shards = status.shards.into_iter().map(|shard| Shown {
                shard: self.stage.streams.name_of_row(&shard.shard_id),
                state: shard.state,
                stalls: shard.stalled.is_some(),
            });
            let shards = shards.collect();
            self.stage.history.record(&who, What::Shown { shards });
        }
    }

    fn call_to_account(&self, fleet: &Fleet) {
        for who in fleet.each(|member| member.who.clone()) {
            let (requests, faults) = self.stage.network.spent(&who);
            let what = What::Spent {
                over: ACCOUNTS,
                requests,
                faults,
            };
            self.stage.history.record(&who, what);
        }
    }

    fn note(&self, what: What) {
        self.stage.history.record(&self.world, what);
    }

    /// Notes what changed in the table.
    pub fn look(&self) {
        let changes = self.leases().look();
        for shard in changes.of_another {
            let shard = self.stage.streams.name_of_row(&shard);
            self.note(What::RowGone { shard });
        }
        if let Some(recorded) = changes.recorded {
            self.stage.streams.record(recorded);
        }
        for (shard, row) in changes.rows {
            let shard = self.stage.streams.name_of_row(&shard);
            self.note(match row {
                Some(row) => What::Row { shard, row },
                None => What::RowGone { shard },
            });
        }
    }

    /// Deletes the row of an open shard. Without the row of a closed one its children would be begun before its end.
    fn delete(&self, open: &[Shard], dice: &mut Dice) {
        let Some(shard) = self.some_lease_of(open, dice) else {
            return;
        };
        self.leases().delete(&shard);
        let shard = self.stage.streams.name_of_row(&shard);
        self.note(What::RowDeletedByHand { shard });
    }

    /// Changes the row of an open shard.
    fn edit(&self, open: &[Shard], workers: &[String], dice: &mut Dice) {
        let Some(shard) = self.some_lease_of(open, dice) else {
            return;
        };
        let edit = Edit::drawn(dice, workers);
        self.edit_this(&shard, edit);
    }

    /// Changes a lease's row by hand.
    pub fn edit_this(&self, shard: &Name, edit: Edit) {
        // What was written until now is told first.
        self.look();
        let row = self.leases().edit(shard, &edit);
        if let Some(row) = row {
            let shard = self.stage.streams.name_of_row(shard);
            self.note(What::RowEditedByHand { shard, edit, row });
        }
    }

    fn damaged(&self) -> MutexGuard<'_, Vec<Damaged>> {
        self.damaged.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Makes the row of some shard unreadable for a time, unless that has ended; the shard.
    pub fn damage_some_row(&self, dice: &mut Dice, time: Duration) -> Option<Name> {
        // What was written until now is told first.
        self.look();
        let rows = self.rows().into_iter();
        let rows = rows.filter(|(shard, row)| !row.has_ended() && !self.is_unreadable(shard));
        let shards: Vec<_> = rows.map(|(shard, _)| shard).collect();
        let (shard, damage) = (dice.pick(&shards).cloned()?, Damage::drawn(dice));
        let before = self.leases().damage(&shard, damage)?;
        // Its owner may have mended it before.
        self.damaged().retain(|it| it.shard != shard);
        self.damaged().push(Damaged {
            shard: shard.clone(),
            damage,
            before,
            mended_at: Instant::now() + time,
        });
        let what = What::RowDamaged {
            shard: self.stage.streams.name_of_row(&shard),
            damage,
        };
        self.note(what);
        Some(shard)
    }

    /// Whether the row of a shard cannot be read.
    pub fn is_unreadable(&self, shard: &Name) -> bool {
        self.leases().is_unreadable(shard)
    }

    /// Mends rows whose time has come, and all when the world is calm.
    fn mend_what_is_due(&self) {
        let is_calm = self.stage.is_calm();
        let is_due = |it: &mut Damaged| is_calm || it.mended_at <= Instant::now();
        let due: Vec<_> = self.damaged().extract_if(.., is_due).collect();
        for it in due {
            self.leases().mend(&it.shard, it.damage, &it.before);
            let shard = self.stage.streams.name_of_row(&it.shard);
            self.note(What::RowMended { shard });
        }
    }

    fn some_lease_of(&self, shards: &[Shard], dice: &mut Dice) -> Option<Name> {
        let is_one = |shard: &Name| shards.iter().any(|one| one.shard_id() == &**shard);
        let candidates: Vec<_> = self.rows().into_keys().filter(is_one).collect();
        dice.pick(&candidates).cloned()
    }
}

impl fmt::Debug for Watcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watcher").finish_non_exhaustive()
    }
}
