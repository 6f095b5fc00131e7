import java.io.FileDescriptor;
import java.io.FileOutputStream;
import java.io.PrintStream;
import java.lang.reflect.InvocationTargetException;
import java.lang.reflect.Method;
import java.lang.reflect.Proxy;
import java.net.URI;
import java.nio.charset.StandardCharsets;
import java.util.Arrays;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.concurrent.TimeUnit;
import java.util.stream.Collectors;
import software.amazon.awssdk.auth.credentials.AwsBasicCredentials;
import software.amazon.awssdk.auth.credentials.StaticCredentialsProvider;
import software.amazon.awssdk.regions.Region;
import software.amazon.awssdk.services.cloudwatch.CloudWatchAsyncClient;
import software.amazon.awssdk.services.dynamodb.DynamoDbAsyncClient;
import software.amazon.awssdk.services.kinesis.KinesisAsyncClient;
import software.amazon.kinesis.common.ConfigsBuilder;
import software.amazon.kinesis.common.InitialPositionInStream;
import software.amazon.kinesis.common.InitialPositionInStreamExtended;
import software.amazon.kinesis.common.StreamConfig;
import software.amazon.kinesis.common.StreamIdentifier;
import software.amazon.kinesis.coordinator.Scheduler;
import software.amazon.kinesis.exceptions.InvalidStateException;
import software.amazon.kinesis.exceptions.ShutdownException;
import software.amazon.kinesis.lifecycle.events.InitializationInput;
import software.amazon.kinesis.lifecycle.events.LeaseLostInput;
import software.amazon.kinesis.lifecycle.events.ProcessRecordsInput;
import software.amazon.kinesis.lifecycle.events.ShardEndedInput;
import software.amazon.kinesis.lifecycle.events.ShutdownRequestedInput;
import software.amazon.kinesis.metrics.NullMetricsFactory;
import software.amazon.kinesis.processor.FormerStreamsLeasesDeletionStrategy;
import software.amazon.kinesis.processor.MultiStreamTracker;
import software.amazon.kinesis.processor.RecordProcessorCheckpointer;
import software.amazon.kinesis.processor.ShardRecordProcessor;
import software.amazon.kinesis.processor.ShardRecordProcessorFactory;
import software.amazon.kinesis.processor.SingleStreamTracker;
import software.amazon.kinesis.processor.StreamTracker;
import software.amazon.kinesis.retrieval.KinesisClientRecord;
import software.amazon.kinesis.retrieval.polling.PollingConfig;

/**
 * A worker of the Java KCL that tells on standard output, one line per event, what it is told and what it does.
 *
 * <p>Arguments: {@code endpoint application stream worker} and then settings as {@code name=value}, in milliseconds or
 * as the KCL spells them; {@code workMillis} is how long a batch takes, and with {@code prepares=true} checkpoints are
 * prepared, with the worker's name as state, but not made. With {@code fanOut=true} it reads as the KCL does unless told otherwise,
 * by subscriptions. With {@code streams=ID,ID} it reads these streams, which are named as the KCL names one of several; shards of
 * others than {@code stream} are told with their streams' names in front. With {@code cpuBase} and {@code cpuPerShard}, in percent, it
 * reports a CPU that is so busy, and so much more for each shard that it processes. A setting that this version of the KCL
 * does not have is named in an event and skipped, so one class serves all versions. SIGTERM stops the worker gracefully.
 *
 * <p>Lines: {@code started}, {@code unsupported SETTING}, {@code initialized SHARD CHECKPOINT},
 * {@code pending SHARD CHECKPOINT STATE}, {@code record SHARD KEY DATA SEQUENCE}, {@code prepared SHARD SEQUENCE},
 * {@code checkpointed SHARD SEQUENCE}, {@code refused SHARD},
 * {@code leaseLost SHARD}, {@code shardEnded SHARD}, {@code shutdownRequested SHARD}, {@code stopped true|false},
 * {@code ended}.
 */
public final class MixedFleetWorker {
    private static final PrintStream OUT =
            new PrintStream(new FileOutputStream(FileDescriptor.out), true, StandardCharsets.UTF_8);

    private static final InitialPositionInStreamExtended OLDEST =
            InitialPositionInStreamExtended.newInitialPosition(InitialPositionInStream.TRIM_HORIZON);

    /** Shards that are processed now. */
    private static final Set<String> PROCESSED = ConcurrentHashMap.newKeySet();

    private MixedFleetWorker() {}

    /** One write per call, so that lines of different shards do not mix. */
    private static void tell(String lines) {
        synchronized (OUT) {
            OUT.print(lines);
            OUT.flush();
        }
    }

    public static void main(String[] args) throws Exception {
        URI endpoint = URI.create(args[0]);
        String application = args[1];
        String stream = args[2];
        String worker = args[3];
        Map<String, String> settings = new HashMap<>();
        for (int i = 4; i < args.length; i++) {
            String[] setting = args[i].split("=", 2);
            settings.put(setting[0], setting[1]);
        }

        String work = settings.remove("workMillis");
        long workMillis = work == null ? 0 : Long.parseLong(work);
        boolean prepares = settings.remove("prepares") != null;
        boolean fansOut = settings.remove("fanOut") != null;
        String cpuBase = settings.remove("cpuBase");
        String cpuPerShard = settings.remove("cpuPerShard");
        String streams = settings.remove("streams");

        // The server knows a client by its access key id.
        StaticCredentialsProvider credentials =
                StaticCredentialsProvider.create(AwsBasicCredentials.create(worker, "secret"));
        KinesisAsyncClient kinesis = KinesisAsyncClient.builder()
                .endpointOverride(endpoint).region(Region.US_EAST_1).credentialsProvider(credentials).build();
        DynamoDbAsyncClient dynamoDb = DynamoDbAsyncClient.builder()
                .endpointOverride(endpoint).region(Region.US_EAST_1).credentialsProvider(credentials).build();
        CloudWatchAsyncClient cloudWatch = CloudWatchAsyncClient.builder()
                .endpointOverride(endpoint).region(Region.US_EAST_1).credentialsProvider(credentials).build();

        StreamTracker tracker = streams == null ? new SingleStreamTracker(stream, OLDEST) : new Several(streams);
        ConfigsBuilder configs = new ConfigsBuilder(
                tracker, application, kinesis, dynamoDb, cloudWatch, worker, new Processors(stream, workMillis, prepares ? worker : null));

        var coordinator = configs.coordinatorConfig();
        var leases = configs.leaseManagementConfig();
        var retrieval = configs.retrievalConfig();
        PollingConfig polling = streams == null ? new PollingConfig(stream, kinesis) : new PollingConfig(kinesis);
        if (!fansOut) {
            retrieval.retrievalSpecificConfig(polling);
        }

        Object graceful = part(leases, "gracefulLeaseHandoffConfig");
        Object utilization = part(leases, "workerUtilizationAwareAssignmentConfig");
        for (Map.Entry<String, String> setting : settings.entrySet()) {
            boolean known = false;
            for (Object config : new Object[] {coordinator, leases, polling, graceful, utilization}) {
                known = known || set(config, setting.getKey(), setting.getValue());
            }
            if (!known) {
                tell("unsupported " + setting.getKey() + "\n");
            }
        }

        if (cpuBase != null) {
            Object metric = cpu(Double.parseDouble(cpuBase), Double.parseDouble(cpuPerShard));
            utilization.getClass().getMethod("workerMetricList", List.class).invoke(utilization, List.of(metric));
        }

        Scheduler scheduler = new Scheduler(
                configs.checkpointConfig(),
                coordinator,
                leases,
                configs.lifecycleConfig(),
                configs.metricsConfig().metricsFactory(new NullMetricsFactory()),
                configs.processorConfig(),
                retrieval);
        Runtime.getRuntime().addShutdownHook(new Thread(() -> {
            boolean clean = false;
            try {
                clean = scheduler.startGracefulShutdown().get(60, TimeUnit.SECONDS);
            } catch (Exception problem) {
                problem.printStackTrace();
            }
            tell("stopped " + clean + "\n");
        }));
        tell("started\n");
        scheduler.run();
        tell("ended\n");
        // Clients keep threads; without this a worker that gave up would live on.
        System.exit(0);
    }

    /** A {@code WorkerMetric}, which not every version has. */
    private static Object cpu(double base, double perShard) throws ReflectiveOperationException {
        String metrics = "software.amazon.kinesis.worker.metric.";
        Class<?> metric = Class.forName(metrics + "WorkerMetric");
        Object type = Class.forName(metrics + "WorkerMetricType").getField("CPU").get(null);
        Object range = built(metrics + "OperatingRange", "maxUtilization", int.class, 100);
        return Proxy.newProxyInstance(metric.getClassLoader(), new Class<?>[] {metric}, (proxy, method, arguments) -> {
            switch (method.getName()) {
                case "getShortName":
                    return "C";
                case "getWorkerMetricType":
                    return type;
                case "getOperatingRange":
                    return range;
                case "capture":
                    double percent = Math.min(100, base + perShard * PROCESSED.size());
                    return built(metrics + "WorkerMetric$WorkerMetricValue", "value", Double.class, percent);
                case "hashCode":
                    return System.identityHashCode(proxy);
                case "equals":
                    return proxy == arguments[0];
                default:
                    return "cpu";
            }
        });
    }

    /** What the builder of a class makes of one field. */
    private static Object built(String name, String field, Class<?> type, Object value)
            throws ReflectiveOperationException {
        Object builder = Class.forName(name).getMethod("builder").invoke(null);
        Method setter = builder.getClass().getMethod(field, type);
        setter.setAccessible(true);
        Object set = setter.invoke(builder, value);
        Method build = set.getClass().getMethod("build");
        build.setAccessible(true);
        return build.invoke(set);
    }

    /** The part of a configuration that a getter of this name returns, if this version has it. */
    private static Object part(Object config, String getter) throws ReflectiveOperationException {
        try {
            return config.getClass().getMethod(getter).invoke(config);
        } catch (NoSuchMethodException absent) {
            return null;
        }
    }

    /** Calls the setter with one parameter of this name; false if there is none. */
    private static boolean set(Object config, String name, String value) throws ReflectiveOperationException {
        if (config == null) {
            return false;
        }
        for (Method method : config.getClass().getMethods()) {
            if (!method.getName().equals(name) || method.getParameterCount() != 1) {
                continue;
            }
            Object parsed = parse(method.getParameterTypes()[0], value);
            if (parsed == null) {
                continue;
            }
            try {
                method.invoke(config, parsed);
            } catch (InvocationTargetException refused) {
                throw new IllegalArgumentException(name + "=" + value, refused.getCause());
            }
            return true;
        }
        return false;
    }

    @SuppressWarnings({"unchecked", "rawtypes"})
    private static Object parse(Class<?> type, String value) {
        if (type == long.class || type == Long.class) {
            return Long.valueOf(value);
        }
        if (type == int.class || type == Integer.class) {
            return Integer.valueOf(value);
        }
        if (type == boolean.class || type == Boolean.class) {
            return Boolean.valueOf(value);
        }
        if (type == String.class) {
            return value;
        }
        return type.isEnum() ? Enum.valueOf((Class<Enum>) type, value) : null;
    }

    /** Processors for each stream. */
    private static final class Processors implements ShardRecordProcessorFactory {
        private final String stream;
        private final long workMillis;
        private final String state;

        Processors(String stream, long workMillis, String state) {
            this.stream = stream;
            this.workMillis = workMillis;
            this.state = state;
        }

        @Override
        public ShardRecordProcessor shardRecordProcessor() {
            return new Processor("", workMillis, state);
        }

        @Override
        public ShardRecordProcessor shardRecordProcessor(StreamIdentifier of) {
            String name = of.streamName();
            return new Processor(name.equals(stream) ? "" : name + ":", workMillis, state);
        }
    }

    /** Names these streams for good. */
    private static final class Several implements MultiStreamTracker {
        private final List<StreamConfig> streams;

        Several(String ids) {
            streams = Arrays.stream(ids.split(","))
                    .map(id -> new StreamConfig(StreamIdentifier.multiStreamInstance(id), OLDEST))
                    .collect(Collectors.toList());
        }

        @Override
        public List<StreamConfig> streamConfigList() {
            return streams;
        }

        @Override
        public FormerStreamsLeasesDeletionStrategy formerStreamsLeasesDeletionStrategy() {
            return new FormerStreamsLeasesDeletionStrategy.NoLeaseDeletionStrategy();
        }
    }

    /** Tells every record, then checkpoints. */
    private static final class Processor implements ShardRecordProcessor {
        private final String prefix;
        private final long workMillis;
        /** What to prepare checkpoints with, if they are only prepared. */
        private final String state;
        private String shard;
        private String delivered;

        Processor(String prefix, long workMillis, String state) {
            this.prefix = prefix;
            this.workMillis = workMillis;
            this.state = state;
        }

        @Override
        public void initialize(InitializationInput input) {
            shard = prefix + input.shardId();
            PROCESSED.add(shard);
            tell("initialized " + shard + " " + input.extendedSequenceNumber().sequenceNumber() + "\n");
            if (input.pendingCheckpointSequenceNumber() != null) {
                byte[] pendingState = input.pendingCheckpointState();
                tell("pending " + shard + " " + input.pendingCheckpointSequenceNumber().sequenceNumber() + " "
                        + (pendingState == null ? "" : new String(pendingState, StandardCharsets.UTF_8)) + "\n");
            }
        }

        @Override
        public void processRecords(ProcessRecordsInput input) {
            StringBuilder lines = new StringBuilder();
            for (KinesisClientRecord record : input.records()) {
                byte[] data = new byte[record.data().remaining()];
                record.data().duplicate().get(data);
                delivered = record.sequenceNumber();
                lines.append("record ").append(shard)
                        .append(' ').append(record.partitionKey())
                        .append(' ').append(new String(data, StandardCharsets.UTF_8))
                        .append(' ').append(delivered).append('\n');
            }
            tell(lines.toString());
            try {
                Thread.sleep(workMillis);
            } catch (InterruptedException stop) {
                Thread.currentThread().interrupt();
                return;
            }
            if (!input.records().isEmpty()) {
                checkpoint(input.checkpointer(), delivered);
            }
        }

        @Override
        public void leaseLost(LeaseLostInput input) {
            PROCESSED.remove(shard);
            tell("leaseLost " + shard + "\n");
        }

        @Override
        public void shardEnded(ShardEndedInput input) {
            PROCESSED.remove(shard);
            checkpoint(input.checkpointer(), "SHARD_END");
            tell("shardEnded " + shard + "\n");
        }

        @Override
        public void shutdownRequested(ShutdownRequestedInput input) {
            PROCESSED.remove(shard);
            tell("shutdownRequested " + shard + "\n");
            if (delivered != null) {
                checkpoint(input.checkpointer(), delivered);
            }
        }

        private void checkpoint(RecordProcessorCheckpointer checkpointer, String position) {
            try {
                if (state != null) {
                    checkpointer.prepareCheckpoint(state.getBytes(StandardCharsets.UTF_8));
                    tell("prepared " + shard + " " + position + "\n");
                    return;
                }
                checkpointer.checkpoint();
                tell("checkpointed " + shard + " " + position + "\n");
            } catch (ShutdownException | InvalidStateException lost) {
                tell("refused " + shard + "\n");
            } catch (Exception problem) {
                tell("unwritten " + shard + "\n");
            }
        }
    }
}
