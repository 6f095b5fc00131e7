//! AddTagsToStream, RemoveTagsFromStream, ListTagsForStream.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::check;
use crate::kinesis::{ApiError, Kinesis};

/// How many tags a stream may have.
/// <https://docs.aws.amazon.com/streams/latest/dev/tagging.html>
const MOST_TAGS: usize = 50;

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct AddTagsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RemoveTagsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    tag_keys: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListTagsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    exclusive_start_tag_key: Option<String>,
    limit: Option<i64>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListTagsResponse {
    tags: Vec<Tag>,
    has_more_tags: bool,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Tag {
    key: String,
    value: String,
}

/// Tags as a request gives them, if they follow the service's rules.
pub(super) fn checked(tags: BTreeMap<String, String>) -> Result<BTreeMap<String, String>, ApiError> {
    if tags.is_empty() || tags.len() > MOST_TAGS {
        return Err(check::broken(
            "tags",
            &format!("have a length from 1 to {MOST_TAGS}"),
        ));
    }
    for (key, value) in &tags {
        check::length(key, 1..=128, "tags.key")?;
        check::length(value, 0..=256, "tags.value")?;
    }
    Ok(tags)
}

impl Kinesis {
    /// Adds tags to a stream; those with known keys get new values.
    pub(crate) fn add_tags_to_stream(&self, request: AddTagsRequest) -> Result<(), ApiError> {
        let name = self.stream_name(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let added = checked(check::required(request.tags, "tags")?)?;
        self.with_engine(|engine, now| {
            let tags = &mut engine.stream(name, now)?.spec.tags;
            let new = added.keys().filter(|key| !tags.contains_key(*key)).count();
            if tags.len() + new > MOST_TAGS {
                let message = format!("Stream {name} cannot have more than {MOST_TAGS} tags.");
                return Err(ApiError::invalid_argument(message));
            }
            tags.extend(added);
            Ok(())
        })
    }

    /// Removes tags from a stream; keys that it does not have are ignored.
    pub(crate) fn remove_tags_from_stream(&self, request: RemoveTagsRequest) -> Result<(), ApiError> {
        let name = self.stream_name(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let keys = check::required(request.tag_keys, "tagKeys")?;
        if keys.is_empty() || keys.len() > MOST_TAGS {
            return Err(check::broken(
                "tagKeys",
                &format!("have a length from 1 to {MOST_TAGS}"),
            ));
        }
        self.with_engine(|engine, now| {
            let tags = &mut engine.stream(name, now)?.spec.tags;
            for key in &keys {
                tags.remove(key);
            }
            Ok(())
        })
    }

    /// Lists a stream's tags by key, page by page.
    pub(crate) fn list_tags_for_stream(
        &self,
        request: ListTagsRequest,
    ) -> Result<ListTagsResponse, ApiError> {
        let name = self.stream_name(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let limit = check::in_range(request.limit.unwrap_or(50), 1..=50, "limit")?;
        let start = request
            .exclusive_start_tag_key
            .as_deref()
            .map_or(Bound::Unbounded, Bound::Excluded);
        self.with_engine(|engine, now| {
            let mut rest = engine
                .stream(name, now)?
                .spec
                .tags
                .range::<str, _>((start, Bound::Unbounded));
            let tag = |(key, value): (&String, &String)| Tag {
                key: key.clone(),
                value: value.clone(),
            };
            let tags = rest.by_ref().take(limit as usize).map(tag).collect();
            Ok(ListTagsResponse {
                tags,
                has_more_tags: rest.next().is_some(),
            })
        })
    }
}
