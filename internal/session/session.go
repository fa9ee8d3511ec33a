// Package session remembers who is signed in, and what to tell them next.
//
// It keeps two gorilla stores. *Signed in* is a row in the database; the
// cookie carries nothing but a random id. *Passing through*, the notices not
// yet shown and the sign-ins not yet finished, is an encrypted cookie of ten
// minutes. So a visitor who is not signed in costs no row and no query, an id
// is only ever minted at sign-in, and signing out is final, whatever became
// of a copy of the cookie.
package session

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"time"

	"github.com/gorilla/sessions"

	"perch/internal/store"
	"perch/internal/twitter"
)

var (
	// ErrUnavailable says that the database did not answer; the same call may
	// succeed later.
	ErrUnavailable = store.ErrUnavailable

	// ErrUnknown says that this browser has not asked for this sign-in, or
	// more than ten minutes ago.
	ErrUnknown = errors.New("no such sign-in was started in this browser")

	// ErrUsed says that this sign-in came back before.
	ErrUsed = errors.New("this sign-in was used before")

	// ErrSealed says that the stored access token was encrypted with a key
	// that is not among the keys any more: the person has to sign in again.
	ErrSealed = errors.New("the access token cannot be opened with these keys")
)

// Options is what sessions depend on.
type Options struct {
	Store *store.Store

	// SecretKeys encrypt cookies and access tokens, the newest first; at least
	// one, of at least 32 bytes each. An older one still opens.
	SecretKeys [][]byte

	// Provider is the origin of the provider: https://api.x.com. Who signed
	// in with another provider is nobody here.
	Provider string

	// Secure says that the site is served with https: cookies are sent over
	// nothing else, and bound to the host.
	Secure bool

	// Idle ends a session that was not used for so long, Lifetime every one.
	Idle, Lifetime time.Duration

	Now func() time.Time // time.Now when nil
	Log *slog.Logger     // nowhere when nil
}

// Sessions remembers. It is safe for use by many goroutines.
type Sessions struct {
	Options
	names    names
	signedIn *rowStore
	passing  *sessions.CookieStore
	box      box
	spent    spent
}

// New returns Sessions for o. It fails when o lacks a key.
func New(o Options) (*Sessions, error) {
	if len(o.SecretKeys) == 0 {
		return nil, errors.New("sessions need a secret key")
	}
	for _, key := range o.SecretKeys {
		if len(key) < minKey {
			return nil, fmt.Errorf("a secret key needs %d bytes", minKey)
		}
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	s := &Sessions{Options: o, names: o.cookieNames(), box: newBox(o.SecretKeys), passing: newPassing(o)}
	s.signedIn = &rowStore{Options: o}
	return s, nil
}

// Attach makes r remember what is read from its cookies, so that every copy
// of r made later shares it. Call it before anything clones the request.
func (s *Sessions) Attach(r *http.Request) {
	sessions.GetRegistry(r)
}

// names are those of our cookies. A pending sign-in adds its own to the prefix.
type names struct{ session, notices, pending string }

// cookieNames returns the names: with https a prefix binds them to this host
// and to encrypted connections (RFC 6265bis §4.1.3.2).
func (o Options) cookieNames() names {
	prefix := "perch-"
	if o.Secure {
		prefix = "__Host-perch-"
	}
	return names{prefix + "session", prefix + "notices", prefix + "pending-"}
}

// cookieOptions returns the attributes of all our cookies. Lax, for they must
// survive the way back from the provider.
func (o Options) cookieOptions(age time.Duration) *sessions.Options {
	return &sessions.Options{Path: "/", MaxAge: int(age / time.Second), HttpOnly: true, Secure: o.Secure, SameSite: http.SameSiteLaxMode}
}

// Account is who is signed in.
type Account struct {
	ID         int64
	UserID     string    // the provider's key for the person, decimal
	ScreenName string    // without the @
	Name       string    // as the provider shows it, empty while unknown
	Avatar     string    // names the picture, for Sessions.Avatar; empty while there is none
	SignedInAt time.Time // in this browser
	CreatedAt  time.Time // when the person signed in here for the first time
	LastAt     time.Time // when the person signed in here for the last time
	ProfileAt  time.Time // when the provider was last asked how it shows the person
}

// Current returns the account that is signed in, and false when nobody is: no
// cookie, an unknown one, or a session that is over. The error is
// ErrUnavailable when the database does not answer.
func (s *Sessions) Current(r *http.Request) (Account, bool, error) {
	row, ok, err := s.current(r)
	if err != nil || !ok {
		return Account{}, false, err
	}
	return Account{
		ID:         row.Account.ID,
		UserID:     row.Account.UserID,
		ScreenName: row.Account.ScreenName,
		Name:       row.Account.Name,
		Avatar:     row.Account.Avatar,
		SignedInAt: row.CreatedAt,
		CreatedAt:  row.Account.CreatedAt,
		LastAt:     row.Account.SignedInAt,
		ProfileAt:  row.Account.ProfileAt,
	}, true, nil
}

func (s *Sessions) current(r *http.Request) (*store.Session, bool, error) {
	found, err := s.signedIn.Get(r, s.names.session)
	if err != nil {
		return nil, false, err
	}
	row, ok := found.Values[rowKey].(*store.Session)
	return row, ok, nil
}

// SignIn signs the person in with a new session id and ends the session this
// browser had. The pair is kept encrypted.
func (s *Sessions) SignIn(w http.ResponseWriter, r *http.Request, person twitter.Identity, pair twitter.Token) error {
	found, err := s.signedIn.Get(r, s.names.session)
	if err != nil {
		return err
	}
	account := store.Account{Provider: s.Provider, UserID: person.UserID, ScreenName: person.ScreenName}
	account.Token = s.box.seal(pair.Marshal(), tokenRow(account))
	found.Values[signInKey] = account
	found.Options = s.cookieOptions(s.Lifetime)
	return found.Save(r, w)
}

// SignOut signs the visitor out. A copy of the cookie is dead at once. It is
// fine when nobody was signed in.
func (s *Sessions) SignOut(w http.ResponseWriter, r *http.Request) error {
	found, err := s.signedIn.Get(r, s.names.session)
	if err != nil {
		return err
	}
	found.Options = s.cookieOptions(-time.Second)
	return found.Save(r, w)
}

// Token returns the access token of the account that is signed in, to sign
// calls on its behalf, and false when nobody is. A token under an older key is
// sealed anew with the newest. The error is ErrSealed when none of the keys
// fits any more: the person has to sign in again.
func (s *Sessions) Token(r *http.Request) (twitter.Token, bool, error) {
	row, ok, err := s.current(r)
	if err != nil || !ok {
		return twitter.Token{}, false, err
	}
	a := row.Account
	plain, newest, err := s.box.open(a.Token, tokenRow(a))
	if err != nil {
		return twitter.Token{}, false, err
	}
	pair, err := twitter.UnmarshalToken(plain)
	if err != nil {
		return twitter.Token{}, false, err
	}
	if !newest {
		if err := s.Store.SetToken(r.Context(), a.ID, a.Token, s.box.seal(plain, tokenRow(a))); err != nil {
			s.Log.Warn("db_error", "error", err) // it opens as well the next time
		}
	}
	return pair, true, nil
}

// tokenRow names the row a sealed token belongs to.
func tokenRow(a store.Account) string {
	return a.Provider + " " + a.UserID
}

// Sweep deletes the sessions that are over, and returns how many.
func (s *Sessions) Sweep(ctx context.Context) (int64, error) {
	now := s.Now()
	return s.Store.Sweep(ctx, now.Add(-s.Lifetime), now.Add(-s.Idle))
}
