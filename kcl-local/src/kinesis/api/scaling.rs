//! SplitShard, MergeShards, UpdateShardCount.

use serde::{Deserialize, Serialize};

use super::check::{self, Checks, Members, rules};
use super::put::hash_key;
use super::stream_name::StreamRef;
use crate::kinesis::{ApiError, Kinesis};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SplitShardRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    shard_to_split: Option<String>,
    new_starting_hash_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MergeShardsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    shard_to_merge: Option<String>,
    adjacent_shard_to_merge: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateShardCountRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    stream_id: Option<String>,
    target_shard_count: Option<i64>,
    scaling_type: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateShardCountResponse {
    stream_name: String,
    current_shard_count: u32,
    target_shard_count: u32,
    #[serde(rename = "StreamARN")]
    stream_arn: String,
}

impl SplitShardRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for SplitShardRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("newStartingHashKey", self.new_starting_hash_key.as_ref());
        let key = self.new_starting_hash_key.as_deref();
        checks.text("newStartingHashKey", key, &rules::HASH_KEY);
        checks.required("shardToSplit", self.shard_to_split.as_ref());
        checks.text("shardToSplit", self.shard_to_split.as_deref(), &rules::NAME);
        self.stream().check(checks);
    }
}

impl MergeShardsRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for MergeShardsRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("shardToMerge", self.shard_to_merge.as_ref());
        checks.text("shardToMerge", self.shard_to_merge.as_deref(), &rules::NAME);
        checks.required("adjacentShardToMerge", self.adjacent_shard_to_merge.as_ref());
        let adjacent = self.adjacent_shard_to_merge.as_deref();
        checks.text("adjacentShardToMerge", adjacent, &rules::NAME);
        self.stream().check(checks);
    }
}

impl UpdateShardCountRequest {
    fn stream(&self) -> StreamRef<'_> {
        StreamRef::new(&self.stream_name, &self.stream_arn, &self.stream_id)
    }
}

impl Members for UpdateShardCountRequest {
    fn check(&self, checks: &mut Checks) {
        checks.required("scalingType", self.scaling_type.as_ref());
        checks.choice("scalingType", self.scaling_type.as_deref(), rules::SCALING_TYPES);
        checks.required("targetShardCount", self.target_shard_count.as_ref());
        checks.number("targetShardCount", self.target_shard_count, rules::SHARD_COUNT);
        self.stream().check(checks);
    }
}

impl Kinesis {
    /// Splits a shard in two.
    pub(crate) fn split_shard(&self, request: SplitShardRequest) -> Result<(), ApiError> {
        let name = self.stream_name(request.stream())?;
        let shard = check::present(request.shard_to_split.as_deref(), "shardToSplit")?;
        let shard = self.shard_id(shard, name)?;
        let key = check::present(request.new_starting_hash_key.as_deref(), "newStartingHashKey")?;
        let key = hash_key(key, "NewStartingHashKey")?;
        self.with_engine(|engine, now| engine.split(name, shard, key, now))?;
        Ok(())
    }

    /// Merges a shard and its upper neighbour.
    pub(crate) fn merge_shards(&self, request: MergeShardsRequest) -> Result<(), ApiError> {
        let name = self.stream_name(request.stream())?;
        let lower = check::present(request.shard_to_merge.as_deref(), "shardToMerge")?;
        let lower = self.shard_id(lower, name)?;
        let upper = request.adjacent_shard_to_merge.as_deref();
        let upper = self.shard_id(check::present(upper, "adjacentShardToMerge")?, name)?;
        self.with_engine(|engine, now| engine.merge(name, lower, upper, now))?;
        Ok(())
    }

    /// Splits and merges until a number of shards of equal size is open.
    pub(crate) fn update_shard_count(
        &self,
        request: UpdateShardCountRequest,
    ) -> Result<UpdateShardCountResponse, ApiError> {
        let name = self.stream_name(request.stream())?;
        let target = check::present(request.target_shard_count, "targetShardCount")?;
        let target_shard_count = check::checked(target);
        let current_shard_count =
            self.with_engine(|engine, now| engine.scale(name, target_shard_count, now))?;
        Ok(UpdateShardCountResponse {
            stream_name: name.to_owned(),
            current_shard_count,
            target_shard_count,
            stream_arn: self.stream_arn(name),
        })
    }
}
