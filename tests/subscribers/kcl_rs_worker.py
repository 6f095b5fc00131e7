"""A worker of the package kcl-rs in its default mode, fan-out: `kcl_rs_worker.py ENDPOINT STREAM`. Prints a line of JSON for each call."""

import json
import sys

import kcl_rs

endpoint, stream = sys.argv[1:3]


def tell(**what):
    print(json.dumps(what), flush=True)


class Processor(kcl_rs.RecordProcessorBase):
    def initialize(self, given):
        self.shard = given.shard_id
        tell(initialized=self.shard)

    def process_records(self, given):
        if given.records:
            tell(shard=self.shard, records=[record.data.decode() for record in given.records])
            given.checkpointer.checkpoint()

    def lease_lost(self, given):
        tell(lost=self.shard)

    def shard_ended(self, given):
        given.checkpointer.checkpoint()
        tell(shard_ended=self.shard)

    def shutdown_requested(self, given):
        given.checkpointer.checkpoint()


kcl_rs.Scheduler(
    stream_name=stream,
    application_name="app",
    record_processor_factory=Processor,
    worker_identifier="kcl-rs",
    region="us-east-1",
    endpoint_url=endpoint,
    access_key_id="kcl-rs",
    secret_access_key="secret",
    initial_position="TRIM_HORIZON",
    shard_sync_interval_millis=1000,
).run()
