import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.ArrayList;
import java.util.Base64;
import java.util.List;
import java.util.concurrent.Future;
import java.util.concurrent.TimeUnit;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.kinesis.producer.KinesisProducer;
import software.amazon.kinesis.producer.KinesisProducerConfiguration;
import software.amazon.kinesis.producer.UserRecordResult;

/**
 * Puts user records into a stream with the Kinesis Producer Library.
 *
 * <p>Arguments: the port of an HTTPS server on this machine, the file with the certificate to trust, a folder for the library's
 * native program, the stream. Reads one request per line, {"together": [[key, explicit hash key or null, data in base 64], ...]},
 * and answers once all of them are put, in their order: [[shard, sequence number], ...].
 */
public final class Kpl {
    private static final String HERE = "localhost";

    public static void main(String[] arguments) throws Exception {
        long port = Long.parseLong(arguments[0]);
        KinesisProducer producer = new KinesisProducer(new KinesisProducerConfiguration()
                .setRegion("us-east-1")
                .setCredentialsProvider(
                        StaticCredentialsProvider.create(AwsBasicCredentials.create("kpl", "secret")))
                .setKinesisEndpoint(HERE)
                .setKinesisPort(port)
                .setCloudwatchEndpoint(HERE)
                .setCloudwatchPort(port)
                .setStsEndpoint(HERE)
                .setStsPort(port)
                .setMetricsLevel("none")
                // A slow answer is no reason to put anything twice.
                .setRequestTimeout(30_000)
                .setCaCertFile(arguments[1])
                .setTempDirectory(arguments[2]));
        try {
            answer(producer, arguments[3]);
        } finally {
            producer.destroy();
        }
    }

    private static void answer(KinesisProducer producer, String stream) throws Exception {
        ObjectMapper json = new ObjectMapper();
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            List<Future<UserRecordResult>> puts = new ArrayList<>();
            for (JsonNode it : json.readTree(line).get("together")) {
                ByteBuffer data = ByteBuffer.wrap(Base64.getDecoder().decode(it.get(2).textValue()));
                puts.add(producer.addUserRecord(stream, it.get(0).textValue(), it.get(1).textValue(), data));
            }
            producer.flush(stream);
            ArrayNode answer = json.createArrayNode();
            for (Future<UserRecordResult> put : puts) {
                UserRecordResult result = put.get(45, TimeUnit.SECONDS);
                answer.addArray().add(result.getShardId()).add(result.getSequenceNumber());
            }
            System.out.println(answer);
        }
    }
}
