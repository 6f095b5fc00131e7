import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ArrayNode;
import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.math.BigInteger;
import java.nio.ByteBuffer;
import java.nio.charset.StandardCharsets;
import java.util.Base64;
import java.util.List;
import software.amazon.kinesis.retrieval.AggregatorUtil;
import software.amazon.kinesis.retrieval.KinesisClientRecord;

/**
 * Takes aggregates apart as the Java KCL does.
 *
 * <p>Reads one request per line, {"key": partition key, "apart": data in base 64, "first": first hash key of the shard, "last": its
 * last}, and answers [[key, explicit hash key or null, data in base 64], ...].
 */
public final class Apart {
    public static void main(String[] arguments) throws Exception {
        PrintStream answers = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        ObjectMapper json = new ObjectMapper();
        BufferedReader requests = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = requests.readLine(); line != null; line = requests.readLine()) {
            JsonNode request = json.readTree(line);
            byte[] data = Base64.getDecoder().decode(request.get("apart").textValue());
            KinesisClientRecord record = KinesisClientRecord.builder()
                    .partitionKey(request.get("key").textValue())
                    .sequenceNumber("1")
                    .data(ByteBuffer.wrap(data))
                    .build();
            ArrayNode answer = json.createArrayNode();
            for (KinesisClientRecord it : new AggregatorUtil().deaggregate(
                    List.of(record),
                    new BigInteger(request.get("first").textValue()),
                    new BigInteger(request.get("last").textValue()))) {
                byte[] inner = new byte[it.data().remaining()];
                it.data().get(inner);
                answer.addArray()
                        .add(it.partitionKey())
                        .add(it.explicitHashKey())
                        .add(Base64.getEncoder().encodeToString(inner));
            }
            answers.println(answer);
        }
    }
}
