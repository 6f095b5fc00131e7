"""A CloudWatch for a test. What is put is read as botocore reads CBOR, checked against its model of the service, and kept by moto."""

import gzip
import json
from datetime import datetime, timedelta, timezone
from http.server import BaseHTTPRequestHandler, HTTPServer

import boto3
from botocore.parsers import RpcV2CBORParser
from botocore.session import Session
from moto import mock_aws

NAMESPACE = "orders"

mock_aws().start()
cloudwatch = boto3.client(
    "cloudwatch", region_name="us-east-1", aws_access_key_id="tests", aws_secret_access_key="secret"
)
asked = Session().get_service_model("cloudwatch").operation_model("PutMetricData").input_shape


class Handler(BaseHTTPRequestHandler):
    def do_POST(self):
        body = self.rfile.read(int(self.headers["Content-Length"]))
        is_compressed = self.headers.get("Content-Encoding") == "gzip"
        if is_compressed:
            body = gzip.decompress(body)
        assert self.path.endswith("/operation/PutMetricData"), self.path
        request = RpcV2CBORParser().parse({"body": body, "headers": {}, "status_code": 200}, asked)
        request.pop("ResponseMetadata", None)
        cloudwatch.put_metric_data(**request)
        Handler.compressed = is_compressed
        self.answer(b"\xbf\xff", {"smithy-protocol": "rpc-v2-cbor", "Content-Type": "application/cbor"})

    def do_GET(self):
        pages = cloudwatch.get_paginator("list_metrics").paginate(Namespace=NAMESPACE)
        metrics = [metric for page in pages for metric in page["Metrics"]]
        now = datetime.now(timezone.utc)
        points = cloudwatch.get_metric_statistics(
            Namespace=NAMESPACE,
            MetricName="MillisBehindLatest",
            # moto takes no notice of dimensions that a metric has beside these: this one has no others.
            Dimensions=[{"Name": "Operation", "Value": "ApplicationTracker"}],
            StartTime=now - timedelta(minutes=10),
            EndTime=now + timedelta(minutes=10),
            Period=60,
            Statistics=["Sum", "Maximum"],
        )["Datapoints"]
        listed = [[metric["MetricName"], *(it["Value"] for it in metric["Dimensions"])] for metric in metrics]
        figures = [[point["Sum"], point["Maximum"]] for point in points]
        found = {"listed": listed, "points": figures, "compressed": Handler.compressed}
        self.answer(json.dumps(found).encode(), {})

    def answer(self, body, headers):
        self.send_response(200)
        for name, value in {**headers, "Content-Length": str(len(body))}.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_):
        pass


server = HTTPServer(("127.0.0.1", 0), Handler)
print(server.server_port, flush=True)
server.serve_forever()
