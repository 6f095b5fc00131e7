//! Dead letters of [`kcl_core`] beyond its own sinks, each behind a feature of its name:
//!
//! | feature | what |
//! |---|---|
//! | `sqs` | `SqsDeadLetters`: an SQS queue |
//! | `object-store` | `ObjectDeadLetters`: objects, in whatever the crate `object_store` speaks to |
//! | `aws`, `fs` | the same, with S3, or with a folder |
//! | `command` | the program `kcl-redrive`, which puts the letters of a file back into a stream |
//!
//! The guide [`kcl_core::guide::dead_letters`] tells what a letter holds, and what is guaranteed.

#[cfg(feature = "command")]
pub mod command;
#[cfg(feature = "object-store")]
mod objects;
#[cfg(feature = "sqs")]
mod sqs;
#[cfg(all(test, any(feature = "object-store", feature = "sqs")))]
mod testing;

#[cfg(feature = "object-store")]
pub use self::objects::{LettersInObjects, ObjectDeadLetters};
#[cfg(feature = "sqs")]
pub use self::sqs::SqsDeadLetters;
