package chat;

import io.grpc.Grpc;
import io.grpc.InsecureChannelCredentials;
import io.grpc.ManagedChannel;
import io.grpc.Status;
import io.grpc.TlsChannelCredentials;
import io.grpc.stub.StreamObserver;
import java.util.ArrayList;
import java.util.LinkedHashMap;
import java.util.List;
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
import rookery.v1.Session.Accepted;
import rookery.v1.Session.Authenticate;
import rookery.v1.Session.Change;
import rookery.v1.Session.ClientFrame;
import rookery.v1.Session.Edited;
import rookery.v1.Session.Event;
import rookery.v1.Session.Goodbye;
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
    private static final long ANSWER_MS = 10_000; // for any frame after a Ping
    private static final long WELCOME_MS = 20_000; // for the connection and its Welcome, at first
    private static final long LONGEST_WELCOME_MS = 40_000; // each attempt without one doubles the time of the next
    private static final long LOOK_MS = 1_000; // how often that deadline is checked
    private static final long CATCH_UP_MS = 5_000; // between two readings of missed events
    private static final long LONGEST_CATCH_UP_MS = 30_000; // while the server does not answer
    private static final long EPOCH_MS = 1_767_225_600_000L; // of the times in ids
    private static final int MAX_SEEN = 10_000; // remembered events: more than a server replays

    /** The reason for leaving a connection, the pause after it, and the next gateway. */
    private record Leave(String why, long afterMs, String movedTo, boolean isSignedOut, boolean isFinal) {
        Leave(String why) {
            this(why, 0, "");
        }

        Leave(String why, long afterMs, String movedTo) {
            this(why, afterMs, movedTo, false, false);
        }
    }

    /** A message or a change that has no final answer yet. */
    private static final class Command {
        final ClientFrame.Builder frame; // has a client id, by which the server recognises it when it is sent again
        final CompletableFuture<String> outcome = new CompletableFuture<>();
        long number; // of its newest frame in this connection
        long firstSentMs; // 0 until then

        Command(ClientFrame.Builder frame) {
            this.frame = frame;
        }
    }

    private final Api api;
    private final long myId;
    private final String chatId;
    private final BiConsumer<Long, String> onMessage;
    private final Consumer<String> onStatus;
    /** Runs slow and delayed work, so that nothing waits for it. */
    private final ScheduledExecutorService background = Executors.newSingleThreadScheduledExecutor();

    // State that outlives a connection.
    private volatile Position position; // where to resume; null at first
    private final List<Command> unanswered = new ArrayList<>(); // a client that may be killed stores them on disk
    private long newestSent; // the id of the newest own message
    private volatile long after; // all events up to this id were received
    private long missedUntilMs; // some events before this time are missing, until that id has it
    private int failures;
    private long failingSince;
    private long welcomeMs = WELCOME_MS;
    private final Map<String, Long> seen = new LinkedHashMap<>() {
        private static final long serialVersionUID = 1L;

        @Override
        protected boolean removeEldestEntry(Map.Entry<String, Long> eldest) {
            return size() > MAX_SEEN;
        }
    };

    // State of one connection.
    private volatile String token = "";
    private StreamObserver<ClientFrame> stream;
    private Welcome welcome; // null while there is no session
    private int replayLeft;
    private long number; // of the newest frame that was sent
    private long deadline; // for the next frame, in milliseconds of `now()`
    private boolean isAsked; // for a sign of life

    /** The message listener is called once for each message and edit of the chat that was not sent here. */
    Session(Api api, long myId, String chatId, BiConsumer<Long, String> onMessage, Consumer<String> onStatus) {
        this.api = api;
        this.myId = myId;
        this.chatId = chatId;
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
        String clientId = UUID.randomUUID().toString();
        isNew(messageKey(myId, clientId), 1); // a replay of it is not shown
        return command(ClientFrame.newBuilder().setSend(Send.newBuilder()
                .setClientMessageId(clientId)
                .setChatId(chatId)
                .setText(Text.newBuilder().setBody(text))));
    }

    /** Replace the text of the newest own message. */
    synchronized CompletableFuture<String> edit(String text) {
        return command(ClientFrame.newBuilder().setChange(Change.newBuilder()
                .setChatId(chatId)
                .setTargetId(newestSent)
                .setClientChangeId(UUID.randomUUID().toString())
                .setEdited(Edited.newBuilder().setText(Text.newBuilder().setBody(text)))));
    }

    private CompletableFuture<String> command(ClientFrame.Builder frame) {
        Command command = new Command(frame);
        unanswered.add(command);
        transmit(command);
        return command.outcome;
    }

    /** Send what may be lost again: the server keeps one message or change per client id. */
    private synchronized void resend() {
        List.copyOf(unanswered).forEach(this::transmit);
    }

    private void transmit(Command command) {
        if (welcome == null) {
            return;
        }
        long now = System.currentTimeMillis();
        command.firstSentMs = command.firstSentMs == 0 ? now : command.firstSentMs;
        int msAgo = (int) (now - command.firstSentMs); // unsigned: very long, if the clock was set back
        ClientFrame frame = command.frame.setFirstSentMsAgo(msAgo).build();
        int limit = welcome.getLimits().getMaxFrameBytes();
        if (frame.getSerializedSize() > limit) { // the server might end the connection, each time
            settle(command, "refused (A frame may have " + limit + " bytes at most.)");
        } else {
            command.number = say(frame);
        }
    }

    /** Send a frame, and return its number; Authenticate was number 1. */
    private synchronized long say(ClientFrame frame) {
        if (welcome == null) { // before it, only Authenticate may be sent
            return 0;
        }
        stream.onNext(frame);
        return ++number;
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
            if (after == 0) {
                hearAll(api.history(chatId));
            }
            Leave next = converse(left.movedTo().isEmpty() ? api.gateway() : left.movedTo());
            if (next.isFinal()) {
                throw new ApiException(next.why(), 400); // each connection would end in the same way
            }
            return next;
        } catch (ApiException error) {
            if (!error.isRetryable()) {
                throw error;
            }
            return new Leave(error.getMessage(), error.retryAfterMs, "");
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
        number = 1;
        deadline = now() + welcomeMs;
        welcomeMs = Math.min(2 * welcomeMs, LONGEST_WELCOME_MS);
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
        switch (frame.getFrameCase()) {
            case WELCOME -> enter(frame.getWelcome());
            case EVENT -> receiveEvent(frame.getEvent());
            case ACCEPTED -> accept(frame.getAccepted());
            case REFUSED -> receiveRefused(frame.getRefused());
            case GAP -> {
                if (frame.getGap().hasPosition()) {
                    position = frame.getGap().getPosition();
                }
                onStatus.accept("* events are missing: reading them");
                catchUp(frame.getGap().getAtMs());
            }
            case EXPIRING -> background.execute(this::renew);
            case RECONNECT ->
                left.complete(new Leave("the gateway stops", frame.getReconnect().getAfterMs(), ""));
            case MOVED -> left.complete(new Leave("the gateway is another", 0, frame.getMoved().getGrpc()));
            case GOODBYE -> {
                Goodbye goodbye = frame.getGoodbye();
                boolean isSignedOut = goodbye.getCode().equals("unauthenticated");
                long afterMs = goodbye.getRetryAfterMs();
                left.complete(new Leave(goodbye.getMessage(), afterMs, "", isSignedOut, goodbye.getIsFinal()));
            }
            default -> {} // Pong, or a frame of a newer server
        }
        isAsked = false;
        deadline = now() + (welcome == null ? ANSWER_MS : welcome.getHeartbeatIntervalMs());
    }

    private void enter(Welcome welcome) {
        onStatus.accept("* connected");
        failures = 0;
        welcomeMs = WELCOME_MS;
        this.welcome = welcome;
        replayLeft = welcome.getReplayed();
        if (position == null) {
            catchUp(welcome.getAtMs()); // messages sent since the history was read, or just before, are missing
        }
        if (replayLeft == 0) {
            position = welcome.getPosition();
        }
        resend();
    }

    private void receiveEvent(Event event) {
        if (!event.hasPosition()) { // a signal, such as typing: it is not kept, and no place to resume from
            return;
        }
        position = event.getPosition();
        if (replayLeft > 0 && --replayLeft == 0) {
            position = welcome.getPosition(); // not sooner: the rest of an unfinished replay must still come
        }
        Message message = event.getMessage(); // one of them is empty
        Change change = event.getChange();
        if (message.getChatId().equals(chatId)) {
            hear(message.getSenderId(), message.getClientMessageId(), message.getText().getBody());
        } else if (change.getChatId().equals(chatId) && change.hasEdited()) { // or another kind of change
            String text = change.getEdited().getText().getBody();
            hearEdit(event.getEventId(), change.getTargetId(), change.getActorId(), text);
        }
    }

    /** Apply an own message or change: the session that sent it receives no event for it. */
    private void accept(Accepted accepted) {
        Command command = finish(accepted.getFrame(), "accepted");
        if (command != null && command.frame.hasSend()) {
            newestSent = accepted.getEventId();
        } else if (command != null) {
            isNew(editKey(command.frame.getChange().getTargetId()), accepted.getEventId());
        }
    }

    private void receiveRefused(Refused refused) {
        if (refused.getRetryable()) {
            long pause = Math.max(refused.getRetryAfterMs(), 1_000);
            background.schedule(this::resend, pause, TimeUnit.MILLISECONDS);
        } else {
            finish(refused.getFrame(), "refused (" + refused.getMessage() + ")");
        }
    }

    /** Returns the command whose frame is answered; null if it was another frame, or was sent again. */
    private Command finish(long number, String what) {
        for (Command command : unanswered) {
            if (command.number == number) {
                settle(command, what);
                return command;
            }
        }
        return null;
    }

    private void settle(Command command, String what) {
        unanswered.remove(command);
        command.outcome.complete(what);
    }

    private synchronized void hear(long senderId, String clientMessageId, String text) {
        if (isNew(messageKey(senderId, clientMessageId), 1) && !text.isEmpty()) { // a deleted message, or a file alone
            onMessage.accept(senderId, text);
        }
    }

    private synchronized void hearEdit(long eventId, long messageId, long senderId, String text) {
        if (isNew(editKey(messageId), eventId)) { // the edit with the highest id stays
            onMessage.accept(senderId, text + " (edited)");
        }
    }

    /** Whether the event is new: replays, retries and history repeat events, and an older one may come later. */
    private boolean isNew(String key, long eventId) {
        if (eventId <= seen.getOrDefault(key, 0L)) {
            return false;
        }
        seen.put(key, eventId);
        return true;
    }

    private static String messageKey(long senderId, String clientMessageId) {
        return "message " + senderId + " " + clientMessageId;
    }

    private static String editKey(long messageId) {
        return "edited " + messageId;
    }

    // ---- HTTP requests in the background

    private synchronized void hearAll(Api.Page page) {
        for (Api.Message message : page.messages()) {
            hear(message.senderId(), message.clientMessageId(), message.text());
        }
        for (Api.Edit edit : page.edits()) {
            hearEdit(edit.eventId(), edit.messageId(), edit.actorId(), edit.text());
        }
        after = Math.max(after, page.completeUpTo()); // not the newest event: older ones may be missing
    }

    /** Read the events that were missed before this time of the server; one series of readings does it for all. */
    private synchronized void catchUp(long untilMs) {
        boolean isReading = timeOf(after) < missedUntilMs;
        missedUntilMs = Math.max(missedUntilMs, untilMs);
        if (!isReading) {
            background.execute(() -> readMissed(CATCH_UP_MS));
        }
    }

    /** Enough for one chat. A client with more reads the list of changed chats first, to learn which to read. */
    private void readMissed(long lastPause) {
        long pause = CATCH_UP_MS;
        try {
            Api.Page page = api.changes(chatId, after);
            hearAll(page.isTooOld() ? api.history(chatId) : page);
        } catch (ApiException error) {
            if (!error.isRetryable()) {
                endReading(error);
                return;
            }
            pause = Math.min(2 * lastPause, LONGEST_CATCH_UP_MS);
        } catch (RuntimeException error) { // an answer of another form
            endReading(error);
            return;
        } catch (InterruptedException error) {
            return;
        }
        scheduleReading(pause);
    }

    private synchronized void endReading(Exception error) {
        onStatus.accept("* missed events can't be read: " + error.getMessage());
        missedUntilMs = 0; // the next call of `catchUp` begins again
    }

    private synchronized void scheduleReading(long pause) {
        if (timeOf(after) < missedUntilMs) {
            background.schedule(() -> readMissed(pause), pause, TimeUnit.MILLISECONDS);
        }
    }

    /** In milliseconds since 1970. */
    private static long timeOf(long eventId) {
        return (eventId >> 22) + EPOCH_MS;
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
