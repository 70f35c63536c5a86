// A browser's session as a Go program would hold it, with gorilla/websocket: runs each case, and prints its result.
//
//	websocket URL TOKEN RECIPIENT       every case
//	websocket URL TOKEN                 stay signed in, and do nothing more
package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"log"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/gorilla/websocket"
)

const (
	subprotocol = "rookery.v1.json"
	patience    = 30 * time.Second

	// Bytes of the write buffer: a longer message is sent in fragments.
	usual, tiny = 4096, 16
)

type frame = map[string]any

var url, token string

func main() {
	log.SetFlags(0)
	url, token = os.Args[1], os.Args[2]
	if len(os.Args) == 3 {
		signIn(usual)
		fmt.Println("signed in")
		time.Sleep(time.Hour)
	}
	recipient := os.Args[3]
	report("negotiated", negotiated())
	report("chat", chat(recipient, usual))
	report("fragments", chat(recipient, tiny))
	report("ping", ping())
	report("own close", ownClose())
	report("goodbye", goodbye())
	report("binary", closedAfter(websocket.BinaryMessage, []byte("{}")))
	report("not UTF-8", closedAfter(websocket.TextMessage, []byte{0xff, 0xfe}))
	report("too big", closedAfter(websocket.TextMessage, []byte(strings.Repeat("x", 1_000_000))))
	report("path", status(strings.Replace(url, "/session", "/elsewhere", 1), subprotocol, ""))
	report("protocol", status(url, "chat", ""))
	report("origin", status(url, subprotocol, "http://evil.example"))
}

func report(name string, result any) {
	line, err := json.Marshal(frame{"case": name, "result": result})
	check(err)
	fmt.Println(string(line))
}

func negotiated() any {
	connection, response := dial(usual)
	defer connection.Close()
	return []string{connection.Subprotocol(), response.Header.Get("Sec-WebSocket-Extensions")}
}

// chat sends a text, and returns the message that another session of the same user receives.
func chat(recipient string, bufferSize int) any {
	connection, other := signIn(bufferSize), signIn(usual)
	defer connection.Close()
	defer other.Close()
	id := fmt.Sprint(time.Now().UnixNano())
	check(connection.WriteJSON(frame{"send": frame{
		"client_message_id": id, "recipient_id": recipient, "text": frame{"body": "grüße 👍"},
	}}))
	next(connection, "accepted")
	for {
		event := next(other, "event")["event"].(frame)
		if message, ok := event["message"].(frame); ok && message["client_message_id"] == id {
			return message["text"].(frame)["body"]
		}
	}
}

func ping() any {
	connection := signIn(usual)
	defer connection.Close()
	payload := ""
	connection.SetPongHandler(func(data string) error {
		payload = data
		return nil
	})
	check(connection.WriteControl(websocket.PingMessage, []byte("there?"), time.Now().Add(patience)))
	check(connection.WriteJSON(frame{"ping": frame{}}))
	next(connection, "pong")
	return payload
}

func ownClose() any {
	connection := signIn(usual)
	defer connection.Close()
	data := websocket.FormatCloseMessage(4000, "enough")
	check(connection.WriteControl(websocket.CloseMessage, data, time.Now().Add(patience)))
	return closeCode(connection)
}

func goodbye() any {
	connection, _ := dial(usual)
	defer connection.Close()
	check(connection.WriteJSON(frame{"ping": frame{}}))
	code := next(connection, "goodbye")["goodbye"].(frame)["code"]
	return []any{code, closeCode(connection)}
}

func closedAfter(kind int, data []byte) any {
	connection := signIn(usual)
	defer connection.Close()
	_ = connection.WriteMessage(kind, data) // the server may close before it has all
	return closeCode(connection)
}

func status(url, subprotocol, origin string) any {
	headers := http.Header{}
	if origin != "" {
		headers.Set("Origin", origin)
	}
	dialer := websocket.Dialer{Subprotocols: []string{subprotocol}, HandshakeTimeout: patience}
	connection, response, err := dialer.Dial(url, headers)
	if err == nil {
		connection.Close()
		return "let in"
	}
	if response == nil {
		return err.Error()
	}
	return response.StatusCode
}

func dial(bufferSize int) (*websocket.Conn, *http.Response) {
	dialer := websocket.Dialer{
		Subprotocols: []string{subprotocol}, EnableCompression: true, HandshakeTimeout: patience, WriteBufferSize: bufferSize,
	}
	connection, response, err := dialer.Dial(url, nil)
	check(err)
	check(connection.SetReadDeadline(time.Now().Add(patience)))
	return connection, response
}

func signIn(bufferSize int) *websocket.Conn {
	connection, _ := dial(bufferSize)
	check(connection.WriteJSON(frame{"authenticate": frame{"access_token": token}}))
	next(connection, "welcome")
	return connection
}

// next gives the next frame of a kind, and passes over others.
func next(connection *websocket.Conn, kind string) frame {
	for {
		var found frame
		check(connection.ReadJSON(&found))
		if found[kind] != nil {
			return found
		}
	}
}

// closeCode gives the code of the server's close, and passes over frames before it.
func closeCode(connection *websocket.Conn) any {
	for {
		if _, _, err := connection.ReadMessage(); err != nil {
			var closed *websocket.CloseError
			if errors.As(err, &closed) {
				return closed.Code
			}
			return err.Error()
		}
	}
}

func check(err error) {
	if err != nil {
		panic(err)
	}
}
