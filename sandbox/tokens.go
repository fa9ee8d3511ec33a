package sandbox

import (
	"crypto/rand"
	"net/url"
	"strings"
	"time"
)

const (
	requestTokenLife = 10 * time.Minute
	maxRequestTokens = 100_000

	// clockWindow is how many seconds oauth_timestamp may be off, either way.
	clockWindow = 300
	// nonceLife: a timestamp from the far end of the window is good for two windows. One more second, because timestamps have no fractions.
	nonceLife = (2*clockWindow + 1) * time.Second
	// maxNonces bounds them. When they are full the oldest is forgotten, rather than every new call refused: only somebody who holds the keys can fill
	// them, since a nonce counts once its signature was right, and that somebody has no need to replay. A load test goes on, in some tens of megabytes.
	maxNonces = 200_000
)

// expiring remembers the last max things it was given, each for life. It needs no sweeper: whoever asks pays for what is over. It has no lock of its own.
type expiring[V any] struct {
	life  time.Duration
	max   int
	live  map[string]V
	queue []dated // oldest first
}

type dated struct {
	key   string
	added time.Time
}

func newExpiring[V any](life time.Duration, max int) expiring[V] {
	return expiring[V]{life: life, max: max, live: map[string]V{}}
}

// put remembers v from now on.
func (e *expiring[V]) put(now time.Time, key string, v V) {
	e.live[key] = v
	e.queue = append(e.queue, dated{key, now})
	e.forget(now)
}

// get returns what is remembered under key, while it is.
func (e *expiring[V]) get(now time.Time, key string) (V, bool) {
	e.forget(now)
	v, ok := e.live[key]
	return v, ok
}

// drop forgets key at once. Its place in the queue frees itself in time.
func (e *expiring[V]) drop(key string) { delete(e.live, key) }

func (e *expiring[V]) forget(now time.Time) {
	for len(e.queue) > e.max || len(e.queue) > 0 && now.Sub(e.queue[0].added) > e.life {
		delete(e.live, e.queue[0].key)
		e.queue = e.queue[1:]
	}
}

// requestToken is a sign-in on its way (RFC 5849 §2.1: temporary credentials).
type requestToken struct {
	secret   string
	callback *url.URL
	account  string // the ID of who approved; empty until somebody did
	verifier string
}

// back is where the browser goes next: the callback, its own query kept, with what is to be told.
func (t *requestToken) back(answer url.Values) string {
	u := *t.callback
	if u.RawQuery != "" {
		u.RawQuery += "&"
	}
	u.RawQuery += answer.Encode()
	return u.String()
}

// pair is an access token with its secret (RFC 5849 §2.3: token credentials).
type pair struct{ token, secret string }

// pairFor returns the account's pair: the same at every sign-in, until it is revoked. Call it with mu held.
func (s *Server) pairFor(account string) pair {
	p, ok := s.pairs[account]
	if !ok {
		p = pair{account + "-" + random(40), random(45)}
		s.pairs[account] = p
	}
	return p
}

// holder returns whose access token this is, and the pair's secret. Call it with mu held.
func (s *Server) holder(token string) (account, secret string, ok bool) {
	account, _, _ = strings.Cut(token, "-")
	p, ok := s.pairs[account]
	return account, p.secret, ok && p.token == token
}

// random returns n characters, at most 52, of five random bits each.
func random(n int) string { return (rand.Text() + rand.Text())[:n] }
