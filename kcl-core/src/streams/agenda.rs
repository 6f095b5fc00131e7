//! Which streams are begun, and which have leases that nobody needs. Pure.

use std::collections::{BTreeMap, BTreeSet};

use crate::config::{OtherStream, RetrievalOptions, Stream, StreamId};

/// A stream that is to be read.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named {
    pub(crate) stream: Stream,
    pub(crate) retrieval: RetrievalOptions,
}

impl Named {
    /// Whether it may be this stream: one that is named without account is one of any account.
    fn may_be(&self, id: &StreamId) -> bool {
        self.stream.name() == id.name()
            && self
                .stream
                .account()
                .is_none_or(|account| account == id.account())
    }
}

/// The entry that names a stream: rather one that names its account, too.
pub(crate) fn naming<'a>(named: &'a [Named], id: &StreamId) -> Option<&'a Named> {
    let matching = || named.iter().filter(|named| named.may_be(id));
    matching()
        .find(|named| named.stream.account().is_some())
        .or_else(|| matching().next())
}

/// What a leader knows of its application's streams.
#[derive(Debug)]
pub(super) struct Known<'a> {
    pub(super) named: &'a [Named],
    /// Who the named streams are, as Kinesis said; those that it was not asked for yet, or did not answer for, are absent.
    pub(super) described: &'a BTreeMap<Stream, StreamId>,
    /// Streams with leases.
    pub(super) leased: &'a BTreeSet<StreamId>,
    pub(super) policy: OtherStream,
}

/// What is to be done about them.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Agenda<'a> {
    /// They get leases for all their shards, and are looked after.
    pub(super) looked_after: BTreeMap<StreamId, &'a Named>,
    /// They are not named any more.
    pub(super) former: BTreeSet<StreamId>,
    /// Others have their names now: their leases are of no use any more.
    pub(super) replaced: BTreeSet<StreamId>,
    /// Streams with leases, and those that have their names now and are not begun for that reason.
    pub(super) refused: BTreeMap<StreamId, StreamId>,
}

impl<'a> Agenda<'a> {
    pub(super) fn new(known: &Known<'a>) -> Self {
        let mut agenda = Self::default();
        for id in known.leased {
            let Some(named) = naming(known.named, id) else {
                agenda.former.insert(id.clone());
                continue;
            };
            match known.described.get(&named.stream) {
                // Both are there.
                Some(now) if now.account() != id.account() && known.leased.contains(now) => {
                    agenda.former.insert(id.clone());
                }
                Some(now) if now != id => match known.policy {
                    OtherStream::Refuse => drop(agenda.refused.insert(id.clone(), now.clone())),
                    OtherStream::BeginAnew => drop(agenda.replaced.insert(id.clone())),
                },
                // It will be asked for. Until then it is what its leases say.
                Some(_) | None => drop(agenda.looked_after.insert(id.clone(), named)),
            }
        }
        for named in known.named {
            let Some(id) = known.described.get(&named.stream) else {
                continue;
            };
            if !agenda.refused.values().any(|now| now == id) {
                agenda.looked_after.entry(id.clone()).or_insert(named);
            }
        }
        agenda
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id(text: &str) -> StreamId {
        text.parse().expect("an id")
    }

    fn named(stream: &str) -> Named {
        Named {
            stream: Stream::parse(stream).expect("a stream"),
            retrieval: RetrievalOptions::default(),
        }
    }

    struct Situation {
        named: Vec<Named>,
        described: BTreeMap<Stream, StreamId>,
        leased: BTreeSet<StreamId>,
    }

    /// Streams that are named, who they are, and those with leases.
    fn situation(names: &[(&str, Option<&str>)], leased: &[&str]) -> Situation {
        let named: Vec<_> = names.iter().map(|(stream, _)| named(stream)).collect();
        let described = named.iter().zip(names);
        Situation {
            described: described
                .filter_map(|(named, (_, now))| Some((named.stream.clone(), id((*now)?))))
                .collect(),
            named,
            leased: leased.iter().map(|leased| id(leased)).collect(),
        }
    }

    impl Situation {
        fn agenda(&self, policy: OtherStream) -> Agenda<'_> {
            Agenda::new(&Known {
                named: &self.named,
                described: &self.described,
                leased: &self.leased,
                policy,
            })
        }
    }

    fn texts<'a>(ids: impl IntoIterator<Item = &'a StreamId>) -> Vec<String> {
        ids.into_iter().map(ToString::to_string).collect()
    }

    #[test]
    fn a_stream_is_begun_when_it_is_known_who_it_is_and_goes_on_before() {
        let new = situation(&[("orders", Some("1:orders:5")), ("clicks", None)], &[]);
        let agenda = new.agenda(OtherStream::Refuse);
        assert_eq!(texts(agenda.looked_after.keys()), ["1:orders:5"]);
        let old = situation(&[("orders", None)], &["1:orders:5"]);
        let agenda = old.agenda(OtherStream::Refuse);
        assert_eq!(texts(agenda.looked_after.keys()), ["1:orders:5"]);
        assert!(agenda.former.is_empty() && agenda.replaced.is_empty());
    }

    #[test]
    fn what_is_not_named_any_more_is_former() {
        let fewer = situation(&[("orders", Some("1:orders:5"))], &["1:orders:5", "1:clicks:5"]);
        let agenda = fewer.agenda(OtherStream::BeginAnew);
        assert_eq!(texts(agenda.looked_after.keys()), ["1:orders:5"]);
        assert_eq!(texts(&agenda.former), ["1:clicks:5"]);
        assert!(agenda.replaced.is_empty());
    }

    #[test]
    fn a_stream_that_was_made_anew_is_begun_if_that_is_wanted_and_not_otherwise() {
        let anew = situation(&[("orders", Some("1:orders:9"))], &["1:orders:5"]);
        let refused = anew.agenda(OtherStream::Refuse);
        assert!(refused.looked_after.is_empty() && refused.replaced.is_empty());
        assert_eq!(
            refused.refused,
            BTreeMap::from([(id("1:orders:5"), id("1:orders:9"))])
        );
        let begun = anew.agenda(OtherStream::BeginAnew);
        assert_eq!(texts(begun.looked_after.keys()), ["1:orders:9"]);
        assert_eq!(texts(&begun.replaced), ["1:orders:5"]);
    }

    #[test]
    fn a_worker_in_the_wrong_account_or_region_takes_no_stream_for_one_of_its_own() {
        let elsewhere = situation(&[("orders", Some("2:orders:9"))], &["1:orders:5"]);
        let agenda = elsewhere.agenda(OtherStream::Refuse);
        assert!(agenda.looked_after.is_empty() && agenda.former.is_empty());
        assert_eq!(agenda.refused.len(), 1);
    }

    #[test]
    fn streams_of_one_name_in_two_accounts_are_told_apart() {
        let arn = "arn:aws:kinesis:eu-west-1:222222222222:stream/orders";
        let both = situation(
            &[
                ("orders", Some("1:orders:5")),
                (arn, Some("222222222222:orders:6")),
            ],
            &["1:orders:5", "222222222222:orders:6"],
        );
        let agenda = both.agenda(OtherStream::Refuse);
        assert_eq!(
            texts(agenda.looked_after.keys()),
            ["1:orders:5", "222222222222:orders:6"]
        );
        assert_eq!(
            agenda.looked_after[&id("222222222222:orders:6")]
                .stream
                .to_string(),
            arn
        );
        assert!(agenda.refused.is_empty());
        let one = situation(
            &[("orders", Some("1:orders:5"))],
            &["1:orders:5", "222222222222:orders:6"],
        );
        let agenda = one.agenda(OtherStream::Refuse);
        assert_eq!(texts(&agenda.former), ["222222222222:orders:6"]);
        assert!(agenda.refused.is_empty());
    }
}
