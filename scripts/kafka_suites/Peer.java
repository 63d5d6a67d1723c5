import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.BufferedWriter;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.nio.file.Files;
import java.nio.file.Path;
import java.time.Duration;
import java.util.ArrayList;
import java.util.Collection;
import java.util.HashMap;
import java.util.List;
import java.util.Map;
import java.util.Properties;
import java.util.UUID;
import java.util.concurrent.atomic.AtomicReference;
import org.apache.kafka.clients.admin.Admin;
import org.apache.kafka.clients.admin.AlterConfigOp;
import org.apache.kafka.clients.admin.ConfigEntry;
import org.apache.kafka.clients.admin.NewPartitions;
import org.apache.kafka.clients.admin.NewTopic;
import org.apache.kafka.clients.admin.RecordsToDelete;
import org.apache.kafka.clients.consumer.ConsumerRecord;
import org.apache.kafka.clients.consumer.KafkaConsumer;
import org.apache.kafka.clients.producer.KafkaProducer;
import org.apache.kafka.clients.producer.ProducerRecord;
import org.apache.kafka.common.TopicPartition;
import org.apache.kafka.common.config.ConfigResource;
import org.apache.kafka.common.serialization.ByteArrayDeserializer;
import org.apache.kafka.common.serialization.ByteArraySerializer;

/**
 * The other side of the Kafka suites: Kafka's own Java client, which shares nothing with librdkafka.
 *
 * It takes one request a line on standard input, {"id": …, "do": …, …}, works on each in a thread of its own, and
 * answers with one line {"id": …, …} on standard output, with "error" if it failed. It ends with its input.
 */
public final class Peer {
    private static final ObjectMapper JSON = new ObjectMapper();
    private static final PrintStream OUT = System.out;
    private static String brokers;

    public static void main(String[] args) throws IOException {
        brokers = args[0];
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line; (line = in.readLine()) != null; ) {
            JsonNode request = JSON.readTree(line);
            Thread thread = new Thread(() -> answer(request));
            thread.setDaemon(true);
            thread.start();
        }
    }

    private static void answer(JsonNode request) {
        ObjectNode answer = JSON.createObjectNode();
        try {
            String topic = request.path("topic").asText();
            switch (request.get("do").asText()) {
                case "write" -> write(topic, request, answer);
                case "read" -> read(topic, Path.of(request.get("out").asText()), answer);
                case "create" -> create(topic, request);
                case "grow" -> grow(topic, request.get("partitions").asInt());
                case "configure" -> configure(topic, request.get("settings"));
                case "delete" -> delete(topic);
                case "expire" -> expire(topic, request);
                default -> throw new IllegalArgumentException("no such request");
            }
        } catch (Exception error) {
            answer.put("error", error.toString());
        }
        answer.set("id", request.get("id"));
        synchronized (OUT) {
            OUT.println(answer);
            OUT.flush();
        }
    }

    private static Properties client() {
        Properties properties = new Properties();
        properties.put("bootstrap.servers", brokers);
        return properties;
    }

    /**
     * Writes the envelopes of a file in their order. One marked "aborted" goes into a transaction that is aborted. With
     * "hold", a path, all are one transaction, which stays open until there is a file of that name.
     */
    private static void write(String topic, JsonNode request, ObjectNode answer) throws Exception {
        Properties properties = client();
        properties.put("compression.type", request.path("compression").asText("none"));
        properties.put("linger.ms", "5");
        properties.put("acks", "all");
        // With more, the second batch may reach a partition that has just been made before the first one, which was
        // refused, does: the broker takes it, and then the first one never.
        properties.put("max.in.flight.requests.per.connection", "1");
        // A broker that says nothing for a minute is part of the suites.
        properties.put("delivery.timeout.ms", "150000");
        boolean transactions = request.path("transactions").asBoolean();
        if (transactions) {
            properties.put("transactional.id", UUID.randomUUID().toString());
            // One that is held open ends when its file is there, not before.
            properties.put("transaction.timeout.ms", "600000");
        }
        String hold = request.path("hold").asText("");
        double rate = request.path("rate").asDouble(0);
        AtomicReference<Exception> failure = new AtomicReference<>();
        long began = System.nanoTime();
        int sent = 0;
        int open = 0;
        try (KafkaProducer<byte[], byte[]> producer = new KafkaProducer<>(properties, new ByteArraySerializer(), new ByteArraySerializer());
                BufferedReader in = Files.newBufferedReader(Path.of(request.get("file").asText()))) {
            if (transactions) {
                producer.initTransactions();
            }
            for (String line; (line = in.readLine()) != null; ) {
                JsonNode envelope = JSON.readTree(line);
                boolean aborted = envelope.path("aborted").asBoolean();
                if (transactions && open > 0 && (aborted || (open >= 500 && hold.isEmpty()))) {
                    producer.commitTransaction();
                    open = 0;
                }
                if (transactions && open == 0) {
                    producer.beginTransaction();
                }
                producer.send(record(topic, envelope), (metadata, error) -> failure.compareAndSet(null, error));
                sent++;
                open++;
                if (aborted) {
                    // Without this it might never leave the client.
                    producer.flush();
                    producer.abortTransaction();
                    open = 0;
                }
                long due = rate > 0 ? (long) (sent / rate * 1e9) - (System.nanoTime() - began) : 0;
                if (due > 5_000_000) {
                    Thread.sleep(due / 1_000_000);
                }
            }
            if (!hold.isEmpty()) {
                producer.flush();
                Files.createFile(Path.of(hold + ".open"));
                while (!Files.exists(Path.of(hold))) {
                    Thread.sleep(10);
                }
            }
            if (transactions && open > 0) {
                producer.commitTransaction();
            }
            producer.flush();
        }
        if (failure.get() != null) {
            throw failure.get();
        }
        answer.put("sent", sent);
    }

    private static ProducerRecord<byte[], byte[]> record(String topic, JsonNode envelope) {
        return new ProducerRecord<>(
                topic, envelope.get("partition").asInt(), envelope.get("ts").asLong(), bytes(envelope.path("key")), bytes(envelope.get("payload")));
    }

    private static byte[] bytes(JsonNode text) {
        return text.isTextual() ? text.asText().getBytes(StandardCharsets.UTF_8) : null;
    }

    /** Reads what is committed, from the first offset to the last stable one, into one file of envelopes a partition. */
    private static void read(String topic, Path out, ObjectNode answer) throws Exception {
        Properties properties = client();
        properties.put("isolation.level", "read_committed");
        properties.put("enable.auto.commit", "false");
        properties.put("auto.offset.reset", "none");
        Files.createDirectories(out);
        Map<Integer, BufferedWriter> files = new HashMap<>();
        Map<Integer, Long> counts = new HashMap<>();
        try (KafkaConsumer<byte[], byte[]> consumer = new KafkaConsumer<>(properties, new ByteArrayDeserializer(), new ByteArrayDeserializer())) {
            List<TopicPartition> partitions = new ArrayList<>();
            consumer.partitionsFor(topic).forEach(info -> partitions.add(new TopicPartition(topic, info.partition())));
            consumer.assign(partitions);
            consumer.seekToBeginning(partitions);
            Map<TopicPartition, Long> ends = consumer.endOffsets(partitions);
            for (TopicPartition partition : partitions) {
                Path file = out.resolve(String.format("part-%05d.ndjson", partition.partition()));
                files.put(partition.partition(), Files.newBufferedWriter(file));
                counts.put(partition.partition(), 0L);
            }
            while (partitions.stream().anyMatch(partition -> consumer.position(partition) < ends.get(partition))) {
                for (ConsumerRecord<byte[], byte[]> record : consumer.poll(Duration.ofMillis(100))) {
                    if (record.offset() < ends.get(new TopicPartition(topic, record.partition()))) {
                        files.get(record.partition()).write(envelope(record));
                        counts.merge(record.partition(), 1L, Long::sum);
                    }
                }
            }
            ObjectNode found = answer.putObject("partitions");
            for (TopicPartition partition : partitions) {
                ObjectNode one = found.putObject(String.valueOf(partition.partition()));
                one.put("messages", counts.get(partition.partition()));
                one.put("end", ends.get(partition));
            }
        } finally {
            close(files.values());
        }
    }

    private static void close(Collection<BufferedWriter> files) throws IOException {
        for (BufferedWriter file : files) {
            file.close();
        }
    }

    private static String envelope(ConsumerRecord<byte[], byte[]> record) throws IOException {
        ObjectNode envelope = JSON.createObjectNode();
        envelope.put("topic", record.topic()).put("partition", record.partition()).put("offset", record.offset());
        envelope.put("ts", record.timestamp());
        envelope.put("payload", record.value() == null ? null : new String(record.value(), StandardCharsets.UTF_8));
        return JSON.writeValueAsString(envelope) + "\n";
    }

    private static void create(String topic, JsonNode request) throws Exception {
        try (Admin admin = Admin.create(client())) {
            NewTopic made = new NewTopic(topic, request.get("partitions").asInt(), (short) 1);
            admin.createTopics(List.of(made.configs(settings(request.path("settings"))))).all().get();
            // The controller knows it; the broker may not yet.
            while (!admin.listTopics().names().get().contains(topic)) {
                Thread.sleep(10);
            }
        }
    }

    private static void grow(String topic, int partitions) throws Exception {
        try (Admin admin = Admin.create(client())) {
            admin.createPartitions(Map.of(topic, NewPartitions.increaseTo(partitions))).all().get();
        }
    }

    private static void configure(String topic, JsonNode settings) throws Exception {
        List<AlterConfigOp> changes = new ArrayList<>();
        settings(settings).forEach((name, value) -> changes.add(new AlterConfigOp(new ConfigEntry(name, value), AlterConfigOp.OpType.SET)));
        try (Admin admin = Admin.create(client())) {
            admin.incrementalAlterConfigs(Map.of(new ConfigResource(ConfigResource.Type.TOPIC, topic), changes)).all().get();
        }
    }

    private static void delete(String topic) throws Exception {
        try (Admin admin = Admin.create(client())) {
            admin.deleteTopics(List.of(topic)).all().get();
            // Whoever wrote to it now could write to nowhere for minutes.
            while (admin.listTopics().names().get().contains(topic)) {
                Thread.sleep(10);
            }
        }
    }

    /** Deletes the records of a partition below an offset, as retention does. */
    private static void expire(String topic, JsonNode request) throws Exception {
        TopicPartition partition = new TopicPartition(topic, request.get("partition").asInt());
        try (Admin admin = Admin.create(client())) {
            admin.deleteRecords(Map.of(partition, RecordsToDelete.beforeOffset(request.get("before").asLong()))).all().get();
        }
    }

    private static Map<String, String> settings(JsonNode given) {
        Map<String, String> settings = new HashMap<>();
        given.fields().forEachRemaining(field -> settings.put(field.getKey(), field.getValue().asText()));
        return settings;
    }
}
