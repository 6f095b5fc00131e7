//! Which stream the leases are of, and leases that were set aside because they are of another one.
//!
//! The identity lies in the row `Migration3.0`: every application has one, a worker reads it when it starts anyway, and Java
//! workers leave attributes that they do not know. A kept lease is a row of the type that Java keeps for notes on
//! streams: it is no lease to anybody, and names no owner, so that the index does not show it.

use super::attributes::*;
use super::codec;
use super::condition::{Condition, Term};
use super::failure::failure;
use super::layout::Place;
use super::{DynamoDbLeaseStore, unless_refused};
use crate::checkpoint::Checkpoint;
use crate::lease::{Lease, StreamIdentity};
use crate::store::{LeaseStore, StoreError, StoreErrorKind};

const READING: &str = "reading the stream's identity";
const RECORDING: &str = "recording the stream's identity";
const KEEPING: &str = "setting a lease aside";
/// A copy that others change faster than this is not written.
const MAX_ATTEMPTS: usize = 4;

impl DynamoDbLeaseStore {
    pub(super) async fn recorded_stream(&self) -> Result<Option<StreamIdentity>, StoreError> {
        Ok(self.version_row(READING).await?.and_then(|(_, stream)| stream))
    }

    /// The row of the protocol's version, with what it says of the stream.
    async fn version_row(
        &self,
        operation: &'static str,
    ) -> Result<Option<(Place<'_>, Option<StreamIdentity>)>, StoreError> {
        let (_, places) = self.tables.version(self.layout().await?);
        for place in places {
            if let Some(row) = self.read_at(operation, place, CLIENT_VERSION_KEY).await? {
                let stream = decode(&row).map_err(|problem| self.unreadable(operation, problem))?;
                return Ok(Some((place, stream)));
            }
        }
        Ok(None)
    }

    pub(super) async fn write_stream(
        &self,
        seen: Option<&StreamIdentity>,
        stream: &StreamIdentity,
    ) -> Result<bool, StoreError> {
        let Some((place, _)) = self.version_row(RECORDING).await? else {
            let problem = format!("row {CLIENT_VERSION_KEY} is missing, which tells the fleet's protocol");
            return Err(self.unreadable(RECORDING, problem));
        };
        let mut update = self
            .client
            .update_item()
            .table_name(place.table)
            .key(place.key, string(CLIENT_VERSION_KEY))
            .expression_attribute_names("#key", place.key)
            .expression_attribute_names("#stream", RECORDED_STREAM)
            .expression_attribute_names("#created", RECORDED_CREATION)
            .expression_attribute_values(":stream", string(&stream.name));
        update = match stream.created_at {
            Some(seconds) => update
                .update_expression("SET #stream = :stream, #created = :created")
                .expression_attribute_values(":created", number(seconds)),
            None => update.update_expression("SET #stream = :stream REMOVE #created"),
        };
        update = match seen {
            None => update.condition_expression("attribute_exists(#key) AND attribute_not_exists(#stream)"),
            Some(seen) => {
                update = update.expression_attribute_values(":seen", string(&seen.name));
                match seen.created_at {
                    Some(seconds) => update
                        .condition_expression(
                            "attribute_exists(#key) AND #stream = :seen AND #created = :since",
                        )
                        .expression_attribute_values(":since", number(seconds)),
                    None => update.condition_expression(
                        "attribute_exists(#key) AND #stream = :seen AND attribute_not_exists(#created)",
                    ),
                }
            }
        };
        if unless_refused(RECORDING, place.table, update.send().await)? {
            return Ok(true);
        }
        // A refusal may follow a first sending that was applied.
        let row = self.version_row(RECORDING).await?;
        Ok(row.and_then(|(_, recorded)| recorded).as_ref() == Some(stream))
    }

    pub(super) async fn keep(&self, seen: &Lease, stream: &StreamIdentity) -> Result<bool, StoreError> {
        let place = self.tables.version(self.layout().await?).0;
        let mut item = codec::encode(&seen.without_owner());
        item.remove(LEASE_KEY);
        item.insert(ENTITY_TYPE.into(), string(STREAM_ENTITY));
        item.insert(KEPT_KEY.into(), string(seen.key.as_str()));
        item.insert(RECORDED_STREAM.into(), string(&stream.name));
        if let Some(seconds) = stream.created_at {
            item.insert(RECORDED_CREATION.into(), number(seconds));
        }
        let since = stream
            .created_at
            .map_or_else(String::new, |seconds| seconds.to_string());
        let key = format!("{}:{since}:{}", stream.name, seen.key);
        // First the copy: whoever is interrupted does both again.
        self.keep_the_further(place, &key, &seen.checkpoint, item).await?;
        self.delete(seen).await
    }

    /// Writes the copy of a lease, unless there is one already that is further: whoever does not know yet that the stream is
    /// gone makes the leases anew that it misses, and these are set aside, too.
    async fn keep_the_further(
        &self,
        place: Place<'_>,
        key: &str,
        checkpoint: &Checkpoint,
        item: Item,
    ) -> Result<(), StoreError> {
        for _ in 0..MAX_ATTEMPTS {
            let before = self.read_at(KEEPING, place, key).await?;
            let kept = before.as_ref().and_then(decode_kept);
            if kept.is_some_and(|(_, kept)| kept.checkpoint > *checkpoint) {
                return Ok(());
            }
            let mut condition = Condition::default();
            match &before {
                None => condition.any_of(&[Term::Absent(place.key)]),
                Some(before) => {
                    for attribute in [CHECKPOINT, CHECKPOINT_SUB] {
                        condition.any_of(&[match before.get(attribute) {
                            Some(value) => Term::Equal(attribute, value.clone()),
                            None => Term::Absent(attribute),
                        }]);
                    }
                }
            }
            let put = condition.on_put(self.put(place, key, item.clone()));
            if self.put_if(KEEPING, put).await? {
                return Ok(());
            }
        }
        let problem = format!("row {key} is written to by another worker all the time");
        Err(failure(
            StoreErrorKind::Unavailable,
            KEEPING,
            place.table,
            problem,
        ))
    }

    pub(super) async fn kept_leases(&self) -> Result<Vec<(StreamIdentity, Lease)>, StoreError> {
        let place = self.tables.version(self.layout().await?).0;
        let mut kept = Vec::new();
        self.scan_table(place.table, false, |item| kept.extend(decode_kept(item)))
            .await?;
        kept.sort_by(|(_, a), (_, b)| a.key.cmp(&b.key));
        Ok(kept)
    }
}

fn decode(item: &Item) -> Result<Option<StreamIdentity>, String> {
    let Some(name) = item.text(RECORDED_STREAM)? else {
        return Ok(None);
    };
    Ok(Some(StreamIdentity {
        name: name.to_owned(),
        created_at: item.unsigned(RECORDED_CREATION)?,
    }))
}

fn decode_kept(item: &Item) -> Option<(StreamIdentity, Lease)> {
    let key = item.text(KEPT_KEY).ok().flatten()?;
    let stream = decode(item).ok().flatten()?;
    let mut item = item.clone();
    item.insert(LEASE_KEY.into(), string(key));
    Some((stream, codec::decode(&item).ok()?))
}
