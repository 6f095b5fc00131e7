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
pub(super) struct Tag {
    key: String,
    value: String,
}

impl Tag {
    pub(super) fn of((key, value): (&String, &String)) -> Self {
        Self {
            key: key.clone(),
            value: value.clone(),
        }
    }
}

/// Adds tags to those of a stream or a consumer; `whose` names it.
///
/// # Errors
/// `InvalidArgumentException` for characters that tags do not have, and for too many tags.
pub(super) fn add(
    tags: &mut BTreeMap<String, String>,
    added: BTreeMap<String, String>,
    whose: &str,
) -> Result<(), ApiError> {
    require_known(
        added.keys().chain(added.values()),
        &format!("add tags to {whose}"),
    )?;
    let new = added.keys().filter(|key| !tags.contains_key(*key)).count();
    if tags.len() + new > MOST_TAGS {
        return Err(ApiError::invalid_argument(format!(
            "Failed to add tags to {whose} because a given resource cannot have more than {MOST_TAGS} tags associated \
             with it."
        )));
    }
    tags.extend(added);
    Ok(())
}

/// Checks the characters of keys and values. `what` is what fails.
pub(super) fn require_known<'a>(
    mut texts: impl Iterator<Item = &'a String>,
    what: &str,
) -> Result<(), ApiError> {
    let is_known = |character: char| {
        let is_space = character.is_whitespace() && !character.is_control();
        character.is_alphanumeric() || is_space || "_./=+-%@:".contains(character)
    };
    let mut has_percent = false;
    let unknown = texts.any(|text| {
        has_percent |= text.contains('%');
        !text.chars().all(is_known)
    });
    if unknown {
        return Err(ApiError::invalid_argument(
            "Some tags contain invalid characters. Valid characters: Unicode letters, digits, white space, _ . / = + - % @ \
             :.",
        ));
    }
    if has_percent {
        return Err(ApiError::invalid_argument(format!(
            "Failed to {what} because some tags contained illegal characters. The allowed characters are Unicode letters, \
             white-spaces, '_',',','/','=','+','-','@',':'."
        )));
    }
    Ok(())
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
            let stream = engine.stream(name, now)?;
            stream.require_listable()?;
            let whose = format!("stream {}", self.label(name));
            add(&mut stream.spec.tags, added, &whose)
        })
    }

    /// Removes tags from a stream; keys that it does not have are ignored.
    pub(crate) fn remove_tags_from_stream(&self, request: RemoveTagsRequest) -> Result<(), ApiError> {
        let name = self.stream_name(request.stream())?;
        let keys = check::present(request.tag_keys.as_deref(), "tagKeys")?;
        self.with_engine(|engine, now| {
            let stream = engine.stream(name, now)?;
            stream.require_listable()?;
            let what = format!("remove tags from stream {}", self.label(name));
            require_known(keys.iter(), &what)?;
            stream.spec.tags.retain(|key, _| !keys.contains(key));
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
            let tags = rest.by_ref().take(limit).map(Tag::of).collect();
            Ok(ListTagsResponse {
                tags,
                has_more_tags: rest.next().is_some(),
            })
        })
    }
}
