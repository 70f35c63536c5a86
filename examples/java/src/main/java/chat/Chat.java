package chat;

import java.io.BufferedReader;
import java.io.IOException;
import java.io.InputStreamReader;
import java.io.PrintStream;
import java.nio.charset.StandardCharsets;
import java.util.Map;
import java.util.concurrent.ExecutionException;
import java.util.function.BiConsumer;
import sun.misc.Signal;

/**
 * Chat with one user or group of a Rookery in the terminal, over gRPC with the stock library.
 *
 * <pre>CHAT_PASSWORD=... java -jar target/chat.jar http://127.0.0.1:8080 ada grace</pre>
 *
 * <p>signs in as ada, sends each line of the input to grace, and shows the messages of the chat. A line
 * {@code /edit TEXT} replaces the text of the message before. In place of grace, the id of a group may be
 * given, such as g-12.
 */
public final class Chat {
    private static final PrintStream OUT = new PrintStream(System.out, true, StandardCharsets.UTF_8);

    private Chat() {}

    public static void main(String[] arguments) throws Exception {
        String password = System.getenv("CHAT_PASSWORD");
        if (arguments.length != 3 || password == null) {
            System.err.println("usage: CHAT_PASSWORD=... java -jar chat.jar URL NAME OTHER");
            System.exit(2);
        }
        Signal.handle(new Signal("INT"), signal -> System.exit(0));
        try {
            chat(new Api(arguments[0], arguments[1], password), arguments[1], arguments[2]);
            System.exit(0); // without waiting for the session
        } catch (ApiException error) {
            fail(error);
        }
    }

    private static void chat(Api api, String name, String other) throws Exception {
        long myId = api.myId();
        boolean isGroup = other.startsWith("g-");
        long otherId = isGroup ? 0 : api.userId(other);
        String chatId = isGroup ? other : "d-" + Math.min(myId, otherId) + "-" + Math.max(myId, otherId);
        Map<Long, String> names = isGroup ? api.members(other) : Map.of(myId, name, otherId, other);
        BiConsumer<Long, String> showMessage =
                (senderId, text) -> show(names.getOrDefault(senderId, "user " + senderId) + ": " + text);
        Session session = new Session(api, myId, chatId, showMessage, Chat::show);
        Thread connection = new Thread(() -> {
            try {
                session.stayConnected();
            } catch (ApiException | RuntimeException error) {
                fail(error);
            } catch (InterruptedException error) {
                Thread.currentThread().interrupt();
            }
        });
        connection.start();
        sendLines(session);
    }

    /** Read and send lines until the end of the input. */
    private static void sendLines(Session session) throws IOException, InterruptedException, ExecutionException {
        BufferedReader input = new BufferedReader(new InputStreamReader(System.in, StandardCharsets.UTF_8));
        for (String line = input.readLine(); line != null; line = input.readLine()) {
            if (!line.isBlank()) {
                boolean isEdit = line.startsWith("/edit ");
                show((isEdit ? session.edit(line.substring(6)) : session.send(line)).get() + ": " + line);
            }
        }
    }

    /** Remove control characters, with which a message could control the terminal. */
    private static void show(String text) {
        OUT.println(text.replaceAll("\\p{C}", "\uFFFD"));
    }

    private static void fail(Exception error) {
        System.err.println(error.getMessage());
        System.exit(1);
    }
}
