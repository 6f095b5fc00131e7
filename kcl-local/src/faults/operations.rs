//! The operations that a plan can name.

/// Every operation of Kinesis and of DynamoDB, served here or not, and what is served of the others.
const OPERATIONS: &[&str] = &[
    "AcknowledgeDeadLetterQueueRecords",
    "AcknowledgeQueueRecords",
    "AddTagsToStream",
    "BatchExecuteStatement",
    "BatchGetItem",
    "BatchWriteItem",
    "CancelBulkOperation",
    "CreateBackup",
    "CreateChannel",
    "CreateGlobalTable",
    "CreateQueue",
    "CreateStream",
    "CreateTable",
    "DecreaseStreamRetentionPeriod",
    "DeleteBackup",
    "DeleteChannel",
    "DeleteItem",
    "DeleteQueue",
    "DeleteResourcePolicy",
    "DeleteStream",
    "DeleteTable",
    "DeregisterStreamConsumer",
    "DescribeAccountSettings",
    "DescribeBackup",
    "DescribeBulkOperation",
    "DescribeChannel",
    "DescribeContinuousBackups",
    "DescribeContributorInsights",
    "DescribeEndpoints",
    "DescribeExport",
    "DescribeGlobalTable",
    "DescribeGlobalTableSettings",
    "DescribeImport",
    "DescribeKinesisStreamingDestination",
    "DescribeLimits",
    "DescribeQueue",
    "DescribeStream",
    "DescribeStreamConsumer",
    "DescribeStreamSummary",
    "DescribeTable",
    "DescribeTableReplicaAutoScaling",
    "DescribeTimeToLive",
    "DisableEnhancedMonitoring",
    "DisableKinesisStreamingDestination",
    "EnableEnhancedMonitoring",
    "EnableKinesisStreamingDestination",
    "ExecuteStatement",
    "ExecuteTransaction",
    "ExportTableToPointInTime",
    "GetCallerIdentity",
    "GetItem",
    "GetMetricStatistics",
    "GetRecords",
    "GetResourcePolicy",
    "GetShardIterator",
    "ImportTable",
    "IncreaseStreamRetentionPeriod",
    "ListBackups",
    "ListBulkOperations",
    "ListChannels",
    "ListContributorInsights",
    "ListExports",
    "ListGlobalTables",
    "ListImports",
    "ListMetrics",
    "ListQueues",
    "ListShards",
    "ListStreamConsumers",
    "ListStreams",
    "ListTables",
    "ListTagsForResource",
    "ListTagsForStream",
    "ListTagsOfResource",
    "MergeShards",
    "PutItem",
    "PutMetricData",
    "PutRecord",
    "PutRecords",
    "PutResourcePolicy",
    "Query",
    "ReceiveDeadLetterQueueRecords",
    "ReceiveQueueRecords",
    "RegisterStreamConsumer",
    "RemoveTagsFromStream",
    "RestoreDeadLetterQueueRecords",
    "RestoreTableFromBackup",
    "RestoreTableToPointInTime",
    "Scan",
    "SearchVectors",
    "SplitShard",
    "StartBulkPutItems",
    "StartStreamEncryption",
    "StopStreamEncryption",
    "SubscribeToShard",
    "TagResource",
    "TransactGetItems",
    "TransactWriteItems",
    "UntagResource",
    "UpdateAccountSettings",
    "UpdateChannel",
    "UpdateContinuousBackups",
    "UpdateContributorInsights",
    "UpdateDeadLetterQueueRecordsVisibility",
    "UpdateGlobalTable",
    "UpdateGlobalTableSettings",
    "UpdateItem",
    "UpdateKinesisStreamingDestination",
    "UpdateMaxRecordSize",
    "UpdateQueue",
    "UpdateQueueRecordsVisibility",
    "UpdateShardCount",
    "UpdateStreamMode",
    "UpdateStreamRecordDistributionStrategy",
    "UpdateStreamWarmThroughput",
    "UpdateTable",
    "UpdateTableReplicaAutoScaling",
    "UpdateTimeToLive",
];

/// Says what is wrong with the name of an operation, and what may have been meant.
pub(super) fn check(name: &str) -> Result<(), String> {
    if OPERATIONS.binary_search(&name).is_ok() {
        return Ok(());
    }
    let distance = |one: &&&str| differences(&name.to_lowercase(), &one.to_lowercase());
    let hint = OPERATIONS
        .iter()
        .min_by_key(distance)
        .filter(|nearest| distance(nearest) <= 3)
        .map_or_else(
            || "give names as the API has them, such as GetRecords or UpdateItem".to_owned(),
            |nearest| format!("did you mean {nearest}?"),
        );
    let name: String = name.chars().take(100).collect();
    Err(format!(
        "{name:?} is no operation of Kinesis or DynamoDB, and none that is served of another service: {hint}"
    ))
}

/// How many letters have to be put in, taken out or changed to make one word of the other.
fn differences(one: &str, other: &str) -> usize {
    // Names are short; what is longer resembles none of them.
    if one.len() > 100 {
        return usize::MAX;
    }
    let other: Vec<char> = other.chars().collect();
    let mut row: Vec<usize> = (0..=other.len()).collect();
    for (i, left) in one.chars().enumerate() {
        let mut diagonal = row[0];
        row[0] = i + 1;
        for (j, right) in other.iter().enumerate() {
            let changed = diagonal + usize::from(left != *right);
            diagonal = row[j + 1];
            row[j + 1] = changed.min(diagonal + 1).min(row[j] + 1);
        }
    }
    row[other.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_names_are_in_order() {
        assert!(OPERATIONS.is_sorted());
    }

    #[test]
    fn what_was_mistyped_is_guessed() {
        assert_eq!(check("GetRecords"), Ok(()));
        let said = check("getRecord").unwrap_err();
        assert!(said.ends_with("did you mean GetRecords?"), "{said}");
        let said = check("Frobnicate").unwrap_err();
        assert!(said.ends_with("such as GetRecords or UpdateItem"), "{said}");
        assert!(check(&"x".repeat(1_000_000)).unwrap_err().len() < 400);
    }
}
