package twitter

import (
	"bytes"
	"context"
	"errors"
	"io"
	"net/http"
	"net/url"
	"time"
)

const (
	maxCalls  = 64       // calls under way at once
	maxAnswer = 64 << 10 // bytes of an answer, after decompression
)

// A guard carries the calls that are made for one visitor. It lets a call go
// to the provider's host only, ends it after the timeout or when the visitor
// leaves, reads a bounded answer whole, and turns everything but a success into
// an *Error. A redirect is an error, so nobody follows it. While the provider
// is down, the calls of a sign-in fail without being made.
type guard struct {
	*Provider
	visitor  context.Context
	call     string        // request_token, access_token, or empty for a call to the API
	identity Identity      // of the access_token answer
	skew     time.Duration // how far our clock is ahead of the answer's, see Check
}

// RoundTrip implements http.RoundTripper.
func (g *guard) RoundTrip(r *http.Request) (answer *http.Response, err error) {
	if r.URL.Scheme != g.APIURL.Scheme || r.URL.Host != g.APIURL.Host {
		return nil, g.unanswered(r, errors.New("a call to another host"))
	}
	if g.signsIn() && !g.breaker.admits(g.Now()) {
		return nil, g.unanswered(r, errNotTried)
	}
	ctx, cancel := context.WithTimeout(g.visitor, g.Timeout)
	defer cancel()
	defer context.AfterFunc(r.Context(), cancel)() // the request's own context counts, too
	leave, err := g.place(ctx)
	if err != nil { // the breaker hears of those who have the places, not of the crowd behind them
		return nil, g.unanswered(r, err)
	}
	defer leave()
	defer func(began time.Time) { g.over(g.name(r), began, answer, err) }(g.Now())

	answer, err = g.ask(r.WithContext(ctx))
	left := g.visitor.Err() != nil || r.Context().Err() != nil // which says nothing about the provider
	if g.signsIn() && !left {
		g.breaker.heed(err, g.Now())
	}
	return answer, err
}

// place waits for one of the places for calls, until ctx is done.
func (p *Provider) place(ctx context.Context) (leave func(), err error) {
	select {
	case p.calls <- struct{}{}:
		return func() { <-p.calls }, nil
	case <-ctx.Done():
		return nil, ctx.Err()
	}
}

// signsIn tells whether the call belongs to a sign-in. Only those mind the
// breaker: sign-in has been down for days while the API answered, profiles
// rest by themselves, and to end a token is worth the wait.
func (g *guard) signsIn() bool { return g.call != "" }

// ask makes the call.
func (g *guard) ask(r *http.Request) (*http.Response, error) {
	answer, err := g.transport.RoundTrip(r)
	if err != nil {
		return nil, g.unanswered(r, err)
	}
	defer answer.Body.Close()
	now := g.Now()
	g.skew = skew(answer.Header, now)
	body, err := io.ReadAll(io.LimitReader(answer.Body, maxAnswer+1))
	if err != nil {
		return nil, g.unanswered(r, err)
	}
	if !g.success(answer.StatusCode) {
		return nil, refusal(g.name(r), answer, body, now)
	}
	if len(body) > maxAnswer || !g.proper(body) {
		return nil, &Error{Call: g.name(r), Status: answer.StatusCode, Reason: Garbled}
	}
	answer.Body = io.NopCloser(bytes.NewReader(body))
	return answer, nil
}

// over tells of a call that was made.
func (p *Provider) over(call string, began time.Time, answer *http.Response, err error) {
	var status, code int
	if e := (*Error)(nil); errors.As(err, &e) {
		status, code = e.Status, e.Code
	} else if answer != nil {
		status = answer.StatusCode
	}
	p.Called(call, status, code, p.Now().Sub(began))
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
