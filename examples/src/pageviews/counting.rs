//! What a batch adds to which row. Pure.

use std::collections::BTreeMap;

use kcl_core::{ExtendedSequenceNumber, RecordBatch};

use super::click::{Click, Minute};

/// A page and a minute.
pub type Key = (String, Minute);

/// What is added to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Addition {
    /// Views that are not in it yet.
    pub views: u64,
    /// The last record that is in it then.
    pub position: ExtendedSequenceNumber,
}

/// The records of a batch by the rows to which they belong, in their order.
pub fn by_row(batch: &RecordBatch) -> BTreeMap<Key, Vec<ExtendedSequenceNumber>> {
    let mut rows = BTreeMap::<_, Vec<_>>::new();
    for record in batch {
        let Click { page, minute } = Click::of(record);
        rows.entry((page, minute))
            .or_default()
            .push(record.position().clone());
    }
    rows
}

/// What these records add to a row in which everything is up to a position; none if they are all in it.
pub fn addition(
    counted: Option<&ExtendedSequenceNumber>,
    records: &[ExtendedSequenceNumber],
) -> Option<Addition> {
    let new = records.iter().filter(|record| Some(*record) > counted);
    let views = new.clone().count() as u64;
    let position = new.max()?.clone();
    Some(Addition { views, position })
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, UNIX_EPOCH};

    use kcl_core::testing;
    use proptest::prelude::*;

    use super::*;

    fn at(position: &str) -> ExtendedSequenceNumber {
        position.parse().unwrap()
    }

    #[test]
    fn records_go_to_the_row_of_their_page_and_minute() {
        let click = |page, seconds| Click::payload(1, page, UNIX_EPOCH + Duration::from_secs(seconds));
        let batch = testing::batch([click("/", 0), click("/basket", 1), click("/", 59), click("/", 60)]);
        let rows = by_row(&batch);
        let counts: Vec<_> = rows
            .iter()
            .map(|((page, _), records)| (page.as_str(), records.len()))
            .collect();
        assert_eq!(counts, [("/", 2), ("/", 1), ("/basket", 1)]);
    }

    #[test]
    fn what_is_in_a_row_is_not_added_again_down_to_the_user_record() {
        let records = ["9", "10", "10:1", "10:2", "100"].map(at);
        let expected = |views, position| {
            Some(Addition {
                views,
                position: at(position),
            })
        };
        assert_eq!(addition(None, &records), expected(5, "100"));
        assert_eq!(addition(Some(&at("10:1")), &records), expected(2, "100"));
        assert_eq!(addition(Some(&at("100")), &records), None);
        assert_eq!(addition(Some(&at("1000")), &records), None);
        assert_eq!(addition(None, &[]), None);
    }

    proptest! {
        /// Two owners of a shard give records to a row in any batches, each from anywhere before what the row has.
        #[test]
        fn however_records_are_repeated_each_counts_once(batches in prop::collection::vec((0_u64..40, 1_u64..12), 1..60)) {
            let (mut views, mut position, mut furthest) = (0, None, 0);
            for (back, length) in batches {
                // Delivery is in order and without a gap, so a batch begins at the latest behind what was delivered.
                let start = furthest - furthest.min(back);
                let records: Vec<_> = (start + 1..=start + length).map(|number| at(&number.to_string())).collect();
                furthest = furthest.max(start + length);
                if let Some(addition) = addition(position.as_ref(), &records) {
                    views += addition.views;
                    position = Some(addition.position);
                }
                prop_assert_eq!(views, furthest);
            }
        }
    }
}
