package twitter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
)

const (
	maxCalls  = 64       // calls under way at once
	maxAnswer = 64 << 10 // bytes of an answer, after decompression
)

// A guard carries the calls that are made for one visitor. It lets a call go
// to the provider's host only, ends it after the timeout or when the visitor
// leaves, reads a bounded answer whole, and turns everything but a success into
// an *Error. A redirect is an error, so nobody follows it.
type guard struct {
	*Provider
	visitor  context.Context
	call     string   // request_token, access_token, or empty for a call to the API
	identity Identity // of the access_token answer
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Scheme != g.APIURL.Scheme || r.URL.Host != g.APIURL.Host {
		return nil, g.unanswered(r, errors.New("a call to another host"))
	}
	ctx, cancel := context.WithTimeout(g.visitor, g.Timeout)
	defer cancel()
	defer context.AfterFunc(r.Context(), cancel)() // the request's own context counts, too
	select {
	case g.calls <- struct{}{}:
		defer func() { <-g.calls }()
	case <-ctx.Done():
		return nil, g.unanswered(r, ctx.Err())
	}

	answer, err := g.transport.RoundTrip(r.WithContext(ctx))
	if err != nil {
		return nil, g.unanswered(r, err)
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, g.unanswered(r, err)
	}
	if !g.success(answer.StatusCode) {
		return nil, refusal(g.name(r), answer, body, g.Now())
	}
	if len(body) > maxAnswer || !g.proper(body) {
		return nil, &Error{Call: g.name(r), Status: answer.StatusCode, Reason: Garbled}
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

// success tells whether the status is one: of a token only a 200 is.
func (g *guard) success(status int) bool {
	return status == http.StatusOK || g.call == "" && status > http.StatusOK && status < http.StatusMultipleChoices
}

// name is what errors call the call.
func (g *guard) name(r *http.Request) string {
	if g.call == "" {
		return r.URL.Path
	}
	return g.call
}

// unanswered is the error of a call without an answer.
func (g *guard) unanswered(r *http.Request, err error) *Error {
	return &Error{Call: g.name(r), Reason: Unreachable, cause: err}
}

// proper tells whether the answer has all it must have, each once and of the
// right form, and keeps who signed in: oauth1 drops that.
func (g *guard) proper(body []byte) bool {
	if g.call == "" {
		return true // the API's answers are for the caller to read
	}
	answer, err := url.ParseQuery(string(body))
	if err != nil {
		return false
	}
	for _, values := range answer {
		if len(values) != 1 {
			return false
		}
	}
	if !opaque.MatchString(answer.Get("oauth_token")) || !opaque.MatchString(answer.Get("oauth_token_secret")) {
		return false
	}
	if g.call == "request_token" {
		return answer.Get("oauth_callback_confirmed") == "true"
	}
	g.identity = Identity{UserID: answer.Get("user_id"), ScreenName: answer.Get("screen_name")}
	return userID.MatchString(g.identity.UserID) && screenName.MatchString(g.identity.ScreenName)
}
