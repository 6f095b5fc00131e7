//! SplitShard, MergeShards, UpdateShardCount.

use serde::{Deserialize, Serialize};

use super::check;
use super::put::hash_key;
use super::shards::shard_id;
use crate::kinesis::{ApiError, Kinesis};

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct SplitShardRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_to_split: Option<String>,
    new_starting_hash_key: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct MergeShardsRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
    shard_to_merge: Option<String>,
    adjacent_shard_to_merge: Option<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct UpdateShardCountRequest {
    stream_name: Option<String>,
    #[serde(rename = "StreamARN")]
    stream_arn: Option<String>,
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

impl Kinesis {
    /// Splits a shard in two.
    pub(crate) fn split_shard(&self, request: SplitShardRequest) -> Result<(), ApiError> {
        let name = self.stream_name(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let shard = check::required(request.shard_to_split, "shardToSplit")?;
        let shard = shard_id(&shard, "shardToSplit", name)?;
        let key = check::required(request.new_starting_hash_key, "newStartingHashKey")?;
        let key = hash_key(&key, "NewStartingHashKey")?;
        self.with_engine(|engine, now| engine.split(name, shard, key, now))?;
        Ok(())
    }

    /// Merges a shard and its upper neighbour.
    pub(crate) fn merge_shards(&self, request: MergeShardsRequest) -> Result<(), ApiError> {
        let name = self.stream_name(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        let lower = check::required(request.shard_to_merge, "shardToMerge")?;
        let lower = shard_id(&lower, "shardToMerge", name)?;
        let upper = check::required(request.adjacent_shard_to_merge, "adjacentShardToMerge")?;
        let upper = shard_id(&upper, "adjacentShardToMerge", name)?;
        self.with_engine(|engine, now| engine.merge(name, lower, upper, now))?;
        Ok(())
    }

    /// Splits and merges until a number of shards of equal size is open.
    pub(crate) fn update_shard_count(
        &self,
        request: UpdateShardCountRequest,
    ) -> Result<UpdateShardCountResponse, ApiError> {
        let name = self.stream_name(request.stream_name.as_deref(), request.stream_arn.as_deref())?;
        if check::required(request.scaling_type, "scalingType")? != "UNIFORM_SCALING" {
            return Err(check::broken(
                "scalingType",
                "satisfy enum value set: [UNIFORM_SCALING]",
            ));
        }
        let target = check::required(request.target_shard_count, "targetShardCount")?;
        let target_shard_count = check::in_range(target, 1..=100_000, "targetShardCount")?;
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
