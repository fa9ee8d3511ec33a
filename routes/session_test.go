package routes_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"errors"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strings"
	"sync"
	"testing"
	"time"

	"perch/internal/session"
	"perch/internal/store"
)

const sessionCookie = "perch-session"

func TestAccountSwitch(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	b.get("/")
	before, first := b.copied(), b.cookie(sessionCookie)

	b.follow(b.get(b.start("next=/account&force_login=true").authorize("suzume")).leads("/account")).
		shows("@suzume", "You were signed in as @suzume")
	if second := b.cookie(sessionCookie); second == first || second == "" {
		t.Error("the session id is the old one")
	}
	if got := before.who(); got != nobody {
		t.Errorf("a copy of the old cookie still signs in %q", got)
	}
	if _, err := k.row(first); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the old session's row: %v, want none", err)
	}
}

func TestSigningInAgainEndsTheOldSession(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	before := b.copied()
	other := k.browser(t)
	other.signIn("robin")
	b.signIn("robin")
	for name, tt := range map[string]struct {
		b    *browser
		want string
	}{
		"this browser":                 {b, "@robin"},
		"a copy of the old cookie":     {before, nobody},
		"robin's browser at the pub":   {other, "@robin"},
		"a copy of the old, after all": {before, nobody},
	} {
		if got := tt.b.who(); got != tt.want {
			t.Errorf("%s: signed in is %q, want %q", name, got, tt.want)
		}
	}
}

func TestRename(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	v := b.start("next=/")
	b.get(v.authorize("robin"))
	before, err := k.row(b.cookie(sessionCookie))
	if err != nil {
		t.Fatal(err)
	}
	if err := k.twitter.sandbox.Rename(v.accounts["robin"], "robin_redbreast"); err != nil {
		t.Fatal(err)
	}
	k.clock.advance(time.Hour)

	if got := b.who(); got != "@robin" { // Perch cannot know yet
		t.Errorf("signed in is %q", got)
	}
	b.signIn("robin_redbreast")
	b.get("/").shows("@robin_redbreast", "You were signed in as @robin", "You were signed in as @robin_redbreast")
	after, err := k.row(b.cookie(sessionCookie))
	if err != nil {
		t.Fatal(err)
	}
	if after.Account.ID != before.Account.ID || !after.Account.CreatedAt.Equal(before.Account.CreatedAt) {
		t.Errorf("another account: %d of %v, want %d of %v", after.Account.ID, after.Account.CreatedAt, before.Account.ID, before.Account.CreatedAt)
	}

	// A name that was given up is not the account of who takes it next.
	if err := k.twitter.sandbox.Rename(v.accounts["suzume"], "robin"); err != nil {
		t.Fatal(err)
	}
	b.signIn("robin")
	stranger, err := k.row(b.cookie(sessionCookie))
	if err != nil {
		t.Fatal(err)
	}
	if stranger.Account.ID == before.Account.ID {
		t.Error("who took the name got the account")
	}
}

func TestCopyOfTheCookieIsDeadAfterSignOut(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	b.get("/")
	thief := b.copied()
	thief.get("/account").shows("@robin")

	b.signOut("/")
	thief.get("/").shows(nobody)
	thief.get("/account").leads("/login?next=%2Faccount")
	k.restart()
	thief.get("/").shows(nobody)
}

// A request that is under way while its session ends must not bring it back.
func TestRequestInFlightCannotReviveASession(t *testing.T) {
	t.Parallel()
	refuse := func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusServiceUnavailable) }
	tests := []struct {
		name, path string
		succeeds   bool
		want       string
	}{
		{"a sign-in that starts", requestToken, true, nobody},
		{"a sign-in that does not start", requestToken, false, nobody},
		{"a sign-in that fails", accessToken, false, nobody},
		{"a sign-in that ends well, with a session of its own", accessToken, true, "@suzume"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := start(t)
			b := k.browser(t)
			b.signIn("robin")
			old, copied := b.cookie(sessionCookie), b.copied()
			target := "/login"
			if tt.path == accessToken {
				target = b.start("next=/").authorize("suzume")
			}

			then := refuse
			if tt.succeeds {
				then = k.twitter.pass
			}
			arrived, release := k.twitter.hold(tt.path, then)
			late := make(chan *answer, 1)
			go func() { late <- b.get(target) }()
			<-arrived
			k.clock.advance(2 * time.Minute) // so that a request touches its session
			if got := copied.who(); got != "@robin" {
				t.Errorf("signed in is %q before signing out", got)
			}
			copied.signOut("/")
			release()
			if a := <-late; a.StatusCode != http.StatusSeeOther {
				t.Errorf("status %d", a.StatusCode)
			}

			if got := b.who(); got != tt.want {
				t.Errorf("signed in is %q, want %q", got, tt.want)
			}
			if got := copied.who(); got != nobody {
				t.Errorf("the old session is back: %q", got)
			}
			if _, err := k.row(old); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the old session's row: %v, want none", err)
			}
		})
	}
}

func TestManyRequestsWhileSigningOut(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	b.get("/")
	thief, old := b.copied(), b.cookie(sessionCookie)

	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for range 10 {
				k.clock.advance(time.Minute) // each touches the session
				if a := thief.get("/"); a.StatusCode != http.StatusOK {
					t.Errorf("status %d", a.StatusCode)
				}
			}
		})
	}
	b.signOut("/")
	thief.get("/").shows(nobody) // at once, whatever is still under way
	all.Wait()
	thief.get("/").shows(nobody)

	hash := sha256.Sum256(decode(t, old))
	if err := k.db.Touch(context.Background(), hash[:], k.clock.Now()); err != nil {
		t.Errorf("touching a session that has ended: %v", err)
	}
	if _, err := k.row(old); !errors.Is(err, store.ErrNotFound) {
		t.Errorf("the old session's row: %v, want none", err)
	}
}

func TestSessionLimits(t *testing.T) {
	t.Parallel()
	const day = 24 * time.Hour
	tests := []struct {
		name  string
		waits []time.Duration // and a look at the page after each
		want  string
	}{
		{"a moment before idle", []time.Duration{7*day - time.Second}, "@robin"},
		{"idle", []time.Duration{7 * day}, nobody},
		{"used meanwhile", []time.Duration{6 * day, 6 * day}, "@robin"},
		{"used meanwhile, then idle", []time.Duration{6 * day, 7 * day}, nobody},
		{"in use all the time", []time.Duration{6 * day, 6 * day, 6 * day, 6 * day, 6*day - time.Second}, "@robin"},
		{"in use all the time, for too long", []time.Duration{6 * day, 6 * day, 6 * day, 6 * day, 6 * day}, nobody},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := start(t)
			b := k.browser(t)
			b.signIn("robin")
			b.get("/")
			var got string
			for _, wait := range tt.waits {
				k.clock.advance(wait)
				got = b.who()
			}
			if got != tt.want {
				t.Errorf("signed in is %q, want %q", got, tt.want)
			}
			if b.cookie(sessionCookie) == "" {
				t.Error("the browser gave the cookie up: it was not the server that ended the session")
			}
			over := tt.want == nobody
			if over {
				k.clock.advance(time.Second)
			}
			if swept, err := k.sessions.Sweep(context.Background()); err != nil || swept == 1 != over {
				t.Errorf("swept %d sessions, error %v", swept, err)
			}
			if got := b.who(); got != tt.want {
				t.Errorf("after the sweep signed in is %q, want %q", got, tt.want)
			}
		})
	}
}

func TestRestart(t *testing.T) {
	t.Parallel()
	k := start(t)
	robin, suzume, quiet := k.browser(t), k.browser(t), k.browser(t)
	robin.signIn("robin") // with a notice not yet shown
	back := suzume.start("next=/account").authorize("suzume")
	denied := quiet.start("next=/account").cancel()
	k.restart()
	robin.get("/").shows("@robin", "You were signed in as @robin")
	suzume.follow(suzume.get(back).leads("/account")).shows("@suzume", "You were signed in as @suzume")
	quiet.follow(quiet.get(denied).leads("/")).shows(nobody, deniedIt)
}

func TestSecretKeyRotation(t *testing.T) {
	t.Parallel()
	k := start(t)
	robin, suzume, late := k.browser(t), k.browser(t), k.browser(t)
	robin.signIn("robin")
	robin.get("/")
	back, lateBack := suzume.start("next=/account").authorize("suzume"), late.start("next=/account").authorize("Bulbul")
	token := func() error {
		r := httptest.NewRequest(http.MethodGet, "/", nil)
		for _, c := range robin.cookies() {
			r.AddCookie(c)
		}
		_, ok, err := k.sessions.Token(r)
		if ok == (err != nil) {
			t.Errorf("Token says %v and %v", ok, err)
		}
		return err
	}

	// A new key before the old one keeps everything.
	k.restart(func(s *setup) { s.keys = [][]byte{anotherKey, oneKey} })
	robin.get("/account").shows("@robin")
	if err := token(); err != nil {
		t.Errorf("the access token, sealed with the older key: %v", err)
	}
	suzume.follow(suzume.get(back).leads("/account")).shows("@suzume", "You were signed in as @suzume")

	// Without the old one, what was encrypted with it is as good as none.
	calls := k.twitter.calls(accessToken)
	k.restart(func(s *setup) { s.keys = [][]byte{anotherKey} })
	late.follow(late.get(lateBack).leads("/")).shows(nobody, foreign)
	if n := k.twitter.calls(accessToken); n != calls {
		t.Errorf("access_token was called %d times", n-calls)
	}
	robin.get("/account").shows("@robin") // the row needs no key
	suzume.get("/account").shows("@suzume")
	if err := token(); err != nil {
		t.Errorf("the access token, sealed anew when it was used: %v", err)
	}
	k.restart(func(s *setup) { s.keys = [][]byte{thirdKey} })
	robin.get("/account").shows("@robin")
	if err := token(); !errors.Is(err, session.ErrSealed) {
		t.Errorf("the access token, sealed with a key that is gone: %v, want %v", err, session.ErrSealed)
	}
	robin.signIn("robin")
	if err := token(); err != nil {
		t.Errorf("the access token, after signing in again: %v", err)
	}
}

func TestNoticeUnderADroppedKey(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	k.restart(func(s *setup) { s.keys = [][]byte{anotherKey} })
	b.get("/").shows("@robin")
	if b.cookie("perch-notices") != "" {
		t.Error("a cookie that nobody can read stays in the browser")
	}
}

// A cookie that cannot be read is as good as none, and is replaced.
func TestGarbageInCookies(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	v := b.start("next=/")
	good := map[string]string{"perch-session": b.cookie(sessionCookie), "perch-notices": b.cookie("perch-notices")}
	for _, c := range b.pending() {
		good[c.Name] = c.Value
	}
	if len(good) != 3 {
		t.Fatalf("cookies are %v, want three", good)
	}
	garbage := map[string]func(value string) string{
		"empty":          func(string) string { return "" },
		"a word":         func(string) string { return "garbage-of-no-meaning" },
		"quoted":         func(value string) string { return `"` + value[:len(value)/2] + `"` },
		"truncated":      func(value string) string { return value[:len(value)-4] },
		"cut in half":    func(value string) string { return value[:len(value)/2] },
		"longer":         func(value string) string { return value + "AAAA" },
		"twice":          func(value string) string { return value + value },
		"tampered":       func(value string) string { return flip(value, len(value)/2) },
		"tampered first": func(value string) string { return flip(value, 0) },
		"huge":           func(string) string { return strings.Repeat("A", 8000) },
		"binary":         func(string) string { return "\x01\x02\xff\xfe" },
		"percents":       func(string) string { return "%00%0d%0aSet-Cookie:%20a=b" },
		"zeros":          func(string) string { return base64.RawURLEncoding.EncodeToString(make([]byte, 32)) },
		"another's":      func(string) string { return good["perch-notices"] + "." },
	}
	for kind, spoil := range garbage {
		for name, value := range good {
			t.Run(kind+" "+name, func(t *testing.T) {
				cookie := name + "=" + spoil(value)
				for _, target := range []string{"/", "/header", "/account", "/login",
					"/oauth-authorized?oauth_token=" + v.token + "&oauth_verifier=v", "/oauth-authorized?denied=" + v.token} {
					a := k.serve(t, k.request(http.MethodGet, target, "Cookie", cookie))
					switch {
					case a.StatusCode >= 500:
						t.Errorf("GET %s: status %d", target, a.StatusCode)
					case target == "/" || target == "/header":
						a.shows(nobody)
					case target == "/account":
						a.leads("/login?next=%2Faccount")
					}
				}
				a := k.serve(t, k.request(http.MethodPost, "/logout", "Cookie", cookie))
				a.leads("/")

				// It is in nobody's way: with it, one can still sign in.
				b := k.browser(t)
				if c := (&http.Cookie{Name: name, Value: spoil(value)}); c.Valid() == nil { // no client would send the others
					b.putBack([]*http.Cookie{c})
				}
				b.signIn("suzume")
				b.get("/").shows("@suzume", "You were signed in as @suzume")
			})
		}
	}
}

// flip replaces one character of a cookie by another that may stand there.
func flip(value string, i int) string {
	other := "A"
	if value[i] == 'A' {
		other = "B"
	}
	return value[:i] + other + value[i+1:]
}

func decode(t *testing.T, cookie string) []byte {
	t.Helper()
	id, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil {
		t.Fatal(err)
	}
	return id
}

// Sandbox accounts are nobody with real keys, and the reverse: another
// provider's sessions do not count.
func TestSessionOfAnotherProvider(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	real := *k.twitter.base
	k.twitter.base = &url.URL{Scheme: "https", Host: "api.x.com"}
	k.restart()
	b.get("/").shows(nobody, "You were signed in as @robin")
	k.twitter.base = &real
	k.restart()
	b.get("/").shows("@robin")
}

// The visitor presses the button and closes the tab. The session is over all
// the same.
func TestSignOutCountsThoughNobodyWaits(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	left, leave := context.WithCancel(context.Background())
	leave()
	r := k.request(http.MethodPost, "/logout", "Sec-Fetch-Site", "same-origin").WithContext(left)
	for _, c := range b.cookies() {
		r.AddCookie(c)
	}
	k.serve(t, r)
	if got := b.who(); got != nobody {
		t.Errorf("signed in is %q", got)
	}
}
