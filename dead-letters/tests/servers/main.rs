//! Dead letters in an SQS and an S3 that others wrote: moto, of PyPI. A test without it says why it is skipped.
#![cfg(any(feature = "sqs", feature = "aws"))]
#![allow(
    clippy::disallowed_methods,
    clippy::expect_used,
    reason = "tests with a program in real time"
)]

mod fetched;
mod moto;
#[cfg(feature = "aws")]
mod s3;
#[cfg(feature = "sqs")]
mod sqs;
#[path = "../../src/testing.rs"]
mod testing;
