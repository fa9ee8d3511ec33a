package session_test

import (
	"bytes"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"math/rand/v2"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/url"
	"strings"
	"testing"
	"time"

	"perch/internal/session"
	"perch/internal/store"
	"perch/internal/testdb"
	"perch/internal/twitter"
)

var (
	oldKey = bytes.Repeat([]byte("old!"), 8)
	newKey = bytes.Repeat([]byte("new!"), 8)
	ada    = twitter.Identity{UserID: "42", ScreenName: "ada"}
	pair   = twitter.Token{Token: "42-access", Secret: "access & secret"}
)

// A site is Sessions over a database, with a clock the test moves.
type site struct {
	*session.Sessions
	url string
	now time.Time
}

func newSite(t testing.TB, change ...func(*session.Options)) *site {
	t.Helper()
	s := &site{url: testdb.New(t), now: time.Now().Truncate(time.Second)}
	db, err := store.Open(t.Context(), s.url)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { db.Close() })
	o := session.Options{
		Store: db, SecretKeys: [][]byte{oldKey}, Provider: "https://api.x.com",
		Idle: time.Hour, Lifetime: 24 * time.Hour, Now: func() time.Time { return s.now },
	}
	s.with(t, o, change...)
	return s
}

// with gives the site other options, as after a restart.
func (s *site) with(t testing.TB, o session.Options, change ...func(*session.Options)) {
	t.Helper()
	for _, do := range change {
		do(&o)
	}
	sessions, err := session.New(o)
	if err != nil {
		t.Fatal(err)
	}
	s.Sessions = sessions
}

// A browser keeps cookies between visits.
type browser struct{ jar http.CookieJar }

func newBrowser(t testing.TB) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	return &browser{jar}
}

var here = &url.URL{Scheme: "https", Host: "perch.example", Path: "/"}

// visit runs do with a request that has the browser's cookies, and keeps the
// cookies of the answer.
func (b *browser) visit(do func(http.ResponseWriter, *http.Request)) *http.Response {
	r := httptest.NewRequest(http.MethodGet, here.String(), nil)
	for _, c := range b.jar.Cookies(here) {
		r.AddCookie(c)
	}
	w := httptest.NewRecorder()
	do(w, r)
	answer := w.Result()
	b.jar.SetCookies(here, answer.Cookies())
	return answer
}

func (b *browser) bytes() (n int) {
	for _, c := range b.jar.Cookies(here) {
		n += len(c.Name) + len(c.Value) + 3
	}
	return n
}

func (b *browser) signIn(t testing.TB, s *site, who twitter.Identity) {
	t.Helper()
	b.visit(func(w http.ResponseWriter, r *http.Request) {
		if err := s.SignIn(w, r, who, pair); err != nil {
			t.Fatal(err)
		}
	})
}

// who returns the screen name that is signed in, "" for nobody.
func (b *browser) who(t testing.TB, s *site) (name string) {
	t.Helper()
	b.visit(func(_ http.ResponseWriter, r *http.Request) {
		account, ok, err := s.Current(r)
		if err != nil {
			t.Fatal(err)
		}
		if ok {
			name = account.ScreenName
		}
	})
	return name
}

func (b *browser) begin(t testing.TB, s *site, p session.Pending) {
	t.Helper()
	b.visit(func(w http.ResponseWriter, r *http.Request) {
		if err := s.Begin(w, r, p); err != nil {
			t.Fatal(err)
		}
	})
}

func (b *browser) take(s *site, token string) (p session.Pending, err error) {
	b.visit(func(w http.ResponseWriter, r *http.Request) { p, err = s.Take(w, r, token) })
	return p, err
}

func TestSessionsEndOnTheServer(t *testing.T) {
	for _, test := range []struct {
		name  string
		visit []time.Duration // after the sign-in
		want  string
	}{
		{"used again in time", []time.Duration{59 * time.Minute}, "ada"},
		{"idle for too long", []time.Duration{60 * time.Minute}, ""},
		{"kept alive by use", []time.Duration{50 * time.Minute, 100 * time.Minute, 150 * time.Minute}, "ada"},
		{"too old, however much it is used", hourly(24), ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, b := newSite(t), newBrowser(t)
			b.signIn(t, s, ada)
			began, got := s.now, ""
			for _, after := range test.visit {
				s.now = began.Add(after)
				got = b.who(t, s)
			}
			if got != test.want {
				t.Errorf("signed in is %q, want %q", got, test.want)
			}
		})
	}
}

// hourly returns visits just in time not to be idle, until the hours are over.
func hourly(hours int) (visits []time.Duration) {
	for m := 50; m <= hours*60; m += 50 {
		visits = append(visits, time.Duration(m)*time.Minute)
	}
	return append(visits, time.Duration(hours)*time.Hour)
}

func TestSignOutEndsEveryCopyOfTheCookie(t *testing.T) {
	s, b, thief := newSite(t), newBrowser(t), newBrowser(t)
	b.signIn(t, s, ada)
	thief.jar.SetCookies(here, b.jar.Cookies(here))
	if got := thief.who(t, s); got != "ada" {
		t.Fatalf("the copy is %q before the sign-out, want ada", got)
	}

	b.visit(func(w http.ResponseWriter, r *http.Request) {
		if err := s.SignOut(w, r); err != nil {
			t.Fatal(err)
		}
		if _, ok, _ := s.Current(r); ok {
			t.Error("still signed in within the request that signed out")
		}
	})
	if got := b.who(t, s); got != "" {
		t.Errorf("the browser is still %q", got)
	}
	if got := thief.who(t, s); got != "" {
		t.Errorf("the copy is still %q", got)
	}
}

func TestARequestUnderWayCannotReviveASession(t *testing.T) {
	s, b := newSite(t), newBrowser(t)
	b.signIn(t, s, ada)
	s.now = s.now.Add(10 * time.Minute) // so that the slow request also notes the use
	b.visit(func(w http.ResponseWriter, slow *http.Request) {
		if _, ok, err := s.Current(slow); !ok || err != nil {
			t.Fatalf("signed in: %v, %v", ok, err)
		}
		b.visit(func(w http.ResponseWriter, r *http.Request) {
			if err := s.SignOut(w, r); err != nil {
				t.Fatal(err)
			}
		})
		if err := s.Save(w, slow); err != nil {
			t.Fatal(err)
		}
	})
	if got := b.who(t, s); got != "" {
		t.Errorf("the slow request brought %q back", got)
	}
}

func TestWithAnotherProviderNobodyIsSignedIn(t *testing.T) {
	s, b := newSite(t), newBrowser(t)
	b.signIn(t, s, ada)
	s.with(t, s.Options, func(o *session.Options) { o.Provider = "http://localhost:8081" })
	if got := b.who(t, s); got != "" {
		t.Errorf("%q is signed in, want nobody", got)
	}
}

func TestTheDatabaseHoldsNoSecret(t *testing.T) {
	s, b := newSite(t), newBrowser(t)
	b.signIn(t, s, ada)
	id := b.jar.Cookies(here)[0].Value
	raw, err := base64.RawURLEncoding.DecodeString(id)
	if err != nil {
		t.Fatal(err)
	}
	for name, secret := range map[string]string{
		"session id": id, "session id, raw": string(raw), "session id, hex": hex.EncodeToString(raw),
		"token": pair.Token, "token secret": pair.Secret,
	} {
		if testdb.Holds(t, s.url, secret) {
			t.Errorf("the database holds the %s", name)
		}
	}
}

func TestTheTokenOpens(t *testing.T) {
	for _, test := range []struct {
		name string
		keys [][]byte
		want error
	}{
		{"with the key that sealed it", [][]byte{oldKey}, nil},
		{"with the key among older ones", [][]byte{newKey, oldKey}, nil},
		{"not with another key", [][]byte{newKey}, session.ErrSealed},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, b := newSite(t), newBrowser(t)
			b.signIn(t, s, ada)
			s.with(t, s.Options, func(o *session.Options) { o.SecretKeys = test.keys })
			b.visit(func(_ http.ResponseWriter, r *http.Request) {
				got, ok, err := s.Token(r)
				if !errors.Is(err, test.want) || ok != (test.want == nil) {
					t.Fatalf("got %v, %v, want %v", ok, err, test.want)
				}
				if ok && got != pair {
					t.Error("got another pair than the one that was kept")
				}
			})
			if got := b.who(t, s); got != "ada" {
				t.Errorf("signed in is %q, want ada: the row needs no key", got)
			}
		})
	}
}

func TestATokenOpensInItsOwnRowOnly(t *testing.T) {
	s, a, b := newSite(t), newBrowser(t), newBrowser(t)
	a.signIn(t, s, ada)
	b.signIn(t, s, twitter.Identity{UserID: "43", ScreenName: "eve"})
	testdb.Exec(t, s.url, `UPDATE accounts SET token = (SELECT token FROM accounts WHERE user_id = '42')`)
	b.visit(func(_ http.ResponseWriter, r *http.Request) {
		if _, _, err := s.Token(r); !errors.Is(err, session.ErrSealed) {
			t.Errorf("another row's token: %v, want ErrSealed", err)
		}
	})
}

func TestASignInIsBoundToTheBrowserAndGoodOnce(t *testing.T) {
	s, b, other := newSite(t), newBrowser(t), newBrowser(t)
	want := session.Pending{Token: "token", Secret: "secret", Next: "/account?x=1"}
	b.begin(t, s, want)
	cookies := b.jar.Cookies(here)

	if _, err := other.take(s, "token"); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("in another browser: %v, want ErrUnknown", err)
	}
	if _, err := b.take(s, "token2"); !errors.Is(err, session.ErrUnknown) {
		t.Errorf("another token: %v, want ErrUnknown", err)
	}
	got, err := b.take(s, "token")
	if err != nil || got.Secret != want.Secret || got.Next != want.Next {
		t.Errorf("got %q, %v, want %q", got.Next, err, want.Next)
	}
	if _, err := b.take(s, "token"); !errors.Is(err, session.ErrUsed) {
		t.Errorf("a second time: %v, want ErrUsed", err)
	}
	b.jar.SetCookies(here, cookies)
	if _, err := b.take(s, "token"); !errors.Is(err, session.ErrUsed) {
		t.Errorf("with a copy of the cookie: %v, want ErrUsed", err)
	}
}

func TestASignInUnderAnotherCookieNameIsUnknown(t *testing.T) {
	s, b := newSite(t), newBrowser(t)
	b.begin(t, s, session.Pending{Token: "one", Secret: "secret", Next: "/"})
	b.begin(t, s, session.Pending{Token: "two", Secret: "secret", Next: "/"})
	cookies := b.jar.Cookies(here)
	cookies[0].Value, cookies[1].Value = cookies[1].Value, cookies[0].Value
	b.jar.SetCookies(here, cookies)
	for _, token := range []string{"one", "two"} {
		if _, err := b.take(s, token); !errors.Is(err, session.ErrUnknown) {
			t.Errorf("%s: %v, want ErrUnknown", token, err)
		}
	}
}

func TestASignInIsGoodForTenMinutes(t *testing.T) {
	for _, test := range []struct {
		after time.Duration
		want  error
	}{{10*time.Minute - time.Second, nil}, {10 * time.Minute, session.ErrUnknown}} {
		s, b := newSite(t), newBrowser(t)
		b.begin(t, s, session.Pending{Token: "token", Secret: "secret", Next: "/"})
		s.now = s.now.Add(test.after)
		if _, err := b.take(s, "token"); !errors.Is(err, test.want) {
			t.Errorf("after %v: %v, want %v", test.after, err, test.want)
		}
	}
}

func TestTheNewestFiveSignInsWait(t *testing.T) {
	s, b := newSite(t), newBrowser(t)
	tokens := []string{"a", "b", "c", "d", "e", "f", "g"}
	for _, token := range tokens {
		b.begin(t, s, session.Pending{Token: token, Secret: "secret", Next: "/" + token})
		s.now = s.now.Add(time.Second)
	}
	for i, token := range tokens {
		p, err := b.take(s, token)
		if old := i < 2; old && !errors.Is(err, session.ErrUnknown) || !old && (err != nil || p.Next != "/"+token) {
			t.Errorf("sign-in %d: %q, %v", i+1, p.Next, err)
		}
	}
}

func TestCookiesStayUnderFourKilobytes(t *testing.T) {
	random := rand.New(rand.NewPCG(1, 2))
	printable := func(n int) string {
		b := make([]byte, n)
		for i := range b {
			b[i] = byte('!' + random.IntN('~'-'!'))
		}
		return string(b)
	}
	for _, test := range []struct {
		name          string
		token, next   int // bytes
		wantNext      bool
		wantAtTheSame int // how many of five wait side by side
	}{
		{"as Twitter makes them", 32, 20, true, 5},
		{"the longest path to return to", 32, 2048, true, 1},
		{"the longest of everything", 256, 2048, false, 3},
	} {
		t.Run(test.name, func(t *testing.T) {
			s, b := newSite(t), newBrowser(t)
			b.signIn(t, s, ada)
			b.visit(func(w http.ResponseWriter, r *http.Request) {
				s.Flash(r, session.Notice{Text: "You were signed in as @ada"})
				if err := s.Save(w, r); err != nil {
					t.Fatal(err)
				}
			})
			var begun []session.Pending
			for range 5 {
				p := session.Pending{Token: printable(test.token), Secret: printable(test.token), Next: "/" + printable(test.next-1)}
				b.begin(t, s, p)
				if got := b.bytes(); got > 4096 {
					t.Errorf("the cookies take %d bytes, want at most 4096", got)
				}
				begun = append(begun, p)
				s.now = s.now.Add(time.Second)
			}
			waiting := 0
			for i, p := range begun {
				got, err := b.take(s, p.Token)
				if err != nil {
					continue
				}
				waiting++
				if want := map[bool]string{true: p.Next, false: "/"}[test.wantNext]; got.Next != want {
					t.Errorf("sign-in %d returns to %d bytes, want %d", i+1, len(got.Next), len(want))
				}
			}
			if waiting != test.wantAtTheSame {
				t.Errorf("%d of five wait, want %d", waiting, test.wantAtTheSame)
			}
		})
	}
}

func TestANoticeIsShownOnce(t *testing.T) {
	s, b := newSite(t), newBrowser(t)
	notices := func() (got []session.Notice) {
		b.visit(func(w http.ResponseWriter, r *http.Request) {
			got = s.Notices(r)
			if err := s.Save(w, r); err != nil {
				t.Fatal(err)
			}
		})
		return got
	}
	b.visit(func(w http.ResponseWriter, r *http.Request) {
		s.Flash(r, session.Notice{Text: "first"})
		s.Flash(r, session.Notice{Text: "first"})
		if err := s.Save(w, r); err != nil {
			t.Fatal(err)
		}
	})
	b.visit(func(w http.ResponseWriter, r *http.Request) { // looks at nothing
		if err := s.Save(w, r); err != nil {
			t.Fatal(err)
		}
		if got := w.Header().Get("Set-Cookie"); got != "" {
			t.Errorf("a request that has nothing to do with notices sets %q", got)
		}
	})
	got := notices()
	if len(got) != 2 || got[0].Text != "first" || got[0].ID == got[1].ID {
		t.Errorf("got %+v, want two notices with ids of their own", got)
	}
	if again := notices(); len(again) != 0 {
		t.Errorf("a second time: %+v, want none", again)
	}
	if left := b.jar.Cookies(here); len(left) != 0 {
		t.Errorf("%d cookies are left, want none", len(left))
	}
}

func TestCookiesThatCannotBeReadCountAsNone(t *testing.T) {
	s, b := newSite(t), newBrowser(t)
	b.signIn(t, s, ada)
	b.begin(t, s, session.Pending{Token: "token", Secret: "secret", Next: "/"})
	b.visit(func(w http.ResponseWriter, r *http.Request) {
		s.Flash(r, session.Notice{Text: "hello"})
		if err := s.Save(w, r); err != nil {
			t.Fatal(err)
		}
	})
	good := b.jar.Cookies(here)
	for name, spoil := range map[string]func(string) string{
		"empty":     func(string) string { return "" },
		"garbage":   func(string) string { return "!*garbage*!" },
		"truncated": func(v string) string { return v[:len(v)/2] },
		"tampered":  func(v string) string { return flip(v) },
		"huge":      func(v string) string { return strings.Repeat(v, 50) },
	} {
		t.Run(name, func(t *testing.T) {
			b := newBrowser(t)
			for _, c := range good {
				b.jar.SetCookies(here, []*http.Cookie{{Name: c.Name, Value: spoil(c.Value)}})
			}
			if got := b.who(t, s); got != "" {
				t.Errorf("signed in as %q", got)
			}
			if _, err := b.take(s, "token"); !errors.Is(err, session.ErrUnknown) {
				t.Errorf("the sign-in: %v, want ErrUnknown", err)
			}
			b.visit(func(w http.ResponseWriter, r *http.Request) {
				if got := s.Notices(r); len(got) != 0 {
					t.Errorf("notices: %v", got)
				}
				s.Flash(r, session.Notice{Text: "new"})
				if err := s.Save(w, r); err != nil {
					t.Fatal(err)
				}
			})
			b.visit(func(_ http.ResponseWriter, r *http.Request) {
				if got := s.Notices(r); len(got) != 1 || got[0].Text != "new" {
					t.Errorf("the notice that replaced it: %v", got)
				}
			})
		})
	}
}

// flip changes one character in the middle.
func flip(v string) string {
	b := []byte(v)
	b[len(b)/2] ^= 1
	return string(b)
}

func TestCookieAttributes(t *testing.T) {
	for _, test := range []struct {
		secure bool
		prefix string
	}{{false, "perch-"}, {true, "__Host-perch-"}} {
		s, b := newSite(t, func(o *session.Options) { o.Secure = test.secure }), newBrowser(t)
		answer := b.visit(func(w http.ResponseWriter, r *http.Request) {
			if err := s.SignIn(w, r, ada, pair); err != nil {
				t.Fatal(err)
			}
			if err := s.Begin(w, r, session.Pending{Token: "token", Secret: "secret", Next: "/"}); err != nil {
				t.Fatal(err)
			}
			s.Flash(r, session.Notice{Text: "hello"})
			if err := s.Save(w, r); err != nil {
				t.Fatal(err)
			}
		})
		cookies := answer.Cookies()
		if len(cookies) != 3 {
			t.Fatalf("%d cookies, want 3", len(cookies))
		}
		for _, c := range cookies {
			if !strings.HasPrefix(c.Name, test.prefix) || !c.HttpOnly || c.Secure != test.secure || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.MaxAge <= 0 {
				t.Errorf("with secure=%v: %v", test.secure, c)
			}
		}
	}
}

func TestNewRefuses(t *testing.T) {
	for name, keys := range map[string][][]byte{"no key": nil, "a short key": {oldKey, oldKey[:31]}} {
		if _, err := session.New(session.Options{SecretKeys: keys}); err == nil {
			t.Errorf("%s is accepted", name)
		}
	}
}

func TestSweepEndsWhatIsOverAndNothingElse(t *testing.T) {
	s, idle, old, fresh := newSite(t), newBrowser(t), newBrowser(t), newBrowser(t)
	old.signIn(t, s, ada)
	began := s.now
	for m := 50; m < 24*60; m += 50 { // used all the time, until it is too old
		s.now = began.Add(time.Duration(m) * time.Minute)
		old.who(t, s)
	}
	s.now = began.Add(23 * time.Hour)
	idle.signIn(t, s, ada)
	s.now = began.Add(24*time.Hour + time.Minute)
	fresh.signIn(t, s, ada)

	got, err := s.Sweep(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if want := int64(2); got != want {
		t.Errorf("swept %d sessions, want %d", got, want)
	}
	if got := fresh.who(t, s); got != "ada" {
		t.Errorf("the fresh session is %q's, want ada's", got)
	}
}

// A backup, or somebody at a shell, holds the database: pages are read all the
// same, and nobody waits to note that a session is used.
func TestABusyDatabaseKeepsNobodyWaiting(t *testing.T) {
	s, b := newSite(t), newBrowser(t)
	b.signIn(t, s, ada)
	testdb.Lock(t, s.url)

	s.now = s.now.Add(10 * time.Minute) // so that the use is to be noted
	began := time.Now()
	for range 10 {
		if got := b.who(t, s); got != "ada" {
			t.Fatalf("signed in is %q, want ada", got)
		}
	}
	if took := time.Since(began); took > 4*time.Second { // one wait for the lock would be five
		t.Errorf("ten requests took %v", took)
	}
}
