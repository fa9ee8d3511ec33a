package session

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"strings"
	"time"

	"github.com/gorilla/sessions"

	"perch/internal/store"
)

// rowStore is a gorilla store whose sessions are rows of the database. The
// cookie carries the id alone: 256 random bits, of which the database knows
// only the hash, so that a stolen database signs nobody in.
type rowStore struct{ Options }

// What a session of rowStore holds: the row it was read from, and the account
// that Save is to sign in.
const (
	rowKey    = "row"
	signInKey = "sign in"
)

const idSize = 32 // bytes

// Get returns the request's session, read once.
func (s *rowStore) Get(r *http.Request, name string) (*sessions.Session, error) {
	return sessions.GetRegistry(r).Get(s, name)
}

// New reads the session from the database. A cookie that cannot be read, or
// whose session is over, is as good as none.
func (s *rowStore) New(r *http.Request, name string) (*sessions.Session, error) {
	found := sessions.NewSession(s, name)
	found.IsNew = true
	cookie, err := r.Cookie(name)
	if err != nil {
		return found, nil
	}
	id, ok := hashID(cookie.Value)
	if !ok {
		return found, nil
	}
	row, err := s.Store.Session(r.Context(), id)
	if errors.Is(err, store.ErrNotFound) {
		return found, nil
	}
	if err != nil {
		return found, err
	}
	if s.over(row) || row.Account.Provider != s.Provider {
		return found, nil
	}
	s.touch(r, &row)
	found.IsNew = false
	found.Values[rowKey] = &row
	return found, nil
}

// hashID returns what the database knows of the id in a cookie.
func hashID(value string) ([]byte, bool) {
	if len(value) != base64.RawURLEncoding.EncodedLen(idSize) {
		return nil, false
	}
	var id [idSize]byte
	if n, err := base64.RawURLEncoding.Decode(id[:], []byte(value)); err != nil || n != idSize {
		return nil, false
	}
	hash := sha256.Sum256(id[:])
	return hash[:], true
}

func (s *rowStore) over(row store.Session) bool {
	now := s.Now()
	return now.Sub(row.CreatedAt) >= s.Lifetime || now.Sub(row.SeenAt) >= s.Idle
}

// touchPatience is how long a request waits to note that its session is used.
const touchPatience = 250 * time.Millisecond

// touch notes that the session is used. Not at every request: a write costs
// far more than the read. To lose one is no harm, so it fails nobody, and
// nobody waits for it while the database is busy.
func (s *rowStore) touch(r *http.Request, row *store.Session) {
	now := s.Now()
	if now.Sub(row.SeenAt) < min(time.Minute, s.Idle/10) {
		return
	}
	ctx, cancel := context.WithTimeout(r.Context(), touchPatience)
	defer cancel()
	if err := s.Store.Touch(ctx, row.ID, now); err != nil {
		s.Log.Warn("db_error", "error", err)
		return
	}
	row.SeenAt = now
}

// Save signs in the account under signInKey, or ends the session when its
// MaxAge is below zero. Anything else changes nothing: only a sign-in
// inserts.
func (s *rowStore) Save(r *http.Request, w http.ResponseWriter, found *sessions.Session) error {
	if account, ok := found.Values[signInKey].(store.Account); ok {
		return s.insert(r, w, found, account)
	}
	if found.Options.MaxAge < 0 {
		return s.delete(r, w, found)
	}
	return nil
}

func (s *rowStore) insert(r *http.Request, w http.ResponseWriter, found *sessions.Session, account store.Account) error {
	var replaced []byte
	if row, ok := found.Values[rowKey].(*store.Session); ok {
		replaced = row.ID
	}
	id := random(idSize)
	hash := sha256.Sum256(id)
	row, err := s.Store.SignIn(r.Context(), account, hash[:], replaced, userAgent(r), s.Now())
	if err != nil {
		return err
	}
	delete(found.Values, signInKey)
	found.Values[rowKey] = &row
	http.SetCookie(w, sessions.NewCookie(found.Name(), base64.RawURLEncoding.EncodeToString(id), found.Options))
	return nil
}

// userAgent returns what the browser calls itself, as far as we care.
func userAgent(r *http.Request) string {
	const most = 256 // bytes
	name := strings.ToValidUTF8(r.UserAgent(), "")
	return strings.ToValidUTF8(name[:min(len(name), most)], "")
}

func (s *rowStore) delete(r *http.Request, w http.ResponseWriter, found *sessions.Session) error {
	delete(found.Values, rowKey)
	cookie, err := r.Cookie(found.Name())
	if err != nil {
		return nil
	}
	id, ok := hashID(cookie.Value)
	if !ok {
		return nil // none of ours; Sessions.Save takes it away
	}
	if err := s.Store.EndSession(r.Context(), id); err != nil {
		return err
	}
	http.SetCookie(w, sessions.NewCookie(found.Name(), "", found.Options))
	return nil
}
