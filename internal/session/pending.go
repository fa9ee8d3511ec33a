package session

import (
	"cmp"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/hex"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
)

// maxPending is how many sign-ins one browser has on their way.
const maxPending = 5

// Pending is a sign-in on its way: what we must know when the provider sends
// the visitor back.
type Pending struct {
	Token, Secret string // the request token
	Next          string // where to go afterwards, a path on this site
	Popup         string // names the popup the sign-in runs in, empty when it runs in the page itself
	StartedAt     int64  // Unix milliseconds; Begin sets it
}

// Begin keeps a sign-in that is on its way, for ten minutes, in a cookie of
// its own: two tabs that start at once must not overwrite each other. The
// oldest ones go when there are more than five, or too many bytes.
func (s *Sessions) Begin(w http.ResponseWriter, r *http.Request, p Pending) error {
	p.StartedAt = s.Now().UnixMilli()
	room := maxCookies - sessionRoom - max(noticeRoom, s.cookieBytes(r, s.names.notices))
	cookie, err := s.pendingCookie(p)
	if err != nil || cookieBytes(cookie) > room {
		p.Next = "/" // better than to lose the sign-in
		cookie, err = s.pendingCookie(p)
	}
	if err != nil {
		return fmt.Errorf("keeping the sign-in: %w", err)
	}
	http.SetCookie(w, cookie)
	s.evict(w, r, cookie.Name, room-cookieBytes(cookie))
	return nil
}

func (s *Sessions) pendingCookie(p Pending) (*http.Cookie, error) {
	name := s.pendingName(p.Token)
	value, err := securecookie.EncodeMulti(name, p, s.passing.Codecs...) // not as a gorilla session: it would be longer
	if err != nil {
		return nil, err
	}
	return sessions.NewCookie(name, value, s.passing.Options), nil
}

// pending reads a sign-in's cookie. The name is part of what is signed.
func (s *Sessions) pending(c *http.Cookie) (p Pending, ok bool) {
	err := securecookie.DecodeMulti(c.Name, c.Value, &p, s.passing.Codecs...)
	return p, err == nil
}

// pendingName names the cookie of a sign-in. The hash says nothing of the
// token and has no byte that a cookie's name must not have.
func (s *Sessions) pendingName(token string) string {
	hash := sha256.Sum256([]byte(token))
	return s.names.pending + hex.EncodeToString(hash[:8])
}

// evict forgets the older sign-ins on their way: those that nobody waits for
// any more, those beyond the newest five (the one that is kept included), and
// those for which there is no room.
func (s *Sessions) evict(w http.ResponseWriter, r *http.Request, keep string, room int) {
	type older struct {
		cookie *http.Cookie
		Pending
	}
	var all []older
	for _, c := range s.pendingCookies(r) {
		if c.Name != keep {
			p, _ := s.pending(c)
			all = append(all, older{c, p})
		}
	}
	slices.SortFunc(all, func(a, b older) int { return cmp.Compare(b.StartedAt, a.StartedAt) })
	kept := 1
	for _, o := range all {
		room -= cookieBytes(o.cookie)
		if kept == maxPending || room < 0 || s.late(o.Pending) {
			s.forget(w, o.cookie.Name)
			continue
		}
		kept++
	}
}

// cookieBytes returns what a cookie of the request takes, 0 when there is
// none.
func (s *Sessions) cookieBytes(r *http.Request, name string) int {
	c, err := r.Cookie(name)
	if err != nil {
		return 0
	}
	return cookieBytes(c)
}

// pendingBytes returns what the sign-ins on their way take.
func (s *Sessions) pendingBytes(r *http.Request) (total int) {
	for _, c := range s.pendingCookies(r) {
		total += cookieBytes(c)
	}
	return total
}

// pendingCookies returns the cookies of the sign-ins on their way.
func (s *Sessions) pendingCookies(r *http.Request) []*http.Cookie {
	return slices.DeleteFunc(r.Cookies(), func(c *http.Cookie) bool { return !strings.HasPrefix(c.Name, s.names.pending) })
}

func cookieBytes(c *http.Cookie) int {
	return len(c.Name) + len("=") + len(c.Value) + len("; ")
}

// Take returns the sign-in that this browser started with the request token,
// and forgets it: it is good once. The error is ErrUnknown when there is none
// or it took too long, ErrUsed when it was taken before.
func (s *Sessions) Take(w http.ResponseWriter, r *http.Request, token string) (Pending, error) {
	name := s.pendingName(token)
	cookie, err := r.Cookie(name)
	if err == nil {
		s.forget(w, name)
	}
	if s.spent.has(token, s.Now()) {
		return Pending{}, ErrUsed
	}
	if err != nil {
		return Pending{}, ErrUnknown
	}
	p, ok := s.pending(cookie)
	if !ok || subtle.ConstantTimeCompare([]byte(p.Token), []byte(token)) != 1 || s.late(p) {
		return Pending{}, ErrUnknown
	}
	if !s.spent.add(token, s.Now()) {
		return Pending{}, ErrUsed
	}
	return p, nil
}

// late tells whether a sign-in took too long.
func (s *Sessions) late(p Pending) bool {
	return s.Now().Sub(time.UnixMilli(p.StartedAt)) >= passingAge
}

// spent remembers the request tokens that came back, for as long as a copy of
// their cookie could be good: forgetting the cookie binds an honest browser
// only. Between instances the provider's own single use has to do.
type spent struct {
	mu            sync.Mutex
	newer, older  map[[sha256.Size]byte]bool
	newerStartsAt time.Time
}

func (s *spent) has(token string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(now)
	hash := sha256.Sum256([]byte(token))
	return s.newer[hash] || s.older[hash]
}

// add returns false when the token was there.
func (s *spent) add(token string, now time.Time) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.turn(now)
	hash := sha256.Sum256([]byte(token))
	if s.newer[hash] || s.older[hash] {
		return false
	}
	s.newer[hash] = true
	return true
}

// turn drops what is older than passingAge, a whole generation at a time.
func (s *spent) turn(now time.Time) {
	switch age := now.Sub(s.newerStartsAt); {
	case s.newer == nil || age >= 2*passingAge:
		s.newer, s.older, s.newerStartsAt = map[[sha256.Size]byte]bool{}, nil, now
	case age >= passingAge:
		s.newer, s.older, s.newerStartsAt = map[[sha256.Size]byte]bool{}, s.newer, now
	}
}
