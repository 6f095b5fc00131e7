//! TagResource, UntagResource, ListTagsForResource, PutResourcePolicy, GetResourcePolicy, DeleteResourcePolicy: what is said of
//! a stream or of a consumer by its ARN.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::check::{self, Checks, Members, Pattern, Text, rules};
use super::consumers::Named;
use super::tags::{Tag, add, require_known};
use crate::kinesis::engine::{Engine, EngineError, EpochMillis};
use crate::kinesis::{ApiError, Kinesis};

/// How long a policy may be, in bytes.
/// <https://docs.aws.amazon.com/streams/latest/dev/service-sizes-and-limits.html>
const MOST_POLICY: usize = 20 * 1024;
const RESOURCE_ARN: Text = Text {
    pattern: Some(Pattern::ResourceArn),
    length: Some((1, 2_048)),
};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct TagResourceRequest {
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
    stream_id: Option<String>,
    tags: Option<BTreeMap<String, String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UntagResourceRequest {
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
    stream_id: Option<String>,
    tag_keys: Option<Vec<String>>,
}

/// A request that says no more than which resource it means.
#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ResourceRequest {
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
    stream_id: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct PutPolicyRequest {
    #[serde(rename = "ResourceARN")]
    resource_arn: Option<String>,
    stream_id: Option<String>,
    policy: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ListTagsForResourceResponse {
    tags: Vec<Tag>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct GetPolicyResponse {
    policy: String,
}

fn check_resource(checks: &mut Checks, arn: &Option<String>, id: &Option<String>) {
    checks.required("resourceARN", arn.as_ref());
    checks.text("resourceARN", arn.as_deref(), &RESOURCE_ARN);
    checks.text("streamId", id.as_deref(), &rules::STREAM_ID);
}

impl Members for TagResourceRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("tags", self.tags.as_ref());
        rules::tags(checks, self.tags.as_ref());
        check_resource(checks, &self.resource_arn, &self.stream_id);
    }
}

impl Members for UntagResourceRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("tagKeys", self.tag_keys.as_ref());
        rules::tag_keys(checks, self.tag_keys.as_deref());
        check_resource(checks, &self.resource_arn, &self.stream_id);
    }
}

impl Members for ResourceRequest {
    fn check(&self, checks: &mut Checks) {
        check_resource(checks, &self.resource_arn, &self.stream_id);
    }
}

impl Members for PutPolicyRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("policy", self.policy.as_ref());
        check_resource(checks, &self.resource_arn, &self.stream_id);
    }
}

/// A stream, or one of its consumers.
enum Resource<'a> {
    Stream(&'a str),
    Consumer(Named<'a>),
}

impl Resource<'_> {
    /// The same, to be changed: a stream that is created or deleted is not.
    fn find_to_change<'e>(
        &self,
        engine: &'e mut Engine,
        now: EpochMillis,
    ) -> Result<(&'e mut BTreeMap<String, String>, &'e mut Option<String>), EngineError> {
        if let Self::Stream(name) = self {
            engine.stream(name, now)?.require_listable()?;
        }
        self.find(engine, now)
    }

    /// What the resource carries: its tags and its policy.
    fn find<'e>(
        &self,
        engine: &'e mut Engine,
        now: EpochMillis,
    ) -> Result<(&'e mut BTreeMap<String, String>, &'e mut Option<String>), EngineError> {
        match self {
            Self::Stream(name) => {
                let stream = engine.stream(name, now)?;
                Ok((&mut stream.spec.tags, &mut stream.policy))
            }
            Self::Consumer(named) => {
                let consumer = named.find_mut(engine, now)?;
                Ok((&mut consumer.tags, &mut consumer.policy))
            }
        }
    }
}

impl Kinesis {
    fn resource<'a>(&self, arn: Option<&'a str>) -> Result<Resource<'a>, ApiError> {
        let arn = check::present(arn, "resourceARN")?;
        let resource = self.resource_in_arn(arn)?;
        if !resource.starts_with("stream/") {
            return Err(ApiError::client(
                "ResourceNotFoundException",
                format!("{arn} not found: there are only streams and consumers here."),
            ));
        }
        if arn.contains("/consumer/") {
            return Ok(Resource::Consumer(self.consumer_in_arn(arn)?));
        }
        Ok(Resource::Stream(self.name_in_arn(arn)?))
    }

    /// Adds tags to a stream or a consumer; those with known keys get new values.
    pub(crate) fn tag_resource(&self, mut request: TagResourceRequest) -> Result<(), ApiError> {
        let added = check::present(request.tags.take(), "tags")?;
        let arn = request.resource_arn.as_deref();
        let resource = self.resource(arn)?;
        self.with_engine(|engine, now| {
            let (tags, _) = resource.find_to_change(engine, now)?;
            add(tags, added, &format!("resource {}", arn.unwrap_or_default()))
        })
    }

    /// Removes tags from a stream or a consumer; keys that it does not have are ignored.
    pub(crate) fn untag_resource(&self, request: UntagResourceRequest) -> Result<(), ApiError> {
        let arn = request.resource_arn.as_deref();
        let resource = self.resource(arn)?;
        let keys = check::present(request.tag_keys.as_deref(), "tagKeys")?;
        self.with_engine(|engine, now| {
            let (tags, _) = resource.find_to_change(engine, now)?;
            let what = format!("remove tags from resource {}", arn.unwrap_or_default());
            require_known(keys.iter(), &what)?;
            tags.retain(|key, _| !keys.contains(key));
            Ok(())
        })
    }

    /// Lists the tags of a stream or a consumer, all at once.
    pub(crate) fn list_tags_for_resource(
        &self,
        request: ResourceRequest,
    ) -> Result<ListTagsForResourceResponse, ApiError> {
        let resource = self.resource(request.resource_arn.as_deref())?;
        self.with_engine(|engine, now| {
            let (tags, _) = resource.find(engine, now)?;
            Ok(ListTagsForResourceResponse {
                tags: tags.iter().map(Tag::of).collect(),
            })
        })
    }

    /// Keeps a policy with a stream or a consumer. It is not acted upon: everything is permitted here.
    pub(crate) fn put_resource_policy(&self, request: PutPolicyRequest) -> Result<(), ApiError> {
        let resource = self.resource(request.resource_arn.as_deref())?;
        let new = check::present(request.policy, "policy")?;
        if new.len() > MOST_POLICY {
            return Err(ApiError::invalid_argument(format!(
                "A policy of {} bytes exceeds the limit of {MOST_POLICY} bytes.",
                new.len()
            )));
        }
        if serde_json::from_str::<BTreeMap<String, serde::de::IgnoredAny>>(&new).is_err() {
            return Err(ApiError::invalid_argument("The policy is not a JSON object."));
        }
        self.with_engine(|engine, now| {
            let (_, policy) = resource.find_to_change(engine, now)?;
            *policy = Some(new);
            Ok(())
        })
    }

    /// Tells the policy of a stream or a consumer.
    pub(crate) fn get_resource_policy(
        &self,
        request: ResourceRequest,
    ) -> Result<GetPolicyResponse, ApiError> {
        let arn = request.resource_arn.as_deref();
        let resource = self.resource(arn)?;
        self.with_engine(|engine, now| {
            let (_, policy) = resource.find(engine, now)?;
            let policy = policy.clone().ok_or_else(|| no_policy(arn))?;
            Ok(GetPolicyResponse { policy })
        })
    }

    /// Forgets the policy of a stream or a consumer.
    pub(crate) fn delete_resource_policy(&self, request: ResourceRequest) -> Result<(), ApiError> {
        let arn = request.resource_arn.as_deref();
        let resource = self.resource(arn)?;
        self.with_engine(|engine, now| {
            let (_, policy) = resource.find_to_change(engine, now)?;
            policy.take().map(|_| ()).ok_or_else(|| no_policy(arn))
        })
    }
}

fn no_policy(arn: Option<&str>) -> ApiError {
    ApiError::client(
        "ResourceNotFoundException",
        format!(
            "No resource policy found for resource ARN {}",
            arn.unwrap_or_default()
        ),
    )
}
