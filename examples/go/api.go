package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"time"

	"google.golang.org/protobuf/encoding/protojson"

	pb "rookery.example/chat/rookeryv1"
)

// API makes the HTTP requests of a chat client: tokens, users, history, and the gateway.
// Its methods are safe for concurrent use, and return an APIError.
type API struct {
	url, name, password string
	client              http.Client

	// A refresh token works once. Its reuse ends the sign-in, as it may have been stolen: so one refresh at a time.
	refreshing sync.Mutex
	tokens     tokens
}

type tokens struct {
	AccessToken  string `json:"access_token"`
	RefreshToken string `json:"refresh_token"`

	// Wrong passwords that others try do not delay a known device. Also keep it on disk if the client may restart.
	DeviceToken string `json:"device_token"` // not in the answer to a refresh, which leaves it as it is
}

// APIError has the HTTP status and the code of a refusal; the status 503 if the server did not respond.
type APIError struct {
	Message    string
	Status     int
	Code       string
	RetryAfter time.Duration
}

func (e *APIError) Error() string { return e.Message }

// Retryable reports whether a retry may succeed.
func (e *APIError) Retryable() bool {
	return e.Status == http.StatusRequestTimeout || e.Status == http.StatusTooManyRequests ||
		e.Status >= http.StatusInternalServerError && e.Code != "internal"
}

// Page has events of a chat: all after an id, or the newest messages and their changes.
type Page struct {
	Events       []Event
	TooOld       bool  `json:"too_old"`
	CompleteUpTo int64 `json:"complete_up_to,string"`
}

// Event is decoded from JSON as from a frame.
type Event struct{ *pb.Event }

func (e *Event) UnmarshalJSON(data []byte) error {
	e.Event = &pb.Event{}
	return protojson.UnmarshalOptions{DiscardUnknown: true}.Unmarshal(data, e.Event)
}

// item is a message of history, as it was sent, and its changes.
type item struct {
	message Event
	rest    struct{ Changes []Event }
}

func (i *item) UnmarshalJSON(data []byte) error {
	return errors.Join(json.Unmarshal(data, &i.message), json.Unmarshal(data, &i.rest))
}

type user struct {
	UserID int64  `json:"user_id,string"`
	Name   string `json:"name"`
}

func NewAPI(url, name, password string) *API {
	return &API{url: url, name: name, password: password, client: http.Client{Timeout: 10 * time.Second}}
}

// AccessToken returns the newest token; if that is the stale one, it refreshes it first.
func (a *API) AccessToken(ctx context.Context, stale string) (string, error) {
	a.refreshing.Lock()
	defer a.refreshing.Unlock()
	if a.tokens.AccessToken == stale {
		if err := a.refresh(ctx); err != nil {
			return "", err
		}
	}
	return a.tokens.AccessToken, nil
}

// MyID returns the id of the signed-in user.
func (a *API) MyID(ctx context.Context) (int64, error) {
	var me user
	err := a.get(ctx, "/v1/me", nil, &me)
	return me.UserID, err
}

// UserID finds a user by name.
func (a *API) UserID(ctx context.Context, name string) (int64, error) {
	var page struct{ Profiles []user }
	query := url.Values{"name_contains": {name}, "limit": {"100"}}
	if err := a.get(ctx, "/v1/profiles", query, &page); err != nil {
		return 0, err
	}
	for _, profile := range page.Profiles {
		if profile.Name == name {
			return profile.UserID, nil
		}
	}
	return 0, &APIError{Message: "there is no user " + name, Status: http.StatusNotFound}
}

// Members returns the names of at most 100 members of a group that is no channel, by user id.
func (a *API) Members(ctx context.Context, chatID string) (map[int64]string, error) {
	var chat struct {
		Settings struct {
			IsChannel bool `json:"is_channel"`
		}
	}
	if err := a.get(ctx, "/v1/chats/"+chatID, nil, &chat); err != nil {
		return nil, err
	}
	if chat.Settings.IsChannel {
		return nil, &APIError{
			Message: "channels need `follow`, which this example leaves out", Status: http.StatusBadRequest,
		}
	}
	var page struct{ Members []user }
	if err := a.get(ctx, "/v1/chats/"+chatID+"/members", url.Values{"limit": {"100"}}, &page); err != nil {
		return nil, err
	}
	var ids []string
	for _, member := range page.Members {
		ids = append(ids, fmt.Sprint(member.UserID))
	}
	var named struct{ Profiles []user }
	err := a.get(ctx, "/v1/profiles", url.Values{"user_ids": {strings.Join(ids, ",")}}, &named)
	names := map[int64]string{}
	for _, profile := range named.Profiles {
		names[profile.UserID] = profile.Name
	}
	return names, err
}

// Gateway returns the address of the user's gateway for gRPC. It changes: request it before each connection.
func (a *API) Gateway(ctx context.Context) (string, error) {
	var address struct{ GRPC string }
	err := a.get(ctx, "/v1/me/gateway", nil, &address)
	return address.GRPC, err
}

// History returns the newest messages of a chat, oldest first, each followed by its changes.
func (a *API) History(ctx context.Context, chatID string) (Page, error) {
	var answer struct {
		Page
		Messages []item
	}
	err := a.get(ctx, "/v1/chats/"+chatID+"/messages", url.Values{"limit": {"100"}}, &answer)
	for _, item := range answer.Messages {
		answer.Events = append(append(answer.Events, item.message), item.rest.Changes...)
	}
	return answer.Page, err
}

// Changes returns all events of a chat after an id.
func (a *API) Changes(ctx context.Context, chatID string, after int64) (Page, error) {
	var page Page
	err := a.get(ctx, "/v1/chats/"+chatID+"/changes", url.Values{"after": {fmt.Sprint(after)}}, &page)
	return page, err
}

func (a *API) refresh(ctx context.Context) error {
	if a.tokens.RefreshToken != "" {
		body := map[string]string{"refresh_token": a.tokens.RefreshToken}
		err := a.ask(ctx, http.MethodPost, "/v1/tokens/refresh", "", body, &a.tokens)
		if refused, ok := errors.AsType[*APIError](err); !ok || refused.Retryable() {
			return err
		}
		// It has expired, or was used already and the response was lost: use the password.
	}
	credentials := map[string]string{
		"name": a.name, "password": a.password, "device_name": "Go example", "device_token": a.tokens.DeviceToken,
	}
	return a.ask(ctx, http.MethodPost, "/v1/tokens", "", credentials, &a.tokens)
}

func (a *API) get(ctx context.Context, path string, query url.Values, answer any) error {
	token, err := a.AccessToken(ctx, "")
	if err != nil {
		return err
	}
	err = a.ask(ctx, http.MethodGet, path+"?"+query.Encode(), token, nil, answer)
	if refused, ok := errors.AsType[*APIError](err); !ok || refused.Status != http.StatusUnauthorized {
		return err
	}
	if token, err = a.AccessToken(ctx, token); err != nil {
		return err
	}
	return a.ask(ctx, http.MethodGet, path+"?"+query.Encode(), token, nil, answer)
}

func (a *API) ask(ctx context.Context, method, path, token string, content, answer any) error {
	var body bytes.Buffer
	if content != nil {
		if err := json.NewEncoder(&body).Encode(content); err != nil {
			return err
		}
	}
	request, err := http.NewRequestWithContext(ctx, method, a.url+path, &body)
	if err != nil {
		return err
	}
	request.Header.Set("Content-Type", "application/json")
	if token != "" {
		request.Header.Set("Authorization", "Bearer "+token)
	}
	response, err := a.client.Do(request)
	if err != nil {
		return &APIError{Message: "no answer over HTTP: " + err.Error(), Status: http.StatusServiceUnavailable}
	}
	defer response.Body.Close()
	if response.StatusCode >= 400 {
		return problem(response)
	}
	if err := json.NewDecoder(response.Body).Decode(answer); err != nil {
		return &APIError{Message: "no answer of a Rookery: " + err.Error(), Status: http.StatusServiceUnavailable}
	}
	return nil
}

// problem reads an answer of the type application/problem+json. That of a proxy has another type, and no code.
func problem(response *http.Response) error {
	var problem struct {
		Detail, Code string
		RetryAfterMS int64 `json:"retry_after_ms"`
	}
	isProblem := strings.Contains(response.Header.Get("Content-Type"), "application/problem+json")
	if !isProblem || json.NewDecoder(response.Body).Decode(&problem) != nil || problem.Detail == "" {
		problem.Detail = "HTTP status " + response.Status
	}
	after := time.Duration(problem.RetryAfterMS) * time.Millisecond
	return &APIError{Message: problem.Detail, Status: response.StatusCode, Code: problem.Code, RetryAfter: after}
}
