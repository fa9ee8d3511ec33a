package twitter

import (
	"errors"
	"sync"
	"time"
)

const (
	maxFailures = 5                // in a row, until calls are no longer made
	pause       = 10 * time.Second // from one probe to the next; longer than a call takes
)

// errNotTried is why there was no answer to a call that was not made.
var errNotTried = errors.New("not tried")

// A breaker spares people the wait while the provider is down: after some
// failures in a row no call is made but one now and then, the probe. As soon
// as one is answered, all are made again. The zero breaker lets calls through.
type breaker struct {
	mu       sync.Mutex
	failures int       // in a row
	until    time.Time // when the next probe may go
}

// admits tells whether a call may be made. Who gets a yes while the provider
// is down is the probe, and the only one for the length of a pause: should
// nothing be heard of it, another follows.
func (b *breaker) admits(now time.Time) bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.failures < maxFailures {
		return true
	}
	if now.Before(b.until) {
		return false
	}
	b.until = now.Add(pause)
	return true
}

// heed learns from how a call ended. A refusal is an answer: only what says
// that the provider is down counts.
func (b *breaker) heed(err error, now time.Time) {
	var e *Error
	b.mu.Lock()
	defer b.mu.Unlock()
	if !errors.As(err, &e) || e.Reason != Unreachable && e.Reason != Unavailable {
		b.failures = 0
		return
	}
	b.failures++
	if b.failures == maxFailures { // what comes after is a probe's, or was under way before
		b.until = now.Add(pause)
	}
}
