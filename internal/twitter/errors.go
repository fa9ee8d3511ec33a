package twitter

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Reason says why a call failed, and so who can do something about it.
type Reason string

// The operator can do something about the first ones, the visitor about the
// next, and nobody but the provider about the rest.
const (
	Keys      Reason = "keys"      // the consumer key or secret is wrong, or not one of an OAuth 1.0a application
	Stripped  Reason = "stripped"  // the Authorization header did not arrive
	Clock     Reason = "clock"     // our clock is off
	Unlisted  Reason = "callback"  // the callback URL is not registered
	Suspended Reason = "suspended" // the application is suspended

	Expired     Reason = "expired"      // the token is not good any more: start again
	Locked      Reason = "locked"       // the person's account is locked or suspended
	RateLimited Reason = "rate_limited" // too many calls; see RetryAt

	Unreachable Reason = "unreachable" // no answer, or not in time
	Unavailable Reason = "unavailable" // the provider is out of order
	NoCredits   Reason = "no_credits"  // the application has used up its plan
	NotPlanned  Reason = "not_planned" // the application's plan lacks this call
	Refused     Reason = "refused"     // any other refusal
	Garbled     Reason = "garbled"     // an answer that makes no sense
)

// Error is a call to the provider that failed. It holds nothing of the words
// that the provider used.
type Error struct {
	Call    string // request_token, access_token, or the path of another call
	Status  int    // HTTP status, 0 without an answer
	Code    int    // Twitter's own code, 0 without one
	Reason  Reason
	RetryAt time.Time // when a RateLimited call may be tried again; zero when unknown

	cause error // why there was no answer; may quote the provider, so it is never printed
}

func (e *Error) Error() string {
	text := fmt.Sprintf("twitter: %s: %s", e.Call, e.Reason)
	if e.Status == 0 {
		return text + " (" + e.obstacle() + ")"
	}
	return fmt.Sprintf("%s (status %d, code %d)", text, e.Status, e.Code)
}

// Unwrap lets errors.Is find context.Canceled: the visitor left.
func (e *Error) Unwrap() error { return e.cause }

// obstacle says in our words why there was no answer.
func (e *Error) obstacle() string {
	var dns *net.DNSError
	var op *net.OpError
	switch {
	case errors.Is(e.cause, context.Canceled):
		return "the visitor left"
	case errors.Is(e.cause, context.DeadlineExceeded):
		return "timed out"
	case errors.As(e.cause, &dns):
		return "host not found"
	case errors.As(e.cause, &op):
		return op.Op + " failed"
	}
	return "no proper answer"
}

// refusal makes the *Error of an answer that is not a 200.
func refusal(call string, answer *http.Response, body []byte, now time.Time) *Error {
	e := &Error{Call: call, Status: answer.StatusCode, Code: code(body)}
	e.Reason = reason(call, e.Status, e.Code)
	if e.Reason == RateLimited {
		e.RetryAt = retryAt(answer.Header, now)
	}
	return e
}

var (
	xmlCode = regexp.MustCompile(`<error\s+code="([0-9]{1,6})"`)
	desktop = "Desktop applications only support the oauth_callback value"
)

// code finds Twitter's code in the shapes that its errors have: JSON, XML, and
// one sentence that stands for 417 without saying so.
func code(body []byte) int {
	var answer struct {
		Errors []struct{ Code int }
	}
	if json.Unmarshal(body, &answer) == nil && len(answer.Errors) > 0 {
		return answer.Errors[0].Code
	}
	if match := xmlCode.FindSubmatch(body); match != nil {
		n, _ := strconv.Atoi(string(match[1])) // the pattern bounds it
		return n
	}
	if strings.Contains(string(body), desktop) {
		return 417
	}
	return 0
}

// reason tells the cause, first by the code, then by the status.
func reason(call string, status, code int) Reason {
	switch code {
	case 32:
		if call == "access_token" {
			return Expired // the keys were good a moment ago, at request_token
		}
		return Keys
	case 135:
		return Clock
	case 215:
		return Stripped
	case 415, 417:
		return Unlisted
	case 416:
		return Suspended
	case 89:
		return Expired
	case 63, 64, 326:
		return Locked
	case 88:
		return RateLimited
	case 453:
		return NotPlanned
	case 130, 131:
		return Unavailable
	}
	switch {
	case status == http.StatusPaymentRequired:
		return NoCredits
	case status == http.StatusTooManyRequests:
		return RateLimited
	case status >= 500:
		return Unavailable
	case status == http.StatusUnauthorized && call == "request_token":
		return Keys
	case status == http.StatusUnauthorized:
		return Expired
	}
	return Refused
}

// retryAt reads when to try again, and believes at most a day.
func retryAt(h http.Header, now time.Time) time.Time {
	seconds, err := strconv.ParseInt(h.Get("X-Rate-Limit-Reset"), 10, 64)
	if err != nil {
		return time.Time{}
	}
	at := time.Unix(seconds, 0)
	if at.Before(now) || at.After(now.Add(24*time.Hour)) {
		return time.Time{}
	}
	return at
}
