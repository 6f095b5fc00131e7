"""Puts user records together and takes them apart with the package aws_kinesis_agg.

Reads one request per line: {"together": [[key, explicit hash key or null, data in base 64], ...]} or {"apart": data in base 64}.
Answers each in the same terms.
"""

import base64
import json
import sys

from aws_kinesis_agg.aggregator import RecordAggregator
from aws_kinesis_agg.deaggregator import deaggregate_records


def together(records):
    aggregator = RecordAggregator()
    for key, hash_key, data in records:
        full = aggregator.add_user_record(key, base64.b64decode(data), hash_key)
        assert full is None
    _, _, data = aggregator.clear_and_get().get_contents()
    return base64.b64encode(data).decode()


def apart(data):
    record = {"kinesis": {"data": data, "partitionKey": "a", "sequenceNumber": "1", "kinesisSchemaVersion": "1.0",
                          "approximateArrivalTimestamp": 0}}
    return [[it["kinesis"]["partitionKey"], it["kinesis"].get("explicitHashKey"), it["kinesis"]["data"]
             if isinstance(it["kinesis"]["data"], str) else it["kinesis"]["data"].decode()]
            for it in deaggregate_records([record])]


for line in sys.stdin:
    request = json.loads(line)
    answer = together(request["together"]) if "together" in request else apart(request["apart"])
    print(json.dumps(answer), flush=True)
