//! AddTagsToStream, RemoveTagsFromStream, ListTagsForStream.

use std::collections::BTreeMap;
use std::ops::Bound;

use serde::{Deserialize, Serialize};

use super::check::{self, Checks, Members, Number, rules};
use super::shards::page;
use super::stream_name::StreamRef;
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
    stream_id: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct RemoveTagsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    tag_keys: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListTagsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
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

impl AddTagsRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for AddTagsRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("tags", self.tags.as_ref());
        rules::tags(checks, self.tags.as_ref());
        self.stream().check(checks);
    }
}

impl RemoveTagsRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for RemoveTagsRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("tagKeys", self.tag_keys.as_ref());
        rules::tag_keys(checks, self.tag_keys.as_deref());
        self.stream().check(checks);
    }
}

impl ListTagsRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for ListTagsRequest {
    fn check(&self, checks: &mut Checks) {
        checks.number("limit", self.limit, Number(1, MOST_TAGS as i64));
        let start = self.exclusive_start_tag_key.as_deref();
        checks.text("exclusiveStartTagKey", start, &rules::TAG_KEY);
        self.stream().check(checks);
    }
}

impl Kinesis {
    /// Adds tags to a stream; those with known keys get new values.
    pub(crate) fn add_tags_to_stream(&self, mut request: AddTagsRequest) -> Result<(), ApiError> {
        let added = check::present(request.tags.take(), "tags")?;
        let name = self.stream_name(request.stream())?;
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
        let name = self.stream_name(request.stream())?;
        let keys = check::present(request.tag_keys.as_deref(), "tagKeys")?;
        self.with_engine(|engine, now| {
            let tags = &mut engine.stream(name, now)?.spec.tags;
            for key in keys {
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
        let name = self.stream_name(request.stream())?;
        let limit = page(request.limit, MOST_TAGS);
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
            let tags = rest.by_ref().take(limit).map(tag).collect();
            Ok(ListTagsResponse {
                tags,
                has_more_tags: rest.next().is_some(),
            })
        })
    }
}
