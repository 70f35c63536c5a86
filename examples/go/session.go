package main

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	mathrand "math/rand/v2"
	"net/http"
	"slices"
	"strings"
	"time"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/status"
	"google.golang.org/protobuf/proto"

	pb "rookery.example/chat/rookeryv1"
)

const (
	answerTime         = 10 * time.Second // for any frame after a Ping
	firstWelcomeTime   = 20 * time.Second // for the connection and its Welcome, at first
	longestWelcomeTime = 40 * time.Second // each attempt without one doubles the time of the next
	catchUpTime        = 5 * time.Second  // between two readings of missed events
	longestCatchUpTime = 30 * time.Second // while the server does not answer
	epochMS            = 1767225600000    // of the times in ids
	maxSeen            = 10_000           // remembered events: more than a server replays
	maxDoublings       = 10
)

// errEndOfInput: every message is sent, and accepted or refused.
var errEndOfInput = errors.New("the input has ended")

// leave has the reason for leaving a connection, the pause after it, and the next gateway.
type leave struct {
	why       string
	after     time.Duration
	movedTo   string
	signedOut bool
}

func (l *leave) Error() string { return l.why }

// found has the events that were missed, or the error.
type found struct {
	page Page
	err  error
}

// command is a message or a change that has no final answer yet.
type command struct {
	line        string
	frame       *pb.ClientFrame // has a client id, by which the server recognises it when it is sent again
	number      uint64          // of its newest frame in this connection
	firstSentMS int64
}

// Session is one user's session over gRPC: kept connected, so that no message is lost or shown twice.
// It follows the rules of docs/client-guide.md. Only the goroutine of Run changes its state.
type Session struct {
	api    *API
	myID   int64
	chatID string
	lines  <-chan string
	show   func(senderID int64, text string)
	say    func(text string)

	// State that outlives a connection.
	position      *pb.Position // where to resume
	unanswered    []*command   // a client that may be killed stores them on disk
	newestSent    int64        // the id of the newest own message
	seen, before  map[string]int64
	after         int64 // all events up to this id were received
	missedUntilMS int64 // some events before this time are missing, until that id has it
	nextReading   <-chan time.Time
	readingPause  time.Duration
	found         chan found
	renewed       chan string
	failures      int
	failingSince  time.Time
	welcomeTime   time.Duration

	// State of one connection.
	token      string
	stream     grpc.BidiStreamingClient[pb.ClientFrame, pb.ServerFrame]
	welcome    *pb.Welcome // nil before it came
	replayLeft uint32
	number     uint64 // of the newest frame that was sent
	retry      <-chan time.Time
}

// Run sends the lines until they or the context end. It returns an error if it can't sign in any more.
func (s *Session) Run(ctx context.Context) error {
	left := &leave{}
	s.welcomeTime = firstWelcomeTime
	for {
		err := s.connect(ctx, left)
		if errors.Is(err, errEndOfInput) || ctx.Err() != nil {
			return nil
		}
		left = &leave{why: status.Convert(err).Message()} // an error of gRPC
		if refused, ok := errors.AsType[*APIError](err); ok {
			if !refused.Retryable() {
				return err
			}
			left = &leave{why: refused.Message, after: refused.RetryAfter}
		} else if why, ok := errors.AsType[*leave](err); ok {
			left = why
		}
		pause := s.pause(left)
		s.say(fmt.Sprintf("* no session, next try in %.1f s: %v", pause.Seconds(), left))
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
}

// pause is random, so that the clients of a gateway do not reconnect together; it grows, up to a low bound.
func (s *Session) pause(left *leave) time.Duration {
	if left.after > 0 {
		return left.after + mathrand.N(500*time.Millisecond) // the server is up: this is no failure
	}
	if s.failures == 0 {
		s.failingSince = time.Now()
	}
	s.failures = min(s.failures+1, maxDoublings)
	if left.movedTo != "" && s.failures == 1 {
		return 0 // if the user is not there either, the gateways disagree: give them time
	}
	longest := min(max(time.Since(s.failingSince)/4, 2*time.Second), 5*time.Second)
	longest = min(longest, 250*time.Millisecond<<s.failures)
	return mathrand.N(longest)
}

func (s *Session) connect(ctx context.Context, left *leave) error {
	stale := ""
	if left.signedOut {
		stale = s.token
	}
	token, err := s.api.AccessToken(ctx, stale)
	if err != nil {
		return err
	}
	address := left.movedTo
	if address == "" {
		if address, err = s.api.Gateway(ctx); err != nil {
			return err
		}
	}
	if s.after == 0 {
		page, err := s.api.History(ctx, s.chatID)
		if err != nil {
			return err
		}
		s.hearPage(page)
	}
	s.token = token
	return s.converse(ctx, address)
}

// converse holds one connection until it ends, which is always an error.
func (s *Session) converse(ctx context.Context, address string) error {
	// A channel that could not connect retries with its own backoff of up to two minutes, so make a new one.
	channel, err := dial(address)
	if err != nil {
		return err
	}
	defer channel.Close()
	here, cancel := context.WithCancel(ctx)
	defer cancel() // which ends the stream, and the goroutine that reads it
	if s.stream, err = pb.NewSessionServiceClient(channel).Connect(here); err != nil {
		return err
	}
	s.welcome, s.number, s.retry = nil, 0, nil
	s.send(&pb.ClientFrame{Frame: &pb.ClientFrame_Authenticate{Authenticate: &pb.Authenticate{
		AccessToken: s.token, LastPosition: s.position, ClientName: "Go",
	}}})
	frames, ended := make(chan *pb.ServerFrame), make(chan error, 1)
	go read(here, s.stream, frames, ended)

	silence, asked := time.NewTimer(s.welcomeTime), false
	s.welcomeTime = min(2*s.welcomeTime, longestWelcomeTime)
	for {
		var lines <-chan string
		if s.welcome != nil && len(s.unanswered) == 0 {
			lines = s.lines // one at a time: messages keep their order even if one is sent again
		}
		select {
		case frame := <-frames:
			if err := s.receive(ctx, frame); err != nil {
				return err
			}
			silence.Reset(time.Duration(s.welcome.GetHeartbeatIntervalMs()) * time.Millisecond)
			asked = false
		case <-silence.C: // a server may vanish silently: ping it, and leave it if it does not answer
			if s.welcome == nil || asked {
				return &leave{why: "the server is silent"}
			}
			s.send(&pb.ClientFrame{Frame: &pb.ClientFrame_Ping{Ping: &pb.Ping{}}})
			silence.Reset(answerTime)
			asked = true
		case line, more := <-lines:
			if !more {
				return errEndOfInput
			}
			s.begin(line)
		case <-s.retry:
			s.resend()
		case <-s.nextReading:
			s.nextReading = nil
			go s.readChanges(ctx, s.after)
		case found := <-s.found:
			if err := s.hearFound(found); err != nil {
				return err
			}
		case s.token = <-s.renewed:
			if s.welcome == nil {
				break // the session began with an older token, and will expire again
			}
			s.send(&pb.ClientFrame{Frame: &pb.ClientFrame_Renew{Renew: &pb.Renew{AccessToken: s.token}}})
		case err := <-ended:
			return err
		}
	}
}

// begin sends a new message, or a change that replaces the text of the newest own one.
func (s *Session) begin(line string) {
	clientID := rand.Text()
	frame := &pb.ClientFrame{}
	if text, isEdit := strings.CutPrefix(line, "/edit "); isEdit {
		edited := &pb.Edited{Content: &pb.Edited_Text{Text: &pb.Text{Body: text}}}
		frame.Frame = &pb.ClientFrame_Change{Change: &pb.Change{
			ChatId: s.chatID, TargetId: s.newestSent, ClientChangeId: clientID, Body: &pb.Change_Edited{Edited: edited},
		}}
	} else {
		s.isNew(messageKey(s.myID, clientID), 1) // a replay of it is not shown
		frame.Frame = &pb.ClientFrame_Send{Send: &pb.Send{
			ClientMessageId: clientID,
			To:              &pb.Send_ChatId{ChatId: s.chatID},
			Content:         &pb.Send_Text{Text: &pb.Text{Body: line}},
		}}
	}
	s.unanswered = append(s.unanswered, &command{line: line, frame: frame})
	s.resend()
}

// resend sends what may be lost again: the server keeps one message or change per client id.
func (s *Session) resend() {
	for _, command := range slices.Clone(s.unanswered) {
		nowMS := time.Now().UnixMilli()
		if command.firstSentMS == 0 {
			command.firstSentMS = nowMS
		}
		msAgo := uint32(nowMS - command.firstSentMS) // very long, if the clock was set back
		command.frame.FirstSentMsAgo = &msAgo
		limit := s.welcome.GetLimits().GetMaxFrameBytes()
		if proto.Size(command.frame) > int(limit) { // the server might end the connection, each time
			s.settle(command, fmt.Sprintf("refused (A frame may have %d bytes at most.)", limit))
		} else {
			command.number = s.send(command.frame)
		}
	}
}

// send returns the number of the frame.
func (s *Session) send(frame *pb.ClientFrame) uint64 {
	_ = s.stream.Send(frame) // if it fails, the stream has ended, and Recv returns the error
	s.number++
	return s.number
}

func (s *Session) receive(ctx context.Context, frame *pb.ServerFrame) error {
	switch frame := frame.Frame.(type) {
	case *pb.ServerFrame_Welcome:
		s.enter(frame.Welcome)
	case *pb.ServerFrame_Event:
		s.receiveEvent(frame.Event)
	case *pb.ServerFrame_Accepted:
		s.accept(frame.Accepted)
	case *pb.ServerFrame_Refused:
		if frame.Refused.Retryable {
			s.retry = time.After(max(time.Duration(frame.Refused.RetryAfterMs)*time.Millisecond, time.Second))
		} else {
			s.finish(frame.Refused.Frame, "refused ("+frame.Refused.Message+")")
		}
	case *pb.ServerFrame_Gap:
		if frame.Gap.Position != nil {
			s.position = frame.Gap.Position
		}
		s.say("* events are missing: reading them")
		s.catchUp(frame.Gap.AtMs)
	case *pb.ServerFrame_Expiring:
		go s.renew(ctx, s.token)
	case *pb.ServerFrame_Reconnect:
		after := time.Duration(frame.Reconnect.AfterMs) * time.Millisecond
		return &leave{why: "the gateway stops", after: after}
	case *pb.ServerFrame_Moved:
		return &leave{why: "the gateway is another", movedTo: frame.Moved.Grpc}
	case *pb.ServerFrame_Goodbye:
		if frame.Goodbye.IsFinal { // each connection would end in the same way
			return &APIError{Message: frame.Goodbye.Message, Status: http.StatusBadRequest}
		}
		after := time.Duration(frame.Goodbye.RetryAfterMs) * time.Millisecond
		return &leave{why: frame.Goodbye.Message, after: after, signedOut: frame.Goodbye.Code == "unauthenticated"}
	}
	return nil
}

func (s *Session) enter(welcome *pb.Welcome) {
	s.say("* connected")
	s.failures, s.welcomeTime = 0, firstWelcomeTime
	s.welcome, s.replayLeft = welcome, welcome.Replayed
	if s.position == nil { // messages that were sent since History, or just before it, are missing
		s.catchUp(welcome.AtMs)
	}
	if s.replayLeft == 0 {
		s.position = welcome.Position
	}
	s.resend()
}

func (s *Session) receiveEvent(event *pb.Event) {
	if event.Position == nil { // a signal, such as typing: it is not kept, and no place to resume from
		return
	}
	s.position = event.Position
	if s.replayLeft > 0 {
		s.replayLeft--
		if s.replayLeft == 0 { // not sooner: the rest of an unfinished replay must come with the next connection
			s.position = s.welcome.Position
		}
	}
	s.hearEvent(event)
}

func (s *Session) hearEvent(event *pb.Event) {
	if message := event.GetMessage(); message.GetChatId() == s.chatID {
		s.hear(message.SenderId, message.ClientMessageId, message.GetText().GetBody())
	} else if change := event.GetChange(); change.GetChatId() == s.chatID && change.GetEdited() != nil { // or another kind
		s.hearEdit(event.EventId, change.TargetId, change.ActorId, change.GetEdited().GetText().GetBody())
	}
}

// accept applies an own message or change: the session that sent it receives no event for it.
func (s *Session) accept(accepted *pb.Accepted) {
	command := s.finish(accepted.Frame, "accepted")
	if command == nil {
		return
	}
	if change := command.frame.GetChange(); change != nil {
		s.isNew(editKey(change.TargetId), accepted.EventId)
	} else {
		s.newestSent = accepted.EventId
	}
}

// finish returns the command whose frame is answered; nil if it was another frame, or was sent again.
func (s *Session) finish(number uint64, outcome string) *command {
	for _, command := range s.unanswered {
		if command.number == number {
			s.settle(command, outcome)
			return command
		}
	}
	return nil
}

func (s *Session) settle(settled *command, outcome string) {
	s.say(outcome + ": " + settled.line)
	s.unanswered = slices.DeleteFunc(s.unanswered, func(each *command) bool { return each == settled })
}

func (s *Session) hear(senderID int64, clientMessageID, text string) {
	if s.isNew(messageKey(senderID, clientMessageID), 1) && text != "" { // a deleted message has no text
		s.show(senderID, text)
	}
}

func (s *Session) hearEdit(eventID, messageID, senderID int64, text string) {
	if s.isNew(editKey(messageID), eventID) { // the edit with the highest id stays
		s.show(senderID, text+" (edited)")
	}
}

func (s *Session) hearPage(page Page) {
	for _, event := range page.Events {
		s.hearEvent(event.Event)
	}
	s.after = max(s.after, page.CompleteUpTo) // not the newest event: older ones may be missing
}

// isNew is false for events that replays, retries and history repeat, and for older ones that come later.
func (s *Session) isNew(key string, eventID int64) bool {
	if eventID <= max(s.seen[key], s.before[key]) {
		return false
	}
	if len(s.seen) >= maxSeen {
		s.seen, s.before = map[string]int64{}, s.seen
	}
	s.seen[key] = eventID
	return true
}

func messageKey(senderID int64, clientMessageID string) string {
	return fmt.Sprint("message ", senderID, " ", clientMessageID)
}

func editKey(messageID int64) string { return fmt.Sprint("edited ", messageID) }

// catchUp reads the events that were missed before this time of the server; one series of readings does it for all.
func (s *Session) catchUp(untilMS int64) {
	isReading := timeOf(s.after) < s.missedUntilMS
	s.missedUntilMS = max(s.missedUntilMS, untilMS)
	if !isReading {
		s.nextReading, s.readingPause = time.After(0), catchUpTime
	}
}

// readChanges is enough for one chat. A client with more reads the list of changed chats first, to learn which to read.
func (s *Session) readChanges(ctx context.Context, after int64) {
	page, err := s.api.Changes(ctx, s.chatID, after)
	if err == nil && page.TooOld {
		page, err = s.api.History(ctx, s.chatID)
	}
	select {
	case s.found <- found{page, err}:
	case <-ctx.Done():
	}
}

func (s *Session) hearFound(found found) error {
	if refused, ok := errors.AsType[*APIError](found.err); ok && refused.Retryable() {
		s.readingPause = min(2*s.readingPause, longestCatchUpTime)
	} else if found.err != nil {
		return found.err
	} else {
		s.hearPage(found.page)
		s.readingPause = catchUpTime
	}
	if timeOf(s.after) < s.missedUntilMS {
		s.nextReading = time.After(s.readingPause)
	}
	return nil
}

// timeOf returns the time of an event in milliseconds since 1970.
func timeOf(eventID int64) int64 { return eventID>>22 + epochMS }

func (s *Session) renew(ctx context.Context, stale string) {
	token, err := s.api.AccessToken(ctx, stale)
	if err != nil {
		return // the session ends with its token, and the next begins with a new one
	}
	select {
	case s.renewed <- token:
	case <-ctx.Done():
	}
}

func read(ctx context.Context, stream grpc.BidiStreamingClient[pb.ClientFrame, pb.ServerFrame],
	frames chan<- *pb.ServerFrame, ended chan<- error) {
	for {
		frame, err := stream.Recv()
		if err != nil {
			ended <- err
			return
		}
		select {
		case frames <- frame:
		case <-ctx.Done():
			return
		}
	}
}

// dial takes a gateway's announced address: grpcs://host:port with TLS, host:port without.
func dial(address string) (*grpc.ClientConn, error) {
	transport := insecure.NewCredentials()
	if host, secure := strings.CutPrefix(address, "grpcs://"); secure {
		address, transport = host, credentials.NewTLS(nil)
	}
	return grpc.NewClient(address, grpc.WithTransportCredentials(transport))
}
