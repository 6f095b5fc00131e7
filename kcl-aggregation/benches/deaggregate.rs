//! Taking an aggregate apart, beside the digest alone, which nobody who wants to be sure can do without.

#![allow(missing_docs, clippy::expect_used, reason = "a bench")]

use std::hint::black_box;

use criterion::{Criterion, Throughput, criterion_group, criterion_main};
use kcl_aggregation::{Aggregate, Aggregator, Bytes, UserRecord};
use md5::{Digest as _, Md5};

/// 100 user records of 100 bytes, of so many keys.
fn aggregate(keys: usize) -> Bytes {
    let mut aggregator = Aggregator::default();
    for number in 0..100 {
        let record = UserRecord::new(format!("customer-{}", number % keys), vec![b'x'; 100]);
        let full = aggregator.push(record).expect("valid");
        assert!(full.is_none(), "it fits");
    }
    aggregator.finish().expect("pushed").data
}

fn apart(c: &mut Criterion) {
    for keys in [1, 100] {
        let data = aggregate(keys);
        let mut group = c.benchmark_group(format!("{keys} keys"));
        group.throughput(Throughput::Bytes(data.len() as u64));
        group.bench_function("MD5 alone", |b| b.iter(|| Md5::digest(black_box(&data))));
        group.bench_function("taken apart", |b| {
            b.iter(|| {
                let aggregate = Aggregate::parse(black_box(&data)).expect("one");
                aggregate
                    .user_records()
                    .map(|record| record.data.len())
                    .sum::<usize>()
            });
        });
        group.bench_function("taken apart and judged by hash key", |b| {
            b.iter(|| {
                let aggregate = Aggregate::parse(black_box(&data)).expect("one");
                aggregate
                    .user_records()
                    .filter(|record| record.hash_key().is_some())
                    .count()
            });
        });
        group.finish();
    }
}

criterion_group!(benches, apart);
criterion_main!(benches);
