package chat;

import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.StreamObserver;
import java.util.LinkedHashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.CompletableFuture;
import java.util.concurrent.ExecutionException;
import java.util.concurrent.Executors;
import java.util.concurrent.ScheduledExecutorService;
import java.util.concurrent.ThreadLocalRandom;
import java.util.concurrent.TimeUnit;
import java.util.concurrent.TimeoutException;
import java.util.function.BiConsumer;
import java.util.function.Consumer;
import rookery.v1.Session.Authenticate;
import rookery.v1.Session.ClientFrame;
import rookery.v1.Session.Event;
import rookery.v1.Session.Message;
import rookery.v1.Session.Ping;
import rookery.v1.Session.Position;
import rookery.v1.Session.Refused;
import rookery.v1.Session.Renew;
import rookery.v1.Session.Send;
import rookery.v1.Session.ServerFrame;
import rookery.v1.Session.Text;
import rookery.v1.Session.Welcome;
import rookery.v1.SessionServiceGrpc;

/**
 * One user's session over gRPC: kept connected, so that no message is lost or shown twice.
 *
 * <p>It follows the rules of docs/client-guide.md. One thread sends and one keeps the session connected; gRPC
 * calls back with frames on its own threads. Shared state is guarded by the lock of the session itself.
 */
final class Session {
    private static final long ANSWER_MS = 10_000; // for Welcome, and for any frame after a Ping
    private static final long LOOK_MS = 1_000; // how often that deadline is checked
    private static final long LAG_MS = 3_000; // history may lag behind live events by this much
    private static final long HISTORY_MS = 24 * 3_600_000; // the part of the history that is shown at first
    private static final long OVERLAP_MS = 300_000; // history is read from earlier: retried messages keep their ids
    private static final long EPOCH_MS = 1_767_225_600_000L; // of the times in message ids
    private static final int MAX_SEEN = 10_000; // remembered message ids: more than a server replays

    /** The reason for leaving a connection, the pause after it, and the next gateway. */
    private record Leave(String why, long afterMs, String movedTo, boolean isSignedOut) {
        Leave(String why) {
            this(why, 0, "", false);
        }
    }

    private record Key(long senderId, String clientMessageId) {}

    private final Api api;
    private final long myId;
    private final long otherId;
    private final String chatId;
    private final BiConsumer<Long, String> onMessage;
    private final Consumer<String> onStatus;
    /** Runs slow and delayed work, so that nothing waits for it. */
    private final ScheduledExecutorService background = Executors.newSingleThreadScheduledExecutor();

    // State that outlives a connection.
    private volatile Position position; // where to resume; null at first
    private Send pending; // not accepted yet; a client that may be killed stores it on disk
    private long firstSentMs; // when it was first sent; 0 until then
    private CompletableFuture<String> outcome;
    private long newestMs = System.currentTimeMillis() - HISTORY_MS; // of the newest event, never of an own message
    private int failures;
    private long failingSince;
    private final Map<Key, Boolean> seen = new LinkedHashMap<>() {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<Key, Boolean> eldest) {
            return size() > MAX_SEEN;
        }
    };

    // State of one connection.
    private volatile String token = "";
    private StreamObserver<ClientFrame> stream;
    private Welcome welcome; // null while there is no session
    private int replayLeft;
    private long sequence;
    private long deadline; // for the next frame, in milliseconds of `now()`
    private boolean isAsked; // for a sign of life

    /** The message listener is called once for each message of the chat that was not sent here, with its sender. */
    Session(Api api, long myId, long otherId, BiConsumer<Long, String> onMessage, Consumer<String> onStatus) {
        this.api = api;
        this.myId = myId;
        this.otherId = otherId;
        this.chatId = "d-" + Math.min(myId, otherId) + "-" + Math.max(myId, otherId);
        this.onMessage = onMessage;
        this.onStatus = onStatus;
    }

    // ---- sending

    /**
     * Returns the outcome once the message is accepted or refused for good.
     *
     * <p>Wait for it before the next, so that messages keep their order even if one is sent again.
     */
    synchronized CompletableFuture<String> send(String text) {
        pending = Send.newBuilder()
                .setClientMessageId(UUID.randomUUID().toString())
                .setRecipientId(otherId)
                .setText(Text.newBuilder().setBody(text))
                .build();
        firstSentMs = 0;
        isNew(myId, pending.getClientMessageId()); // a replay of it is not shown
        outcome = new CompletableFuture<>();
        sendPending();
        return outcome;
    }

    /** Send it again whenever it may be lost: the server keeps one message per client_message_id. */
    private synchronized void sendPending() {
        if (pending == null || welcome == null) {
            return;
        }
        long now = System.currentTimeMillis();
        firstSentMs = firstSentMs == 0 ? now : firstSentMs;
        int msAgo = (int) (now - firstSentMs); // unsigned: very long, if the clock was set back
        say(ClientFrame.newBuilder().setSend(pending.toBuilder().setFirstSentMsAgo(msAgo)).build());
    }

    private synchronized void say(ClientFrame frame) {
        if (welcome != null) { // before it, only Authenticate may be sent
            stream.onNext(frame);
        }
    }

    // ---- one connection after the other

    /** Returns only by an exception: ApiException if it can't sign in any more. */
    void stayConnected() throws ApiException, InterruptedException {
        Leave left = new Leave("");
        while (true) {
            left = connect(left);
            long pause = pause(left);
            onStatus.accept("* no session, next try in %.1f s: %s".formatted(pause / 1000.0, left.why()));
            Thread.sleep(pause);
        }
    }

    /** A random pause, so that the clients of a gateway do not reconnect together; it grows, up to a low bound. */
    private synchronized long pause(Leave left) {
        if (left.afterMs() > 0) {
            return left.afterMs() + ThreadLocalRandom.current().nextLong(500); // the server is up: this is no failure
        }
        if (failures == 0) {
            failingSince = now();
        }
        failures = Math.min(failures + 1, 10);
        if (!left.movedTo().isEmpty() && failures == 1) {
            return 0; // if the user is not there either, the gateways disagree: give them time
        }
        long longest = Math.min(Math.max((now() - failingSince) / 4, 2_000), 5_000);
        return ThreadLocalRandom.current().nextLong(Math.min(250L << failures, longest));
    }

    private Leave connect(Leave left) throws ApiException, InterruptedException {
        try {
            token = api.accessToken(left.isSignedOut() ? token : "");
            if (position == null) {
                readHistory(newestMs); // the messages of the newest seconds will be replayed
            }
            return converse(left.movedTo().isEmpty() ? api.gateway() : left.movedTo());
        } catch (ApiException error) {
            if (!error.isRetryable()) {
                throw error;
            }
            return new Leave(error.getMessage(), error.retryAfterMs, "", false);
        }
    }

    /** Hold one connection. Returns the reason for its end. */
    private Leave converse(String address) throws InterruptedException {
        // A channel that could not connect retries with its own backoff of up to two minutes, so make a new one.
        ManagedChannel channel = address.startsWith("grpcs://")
                ? Grpc.newChannelBuilder(address.substring("grpcs://".length()), TlsChannelCredentials.create()).build()
                : Grpc.newChannelBuilder(address, InsecureChannelCredentials.create()).build();
        CompletableFuture<Leave> left = new CompletableFuture<>();
        try {
            begin(channel, left);
            return watch(left);
        } finally {
            synchronized (this) {
                welcome = null;
            }
            channel.shutdownNow();
        }
    }

    private synchronized void begin(ManagedChannel channel, CompletableFuture<Leave> left) {
        sequence = 0;
        deadline = now() + ANSWER_MS;
        Authenticate.Builder authenticate =
                Authenticate.newBuilder().setAccessToken(token).setClientName("Java");
        if (position != null) {
            authenticate.setLastPosition(position);
        }
        stream = SessionServiceGrpc.newStub(channel).connect(new StreamObserver<>() {
            @Override
            public void onNext(ServerFrame frame) {
                receive(frame, left);
            }

            @Override
            public void onError(Throwable error) {
                Status status = Status.fromThrowable(error);
                left.complete(new Leave(status.getDescription() == null ? status.toString() : status.getDescription()));
            }

            @Override
            public void onCompleted() {
                left.complete(new Leave("the server ended the session"));
            }
        });
        stream.onNext(ClientFrame.newBuilder().setAuthenticate(authenticate).build());
    }

    /** A server may vanish silently: ping a silent one, and leave it if it does not answer. */
    private Leave watch(CompletableFuture<Leave> left) throws InterruptedException {
        while (true) {
            try {
                return left.get(timeLeft(left), TimeUnit.MILLISECONDS);
            } catch (TimeoutException silence) {
                // or a frame came meanwhile
            } catch (ExecutionException error) {
                throw new IllegalStateException(error); // never thrown by this future
            }
        }
    }

    private synchronized long timeLeft(CompletableFuture<Leave> left) {
        if (now() >= deadline && (welcome == null || isAsked)) {
            left.complete(new Leave("the server is silent"));
        } else if (now() >= deadline) {
            say(ClientFrame.newBuilder().setPing(Ping.getDefaultInstance()).build());
            isAsked = true;
            deadline = now() + ANSWER_MS;
        }
        return Math.max(Math.min(deadline - now(), LOOK_MS), 0);
    }

    // ---- received frames

    private synchronized void receive(ServerFrame frame, CompletableFuture<Leave> left) {
        if (left.isDone()) {
            return;
        }
        if (frame.getSequence() > sequence + 1) {
            sendPending(); // frames were dropped: Gap covers events, but a dropped frame may have been an answer
        }
        sequence = frame.getSequence();
        switch (frame.getFrameCase()) {
            case WELCOME -> enter(frame.getWelcome());
            case EVENT -> receiveEvent(frame.getEvent());
            case ACCEPTED -> finish(frame.getAccepted().getClientMessageId(), "accepted");
            case REFUSED -> receiveRefused(frame.getRefused());
            case GAP -> {
                if (frame.getGap().hasPosition()) {
                    position = frame.getGap().getPosition();
                }
                onStatus.accept("* events are missing: reading history");
                long sinceMs = newestMs - OVERLAP_MS;
                background.execute(() -> fillGap(sinceMs, 2));
            }
            case EXPIRING -> background.execute(this::renew);
            case RECONNECT ->
                left.complete(new Leave("the gateway stops", frame.getReconnect().getAfterMs(), "", false));
            case MOVED -> left.complete(new Leave("the gateway is another", 0, frame.getMoved().getGrpc(), false));
            case GOODBYE -> {
                boolean isSignedOut = frame.getGoodbye().getCode().equals("unauthenticated");
                left.complete(new Leave(frame.getGoodbye().getMessage(), 0, "", isSignedOut));
            }
            default -> {} // Pong, or a frame of a newer server
        }
        isAsked = false;
        deadline = now() + (welcome == null ? ANSWER_MS : welcome.getHeartbeatIntervalMs());
    }

    private void enter(Welcome welcome) {
        onStatus.accept("* connected");
        failures = 0;
        this.welcome = welcome;
        replayLeft = welcome.getReplayed();
        if (replayLeft == 0) {
            position = welcome.getPosition();
        }
        sendPending();
    }

    private void receiveEvent(Event event) {
        position = event.getPosition();
        if (replayLeft > 0 && --replayLeft == 0) {
            position = welcome.getPosition(); // not sooner: the rest of an unfinished replay must still come
        }
        Message message = event.getMessage(); // reactions, receipts and typing would be handled here
        if (message.getChatId().equals(chatId)) {
            newestMs = Math.max(newestMs, (message.getMessageId() >> 22) + EPOCH_MS);
            hear(message.getSenderId(), message.getClientMessageId(), message.getText().getBody());
        }
    }

    private void receiveRefused(Refused refused) {
        if (refused.getRetryable()) {
            long pause = Math.max(refused.getRetryAfterMs(), 1_000);
            background.schedule(this::sendPending, pause, TimeUnit.MILLISECONDS);
        } else {
            finish(refused.getClientMessageId(), "refused (" + refused.getMessage() + ")");
        }
    }

    private void finish(String clientMessageId, String what) {
        if (pending != null && pending.getClientMessageId().equals(clientMessageId)) {
            pending = null;
            outcome.complete(what);
        }
    }

    private synchronized void hear(long senderId, String clientMessageId, String text) {
        if (isNew(senderId, clientMessageId)) {
            onMessage.accept(senderId, text);
        }
    }

    /** False for messages that replays, retries and history repeat. */
    private boolean isNew(long senderId, String clientMessageId) {
        return seen.put(new Key(senderId, clientMessageId), true) == null;
    }

    // ---- HTTP requests in the background

    private void readHistory(long sinceMs) throws ApiException, InterruptedException {
        for (Api.Message message : api.history(chatId, sinceMs)) {
            hear(message.senderId(), message.clientMessageId(), message.text());
        }
    }

    /** Read the missing messages, with retries, and then once more, as history may lag behind. */
    private void fillGap(long sinceMs, int reads) {
        try {
            readHistory(sinceMs);
            reads--;
        } catch (ApiException error) {
            if (!error.isRetryable()) {
                onStatus.accept("* no history: " + error.getMessage());
                return;
            }
        } catch (InterruptedException error) {
            return;
        }
        if (reads > 0) {
            int left = reads;
            background.schedule(() -> fillGap(sinceMs, left), LAG_MS, TimeUnit.MILLISECONDS);
        }
    }

    private void renew() {
        try {
            String fresh = api.accessToken(token);
            token = fresh;
            say(ClientFrame.newBuilder().setRenew(Renew.newBuilder().setAccessToken(fresh)).build());
        } catch (ApiException error) { // the session ends with its token, and the next begins with a new one
            onStatus.accept("* no new token: " + error.getMessage());
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private static long now() {
        return System.nanoTime() / 1_000_000;
    }
}
