//! Dead letters: records that could not be processed and were given up, kept so that they can be put back.
//!
//! A [`DeadLetter`] holds the record and what is known of its failure. It goes to a sink, a [`DeadLetters`]:
//!
//! | sink | keeps letters in |
//! |---|---|
//! | [`JsonLines`] | a file on this machine, one JSON object on each line |
//! | [`StreamDeadLetters`] | another Kinesis stream |
//! | [`MemoryDeadLetters`] | memory, for tests |
//! | the crate `kcl-dead-letters` | an SQS queue; objects in S3 and elsewhere |
//!
//! A [`Redrive`] puts letters back: it takes them from [`Letters`], gives them to a [`Destination`], and records each as done.
//!
//! | destination | takes records |
//! |---|---|
//! | [`ToStream`] | into a stream, for all its applications |
//! | [`ToProcessor`] | through a [`RecordProcessor`](crate::RecordProcessor) |
//! | [`ToHandler`] | with a function |
//!
//! The [guide](crate::guide::dead_letters) tells what is guaranteed.

mod json_lines;
mod letter;
mod memory;
mod patience;
mod redrive;
mod sink;
mod stream_sink;

pub use self::json_lines::{JsonLines, LettersInFile};
pub use self::letter::{DeadLetter, GivenUp};
pub use self::memory::{LettersInMemory, MemoryDeadLetters};
pub use self::redrive::{Destination, Found, Letters, Redrive, Redriven, ToHandler, ToProcessor, ToStream};
pub use self::sink::{DeadLetterError, DeadLetters};
pub use self::stream_sink::StreamDeadLetters;
