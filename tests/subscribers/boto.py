"""A subscriber with boto3: `boto.py ENDPOINT CONSUMER_ARN SHARD [AUTHORITY]`. Prints a line of JSON for each event and each end."""

import json
import sys

import boto3
from botocore.exceptions import ClientError

endpoint, consumer, shard = sys.argv[1:4]
kinesis = boto3.client(
    "kinesis",
    endpoint_url=endpoint,
    region_name="us-east-1",
    aws_access_key_id="boto",
    aws_secret_access_key="secret",
    verify=sys.argv[4] if len(sys.argv) > 4 else None,
)


def tell(**what):
    print(json.dumps(what), flush=True)


def subscribe(start):
    return kinesis.subscribe_to_shard(ConsumerARN=consumer, ShardId=shard, StartingPosition=start)


start = {"Type": "TRIM_HORIZON"}
while start:
    answer = subscribe(start)
    tell(subscribed=answer["ResponseMetadata"]["HTTPStatusCode"])
    try:
        subscribe(start)
    except ClientError as refusal:
        tell(refused=refusal.response["Error"]["Code"])
    for event in answer["EventStream"]:
        event = event["SubscribeToShardEvent"]
        continuation = event.get("ContinuationSequenceNumber")
        children = [child["ShardId"] for child in event.get("ChildShards", [])]
        records = [record["Data"].decode() for record in event["Records"]]
        tell(records=records, behind=event["MillisBehindLatest"], children=children)
        start = continuation and {"Type": "AFTER_SEQUENCE_NUMBER", "SequenceNumber": continuation}
    tell(ended=True)
