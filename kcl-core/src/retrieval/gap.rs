//! Whether records may be missing before the first one that an iterator brought. Pure.

use kcl_lease::SequenceNumber;

use crate::stream::Shard;

/// What is known when an iterator did not begin with the record that it was asked to begin with.
#[derive(Debug)]
pub(crate) struct Evidence<'a> {
    /// The number that it was asked to begin with: everything up to it is done.
    pub(crate) after: &'a SequenceNumber,
    /// The shard as it is listed, if it is.
    pub(crate) shard: Option<&'a Shard>,
    /// The oldest record that is left in the shard, if there is any.
    pub(crate) oldest: Option<&'a SequenceNumber>,
}

impl Evidence<'_> {
    /// Whether records behind the number may have been trimmed. If it is the shard's own first or last number, or an older
    /// record is left, there were none.
    pub(crate) fn shows_a_gap(&self) -> bool {
        let is_an_end = self.shard.is_some_and(|shard| shard.is_an_end(self.after));
        let is_retained = self.oldest.is_some_and(|oldest| oldest <= self.after);
        !is_an_end && !is_retained
    }
}

#[cfg(test)]
mod tests {
    use kcl_lease::HashRange;

    use super::*;
    use crate::stream::tests::shard;

    fn number(text: &str) -> SequenceNumber {
        SequenceNumber::parse(text).expect("digits")
    }

    #[test]
    fn a_gap_is_told_unless_something_shows_that_there_is_none() {
        let closed = shard(2, &[], HashRange::FULL, false);
        for (after, oldest, is_gap, why) in [
            ("2100", Some("2200"), true, "trimmed, and so was what came before"),
            ("2100", None, true, "everything is trimmed"),
            (
                "2100",
                Some("2050"),
                false,
                "between records: an older one is left",
            ),
            ("2100", Some("2100"), false, "it is left itself"),
            (
                "2000",
                Some("2200"),
                false,
                "the shard's first number: nothing was read before",
            ),
            (
                "2999",
                None,
                false,
                "the shard's last number: nothing comes behind it",
            ),
        ] {
            let (after, oldest) = (number(after), oldest.map(number));
            let evidence = Evidence {
                after: &after,
                shard: Some(&closed),
                oldest: oldest.as_ref(),
            };
            assert_eq!(evidence.shows_a_gap(), is_gap, "{why}");
        }
    }

    #[test]
    fn of_a_shard_that_is_gone_nothing_is_known() {
        let evidence = Evidence {
            after: &number("2000"),
            shard: None,
            oldest: None,
        };
        assert!(evidence.shows_a_gap());
    }
}
