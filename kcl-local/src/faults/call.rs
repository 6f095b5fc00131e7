//! A request as faults see it.

use std::collections::BTreeMap;

use bytes::Bytes;
use http::Request;
use serde::Deserialize;
use serde::de::{DeserializeOwned, IgnoredAny};

use crate::kinesis::stream_of_iterator;
use crate::wire::{Service, Target};

/// A request on its way to the backend.
#[derive(Debug, Clone, Copy)]
pub struct Call<'a> {
    /// The client's name, see [`Backend::sdk_config_named`](crate::Backend::sdk_config_named); empty if it has none.
    pub client: &'a str,
    /// The service asked, unless the request names none.
    pub service: Option<Service>,
    /// The operation asked for, such as `UpdateItem`; empty if the request names none.
    pub operation: &'a str,
    /// The body as sent.
    pub body: &'a Bytes,
}

/// The members of requests that name what they are about.
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Named {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    #[serde(rename = "ConsumerARN")]
    consumer_arn: Option<String>,
    #[serde(rename = "ResourceARN")]
    tagged_stream: Option<String>,
    shard_iterator: Option<String>,
    table_name: Option<String>,
    #[serde(rename = "ResourceArn")]
    tagged_table: Option<String>,
    index_name: Option<String>,
    request_items: Option<BTreeMap<String, IgnoredAny>>,
    transact_items: Option<Vec<BTreeMap<String, OfTable>>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct OfTable {
    table_name: Option<String>,
}

impl<'a> Call<'a> {
    pub(crate) fn new(client: &'a str, request: &'a Request<Bytes>) -> Self {
        let target = Target::of_request(request);
        Self {
            client,
            service: target.map(|t| t.service),
            operation: target.map_or("", |t| t.operation),
            body: request.body(),
        }
    }

    /// The names of the streams and tables that the request is about. An ARN, and a shard iterator, count as the name that is
    /// in them.
    pub fn resources(&self) -> Vec<String> {
        let named = self.named();
        let one = [
            named.stream_name,
            named.stream_arn,
            named.consumer_arn,
            named.tagged_stream,
            named.table_name,
            named.tagged_table,
        ];
        let read = named.shard_iterator.as_deref().and_then(stream_of_iterator);
        let batch = named.request_items.into_iter().flatten().map(|(table, _)| table);
        let transaction = named.transact_items.into_iter().flatten().flatten();
        let transaction = transaction.filter_map(|(_, item)| item.table_name);
        let all = one
            .into_iter()
            .flatten()
            .chain(read)
            .chain(batch)
            .chain(transaction);
        all.map(|name| resource_name(&name).to_owned()).collect()
    }

    /// The name of the index that the request reads, if it reads one.
    pub fn index(&self) -> Option<String> {
        self.named().index_name
    }

    fn named(&self) -> Named {
        read(self.body).unwrap_or_default()
    }
}

/// Reads a body in either encoding; one that cannot be read names nothing, and the service will say so.
fn read<T: DeserializeOwned>(body: &Bytes) -> Option<T> {
    if body.trim_ascii_start().first() == Some(&b'{') {
        serde_json::from_slice(body).ok()
    } else {
        ciborium::from_reader(&body[..]).ok()
    }
}

/// The name in an ARN of a stream, of its consumer, of a table or of its index; what is no ARN is a name.
pub(super) fn resource_name(text: &str) -> &str {
    if !text.starts_with("arn:") {
        return text;
    }
    let resource = text.splitn(6, ':').nth(5).unwrap_or_default();
    resource.split('/').nth(1).unwrap_or(text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn resources(body: impl Into<Bytes>) -> Vec<String> {
        let call = Call {
            client: "",
            service: None,
            operation: "",
            body: &body.into(),
        };
        call.resources()
    }

    #[test]
    fn streams_and_tables_are_named_in_many_ways() {
        for body in [
            r#"{"StreamName":"orders","Records":[{"Data":"YQ==","PartitionKey":"k"}]}"#,
            r#"{"StreamARN":"arn:aws:kinesis:us-east-1:000000000000:stream/orders"}"#,
            r#"{"ConsumerARN":"arn:aws:kinesis:us-east-1:000000000000:stream/orders/consumer/app:17"}"#,
            r#" {"TableName":"orders","Key":{"leaseKey":{"S":"x"}}}"#,
            r#"{"TableName":"arn:aws:dynamodb:us-east-1:000000000000:table/orders"}"#,
            r#"{"RequestItems":{"orders":[{"PutRequest":{}}]}}"#,
            r#"{"TransactItems":[{"Put":{"TableName":"orders","Item":{}}}]}"#,
        ] {
            assert_eq!(resources(body), ["orders"], "{body}");
        }
        for body in ["", "{", "[]", "\u{0}", r#"{"StreamName":7}"#, r#"{"Limit":1}"#] {
            assert!(resources(body).is_empty(), "{body}");
        }
    }

    #[test]
    fn requests_in_cbor_name_them_as_well() {
        let mut body = Vec::new();
        ciborium::into_writer(&BTreeMap::from([("StreamName", "orders")]), &mut body).unwrap();
        assert_eq!(resources(body), ["orders"]);
    }

    #[test]
    fn the_index_is_named_beside_its_table() {
        let body = Bytes::from_static(br#"{"TableName":"leases","IndexName":"ByOwner"}"#);
        let call = Call {
            client: "",
            service: None,
            operation: "Query",
            body: &body,
        };
        assert_eq!(call.index().as_deref(), Some("ByOwner"));
    }
}
