//! Dead letters in an SQS and an S3 that others wrote: moto, of PyPI. A test without it says why it is skipped.
#![cfg(any(feature = "sqs", feature = "aws"))]
#![expect(clippy::expect_used, reason = "tests")]

mod moto;
#[cfg(feature = "aws")]
mod s3;
#[cfg(feature = "sqs")]
mod sqs;
#[path = "../../src/testing.rs"]
mod testing;
