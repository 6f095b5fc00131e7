//! Cuts data into requests of `PutMetricData` that the service takes. Pure.

use super::gathering::Datum;

/// What a request may have, with room for what is around the data.
/// <https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricData.html>
const MOST_DATA: usize = 1000;
const MOST_BYTES: usize = 900_000;

/// What a datum takes beside its words, and a dimension beside its own, whatever the protocol.
const DATUM: usize = 600;
const DIMENSION: usize = 120;
/// A character may be written as three.
const ESCAPED: usize = 3;

/// In the same order, as many in each request as it takes.
pub(crate) fn requests(mut data: &[Datum]) -> impl Iterator<Item = &[Datum]> {
    std::iter::from_fn(move || {
        let mut bytes = 0;
        let fits = |datum: &&Datum| {
            bytes += size(datum);
            bytes <= MOST_BYTES
        };
        let taken = data.iter().take(MOST_DATA).take_while(fits).count();
        // A datum alone is never so large.
        let (request, rest) = data.split_at(taken.max(1).min(data.len()));
        data = rest;
        Some(request).filter(|request| !request.is_empty())
    })
}

/// No less than it takes in a request.
fn size(datum: &Datum) -> usize {
    let dimension = |(name, value): &(&str, String)| DIMENSION + ESCAPED * (name.len() + value.len());
    let dimensions: usize = datum.dimensions.iter().map(dimension).sum();
    DATUM + ESCAPED * datum.name.len() + dimensions
}

#[cfg(test)]
mod tests {
    use super::super::metric::Unit;
    use super::super::statistics::Statistics;
    use super::*;

    fn data(count: usize, shard: &str) -> Vec<Datum> {
        let datum = |_| Datum {
            name: "RecordProcessor.processRecords.Time",
            unit: Unit::Milliseconds,
            dimensions: vec![
                ("Operation", "ProcessTask".to_owned()),
                ("ShardId", shard.to_owned()),
            ],
            statistics: Statistics::NONE,
        };
        (0..count).map(datum).collect()
    }

    fn sizes(data: &[Datum]) -> Vec<usize> {
        requests(data).map(<[Datum]>::len).collect()
    }

    #[test]
    fn a_request_has_no_more_data_than_it_may() {
        assert_eq!(sizes(&[]), [0; 0]);
        assert_eq!(sizes(&data(1, "s")), [1]);
        let many = data(2_100, "s");
        let sizes = sizes(&many);
        assert_eq!(sizes.iter().sum::<usize>(), 2_100);
        assert!(sizes.iter().all(|size| *size <= MOST_DATA), "{sizes:?}");
    }

    #[test]
    fn a_request_has_no_more_bytes_than_it_may() {
        let long = data(1_000, &"s".repeat(1024));
        let requests: Vec<_> = requests(&long).collect();
        assert!(requests.len() > 3);
        for request in requests {
            assert!(request.iter().map(size).sum::<usize>() <= MOST_BYTES);
        }
    }
}
