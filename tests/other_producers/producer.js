// Puts user records together and takes them apart with the package aws-kinesis-agg: requests and answers as in producer.py.
'use strict';
const { RecordAggregator, deaggregateSync } = require(process.argv[2]);

const together = (records) => {
  const aggregator = new RecordAggregator();
  for (const [partitionKey, explicitHashKey, data] of records) {
    aggregator.addUserRecord({ partitionKey, explicitHashKey: explicitHashKey || undefined, data: Buffer.from(data, 'base64') });
  }
  return aggregator.build().data.toString('base64');
};

const apart = (data) => {
  let answer;
  deaggregateSync({ data, partitionKey: 'a', sequenceNumber: '1' }, true, (error, records) => {
    if (error) throw error;
    answer = records.map((it) => [it.partitionKey, it.explicitPartitionKey ?? null, it.data]);
  });
  return answer;
};

require('readline').createInterface({ input: process.stdin }).on('line', (line) => {
  const request = JSON.parse(line);
  console.log(JSON.stringify(request.together ? together(request.together) : apart(request.apart)));
});
