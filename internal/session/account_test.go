package session_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"perch/internal/session"
	"perch/internal/store"
	"perch/internal/testdb"
	"perch/internal/twitter"
)

var eve = twitter.Identity{UserID: "43", ScreenName: "eve"}

// do makes a request that may fail only as told.
func (b *browser) do(t testing.TB, call func(http.ResponseWriter, *http.Request) error) {
	t.Helper()
	b.visit(func(w http.ResponseWriter, r *http.Request) {
		if err := call(w, r); err != nil {
			t.Error(err)
		}
	})
}

func (b *browser) devices(t testing.TB, s *site) (all []session.Device) {
	t.Helper()
	b.do(t, func(_ http.ResponseWriter, r *http.Request) (err error) {
		all, err = s.Devices(r)
		return err
	})
	return all
}

func (b *browser) account(t testing.TB, s *site) (a session.Account) {
	t.Helper()
	b.do(t, func(_ http.ResponseWriter, r *http.Request) (err error) {
		a, _, err = s.Current(r)
		return err
	})
	return a
}

// called signs in with a browser that calls itself so.
func (b *browser) called(t testing.TB, s *site, name string, who twitter.Identity) *browser {
	t.Helper()
	b.do(t, func(w http.ResponseWriter, r *http.Request) error {
		r.Header.Set("User-Agent", name)
		return s.SignIn(w, r, who, pair)
	})
	s.now = s.now.Add(time.Second)
	return b
}

func TestDevicesAreThoseOfOneAccount(t *testing.T) {
	s, stranger := newSite(t), newBrowser(t)
	phone, laptop, foreign := newBrowser(t).called(t, s, "phone", ada), newBrowser(t).called(t, s, "laptop", ada), newBrowser(t).called(t, s, "foreign", eve)
	if got := stranger.devices(t, s); len(got) != 0 {
		t.Errorf("nobody's devices are %v", got)
	}
	for b, want := range map[*browser][]string{phone: {"laptop", "phone here"}, laptop: {"laptop here", "phone"}, foreign: {"foreign here"}} {
		var got []string
		for _, d := range b.devices(t, s) {
			got = append(got, strings.TrimSuffix(d.UserAgent+" "+map[bool]string{true: "here"}[d.Here], " "))
		}
		if !slices.Equal(got, want) {
			t.Errorf("devices are %q, want %q", got, want)
		}
	}

	s.now = s.now.Add(30 * time.Minute)
	phone.who(t, s)
	d := phone.devices(t, s)[1]
	if !d.SeenAt.Equal(s.now) || !d.SignedInAt.Equal(s.now.Add(-30*time.Minute-3*time.Second)) {
		t.Errorf("the phone was signed in at %v and seen at %v; it is %v", d.SignedInAt, d.SeenAt, s.now)
	}
	s.now = s.now.Add(30 * time.Minute) // the laptop's session is idle for too long now
	if got := phone.devices(t, s); len(got) != 1 || got[0].UserAgent != "phone" {
		t.Errorf("with one that is over, devices are %v", got)
	}
}

func TestADeviceIsCalledWhatItCallsItselfWithinReason(t *testing.T) {
	for name, want := range map[string]string{
		"":                       "",
		"Browser/1.0 (\"<b>\")":  `Browser/1.0 ("<b>")`,
		"bad \xff\xfe bytes":     "bad  bytes",
		strings.Repeat("a", 300): strings.Repeat("a", 256),
		strings.Repeat("雀", 100): strings.Repeat("雀", 85), // no half letter at byte 256
		strings.Repeat("a", 255) + "\xe9\x9b\x80": strings.Repeat("a", 255),
	} {
		s := newSite(t)
		b := newBrowser(t).called(t, s, name, ada)
		if got := b.devices(t, s)[0].UserAgent; got != want {
			t.Errorf("%.40q became %.40q of %d bytes, want %d", name, got, len(got), len(want))
		}
	}
}

// Whoever knows a handle knows nothing.
func TestAHandleOpensNothing(t *testing.T) {
	s := newSite(t)
	b := newBrowser(t).called(t, s, "phone", ada)
	newBrowser(t).called(t, s, "laptop", ada)
	cookie := b.jar.Cookies(here)[0]
	id, err := base64.RawURLEncoding.DecodeString(cookie.Value)
	if err != nil {
		t.Fatal(err)
	}
	handles := map[string]bool{}
	for _, d := range b.devices(t, s) {
		handles[d.Handle] = true
		raw, err := hex.DecodeString(d.Handle)
		if err != nil || len(raw) != 8 {
			t.Errorf("handle %q, want 8 bytes in hex", d.Handle)
		}
		if bytes.Contains(id, raw) || strings.Contains(cookie.Value, d.Handle) {
			t.Error("the handle is a part of the cookie")
		}
		for _, value := range []string{d.Handle, base64.RawURLEncoding.EncodeToString(raw), base64.RawURLEncoding.EncodeToString(append(raw, make([]byte, 24)...))} {
			thief := newBrowser(t)
			thief.jar.SetCookies(here, []*http.Cookie{{Name: cookie.Name, Value: value}})
			if got := thief.who(t, s); got != "" {
				t.Errorf("%q signs in %q", value, got)
			}
		}
	}
	if len(handles) != 2 {
		t.Errorf("two devices have %d handles", len(handles))
	}
}

func TestEndDevice(t *testing.T) {
	s := newSite(t)
	phone, laptop, foreign := newBrowser(t).called(t, s, "phone", ada), newBrowser(t).called(t, s, "laptop", ada), newBrowser(t).called(t, s, "foreign", eve)
	handles := map[string]string{"": "", "nonsense": "nonsense", "upper case": strings.ToUpper(laptop.devices(t, s)[0].Handle) + "0"}
	for _, d := range slices.Concat(phone.devices(t, s), foreign.devices(t, s)) {
		handles[d.UserAgent] = d.Handle
	}
	end := func(b *browser, handle string) {
		t.Helper()
		b.do(t, func(_ http.ResponseWriter, r *http.Request) error { return s.EndDevice(r, handle) })
	}
	who := func(want ...string) {
		t.Helper()
		if got := []string{phone.who(t, s), laptop.who(t, s), foreign.who(t, s)}; !slices.Equal(got, want) {
			t.Errorf("signed in are %q, want %q", got, want)
		}
	}

	for _, name := range []string{"", "nonsense", "upper case", "foreign"} {
		end(phone, handles[name])
	}
	end(foreign, handles["phone"])
	end(newBrowser(t), handles["phone"]) // nobody is signed in there
	who("ada", "ada", "eve")
	end(phone, handles["laptop"])
	who("ada", "", "eve")
	end(phone, handles["laptop"]) // a second time
	end(phone, handles["phone"])
	who("", "", "eve")
}

func TestEndOtherDevices(t *testing.T) {
	s := newSite(t)
	phone, laptop, foreign := newBrowser(t).called(t, s, "phone", ada), newBrowser(t).called(t, s, "laptop", ada), newBrowser(t).called(t, s, "foreign", eve)
	for _, b := range []*browser{newBrowser(t), phone} {
		b.do(t, func(_ http.ResponseWriter, r *http.Request) error { return s.EndOtherDevices(r) })
	}
	if got := []string{phone.who(t, s), laptop.who(t, s), foreign.who(t, s)}; !slices.Equal(got, []string{"ada", "", "eve"}) {
		t.Errorf("signed in are %q", got)
	}
}

// A token is sealed anew under the newest key when it is used: the older key
// can go.
func TestATokenIsSealedAnewWhenItIsUsed(t *testing.T) {
	s := newSite(t)
	b, unused := newBrowser(t), newBrowser(t)
	b.signIn(t, s, ada)
	unused.signIn(t, s, eve)
	token := func(b *browser) (err error) {
		b.visit(func(_ http.ResponseWriter, r *http.Request) {
			var got twitter.Token
			if got, _, err = s.Token(r); err == nil && got != pair {
				t.Error("got another pair than the one that was kept")
			}
		})
		return err
	}
	sealed := func() string { return string(s.row(t, b).Account.Token) }
	first := sealed()
	if err := token(b); err != nil || sealed() != first {
		t.Errorf("under the newest key already: %v, sealed anew: %v", err, sealed() != first)
	}

	s.with(t, s.Options, func(o *session.Options) { o.SecretKeys = [][]byte{newKey, oldKey} })
	if err := token(b); err != nil {
		t.Error(err)
	}
	second := sealed()
	if second == first {
		t.Error("the token was not sealed anew")
	}
	if err := token(b); err != nil || sealed() != second {
		t.Errorf("a second time: %v, sealed anew once more: %v", err, sealed() != second)
	}
	s.with(t, s.Options, func(o *session.Options) { o.SecretKeys = [][]byte{newKey} })
	if err := token(b); err != nil {
		t.Errorf("without the older key: %v", err)
	}
	if err := token(unused); !errors.Is(err, session.ErrSealed) {
		t.Errorf("one that was not used meanwhile: %v, want ErrSealed", err)
	}
}

// A token that is not to be stored is no trouble: it opens the next time.
func TestATokenThatCannotBeSealedAnewIsGoodAllTheSame(t *testing.T) {
	s, b := newSite(t), newBrowser(t)
	b.signIn(t, s, ada)
	s.with(t, s.Options, func(o *session.Options) { o.SecretKeys = [][]byte{newKey, oldKey} })
	testdb.RefuseUpdates(t, s.url, "accounts")
	b.do(t, func(_ http.ResponseWriter, r *http.Request) error {
		if got, ok, err := s.Token(r); err != nil || !ok || got != pair {
			return fmt.Errorf("got %v, %v", ok, err)
		}
		return nil
	})
}

// row reads the browser's session from the database.
func (s *site) row(t testing.TB, b *browser) store.Session {
	t.Helper()
	for _, d := range b.devices(t, s) {
		if d.Here {
			rows, err := s.Store.Sessions(t.Context(), b.account(t, s).ID)
			if err != nil {
				t.Fatal(err)
			}
			for _, row := range rows {
				if hex.EncodeToString(row.ID[:8]) == d.Handle {
					row, err := s.Store.Session(t.Context(), row.ID)
					if err != nil {
						t.Fatal(err)
					}
					return row
				}
			}
		}
	}
	t.Fatal("no row")
	return store.Session{}
}

var face = twitter.Avatar{Hash: "00112233445566778899aabbccddeeff", Type: "image/png", Content: []byte("the face of ada, a picture")}

func TestDisconnectAndDelete(t *testing.T) {
	for _, test := range []struct {
		name string
		do   func(*site, http.ResponseWriter, *http.Request) error
		left bool
	}{
		{"disconnect", func(s *site, w http.ResponseWriter, r *http.Request) error { return s.Disconnect(w, r) }, true},
		{"delete", func(s *site, w http.ResponseWriter, r *http.Request) error { return s.Delete(w, r) }, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			s := newSite(t)
			phone, laptop, foreign := newBrowser(t).called(t, s, "phone", ada), newBrowser(t).called(t, s, "laptop", ada), newBrowser(t).called(t, s, "foreign", eve)
			first := phone.account(t, s)
			if err := s.SetProfile(t.Context(), first.ID, twitter.Profile{ScreenName: "ada", Name: "Ada Lovelace"}, face); err != nil {
				t.Fatal(err)
			}
			newBrowser(t).do(t, func(w http.ResponseWriter, r *http.Request) error { return test.do(s, w, r) }) // nobody: nothing
			if got := phone.who(t, s); got != "ada" {
				t.Fatalf("a stranger did it: %q", got)
			}

			phone.do(t, func(w http.ResponseWriter, r *http.Request) error {
				if err := test.do(s, w, r); err != nil {
					return err
				}
				if _, ok, _ := s.Current(r); ok {
					t.Error("still signed in within the request")
				}
				return nil
			})
			if got := phone.jar.Cookies(here); len(got) != 0 {
				t.Errorf("cookies are left: %v", got)
			}
			if got := []string{phone.who(t, s), laptop.who(t, s), foreign.who(t, s)}; !slices.Equal(got, []string{"", "", "eve"}) {
				t.Errorf("signed in are %q", got)
			}
			foreign.do(t, func(_ http.ResponseWriter, r *http.Request) error {
				if got, ok, err := s.Token(r); err != nil || !ok || got != pair {
					t.Errorf("another account's token: %v, %v", ok, err)
				}
				return nil
			})

			s.now = s.now.Add(time.Hour)
			again := phone.called(t, s, "phone", ada).account(t, s)
			if stays := again.ID == first.ID && again.CreatedAt.Equal(first.CreatedAt) && again.Name == "Ada Lovelace" && again.Avatar == face.Hash; stays != test.left {
				t.Errorf("who comes back is %+v; known: %v, want %v", again, stays, test.left)
			}
			if !test.left && (again.ID == first.ID || again.Name != "" || again.Avatar != "" || again.ProfileAt.Unix() != 0) {
				t.Errorf("something was left: %+v", again)
			}
			if !test.left && testdb.Holds(t, s.url, string(face.Content)) {
				t.Error("the face is left in the database")
			}
		})
	}
}

func TestReloadReadsTheAccountAgain(t *testing.T) {
	s, b := newSite(t), newBrowser(t)
	b.signIn(t, s, ada)
	b.do(t, func(_ http.ResponseWriter, r *http.Request) error {
		before, _, err := s.Current(r)
		if err != nil {
			return err
		}
		if err := s.SetProfile(r.Context(), before.ID, twitter.Profile{ScreenName: "countess", Name: "Ada"}, face); err != nil {
			return err
		}
		if still, _, _ := s.Current(r); still.ScreenName != "ada" {
			t.Errorf("before: %+v", still)
		}
		if err := s.Reload(r); err != nil {
			return err
		}
		after, ok, err := s.Current(r)
		if !ok || after.ScreenName != "countess" || after.Name != "Ada" || after.Avatar != face.Hash || !after.ProfileAt.Equal(s.now) {
			t.Errorf("after: %+v, %v", after, ok)
		}
		return err
	})
	b.do(t, func(w http.ResponseWriter, r *http.Request) error { // whoever is signed out meanwhile is so
		account, _, err := s.Current(r)
		if err != nil {
			return err
		}
		if err := s.Store.EndSessionsBut(r.Context(), account.ID, nil); err != nil {
			return err
		}
		if err := s.Reload(r); err != nil {
			t.Errorf("a session that has ended: %v", err)
		}
		if _, ok, _ := s.Current(r); ok {
			t.Error("still signed in")
		}
		return nil
	})
	newBrowser(t).do(t, func(_ http.ResponseWriter, r *http.Request) error { return s.Reload(r) })
}

func TestAnAvatarIsForWhoItShows(t *testing.T) {
	s, b, other, stranger := newSite(t), newBrowser(t), newBrowser(t), newBrowser(t)
	b.signIn(t, s, ada)
	other.signIn(t, s, eve)
	if err := s.SetProfile(t.Context(), b.account(t, s).ID, twitter.Profile{ScreenName: "ada"}, face); err != nil {
		t.Fatal(err)
	}
	for who, test := range map[*browser]struct {
		name string
		want error
	}{b: {"ada", nil}, other: {"eve", session.ErrNotFound}, stranger: {"nobody", session.ErrNotFound}} {
		who.visit(func(_ http.ResponseWriter, r *http.Request) {
			got, err := s.Avatar(r)
			if !errors.Is(err, test.want) || (got.Hash == face.Hash && bytes.Equal(got.Content, face.Content) && got.Type == face.Type) != (test.want == nil) {
				t.Errorf("%s: got %s of %d bytes, %v, want %v", test.name, got.Type, len(got.Content), err, test.want)
			}
		})
	}
}
