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
 * One user's session over gRPC: kept connected, so that no message is lost and none is shown twice.
 *
 * <p>docs/client-guide.md has the rules that this follows. One thread sends and one keeps the session connected; gRPC
 * brings frames on its own. What they share is guarded by the lock of the session itself.
 */
final class Session {
    private static final long ANSWER_MS = 10_000; // for Welcome, and for any sign of life after a Ping
    private static final long LOOK_MS = 1_000; // how often to look whether that is over
    private static final long LAG_MS = 3_000; // history may be so far behind what is live
    private static final long HISTORY_MS = 24 * 3_600_000; // so far back history is shown at first
    private static final long MARGIN_MS = 10_000; // history is read from earlier on, as times are only about in order
    private static final long EPOCH_MS = 1_767_225_600_000L; // of the times in message ids
    private static final int MAX_SEEN = 10_000; // messages that are known again: more than a server replays

    /** Why a connection is given up, how long to wait, and where to go then. */
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
    /** For what takes a while, or comes later, so that nothing waits for it. */
    private final ScheduledExecutorService background = Executors.newSingleThreadScheduledExecutor();

    // What outlives a connection.
    private volatile Position position; // where to resume; null at first
    private Send pending; // what is not accepted yet; a client that may be killed keeps it on disk
    private CompletableFuture<String> outcome;
    private long newestMs = System.currentTimeMillis() - HISTORY_MS; // the time of the newest message that came
    private int failures;
    private long failingSince;
    private final Map<Key, Boolean> seen = new LinkedHashMap<>() {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<Key, Boolean> eldest) {
            return size() > MAX_SEEN;
        }
    };

    // What belongs to one connection.
    private volatile String token = "";
    private StreamObserver<ClientFrame> stream;
    private Welcome welcome; // null while there is no session
    private int replayLeft;
    private long sequence;
    private long deadline; // for the next frame, in milliseconds of `now()`
    private boolean isAsked; // for a sign of life

    /** What hears of messages is told of each message of the chat once, with its sender, but for those sent here. */
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
     * Gives what became of it, when the message can't be lost or is refused for good.
     *
     * <p>Wait for it before the next: so messages keep their order, even if one has to be sent again.
     */
    synchronized CompletableFuture<String> send(String text) {
        pending = Send.newBuilder()
                .setClientMessageId(UUID.randomUUID().toString())
                .setRecipientId(otherId)
                .setText(Text.newBuilder().setBody(text))
                .build();
        isNew(myId, pending.getClientMessageId()); // it is no news if it comes in a replay
        outcome = new CompletableFuture<>();
        sendPending();
        return outcome;
    }

    /** Whenever it may not have arrived: the same client_message_id makes one message, however often it comes. */
    private synchronized void sendPending() {
        if (pending != null) {
            say(ClientFrame.newBuilder().setSend(pending).build());
        }
    }

    private synchronized void say(ClientFrame frame) {
        if (welcome != null) { // before, nothing but Authenticate may be sent
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

    /** Random, so that not all clients of a gateway come back at once; growing, but another soon takes over. */
    private synchronized long pause(Leave left) {
        if (failures == 0) {
            failingSince = now();
        }
        failures = Math.min(failures + 1, 10);
        if (!left.movedTo().isEmpty() && failures == 1) {
            return 0; // if it is not there either, gateways are at odds: give them time
        }
        long longest = Math.min(Math.max((now() - failingSince) / 4, 2_000), 5_000);
        return Math.max(left.afterMs(), ThreadLocalRandom.current().nextLong(Math.min(250L << failures, longest)));
    }

    private Leave connect(Leave left) throws ApiException, InterruptedException {
        try {
            token = api.accessToken(left.isSignedOut() ? token : "");
            if (position == null) {
                readHistory(newestMs); // what came in the newest seconds will be replayed
            }
            return converse(left.movedTo().isEmpty() ? api.gateway() : left.movedTo());
        } catch (ApiException error) {
            if (!error.isRetryable()) {
                throw error;
            }
            return new Leave(error.getMessage(), error.retryAfterMs, "", false);
        }
    }

    /** Hold one connection; why it ended. */
    private Leave converse(String address) throws InterruptedException {
        // A channel that could not connect tries again by a backoff of its own, up to two minutes: so make a new one.
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

    /** A server may vanish without a word: ask one that is silent, and leave it if it does not answer. */
    private Leave watch(CompletableFuture<Leave> left) throws InterruptedException {
        while (true) {
            try {
                return left.get(timeLeft(left), TimeUnit.MILLISECONDS);
            } catch (TimeoutException silence) {
                // or a frame came meanwhile
            } catch (ExecutionException error) {
                throw new IllegalStateException(error); // nobody completes it so
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

    // ---- what comes

    private synchronized void receive(ServerFrame frame, CompletableFuture<Leave> left) {
        if (left.isDone()) {
            return;
        }
        if (frame.getSequence() > sequence + 1) {
            sendPending(); // frames were dropped: Gap tells of events, but an answer may have been among them
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
                long sinceMs = newestMs - MARGIN_MS;
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
            position = welcome.getPosition(); // not sooner: what a lost connection has not replayed must come yet
        }
        Message message = event.getMessage(); // reactions, receipts and typing would come here too
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

    /** False for what replays, retries and history bring once more. */
    private boolean isNew(long senderId, String clientMessageId) {
        return seen.put(new Key(senderId, clientMessageId), true) == null;
    }

    // ---- meanwhile, over HTTP

    private void readHistory(long sinceMs) throws ApiException, InterruptedException {
        for (Api.Message message : api.history(chatId, sinceMs)) {
            hear(message.senderId(), message.clientMessageId(), message.text());
        }
    }

    /** Read what is missing, however often that must be tried; and once more, as history may lag behind. */
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
        } catch (ApiException error) { // the session will end with its token, and another begin with a new one
            onStatus.accept("* no new token: " + error.getMessage());
        } catch (InterruptedException error) {
            Thread.currentThread().interrupt();
        }
    }

    private static long now() {
        return System.nanoTime() / 1_000_000;
    }
}
