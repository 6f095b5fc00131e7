//! From the name of an operation to the database's method for it.

use bytes::Bytes;
use dynoxide::{Database, DynoxideError};
use serde::Serialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use super::DynamoDbError;
use crate::wire::is_object;

/// Performs one of the database's own operations.
pub(super) fn call(db: &Database, operation: &str, body: &Bytes) -> Result<Bytes, DynamoDbError> {
    match operation {
        "BatchGetItem" => answer(body, |r| db.batch_get_item(r)),
        "BatchWriteItem" => answer(body, |r| db.batch_write_item(r)),
        "CreateTable" => answer(body, |r| db.create_table(r)),
        "DeleteItem" => answer(body, |r| db.delete_item(r)),
        "DescribeTable" => answer(body, |r| db.describe_table(r)),
        "DescribeTimeToLive" => answer(body, |r| db.describe_time_to_live(r)),
        "GetItem" => answer(body, |r| db.get_item(r)),
        "ListTables" => answer(body, |r| db.list_tables(r)),
        "ListTagsOfResource" => answer(body, |r| db.list_tags_of_resource(r)),
        "PutItem" => answer(body, |r| db.put_item(r)),
        "Query" => answer(body, |r| db.query(r)),
        "Scan" => answer(body, |r| db.scan(r)),
        "TagResource" => answer(body, |r| db.tag_resource(r)),
        "TransactGetItems" => answer(body, |r| db.transact_get_items(r)),
        "TransactWriteItems" => answer(body, |r| db.transact_write_items(r)),
        "UntagResource" => answer(body, |r| db.untag_resource(r)),
        "UpdateItem" => answer(body, |r| db.update_item(r)),
        "UpdateTable" => answer(body, |r| db.update_table(r)),
        "UpdateTimeToLive" => answer(body, |r| db.update_time_to_live(r)),
        _ => Err(unknown_operation(operation)),
    }
}

/// Reads the request, performs it, and writes the answer.
fn answer<Q: DeserializeOwned, A: Serialize>(
    body: &Bytes,
    perform: impl FnOnce(Q) -> Result<A, DynoxideError>,
) -> Result<Bytes, DynamoDbError> {
    let request = read(body)?;
    let answer = perform(request)?;
    write(&answer)
}

/// Reads a request body.
///
/// A body that is no JSON at all is told before anything that is missing in it, as the service does.
pub(super) fn read<Q: DeserializeOwned>(body: &Bytes) -> Result<Q, DynoxideError> {
    if !is_object(body) {
        return Err(DynoxideError::SerializationException(
            "the request is not a JSON object".to_owned(),
        ));
    }
    serde_json::from_slice(body).map_err(|error| match serde_json::from_slice::<IgnoredAny>(body) {
        Ok(_) => refusal(&error.to_string()),
        Err(unreadable) => DynoxideError::SerializationException(unreadable.to_string()),
    })
}

/// Writes an answer.
pub(super) fn write(answer: &impl Serialize) -> Result<Bytes, DynamoDbError> {
    let written = serde_json::to_vec(answer).map_err(|error| {
        DynoxideError::InternalServerError(format!("the answer cannot be written: {error}"))
    })?;
    Ok(Bytes::from(written))
}

/// The database's request types refuse a body while it is read, and say in front of the message which of DynamoDB's
/// exceptions that is; the parser adds a position behind it.
fn refusal(message: &str) -> DynoxideError {
    const VALIDATION: [&str; 3] = ["VALIDATION:", "VALIDATION_REQUEST:", "VALIDATION_AS_READ:"];
    const SERIALIZATION: [&str; 2] = ["SERIALIZATION:", "SERIALIZATION_AS_READ:"];
    let bare = |marked: &str| {
        marked
            .rsplit_once(" at line ")
            .map_or(marked, |(before, _)| before)
            .to_owned()
    };
    let marked = |markers: &[&str]| markers.iter().find_map(|marker| message.strip_prefix(marker));

    if let Some(text) = marked(&VALIDATION) {
        return DynoxideError::ValidationException(bare(text));
    }
    if let Some(text) = marked(&SERIALIZATION) {
        return DynoxideError::SerializationException(bare(text));
    }
    // What the service reports as invalid values rather than as an unreadable body.
    let invalid = [
        "missing field",
        "unknown variant",
        "invalid type: null",
        "AttributeValue",
    ];
    if invalid.iter().any(|part| message.contains(part)) {
        DynoxideError::ValidationException(bare(message))
    } else {
        DynoxideError::SerializationException(bare(message))
    }
}

fn unknown_operation(operation: &str) -> DynamoDbError {
    let code = "com.amazon.coral.service#UnknownOperationException";
    DynamoDbError::new(code, &format!("The local DynamoDB does not serve {operation}."))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(error: &DynoxideError) -> (&'static str, String) {
        (error.error_type(), error.to_string())
    }

    #[test]
    fn markers_choose_the_exception_and_do_not_reach_the_client() {
        let validation = refusal("VALIDATION:TableName is too short at line 1 column 5");
        assert_eq!(
            kind(&validation),
            (
                "com.amazon.coral.validate#ValidationException",
                "TableName is too short".into()
            )
        );
        let serialization = refusal("SERIALIZATION:NUMBER_VALUE cannot be converted to Boolean");
        assert_eq!(
            kind(&serialization).0,
            "com.amazon.coral.service#SerializationException"
        );
        let unmarked = refusal("expected value at line 1 column 1");
        assert_eq!(
            kind(&unmarked),
            (
                "com.amazon.coral.service#SerializationException",
                "expected value".into()
            )
        );
    }
}
