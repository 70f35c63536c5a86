// Chat with one user or group of a Rookery in the terminal, over gRPC with the stock library.
//
//	CHAT_PASSWORD=... go run . http://127.0.0.1:8080 ada grace
//
// signs in as ada, sends each line of the input to grace, and shows the messages of the chat. A line `/edit TEXT`
// replaces the text of the message before. In place of grace, the id of a group may be given, such as g-12.
package main

import (
	"bufio"
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"unicode"
)

//go:generate buf generate

func main() {
	password := os.Getenv("CHAT_PASSWORD")
	if len(os.Args) != 4 || password == "" {
		fmt.Fprintln(os.Stderr, "usage: CHAT_PASSWORD=... chat URL NAME OTHER")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	if err := chat(ctx, NewAPI(os.Args[1], os.Args[2], password), os.Args[3]); err != nil && ctx.Err() == nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

func chat(ctx context.Context, api *API, other string) error {
	myID, err := api.MyID(ctx)
	if err != nil {
		return err
	}
	chatID, names := other, map[int64]string{}
	if strings.HasPrefix(other, "g-") {
		names, err = api.Members(ctx, other)
	} else {
		var otherID int64
		otherID, err = api.UserID(ctx, other)
		chatID = fmt.Sprintf("d-%d-%d", min(myID, otherID), max(myID, otherID))
		names[myID], names[otherID] = api.name, other
	}
	if err != nil {
		return err
	}
	session := &Session{
		api:     api,
		myID:    myID,
		chatID:  chatID,
		lines:   lines(os.Stdin),
		show:    func(senderID int64, text string) { show(names[senderID] + ": " + text) },
		say:     show,
		seen:    map[string]int64{},
		found:   make(chan found),
		renewed: make(chan string),
	}
	return session.Run(ctx)
}

// lines sends each line on demand; the channel is closed at the end of the input.
func lines(input io.Reader) <-chan string {
	lines := make(chan string)
	go func() {
		defer close(lines)
		reader := bufio.NewReader(input)
		for {
			line, err := reader.ReadString('\n')
			if strings.TrimSpace(line) != "" {
				lines <- strings.ToValidUTF8(strings.TrimRight(line, "\r\n"), "\uFFFD") // protobuf accepts only valid UTF-8
			}
			if err != nil {
				return
			}
		}
	}()
	return lines
}

// show prints a line without control characters, by which a message could command the terminal.
func show(text string) {
	fmt.Println(strings.Map(func(char rune) rune {
		if unicode.IsPrint(char) {
			return char
		}
		return unicode.ReplacementChar
	}, text))
}
