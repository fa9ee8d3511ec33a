package sandbox

import (
	"crypto/rand"
	"crypto/sha256"
	"encoding/base32"
	"encoding/binary"
	"fmt"
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

	// maxEnded is how many request tokens that are over we can say why of.
	maxEnded = 10_000

	// browserLife is how long a browser is signed in here, at the most; it forgets by itself when it is closed.
	browserLife = 30 * 24 * time.Hour
	maxBrowsers = 10_000
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

// outOfBand is what a program without a page of its own sends as oauth_callback (RFC 5849 §2.1).
const outOfBand = "oob"

// requestToken is a sign-in on its way (RFC 5849 §2.1: temporary credentials).
type requestToken struct {
	secret   string
	callback *url.URL // nil for out of band
	access   access
	account  string // the ID of who approved; empty until somebody did
	verifier string // for out of band, the PIN
}

// access is what a person lets an application do.
type access int

const (
	readWrite access = iota // what the application is registered for
	readOnly
)

// String is X's word for it, in the header x-access-level.
func (a access) String() string { return [...]string{"read-write", "read"}[a] }

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
type pair struct {
	token, secret string
	access        access
}

// consent gives the account a pair: the same at every sign-in, until it is revoked, with the access that was asked for last. Call it with mu held.
func (s *Server) consent(account string, access access) {
	p, ok := s.pairs[account]
	if !ok {
		p.token, p.secret = account+"-"+s.mint("token " + account)[:40], s.mint("token secret " + account)[:45]
	}
	p.access = access
	s.pairs[account] = p
}

// holder returns whose access token this is, and the pair. Call it with mu held.
func (s *Server) holder(token string) (account string, p pair, ok bool) {
	account, _, _ = strings.Cut(token, "-")
	p, ok = s.pairs[account]
	return account, p, ok && p.token == token
}

// mint returns 52 characters of five random bits each; with a seed, those that this purpose gets for the so-manieth time in every run. Call it with mu held.
func (s *Server) mint(purpose string) string {
	if s.opts.Seed == 0 {
		return rand.Text() + rand.Text()
	}
	s.minted[purpose]++
	sum := sha256.Sum256(fmt.Appendf(nil, "%d %s %d", s.opts.Seed, purpose, s.minted[purpose]))
	return base32.StdEncoding.WithPadding(base32.NoPadding).EncodeToString(sum[:])
}

// pin returns seven digits, as X shows them to people who are to type them.
func (s *Server) pin() string {
	sum := sha256.Sum256([]byte(s.mint("pin")))
	return fmt.Sprintf("%07d", binary.BigEndian.Uint64(sum[:])%10_000_000)
}
