//! Where letters are put back.

use std::future::Future;

use async_trait::async_trait;

use super::super::letter::DeadLetter;
use crate::processor_error::ProcessorError;
use crate::record::Record;

/// Takes the records of dead letters.
#[async_trait]
pub trait Destination: Send {
    /// Takes a letter's record. `Ok` says that it needs nothing more: the letter is recorded as done.
    ///
    /// # Errors
    /// It was not taken. The letter stays where it is.
    async fn put(&mut self, letter: &DeadLetter) -> Result<(), ProcessorError>;
}

/// Gives each record to a function.
///
/// ```
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), Box<dyn std::error::Error>> {
/// use kcl_core::dead_letters::{MemoryDeadLetters, Redrive, ToHandler};
///
/// let letters = MemoryDeadLetters::default();
/// let mut print = ToHandler::new(async |record: kcl_core::Record| {
///     println!("{:?}", record.data());
///     Ok(())
/// });
/// let told = Redrive::new().run(&mut letters.not_done(), &mut print).await?;
/// assert_eq!(told.done, 0);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct ToHandler<F>(F);

impl<F, R> ToHandler<F>
where
    F: FnMut(Record) -> R + Send,
    R: Future<Output = Result<(), ProcessorError>> + Send,
{
    /// Gives each record to this function.
    pub fn new(handler: F) -> Self {
        Self(handler)
    }
}

#[async_trait]
impl<F, R> Destination for ToHandler<F>
where
    F: FnMut(Record) -> R + Send,
    R: Future<Output = Result<(), ProcessorError>> + Send,
{
    async fn put(&mut self, letter: &DeadLetter) -> Result<(), ProcessorError> {
        (self.0)(letter.record()).await
    }
}
