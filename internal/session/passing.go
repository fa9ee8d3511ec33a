package session

import (
	"bytes"
	"compress/flate"
	"encoding/gob"
	"encoding/hex"
	"fmt"
	"net/http"
	"sync"
	"time"

	"github.com/gorilla/securecookie"
	"github.com/gorilla/sessions"
)

const (
	passingAge = 10 * time.Minute
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
	z := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(z)
	z.Reset(&b)
	if err := gob.NewEncoder(z).Encode(value); err != nil {
		return nil, err
	}
	if err := z.Close(); err != nil {
		return nil, err
	}
	return b.Bytes(), nil
}

// deflaters are kept: one takes most of a megabyte.
var deflaters = sync.Pool{New: func() any {
	z, err := flate.NewWriter(nil, flate.BestCompression)
	if err != nil {
		panic(err) // only for an unknown level
	}
	return z
}}

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
	found := s.get(r, s.names.notices)
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
	found := s.get(r, s.names.notices)
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
	s.forgetUnreadable(w, r)
	name := s.names.notices
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

// forgetUnreadable takes a session's cookie away that is none of ours. One that
// is well-formed stays, though its session may be over: a slow answer must not
// take away the cookie of a sign-in that was faster.
func (s *Sessions) forgetUnreadable(w http.ResponseWriter, r *http.Request) {
	if _, signedIn, _ := s.current(r); signedIn {
		return // by that cookie, or by this very request, which has replaced it
	}
	if c, err := r.Cookie(s.names.session); err == nil {
		if _, readable := hashID(c.Value); !readable {
			s.forget(w, s.names.session)
		}
	}
}

func (s *Sessions) forget(w http.ResponseWriter, name string) {
	http.SetCookie(w, sessions.NewCookie(name, "", s.cookieOptions(-time.Second)))
}
