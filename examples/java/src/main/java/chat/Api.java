package chat;

import com.google.gson.JsonArray;
import com.google.gson.JsonElement;
import com.google.gson.JsonObject;
import com.google.gson.JsonParseException;
import com.google.gson.JsonParser;
import java.io.IOException;
import java.net.URI;
import java.net.http.HttpClient;
import java.net.http.HttpRequest;
import java.net.http.HttpRequest.BodyPublishers;
import java.net.http.HttpResponse;
import java.net.http.HttpResponse.BodyHandlers;
import java.time.Duration;
import java.util.ArrayList;
import java.util.HashMap;
import java.util.List;
import java.util.Map;

/** The HTTP requests of the chat client: tokens, users, history, and the gateway. Thread-safe. */
final class Api {
    private static final Duration TIMEOUT = Duration.ofSeconds(10);

    private final HttpClient http = HttpClient.newBuilder().version(HttpClient.Version.HTTP_1_1).build();
    private final String url;
    private final String name;
    private final String password;
    private String accessToken = "";
    private String refreshToken = "";

    /** Wrong passwords that others try do not delay a known device. Also keep it on disk if the client may restart. */
    private String deviceToken = "";

    Api(String url, String name, String password) {
        this.url = url;
        this.name = name;
        this.password = password;
    }

    /** A message as it was sent. */
    record Message(long senderId, String clientMessageId, String text) {}

    record Edit(long eventId, long messageId, long actorId, String text) {}

    /** Events of a chat: all after an id, or the newest messages and their changes. */
    record Page(List<Message> messages, List<Edit> edits, boolean isTooOld, long completeUpTo) {}

    /**
     * Returns the newest token; if that is the stale one, refreshes it first.
     *
     * <p>A refresh token works once. Its reuse ends the sign-in, as it may have been stolen: so one refresh at a time.
     */
    synchronized String accessToken(String stale) throws ApiException, InterruptedException {
        if (accessToken.equals(stale)) {
            JsonObject tokens = refresh();
            accessToken = tokens.get("access_token").getAsString();
            refreshToken = tokens.get("refresh_token").getAsString();
        }
        return accessToken;
    }

    long myId() throws ApiException, InterruptedException {
        return get("/v1/me").get("user_id").getAsLong();
    }

    long userId(String name) throws ApiException, InterruptedException {
        for (JsonElement profile : get("/v1/profiles?limit=100&name_contains=" + name).getAsJsonArray("profiles")) {
            if (profile.getAsJsonObject().get("name").getAsString().equals(name)) {
                return profile.getAsJsonObject().get("user_id").getAsLong();
            }
        }
        throw new ApiException("there is no user " + name, 404);
    }

    /** The names of at most 100 members of a group that is no channel, by user id. */
    Map<Long, String> members(String chatId) throws ApiException, InterruptedException {
        JsonElement isChannel = get("/v1/chats/" + chatId).getAsJsonObject("settings").get("is_channel");
        if (isChannel != null && isChannel.getAsBoolean()) {
            throw new ApiException("channels need `follow`, which this example leaves out", 400);
        }
        List<String> ids = new ArrayList<>();
        for (JsonElement member : get("/v1/chats/" + chatId + "/members?limit=100").getAsJsonArray("members")) {
            ids.add(member.getAsJsonObject().get("user_id").getAsString());
        }
        Map<Long, String> names = new HashMap<>();
        for (JsonElement element : get("/v1/profiles?user_ids=" + String.join(",", ids)).getAsJsonArray("profiles")) {
            JsonObject profile = element.getAsJsonObject();
            names.put(profile.get("user_id").getAsLong(), profile.get("name").getAsString());
        }
        return names;
    }

    /** The address of the user's gateway for gRPC. It changes: request it before each connection. */
    String gateway() throws ApiException, InterruptedException {
        return get("/v1/me/gateway").get("grpc").getAsString();
    }

    /** The newest messages of a chat, with their changes. */
    Page history(String chatId) throws ApiException, InterruptedException {
        JsonObject answer = get("/v1/chats/" + chatId + "/messages?limit=100");
        JsonArray events = new JsonArray();
        for (JsonElement item : answer.getAsJsonArray("messages")) {
            events.add(item); // with the message in a field of the same name as in an event
            events.addAll(list(item.getAsJsonObject(), "changes"));
        }
        return page(events, false, answer);
    }

    /** All events of a chat after an id. */
    Page changes(String chatId, long after) throws ApiException, InterruptedException {
        JsonObject answer = get("/v1/chats/" + chatId + "/changes?after=" + after);
        return page(list(answer, "events"), answer.get("too_old").getAsBoolean(), answer);
    }

    private static Page page(JsonArray events, boolean isTooOld, JsonObject answer) {
        List<Message> messages = new ArrayList<>();
        List<Edit> edits = new ArrayList<>();
        for (JsonElement element : events) {
            JsonObject event = element.getAsJsonObject();
            JsonObject message = event.getAsJsonObject("message");
            JsonObject change = event.getAsJsonObject("change");
            if (message != null) {
                long senderId = message.get("sender_id").getAsLong();
                messages.add(new Message(senderId, message.get("client_message_id").getAsString(), text(message)));
            } else if (change != null && change.has("edited")) { // or another kind of change
                long eventId = event.get("event_id").getAsLong();
                long messageId = change.get("target_id").getAsLong();
                long actorId = change.get("actor_id").getAsLong();
                edits.add(new Edit(eventId, messageId, actorId, text(change.getAsJsonObject("edited"))));
            }
        }
        return new Page(messages, edits, isTooOld, answer.get("complete_up_to").getAsLong());
    }

    private static JsonArray list(JsonObject object, String name) {
        return object.has(name) ? object.getAsJsonArray(name) : new JsonArray();
    }

    /** One kind of content; others may follow. A deleted message has none, and a file needs no text. */
    private static String text(JsonObject content) {
        JsonObject text = content.getAsJsonObject("text");
        return text == null || !text.has("body") ? "" : text.get("body").getAsString();
    }

    private JsonObject refresh() throws ApiException, InterruptedException {
        if (!refreshToken.isEmpty()) {
            JsonObject body = new JsonObject();
            body.addProperty("refresh_token", refreshToken);
            try {
                return ask("/v1/tokens/refresh", "", body);
            } catch (ApiException error) {
                if (error.isRetryable()) {
                    throw error;
                }
                // It has expired, or was used already and the response was lost: use the password.
            }
        }
        JsonObject credentials = new JsonObject();
        credentials.addProperty("name", name);
        credentials.addProperty("password", password);
        credentials.addProperty("device_name", "Java example");
        credentials.addProperty("device_token", deviceToken);
        JsonObject tokens = ask("/v1/tokens", "", credentials);
        deviceToken = tokens.get("device_token").getAsString();
        return tokens;
    }

    private JsonObject get(String path) throws ApiException, InterruptedException {
        String token = accessToken("");
        try {
            return ask(path, token, null);
        } catch (ApiException error) {
            if (error.status != 401) {
                throw error;
            }
        }
        return ask(path, accessToken(token), null);
    }

    /** POST with a body, GET without. */
    private JsonObject ask(String path, String token, JsonObject body) throws ApiException, InterruptedException {
        HttpRequest.Builder request = HttpRequest.newBuilder(URI.create(url + path)).timeout(TIMEOUT);
        if (!token.isEmpty()) {
            request.header("Authorization", "Bearer " + token);
        }
        if (body != null) {
            request.header("Content-Type", "application/json").POST(BodyPublishers.ofString(body.toString()));
        }
        try {
            HttpResponse<String> response = http.send(request.build(), BodyHandlers.ofString());
            if (response.statusCode() >= 400) {
                throw problem(response);
            }
            return JsonParser.parseString(response.body()).getAsJsonObject();
        } catch (IOException | JsonParseException | IllegalStateException error) { // the last two: not JSON, or no object
            throw new ApiException("no answer over HTTP: " + error, 503);
        }
    }

    /** Read an answer of the type application/problem+json. That of a proxy has another type, and no code. */
    private static ApiException problem(HttpResponse<String> response) {
        boolean isProblem =
                response.headers().firstValue("Content-Type").orElse("").contains("application/problem+json");
        JsonObject problem = isProblem ? JsonParser.parseString(response.body()).getAsJsonObject() : new JsonObject();
        int status = response.statusCode();
        String detail = problem.has("detail") ? problem.get("detail").getAsString() : "HTTP status " + status;
        String code = problem.has("code") ? problem.get("code").getAsString() : "";
        long after = problem.has("retry_after_ms") ? problem.get("retry_after_ms").getAsLong() : 0;
        return new ApiException(detail, status, code, after);
    }
}
