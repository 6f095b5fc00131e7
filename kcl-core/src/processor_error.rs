//! Why a processor failed, and how far it came.

use std::error::Error as StdError;
use std::fmt;

use kcl_lease::ExtendedSequenceNumber;

use crate::record::Record;

/// Why a processor failed: any error, or a message.
///
/// Every `std::error::Error + Send + Sync + 'static` converts into it, so `?` works in a processor; so do `&str` and
/// `String`.
///
/// ```
/// # use kcl_core::ProcessorError;
/// fn parse(text: &str) -> Result<u32, ProcessorError> {
///     if text.is_empty() {
///         return Err("nothing to parse".into());
///     }
///     Ok(text.parse()?)
/// }
/// assert_eq!(parse("x").unwrap_err().to_string(), "invalid digit found in string");
/// ```
pub struct ProcessorError {
    error: Box<dyn StdError + Send + Sync>,
    at: Option<Box<ExtendedSequenceNumber>>,
}

impl ProcessorError {
    /// A failure of [`process_records`](crate::RecordProcessor::process_records) that says how far it came: it is done with all records of
    /// the batch before this one, and failed with this one. They are not delivered again, and a checkpoint that names no position
    /// covers them from then on; the batch goes on at this record.
    ///
    /// ```
    /// # use kcl_core::{async_trait, Checkpointer, ProcessorError, Record, RecordBatch, RecordProcessor};
    /// # struct OneByOne;
    /// # impl OneByOne { async fn store(&self, _: &Record) -> Result<(), std::io::Error> { Ok(()) } }
    /// # #[async_trait]
    /// # impl RecordProcessor for OneByOne {
    /// async fn process_records(&mut self, batch: &RecordBatch, checkpointer: &Checkpointer) -> Result<(), ProcessorError> {
    ///     for record in batch {
    ///         self.store(record).await.map_err(|error| ProcessorError::at(record, error))?;
    ///     }
    ///     checkpointer.checkpoint().await?;
    ///     Ok(())
    /// }
    /// # }
    /// ```
    pub fn at(record: &Record, error: impl Into<Self>) -> Self {
        Self {
            at: Some(Box::new(record.position().clone())),
            ..error.into()
        }
    }

    /// The record that was named, if one was.
    pub(crate) fn position(&self) -> Option<&ExtendedSequenceNumber> {
        self.at.as_deref()
    }

    /// The error itself, for its sources or for downcasting.
    pub fn as_error(&self) -> &(dyn StdError + Send + Sync + 'static) {
        &*self.error
    }

    /// From what a panic left behind.
    pub(crate) fn from_panic(payload: Box<dyn std::any::Any + Send>) -> Self {
        let message = payload
            .downcast_ref::<&str>()
            .map(|text| (*text).to_owned())
            .or_else(|| payload.downcast_ref::<String>().cloned())
            .unwrap_or_else(|| "no message".to_owned());
        format!("the processor panicked: {message}").into()
    }

    /// The message with the messages of all sources, for status and logs.
    pub(crate) fn chain(&self) -> String {
        chain(&*self.error)
    }
}

/// An error's message, followed by the messages of its sources.
pub(crate) fn chain(error: &(dyn StdError + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text.push_str(": ");
            text.push_str(&message);
        }
        source = error.source();
    }
    text
}

impl<E: Into<Box<dyn StdError + Send + Sync>>> From<E> for ProcessorError {
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            at: None,
        }
    }
}

impl fmt::Display for ProcessorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

impl fmt::Debug for ProcessorError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.error.fmt(f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    #[error("outer")]
    struct Outer(#[source] std::num::ParseIntError);

    #[test]
    fn errors_texts_and_boxed_errors_convert() {
        let boxed: Box<dyn StdError + Send + Sync> = "boxed".into();
        for (error, text) in [
            (ProcessorError::from("text"), "text"),
            (ProcessorError::from(String::from("owned")), "owned"),
            (ProcessorError::from(boxed), "boxed"),
            (
                ProcessorError::from(fmt::Error),
                "an error occurred when formatting an argument",
            ),
        ] {
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn the_chain_names_all_sources() {
        let error = ProcessorError::from(Outer("x".parse::<u8>().expect_err("no number")));
        assert_eq!(error.chain(), "outer: invalid digit found in string");
        assert!(error.as_error().downcast_ref::<Outer>().is_some());
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_message() {
        let caught = std::panic::catch_unwind(|| panic!("out of {}", "luck")).expect_err("panicked");
        assert_eq!(
            ProcessorError::from_panic(caught).to_string(),
            "the processor panicked: out of luck"
        );
    }
}
