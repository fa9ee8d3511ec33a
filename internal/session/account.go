package session

import (
	"context"
	"encoding/hex"
	"errors"
	"net/http"
	"slices"
	"time"

	"perch/internal/store"
	"perch/internal/twitter"
)

// ErrNotFound says that there is no such thing, or not any more.
var ErrNotFound = store.ErrNotFound

// Device is a browser in which an account is signed in.
type Device struct {
	Handle     string // names it, for EndDevice; opens nothing
	UserAgent  string // as the browser calls itself
	SignedInAt time.Time
	SeenAt     time.Time // at most a minute old
	Here       bool      // it is the one that asks
}

// Devices returns the browsers in which the account that is signed in is
// signed in, the newest first; none when nobody is.
func (s *Sessions) Devices(r *http.Request) ([]Device, error) {
	row, rows, err := s.rows(r)
	if err != nil {
		return nil, err
	}
	var devices []Device
	for _, one := range rows {
		devices = append(devices, Device{handle(one.ID), one.UserAgent, one.CreatedAt, one.SeenAt, slices.Equal(one.ID, row.ID)})
	}
	return devices, nil
}

// rows returns the session of the request, and all of its account that are not
// over.
func (s *Sessions) rows(r *http.Request) (here *store.Session, all []store.Session, err error) {
	here, ok, err := s.current(r)
	if err != nil || !ok {
		return nil, nil, err
	}
	all, err = s.Store.Sessions(r.Context(), here.Account.ID)
	if err != nil {
		return nil, nil, err
	}
	return here, slices.DeleteFunc(all, s.signedIn.over), nil
}

// handle names a session by a part of its hash: enough to tell it from the
// others of one account, and nothing to sign in with.
func handle(id []byte) string { return hex.EncodeToString(id[:8]) }

// EndDevice signs the account out in another browser, or in this one. It is
// fine when it is signed out there already; a device of another account is
// none that it finds.
func (s *Sessions) EndDevice(r *http.Request, name string) error {
	_, rows, err := s.rows(r)
	if err != nil {
		return err
	}
	for _, one := range rows {
		if handle(one.ID) == name {
			return s.Store.EndSession(r.Context(), one.ID)
		}
	}
	return nil
}

// EndOtherDevices signs the account out in all browsers but this one.
func (s *Sessions) EndOtherDevices(r *http.Request) error {
	row, ok, err := s.current(r)
	if err != nil || !ok {
		return err
	}
	return s.Store.EndSessionsBut(r.Context(), row.Account.ID, row.ID)
}

// Disconnect forgets the access token of the account that is signed in, and
// signs it out everywhere.
func (s *Sessions) Disconnect(w http.ResponseWriter, r *http.Request) error {
	row, ok, err := s.current(r)
	if err != nil || !ok {
		return err
	}
	if err := s.Store.Disconnect(r.Context(), row.Account.ID); err != nil {
		return err
	}
	return s.SignOut(w, r)
}

// Delete forgets the account that is signed in, and all that is known of it.
func (s *Sessions) Delete(w http.ResponseWriter, r *http.Request) error {
	row, ok, err := s.current(r)
	if err != nil || !ok {
		return err
	}
	if err := s.Store.DeleteAccount(r.Context(), row.Account.ID); err != nil {
		return err
	}
	return s.SignOut(w, r)
}

// SetProfile keeps how the provider shows an account. A zero avatar leaves the
// one that is there.
func (s *Sessions) SetProfile(ctx context.Context, account int64, p twitter.Profile, a twitter.Avatar) error {
	return s.Store.SetProfile(ctx, account, p.ScreenName, p.Name, store.Avatar{Name: a.Hash, Type: a.Type, Content: a.Content}, s.Now())
}

// SetProfileAsked notes that the provider was asked for the profile, in vain.
func (s *Sessions) SetProfileAsked(ctx context.Context, account int64) error {
	return s.Store.SetProfileAt(ctx, account, s.Now())
}

// Reload reads the session again, for a request that has changed the account.
// It is fine when the session has ended meanwhile: nobody is signed in then.
func (s *Sessions) Reload(r *http.Request) error {
	found, err := s.signedIn.Get(r, s.names.session)
	if err != nil {
		return err
	}
	row, ok := found.Values[rowKey].(*store.Session)
	if !ok {
		return nil
	}
	again, err := s.Store.Session(r.Context(), row.ID)
	if err != nil {
		delete(found.Values, rowKey)
	} else {
		found.Values[rowKey] = &again
	}
	if errors.Is(err, store.ErrNotFound) {
		return nil
	}
	return err
}

// Avatar returns the picture of the account that is signed in, or ErrNotFound.
func (s *Sessions) Avatar(r *http.Request) (twitter.Avatar, error) {
	row, ok, err := s.current(r)
	if err != nil {
		return twitter.Avatar{}, err
	}
	if !ok {
		return twitter.Avatar{}, ErrNotFound
	}
	a, err := s.Store.Avatar(r.Context(), row.Account.ID)
	return twitter.Avatar{Hash: a.Name, Type: a.Type, Content: a.Content}, err
}
