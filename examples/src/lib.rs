//! What several examples, and tests, have in common.
//!
//! [`exactly_once`] is an example of its own: read [`exactly_once::ExactlyOnce`] first. So is [`pageviews`].

pub mod exactly_once;
pub mod pageviews;
pub mod streams;

/// Any error, told at the end of the program.
pub type AnyError = Box<dyn std::error::Error + Send + Sync>;

/// An error's message, followed by the messages of its sources.
pub fn chain(error: &(dyn std::error::Error + 'static)) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        let message = error.to_string();
        if !text.ends_with(&message) {
            text = format!("{text}: {message}");
        }
        source = error.source();
    }
    text
}
