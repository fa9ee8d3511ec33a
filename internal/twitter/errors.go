package twitter

import (
	"context"
	"crypto/tls"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"net/http"
	"regexp"
	"strconv"
	"strings"
	"syscall"
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
	RetryAt time.Time     // when a RateLimited call may be tried again; zero when unknown
	Skew    time.Duration // with Clock: how far this machine's is ahead, below 0 behind; 0 when unknown

	cause error // why there was no answer; may quote the provider, so it is never printed
}

func (e *Error) Error() string {
	text := fmt.Sprintf("twitter: %s: %s", e.Call, e.Reason)
	switch {
	case e.Status == 0:
		return fmt.Sprintf("%s (%s)", text, ObstacleOf(e))
	case e.Skew != 0:
		return fmt.Sprintf("%s (status %d, code %d, off by %s)", text, e.Status, e.Code, e.Skew)
	}
	return fmt.Sprintf("%s (status %d, code %d)", text, e.Status, e.Code)
}

// Unwrap lets errors.Is find context.Canceled: the visitor left.
func (e *Error) Unwrap() error { return e.cause }

// Obstacle says in our words why there was no answer.
type Obstacle string

const (
	VisitorLeft       Obstacle = "the visitor left"
	NotTried          Obstacle = "not tried: X did not answer a moment ago"
	TimedOut          Obstacle = "timed out"
	HostNotFound      Obstacle = "host not found"
	ConnectionRefused Obstacle = "connection refused"
	BadCertificate    Obstacle = "certificate not valid"
	NoTLS             Obstacle = "TLS failed"
	NoProperAnswer    Obstacle = "no proper answer"
)

// ObstacleOf finds the Obstacle in the error of an HTTP call that got no
// answer: an *Error with the reason Unreachable, or that of an http.Client. It
// is one of the above, or names what failed: "read failed".
func ObstacleOf(err error) Obstacle {
	var dns *net.DNSError
	var certificate *tls.CertificateVerificationError
	var record tls.RecordHeaderError
	var op *net.OpError
	var timeout net.Error
	switch {
	case errors.Is(err, errNotTried):
		return NotTried
	case errors.Is(err, context.Canceled):
		return VisitorLeft
	case errors.Is(err, context.DeadlineExceeded):
		return TimedOut
	case errors.As(err, &dns):
		return HostNotFound
	case errors.Is(err, syscall.ECONNREFUSED):
		return ConnectionRefused
	case errors.As(err, &certificate):
		return BadCertificate
	case errors.As(err, &record), errors.Is(err, http.ErrSchemeMismatch):
		return NoTLS
	case errors.As(err, &op) && strings.HasSuffix(op.Op, " error"): // crypto/tls calls an alert "remote error" or "local error"
		return NoTLS
	case errors.As(err, &timeout) && timeout.Timeout():
		return TimedOut
	case op != nil:
		return Obstacle(op.Op + " failed")
	}
	return NoProperAnswer
}

// refusal makes the *Error of an answer that is not a 200.
func refusal(call string, answer *http.Response, body []byte, now time.Time) *Error {
	e := &Error{Call: call, Status: answer.StatusCode, Code: code(body)}
	e.Reason = reason(call, e.Status, e.Code)
	if e.Reason == RateLimited {
		e.RetryAt = retryAt(answer.Header, now)
	}
	if e.Reason == Clock {
		e.Skew = skew(answer.Header, now)
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

// skew tells by how much our clock is ahead of the provider's when an answer
// arrives; 0 when the answer does not say. Its Date has whole seconds, so ours
// is cut to them, too (RFC 9110 §5.6.7).
func skew(h http.Header, now time.Time) time.Duration {
	date, err := http.ParseTime(h.Get("Date"))
	if err != nil {
		return 0
	}
	return now.Truncate(time.Second).Sub(date)
}
