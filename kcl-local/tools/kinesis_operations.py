"""Lists the operations of Kinesis Data Streams, each with what it is about, from the API's model in botocore.

    pip install botocore
    python3 kcl-local/tools/kinesis_operations.py > kcl-local/src/kinesis/operations.txt

What an operation is about follows from its name and from what its request names: a queue, a channel, a consumer, a resource by
its ARN, a stream, or nothing but the account.
"""

import botocore
import botocore.loaders


def kind(name, members):
    for thing in ("Queue", "Channel"):
        if thing in name:
            return thing.lower()
    if "ConsumerARN" in members or "Consumer" in name:
        return "consumer"
    if "ResourceARN" in members:
        return "resource"
    if {"StreamName", "StreamARN", "ShardIterator", "ExclusiveStartStreamName"} & set(members):
        return "stream"
    return "account"


model = botocore.loaders.Loader().load_service_model("kinesis", "service-2")
print(f"# Of botocore {botocore.__version__}, by kcl-local/tools/kinesis_operations.py.")
for name, operation in sorted(model["operations"].items()):
    members = model["shapes"][operation["input"]["shape"]]["members"] if "input" in operation else {}
    print(name, kind(name, members))
