//! The operations of the service, and the refusal of those that are not served.

use super::ApiError;

/// Each operation of the service's API, with what it is about. `tools/kinesis_operations.py` writes the list.
const OPERATIONS: &str = include_str!("operations.txt");

/// The operations by name, each with what it is about.
fn all() -> impl Iterator<Item = (&'static str, &'static str)> {
    let lines = OPERATIONS.lines().filter(|line| !line.starts_with('#'));
    lines.filter_map(|line| line.split_once(' '))
}

/// The names of the service's operations.
pub fn operation_names() -> impl Iterator<Item = &'static str> {
    all().map(|(name, _)| name)
}

/// The error for an operation that is not served.
pub(super) fn refusal(operation: &str) -> ApiError {
    let kind = all()
        .find(|(name, _)| *name == operation)
        .map_or("", |(_, kind)| kind);
    ApiError::unknown_operation(match kind {
        "queue" => format!("{operation} is not served: kcl-local has streams and consumers, and no queues."),
        "channel" => {
            format!("{operation} is not served: kcl-local has streams and consumers, and no channels.")
        }
        _ => format!("{operation} is not an operation of this backend"),
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::clock::Clock;
    use crate::kinesis::call::Codec;
    use crate::kinesis::{Kinesis, KinesisOptions};

    struct Json;

    impl Codec for Json {
        fn decode<T: serde::de::DeserializeOwned>(&self, body: &Bytes) -> Result<T, ApiError> {
            serde_json::from_slice(body).map_err(|error| ApiError::serialization(error.to_string()))
        }

        fn encode<T: serde::Serialize>(&self, value: &T) -> Result<Bytes, ApiError> {
            let body = serde_json::to_vec(value).map_err(|error| ApiError::internal(error.to_string()))?;
            Ok(Bytes::from(body))
        }
    }

    #[tokio::test]
    async fn every_operation_is_served_or_refused_by_name() {
        let kinesis = Kinesis::new(Clock::system(), KinesisOptions::default());
        let body = Bytes::from_static(b"{}");
        let mut refused = 0;
        for (operation, kind) in all() {
            let outcome = match operation {
                "SubscribeToShard" => kinesis.subscribe(&body, &Json).map(|_| Bytes::new()),
                _ => kinesis.call(operation, &body, &Json),
            };
            let error = outcome
                .err()
                .filter(|error| error.code == "UnknownOperationException");
            let is_refused = error
                .as_ref()
                .is_some_and(|error| error.message.starts_with(&format!("{operation} is not served: ")));
            assert_eq!(
                error.is_some(),
                is_refused,
                "{operation} is neither served nor refused by name"
            );
            assert_eq!(is_refused, matches!(kind, "queue" | "channel"), "{operation}");
            refused += usize::from(is_refused);
        }
        assert_eq!((all().count(), refused), (57, 17));
    }

    #[test]
    fn other_names_are_no_operations() {
        assert_eq!(
            refusal("FoldStream").message,
            "FoldStream is not an operation of this backend"
        );
    }
}
