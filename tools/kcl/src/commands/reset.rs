//! `kcl reset`: lets shards be processed anew from another position. While nobody works the rows are set to it; workers of this library
//! that run are told by a note in each row, which they heed.

mod seek;

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use aws_types::SdkConfig;
use kcl_core::reading::{ListedShard, StreamReader};
use kcl_lease::{Checkpoint, Lease, LeaseChange, LeaseKey};

use self::seek::{Place, before};
use super::changing::{Intent, Outcome, carry_out, refuse_strange_rows, refuse_strangers};
use super::lag::{kinesis, shard_of};
use super::moving::find;
use super::waiting::{Progress, until_done};
use crate::arguments::{ResetArguments, Target};
use crate::failure::{Failure, Status};
use crate::screen::{Screen, count, date};
use crate::table::tree::{name, parents_first};
use crate::table::{Kind, Look, Table, Watched, options_of, watch};

pub(super) async fn run(
    table: &Table,
    sdk: &SdkConfig,
    arguments: &ResetArguments,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    refuse_strangers(table).await?;
    let first = table.look().await?;
    refuse_strange_rows(&first)?;
    let chosen = chosen(&first, arguments)?;
    if matches!(arguments.to, Target::Behind(_)) && chosen.len() != 1 {
        return Err(Failure::Usage(
            "a position is one of a single shard: name that shard alone".to_owned(),
        ));
    }
    let (places, mut remarks) = places(table, sdk, arguments, &first, &chosen).await?;
    // It is looked last who is at work, so that little time passes until the writes.
    let watched = watch(table, &arguments.watching, screen).await?;
    refuse_strange_rows(&watched.last)?;
    let are_running = !watched.evidence.is_none();
    if are_running {
        refuse_others(&watched)?;
    }
    let mut intents = Vec::new();
    for key in &chosen {
        let Some(lease) = watched.last.lease(key) else {
            if first.lease(key).is_some_and(Lease::has_ended) {
                remarks.push(format!(
                    "The lease {key} was cleaned up meanwhile: that shard is not processed again."
                ));
                continue;
            }
            return Err(Failure::Refused(format!(
                "the lease {key} was deleted meanwhile: look again"
            )));
        };
        let place = places.get(key);
        intents.extend(place.and_then(|to| match are_running {
            true => order(lease, to),
            false => intent(lease, to),
        }));
    }
    // A child that begins anew before its parents are opened again would take them for processed.
    let intents = parents_first(intents, |intent| &intent.seen);
    remarks.extend(remarks_on(&watched.last, &intents));
    if are_running && !intents.is_empty() {
        remarks.extend(REMARKS_ON_ORDERS.map(str::to_owned));
    }
    match carry_out(table, intents, &remarks, &arguments.changing, screen).await? {
        Outcome::Declined => Ok(Status::Declined),
        Outcome::Written(rows) if are_running && !arguments.no_wait => {
            let options = options_of(&watched.last, &arguments.watching);
            let limit = options.hand_off_timeout + options.failover_time * 2;
            await_orders(table, rows, limit, screen).await
        }
        _ => Ok(Status::Fine),
    }
}

/// What an operator should know of orders to workers that run.
const REMARKS_ON_ORDERS: [&str; 2] = [
    "Owners learn of it with their next renewal, within a third of the fail-over time, and give the shard up in good order. What they \
     process until then is processed again.",
    "Processors that say themselves where they begin, as those do which keep their positions with their results, begin there.",
];

/// The keys of the leases that are meant.
fn chosen(look: &Look, arguments: &ResetArguments) -> Result<Vec<LeaseKey>, Failure> {
    if arguments.all {
        return Ok(look
            .snapshot
            .leases
            .iter()
            .map(|lease| lease.key.clone())
            .collect());
    }
    if let Some(stream) = &arguments.stream_only {
        let is_of = |lease: &&Lease| {
            let named = lease.stream_shard.as_ref().map(|named| named.stream.as_str());
            named.is_some_and(|named| named == stream || named.split(':').nth(1) == Some(stream))
        };
        let keys: Vec<_> = look
            .snapshot
            .leases
            .iter()
            .filter(is_of)
            .map(|lease| lease.key.clone())
            .collect();
        return match keys.is_empty() {
            false => Ok(keys),
            true => Err(Failure::Refused(format!(
                "no lease of the table names the stream {stream}; in a table of a single stream, say --all"
            ))),
        };
    }
    // Who is named twice is meant once.
    let keys: BTreeSet<&LeaseKey> = arguments.shards.iter().collect();
    keys.into_iter()
        .map(|key| find(look, key).map(|lease| lease.key.clone()))
        .collect()
}

/// The checkpoint of each lease that is to have another one.
async fn places(
    table: &Table,
    sdk: &SdkConfig,
    arguments: &ResetArguments,
    look: &Look,
    chosen: &[LeaseKey],
) -> Result<(BTreeMap<LeaseKey, Checkpoint>, Vec<String>), Failure> {
    let mut places = BTreeMap::new();
    let mut remarks = Vec::new();
    match &arguments.to {
        Target::Beginning => {
            places.extend(chosen.iter().map(|key| (key.clone(), Checkpoint::TrimHorizon)));
        }
        Target::Latest => {
            // What is processed to its end has nothing newer.
            let open = chosen
                .iter()
                .filter(|key| look.lease(key).is_some_and(|lease| !lease.has_ended()));
            places.extend(open.map(|key| (key.clone(), Checkpoint::Latest)));
            remarks.push(
                "Records that are put before a worker begins are skipped, too: LATEST is where it begins."
                    .to_owned(),
            );
        }
        Target::Behind(position) => {
            let shards = listed(table, sdk, arguments).await;
            for key in chosen {
                let lease = find(look, key)?;
                match &shards {
                    Ok((name, shards, _)) => {
                        let shard = shard_of(lease, name).and_then(|id| shards.get(id));
                        if shard.is_some_and(|shard| !shard.may_hold(&position.sequence)) {
                            return Err(Failure::Refused(format!(
                                "{position} cannot lie in {key}: it is outside of the shard's numbers"
                            )));
                        }
                    }
                    Err(failure) => {
                        remarks.push(format!(
                            "It was not checked whether the position lies in the shard: {failure}."
                        ));
                    }
                }
                places.insert(key.clone(), Checkpoint::At(position.clone()));
            }
        }
        Target::Time(moment) => {
            let time = moment.time(look.at);
            if time > look.at {
                return Err(Failure::Usage(format!("{} has not come yet", date(time))));
            }
            let (name, shards, reader) = listed(table, sdk, arguments).await?;
            let (mut gone, mut found) = (0, 0);
            for key in chosen {
                let lease = find(look, key)?;
                let Some(shard) = shard_of(lease, &name).and_then(|id| shards.get(id)) else {
                    gone += 1;
                    continue;
                };
                found += 1;
                match before(&reader, shard, time).await? {
                    Place::Behind(position) => places.insert(key.clone(), Checkpoint::At(position)),
                    Place::Beginning => places.insert(key.clone(), Checkpoint::TrimHorizon),
                    Place::End if lease.has_ended() => None,
                    Place::End => places.insert(key.clone(), Checkpoint::TrimHorizon),
                };
            }
            if found == 0 && !chosen.is_empty() {
                return Err(Failure::Refused(format!(
                    "none of these shards is in the stream {name}: name the right one with --stream"
                )));
            }
            if gone > 0 {
                remarks.push(format!(
                    "{} not in the stream {name} (any more), and left as they are.",
                    count(gone, "shard")
                ));
            }
            remarks.push(format!(
                "Processing begins with the first records that Kinesis received at {} or later.",
                date(time)
            ));
        }
    }
    Ok((places, remarks))
}

type Listed = (String, BTreeMap<String, ListedShard>, StreamReader);

/// The stream's name, its shards, and a reader of it.
async fn listed(table: &Table, sdk: &SdkConfig, arguments: &ResetArguments) -> Result<Listed, Failure> {
    let stream = table.stream(arguments.stream.as_ref()).await?;
    let name = stream.name().to_owned();
    let reader = StreamReader::new(kinesis(sdk), stream).whole();
    let shards = reader.shards().await?;
    let shards = shards
        .into_iter()
        .map(|shard| (shard.id.as_str().to_owned(), shard));
    Ok((name, shards.collect(), reader))
}

/// Workers in Java would overwrite what is reset, and do not heed notes. The same is feared of those whose kind is not known.
fn refuse_others(watched: &Watched) -> Result<(), Failure> {
    let Watched { evidence, last, .. } = watched;
    let others = evidence
        .living
        .iter()
        .filter(|(id, _)| last.kind(id) != Kind::Rust);
    let mut signs: Vec<_> = others.map(|(id, how)| format!("{id} ({how})")).take(5).collect();
    if evidence.living.is_empty() {
        if evidence.lock_moved {
            signs.push("somebody refreshed the leader's lock".to_owned());
        }
        let keys = evidence.written.iter();
        signs.extend(keys.map(|key| format!("the lease of {key} was written")).take(5));
    }
    if signs.is_empty() {
        return Ok(());
    }
    Err(Failure::Refused(format!(
        "nothing is reset while workers run that do not heed it: {}. Stop them first; a Java worker that has stopped counts as running for \
         a minute",
        signs.join(", ")
    )))
}

/// The note for workers that run.
fn order(lease: &Lease, to: &Checkpoint) -> Option<Intent> {
    let who = match lease.actual_owner() {
        Some(owner) if !lease.has_ended() => format!("{owner} is asked to give it up"),
        _ => "nobody processes it".to_owned(),
    };
    (lease.rewind_to.as_ref() != Some(to)).then(|| Intent {
        seen: lease.clone(),
        change: LeaseChange::OperatorRewind(Some(to.clone())),
        what: format!(
            "from {} to {to}, for whoever begins with it next; {who}",
            lease.checkpoint
        ),
    })
}

/// Waits until workers have begun anew, and says which.
async fn await_orders(
    table: &Table,
    rows: Vec<Lease>,
    limit: Duration,
    screen: &mut Screen<'_>,
) -> Result<Status, Failure> {
    let progress = |_: &Lease, row: &Lease| match (&row.rewind_to, &row.owner) {
        (Some(_), _) => Progress::Waiting,
        (None, Some(owner)) => Progress::Done(format!("{owner} has begun anew with {}", row.key), true),
        (None, None) => Progress::Done(format!("{} was begun anew, and is nobody's", row.key), true),
    };
    let is_late = |keys: &str, limit: &str| {
        format!(
            "nobody has begun anew with {keys} after {limit}; `kcl explain` says what is waited for. The notes stand"
        )
    };
    until_done(table, rows, limit, screen, progress, is_late).await
}

fn intent(lease: &Lease, to: &Checkpoint) -> Option<Intent> {
    let is_there = lease.checkpoint == *to
        && lease.reading_since.is_none()
        && lease.pending_checkpoint.is_none()
        && lease.rewind_to.is_none()
        && lease.owner.is_none();
    (!is_there).then(|| Intent {
        seen: lease.clone(),
        change: LeaseChange::Reset {
            checkpoint: to.clone(),
        },
        what: format!("from {} to {to}, and without owner", lease.checkpoint),
    })
}

/// What else an operator should know.
fn remarks_on(look: &Look, intents: &[Intent]) -> Vec<String> {
    let mut remarks = Vec::new();
    let reopened = intents.iter().filter(|intent| intent.seen.has_ended());
    let reopened: BTreeSet<_> = reopened.map(|intent| name(&intent.seen)).collect();
    let is_reset = |lease: &Lease| intents.iter().any(|intent| intent.seen.key == lease.key);
    let children = look.snapshot.leases.iter().filter(|lease| {
        let (stream, _) = name(lease);
        let mut parents = lease.parents.iter();
        parents.any(|parent| reopened.contains(&(stream, parent.as_str()))) && !is_reset(lease)
    });
    let children = children.count();
    if children > 0 {
        remarks.push(format!(
            "Shards that follow those, and are not reset: {children}. They wait until these are processed to their ends again, and go on \
             where they were."
        ));
    }
    if !intents.is_empty() && !look.snapshot.leases.iter().any(Lease::has_ended) {
        let has_children = look.snapshot.leases.iter().any(|lease| !lease.parents.is_empty());
        if has_children {
            remarks.push(
                "Shards whose leases were deleted after they were processed to their ends are not processed again. To have these too, \
                 delete the table and start with another initial position."
                    .to_owned(),
            );
        }
    }
    remarks
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_order_is_given_once_and_names_who_has_the_shard() {
        let mut lease = Lease::new("s0", Checkpoint::TrimHorizon).owned_by("w1".into());
        let first = order(&lease, &Checkpoint::TrimHorizon).expect("it has begun, whatever the row says");
        assert!(
            first.what.ends_with("w1 is asked to give it up"),
            "{}",
            first.what
        );
        lease.rewind_to = Some(Checkpoint::TrimHorizon);
        assert_eq!(order(&lease, &Checkpoint::TrimHorizon), None);
        assert!(
            order(&lease, &Checkpoint::Latest).is_some(),
            "it takes the place of the other"
        );
        lease.rewind_to = None;
        lease.checkpoint = Checkpoint::ShardEnd;
        let opened = order(&lease, &Checkpoint::TrimHorizon).expect("opened again");
        assert!(opened.what.ends_with("nobody processes it"), "{}", opened.what);
    }

    #[test]
    fn what_is_there_already_is_not_written_and_what_has_ended_may_be_opened_again() {
        let fresh = Lease::new("s0", Checkpoint::TrimHorizon);
        assert_eq!(intent(&fresh, &Checkpoint::TrimHorizon), None);
        let mut begun = Lease::new("s0", Checkpoint::Latest);
        begun.reading_since = Some(5);
        assert!(intent(&begun, &Checkpoint::Latest).is_some(), "it began long ago");
        let ended = Lease::new("s0", Checkpoint::ShardEnd);
        let child = Lease::new("s1", Checkpoint::TrimHorizon).with_parents(["s0"]);
        let look = Look {
            snapshot: kcl_lease::TableSnapshot::new(vec![ended.clone(), child], Vec::new()),
            lock: Ok(None),
            at: std::time::UNIX_EPOCH,
        };
        let intents = vec![intent(&ended, &Checkpoint::TrimHorizon).expect("written")];
        let remarks = remarks_on(&look, &intents);
        assert!(
            remarks[0].starts_with("Shards that follow those, and are not reset: 1."),
            "{remarks:?}"
        );
    }
}
