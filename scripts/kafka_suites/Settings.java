import com.fasterxml.jackson.databind.JsonNode;
import com.fasterxml.jackson.databind.ObjectMapper;
import com.fasterxml.jackson.databind.node.ObjectNode;
import java.io.BufferedReader;
import java.io.ByteArrayInputStream;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.HexFormat;
import java.util.Map;
import java.util.Properties;
import java.util.TreeMap;
import java.util.TreeSet;
import javax.security.auth.login.AppConfigurationEntry;
import org.apache.kafka.clients.admin.AdminClientConfig;
import org.apache.kafka.clients.consumer.ConsumerConfig;
import org.apache.kafka.clients.producer.ProducerConfig;
import org.apache.kafka.common.config.types.Password;
import org.apache.kafka.common.security.JaasContext;

/**
 * What Java makes of settings: java.util.Properties of a file, Kafka's client of a login, and the names that client has.
 *
 * One request a line on standard input, the same line with "answer" on standard output; a null answer is a refusal.
 */
public final class Settings {
    private static final ObjectMapper JSON = new ObjectMapper();

    public static void main(String[] args) throws IOException {
        BufferedReader in = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        PrintStream out = new PrintStream(System.out, true, StandardCharsets.UTF_8);
        for (String line; (line = in.readLine()) != null; ) {
            ObjectNode request = (ObjectNode) JSON.readTree(line);
            request.set("answer", JSON.valueToTree(answer(request)));
            out.println(JSON.writeValueAsString(request));
        }
    }

    private static Object answer(JsonNode request) throws IOException {
        if (request.has("file")) {
            return file(HexFormat.of().parseHex(request.get("file").asText()));
        }
        return request.has("login") ? login(request.get("login").asText()) : names();
    }

    private static Map<String, String> file(byte[] bytes) throws IOException {
        Properties properties = new Properties();
        try {
            properties.load(new ByteArrayInputStream(bytes));
        } catch (IllegalArgumentException malformed) {
            return null;
        }
        Map<String, String> all = new TreeMap<>();
        properties.forEach((name, value) -> all.put((String) name, (String) value));
        return all;
    }

    private static Map<String, String> login(String text) {
        try {
            JaasContext context = JaasContext.loadClientContext(Map.of("sasl.jaas.config", new Password(text)));
            AppConfigurationEntry entry = context.configurationEntries().get(0);
            Map<String, String> all = new TreeMap<>();
            entry.getOptions().forEach((name, value) -> all.put(name, (String) value));
            all.put("module", entry.getLoginModuleName());
            return all;
        } catch (RuntimeException refused) {
            return null;
        }
    }

    private static TreeSet<String> names() {
        TreeSet<String> all = new TreeSet<>(ConsumerConfig.configNames());
        all.addAll(ProducerConfig.configNames());
        all.addAll(AdminClientConfig.configNames());
        return all;
    }
}
