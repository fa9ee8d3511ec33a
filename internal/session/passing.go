package session

import (
	"bytes"
	"cmp"
	"compress/flate"
	"crypto/sha256"
	"crypto/subtle"
	"encoding/gob"
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

const (
	passingAge = 10 * time.Minute
	maxPending = 5    // sign-ins that one browser has on their way
	maxNotices = 5    // that wait to be shown
	maxCookies = 4096 // bytes of all our cookies together

	// Whatever is on its way leaves room for what comes afterwards: the cookie
	// of a session, and the longest notice.
	sessionRoom, noticeRoom = 96, 512
)

func init() { // under short names: every byte of a cookie counts
	gob.RegisterName("n", Notice{})
}

// Notice is one sentence for the visitor, shown once.
type Notice struct {
	ID      string // tells it from another with the same words; Flash draws it
	Text    string
	Problem bool // something went wrong
	Retry   bool // offer to sign in again
}

// Pending is a sign-in on its way: what we must know when the provider sends
// the visitor back.
type Pending struct {
	Token, Secret string // the request token
	Next          string // where to go afterwards, a path on this site
	Popup         string // names the popup the sign-in runs in, empty when it runs in the page itself
	StartedAt     int64  // Unix milliseconds; Begin sets it
}

// newPassing returns the gorilla store of what is passing through. Its
// defaults are neither HttpOnly nor Lax, so every option is ours.
func newPassing(o Options) *sessions.CookieStore {
	var pairs [][]byte
	for _, secret := range o.SecretKeys {
		pairs = append(pairs, derive(secret, "cookie authentication"), derive(secret, "cookie encryption"))
	}
	s := sessions.NewCookieStore(pairs...)
	s.Options = o.cookieOptions(passingAge)
	s.MaxAge(s.Options.MaxAge)
	for _, codec := range s.Codecs {
		codec.(*securecookie.SecureCookie).SetSerializer(deflated{}).MaxLength(maxCookies)
	}
	return s
}

// deflated is gob, compressed: a cookie encodes every byte as base64 twice,
// and a long path to return to would not fit otherwise.
type deflated struct{}

func (deflated) Serialize(value any) ([]byte, error) {
	var b bytes.Buffer
	z, err := flate.NewWriter(&b, flate.BestCompression)
	if err != nil {
		return nil, err
	}
	if err := gob.NewEncoder(z).Encode(value); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

func (deflated) Deserialize(b []byte, value any) error {
	return gob.NewDecoder(flate.NewReader(bytes.NewReader(b))).Decode(value)
}

// get returns what passes through under name. A cookie we cannot read is a
// cookie we never wrote: it counts as none.
func (s *Sessions) get(r *http.Request, name string) *sessions.Session {
	found, _ := s.passing.Get(r, name)
	return found
}

// changed marks what Save has to write. Everything else stays as it is in the
// browser: to write it again could bring back what another tab has taken.
type changed struct{}

// Flash keeps a notice for the next page that shows notices: the one being
// made, or the one after a redirect. Of those that nobody looks at, the newest
// five wait, or as many as there is room for.
func (s *Sessions) Flash(r *http.Request, n Notice) {
	n.ID = hex.EncodeToString(random(8))
	found := s.get(r, s.cookieName("notices"))
	found.AddFlash(n)
	keepNotices(found, maxNotices)
	found.Values[changed{}] = true
}

// keepNotices forgets all notices but the newest ones.
func keepNotices(found *sessions.Session, newest int) {
	flashes := found.Flashes()
	for _, flash := range flashes[max(0, len(flashes)-newest):] {
		found.AddFlash(flash)
	}
}

// Notices returns the notices that wait, and forgets them.
func (s *Sessions) Notices(r *http.Request) []Notice {
	found := s.get(r, s.cookieName("notices"))
	var notices []Notice
	for _, flash := range found.Flashes() {
		if n, ok := flash.(Notice); ok {
			notices = append(notices, n)
		}
	}
	if len(notices) > 0 {
		found.Values[changed{}] = true
	}
	return notices
}

// Save writes the notices that still wait to the cookies of the answer. Call
// it once, before the answer's first byte.
func (s *Sessions) Save(w http.ResponseWriter, r *http.Request) error {
	name := s.cookieName("notices")
	found := s.get(r, name)
	_, err := r.Cookie(name)
	sent := err == nil
	unreadable := sent && found.IsNew
	if found.Values[changed{}] == nil && !unreadable {
		return nil
	}
	delete(found.Values, changed{})
	if len(found.Values) == 0 {
		if sent {
			s.forget(w, name)
		}
		return nil
	}
	if value, err := securecookie.EncodeMulti(name, found.Values, s.passing.Codecs...); err != nil ||
		cookieBytes(&http.Cookie{Name: name, Value: value}) > maxCookies-sessionRoom-s.pendingBytes(r) {
		keepNotices(found, 1)
	}
	if err := found.Save(r, w); err != nil {
		return fmt.Errorf("saving notices: %w", err)
	}
	return nil
}

func (s *Sessions) forget(w http.ResponseWriter, name string) {
	http.SetCookie(w, sessions.NewCookie(name, "", s.cookieOptions(-time.Second)))
}

// Begin keeps a sign-in that is on its way, for ten minutes, in a cookie of
// its own: two tabs that start at once must not overwrite each other. The
// oldest ones go when there are more than five, or too many bytes.
func (s *Sessions) Begin(w http.ResponseWriter, r *http.Request, p Pending) error {
	p.StartedAt = s.Now().UnixMilli()
	room := maxCookies - sessionRoom - max(noticeRoom, s.cookieBytes(r, s.cookieName("notices")))
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
	return s.pendingPrefix() + hex.EncodeToString(hash[:8])
}

func (s *Sessions) pendingPrefix() string {
	return s.cookieName("pending-")
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
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, s.pendingPrefix()) && c.Name != keep {
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
	for _, c := range r.Cookies() {
		if strings.HasPrefix(c.Name, s.pendingPrefix()) {
			total += cookieBytes(c)
		}
	}
	return total
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
