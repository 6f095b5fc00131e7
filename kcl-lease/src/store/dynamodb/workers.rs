//! The rows of workers: what they say of themselves, and what an operator notes in them.

use super::attributes::*;
use super::codec::{self, Entity};
use super::condition::{Condition, Term, Update};
use super::failure::failure;
use super::layout::Place;
use super::{DynamoDbLeaseStore, is_of, no_worker, rows, unless_refused};
use crate::ids::{ProcessId, WorkerId};
use crate::store::{StoreError, StoreErrorKind, WorkerRow};

impl DynamoDbLeaseStore {
    /// That a row is there for a worker to write: its own, or none; if a process is named, also no other process's.
    fn own_row(&self, place: Place<'_>, process: Option<&ProcessId>) -> Condition {
        let mut condition = Condition::default();
        if place == self.tables.leases() {
            condition.any_of(&[
                Term::Absent(place.key),
                Term::Equal(ENTITY_TYPE, string(WORKER_ENTITY)),
            ]);
        }
        if let Some(process) = process {
            condition.any_of(&[
                Term::Absent(PROCESS),
                Term::Equal(PROCESS, string(process.as_str())),
            ]);
        }
        condition
    }

    pub(super) async fn announce_worker(&self, worker: &WorkerRow) -> Result<(), StoreError> {
        const ANNOUNCING: &str = "announcing the worker";
        let place = self.tables.own_worker(self.layout().await?);
        // Relative to the row as it is: a request of an earlier process that arrives late must not take the name back.
        for _ in 0..3 {
            let row = self.read_at(ANNOUNCING, place, worker.id.as_str()).await?;
            let is_a_worker_s =
                |item: &Item| place != self.tables.leases() || codec::entity(item) == Entity::Worker;
            if row.as_ref().is_some_and(|item| !is_a_worker_s(item)) {
                return Err(self.unreadable(ANNOUNCING, no_worker(&worker.id)));
            }
            let seen = row.and_then(|item| item.text(PROCESS).ok().flatten().map(ProcessId::from));
            if seen.is_some() && seen == worker.process {
                return Ok(());
            }
            let mut condition = self.own_row(place, None);
            condition.any_of(&[match &seen {
                Some(process) => Term::Equal(PROCESS, string(process.as_str())),
                None => Term::Absent(PROCESS),
            }]);
            let put = self.put(place, worker.id.as_str(), rows::encode_worker(worker));
            if self.put_if(ANNOUNCING, condition.on_put(put)).await? {
                return Ok(());
            }
        }
        Err(failure(
            StoreErrorKind::Unavailable,
            ANNOUNCING,
            self.table(),
            format!(
                "other processes are being started under the worker id {}",
                worker.id
            ),
        ))
    }

    /// What an operator noted in the row stays.
    pub(super) async fn report_worker(&self, worker: &WorkerRow) -> Result<bool, StoreError> {
        const REPORTING: &str = "reporting the worker";
        let place = self.tables.own_worker(self.layout().await?);
        let mut condition = self.own_row(place, worker.process.as_ref());
        let (number_of, this) = (rows::REPORT_NUMBER, number(worker.report_number));
        condition.any_of(&[Term::Absent(number_of), Term::AtMost(number_of, this)]);
        let mut update = condition.into_update();
        let item = rows::encode_worker(worker);
        for attribute in rows::NOT_ALWAYS_REPORTED {
            if !item.contains_key(attribute) {
                update.remove(attribute);
            }
        }
        for (attribute, value) in item {
            update.set(&attribute, value);
        }
        if self.update_if(REPORTING, place, &worker.id, update).await? {
            return Ok(true);
        }
        // A refusal may follow a first sending that was applied, or a later report.
        let row = self.read_at(REPORTING, place, worker.id.as_str()).await?;
        match row {
            Some(item) if place == self.tables.leases() && codec::entity(&item) != Entity::Worker => {
                Err(self.unreadable(REPORTING, no_worker(&worker.id)))
            }
            row => Ok(row.is_none_or(|row| is_of(&row, worker.process.as_ref()))),
        }
    }

    pub(super) async fn retire_worker(
        &self,
        worker: &WorkerId,
        process: &ProcessId,
    ) -> Result<bool, StoreError> {
        const RETIRING: &str = "retiring the worker";
        let place = self.tables.own_worker(self.layout().await?);
        let delete = self.delete_row(place, worker.as_str());
        let condition = self.own_row(place, Some(process));
        if self.delete_if(RETIRING, condition.on_delete(delete)).await? {
            return Ok(true);
        }
        let row = self.read_at(RETIRING, place, worker.as_str()).await?;
        let theirs =
            row.filter(|item| place != self.tables.leases() || codec::entity(item) == Entity::Worker);
        Ok(theirs.is_none_or(|row| is_of(&row, Some(process))))
    }

    pub(super) async fn forget_worker(&self, seen: &WorkerRow) -> Result<bool, StoreError> {
        let layout = self.layout().await?;
        let places = [Some(self.tables.leases()), self.tables.other_workers(layout)];
        let mut is_gone = true;
        for place in places.into_iter().flatten() {
            let delete = self
                .delete_row(place, seen.id.as_str())
                .condition_expression("attribute_not_exists(#key) OR #at = :seen")
                .expression_attribute_names("#key", place.key)
                .expression_attribute_names("#at", REPORTED_AT)
                .expression_attribute_values(":seen", number(seen.reported_at));
            is_gone &= self.delete_if("forgetting a worker", delete).await?;
        }
        Ok(is_gone)
    }

    pub(super) async fn has_worker(&self, worker: &WorkerId) -> Result<bool, StoreError> {
        const LOOKING: &str = "looking for a worker";
        let layout = self.layout().await?;
        if let Some(place) = self.tables.other_workers(layout)
            && self.read_at(LOOKING, place, worker.as_str()).await?.is_some()
        {
            return Ok(true);
        }
        let item = self.read(LOOKING, worker.as_str()).await?;
        Ok(item.is_some_and(|item| codec::entity(&item) == Entity::Worker))
    }

    /// Notes in the row of a worker that it is drained since then, in milliseconds since the Unix epoch, or no longer: leaders of this
    /// library hand all that it has over to others, and give it nothing more. The note lasts as long as the process does: one that
    /// takes the worker's name later begins without. False if the worker has no row. (The Java KCL has no such note: its leaders do
    /// not heed it, and its workers write their rows without it.)
    ///
    /// # Errors
    /// The table cannot be written to.
    pub async fn drain(&self, worker: &WorkerId, since: Option<u64>) -> Result<bool, StoreError> {
        let place = self.tables.own_worker(self.layout().await?);
        let mut condition = Condition::default();
        condition.any_of(&[Term::Present(REPORTED_AT)]);
        if place == self.tables.leases() {
            condition.any_of(&[Term::Equal(ENTITY_TYPE, string(WORKER_ENTITY))]);
        }
        let mut update = condition.into_update();
        match since {
            Some(millis) => update.set(rows::DRAINED_SINCE, number(millis)),
            None => update.remove(rows::DRAINED_SINCE),
        }
        self.update_if("draining a worker", place, worker, update).await
    }

    /// Updates a worker's row under a condition; false if the condition did not hold.
    async fn update_if(
        &self,
        operation: &'static str,
        place: Place<'_>,
        worker: &WorkerId,
        update: Update,
    ) -> Result<bool, StoreError> {
        let request = self
            .client
            .update_item()
            .table_name(place.table)
            .key(place.key, string(worker.as_str()));
        unless_refused(operation, place.table, update.on(request).send().await)
    }
}
