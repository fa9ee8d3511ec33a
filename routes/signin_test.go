package routes_test

import (
	"bytes"
	"crypto/rand"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"
)

// What Perch says when a callback is not the way back of a sign-in that this
// browser started.
const (
	incomplete = "This sign-in link is not complete."
	foreign    = "This sign-in took too long, or was started in another browser."
	usedBefore = "This sign-in was used before."
	deniedIt   = "You denied the request to sign in."
)

func TestSignInAndOut(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, origin string
		htmx         bool
	}{
		{"without scripts", "", false},
		{"with htmx", "", true},
		{"served with https, without scripts", "https://perch.example", false},
		{"served with https, with htmx", "https://perch.example", true},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := start(t, func(s *setup) { s.origin = tt.origin })
			b := k.browser(t)
			var htmx []string
			if tt.htmx {
				htmx = b.htmx("/")
			}

			home := b.get("/").shows(nobody)
			link := home.document().Find("#sign-in").AttrOr("href", "")
			v := b.consent(b.get(link, htmx...))
			b.get(v.authorize("robin")).leads("/")
			b.get("/").shows("@robin", "You were signed in as @robin")
			b.get("/").shows("@robin")

			account := b.get("/account").shows("@robin")
			if got, want := account.document().Find("main dd").Map(text), []string{"1 September 2026, 12:00 UTC", "1 September 2026, 12:00 UTC"}; !slices.Equal(got, want) {
				t.Errorf("the account page says %q, want %q", got, want)
			}

			out := b.signOut("/", htmx...)
			if !tt.htmx {
				out = b.follow(out.leads("/"))
			}
			out.shows(nobody, "You were signed out")
			b.get("/").shows(nobody)
			if left := b.cookies(); len(left) > 0 {
				t.Errorf("cookies are left behind: %v", left)
			}
		})
	}
}

func TestAccountPageBringsBack(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	v := b.consent(b.follow(b.get("/account?x=1").leads("/login?next=%2Faccount%3Fx%3D1")))
	b.follow(b.get(v.authorize("robin")).leads("/account?x=1")).shows("@robin", "You were signed in as @robin")
}

func TestCancel(t *testing.T) {
	t.Parallel()
	k := start(t)
	for next, lands := range map[string]string{
		"/":            "/",
		"/?page=2":     "/?page=2",
		"/account":     "/", // a public page: the account page would send on to sign in
		"/account?x=1": "/",
		"/%61ccount":   "/",
	} {
		t.Run(next, func(t *testing.T) {
			b := k.browser(t)
			back := b.start("next=" + url.QueryEscape(next)).cancel()
			b.follow(b.get(back).leads(lands)).shows(nobody, deniedIt)
			b.follow(b.get(back).leads("/")).shows(nobody, usedBefore) // the same a second time
		})
	}
	t.Run("by somebody who is signed in, and stays so", func(t *testing.T) {
		b := k.browser(t)
		b.signIn("robin")
		b.get("/").shows("@robin", "You were signed in as @robin")
		b.follow(b.get(b.start("force_login=true").cancel()).leads("/")).shows("@robin", deniedIt)
	})
	if n := k.twitter.calls(accessToken); n != 1 {
		t.Errorf("access_token was called %d times, want once: for robin", n)
	}
}

func TestReplayedCallback(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	v := b.start("next=/account")
	pending := b.pending()
	back := v.authorize("robin")
	b.follow(b.get(back).leads("/account")).shows("@robin", "You were signed in as @robin")
	session := b.cookie("perch-session")

	t.Run("in the same browser", func(t *testing.T) {
		b.follow(b.get(back).leads("/")).shows("@robin", usedBefore)
	})
	t.Run("with the old cookie put back", func(t *testing.T) {
		b.putBack(pending)
		b.follow(b.get(back).leads("/")).shows("@robin", usedBefore)
	})
	t.Run("with the old cookie, in another browser", func(t *testing.T) {
		thief := k.browser(t)
		thief.putBack(pending)
		thief.follow(thief.get(back).leads("/")).shows(nobody, usedBefore)
	})
	if n := k.twitter.calls(accessToken); n != 1 {
		t.Errorf("access_token was called %d times, want once", n)
	}

	// What Perch remembers of used sign-ins is in memory. Behind it stands
	// Twitter, where a request token is good once as well.
	t.Run("with the old cookie, after a restart", func(t *testing.T) {
		k.restart()
		b.putBack(pending)
		b.follow(b.get(back).leads("/")).shows("@robin", "X no longer accepts this sign-in.")
	})
	if b.cookie("perch-session") != session {
		t.Error("the session has changed")
	}
	t.Run("after signing out", func(t *testing.T) {
		b.signOut("/")
		b.putBack(pending)
		b.get(back).leads("/")
		b.get("/").shows(nobody, "You were signed out", usedBefore)
	})
}

// However many come back at once with the same sign-in, one gets in.
func TestCallbackManyTimesAtOnce(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	back := b.start("next=/").authorize("robin")
	arrived, release := k.twitter.hold(accessToken, k.twitter.pass)
	answers := make(chan *answer, 8)
	for range cap(answers) {
		thief := b.copied()
		go func() { answers <- thief.get(back) }()
	}
	<-arrived
	for range cap(answers) - 1 {
		(<-answers).leads("/") // those that are refused wait for nothing
	}
	release()
	(<-answers).leads("/")
	if n := k.twitter.calls(accessToken); n != 1 {
		t.Errorf("access_token was called %d times, want once", n)
	}
	if n := len(k.log.events("login_ok")); n != 1 {
		t.Errorf("%d were signed in, want one", n)
	}
}

// Login CSRF: to sign a victim in as the attacker.
func TestSomebodyElsesCallback(t *testing.T) {
	t.Parallel()
	k := start(t)
	attacker, stranger, victim := k.browser(t), k.browser(t), k.browser(t)
	victim.signIn("robin")
	victim.get("/")
	session := victim.cookie("perch-session")
	calls := k.twitter.calls(accessToken)

	authorized, cancelled := attacker.start("next=/account").authorize("Bulbul"), attacker.start("next=/account").cancel()
	for _, back := range []string{authorized, cancelled} {
		stranger.follow(stranger.get(back).leads("/")).shows(nobody, foreign)
		victim.follow(victim.get(back).leads("/")).shows("@robin", foreign)
	}
	if victim.cookie("perch-session") != session {
		t.Error("the victim's session has changed")
	}
	if n := k.twitter.calls(accessToken); n != calls {
		t.Errorf("access_token was called %d times for a foreign callback", n-calls)
	}
	// Nor can the victim spoil it for who started it.
	attacker.get(authorized).leads("/account")
	attacker.get(cancelled).leads("/")
	attacker.get("/").shows("@Bulbul", "You were signed in as @Bulbul", deniedIt)
}

func TestNotACallback(t *testing.T) {
	t.Parallel()
	const own = "OWN" // stands for a request token that this browser asked for
	tests := []struct{ name, query, notice string }{
		{"nothing", "", incomplete},
		{"a question mark", "&", incomplete},
		{"no verifier", "oauth_token=OWN", incomplete},
		{"no token", "oauth_verifier=v", incomplete},
		{"an empty token", "oauth_token=&oauth_verifier=v", incomplete},
		{"an empty verifier", "oauth_token=OWN&oauth_verifier=", incomplete},
		{"the token twice", "oauth_token=OWN&oauth_token=OWN&oauth_verifier=v", incomplete},
		{"the verifier twice", "oauth_token=OWN&oauth_verifier=v&oauth_verifier=v", incomplete},
		{"the verifier twice, once encoded", "oauth_token=OWN&oauth_verifier=v&oauth%5Fverifier=v", incomplete},
		{"a token too long", "oauth_token=" + strings.Repeat("a", 257) + "&oauth_verifier=v", incomplete},
		{"a verifier too long", "oauth_token=OWN&oauth_verifier=" + strings.Repeat("a", 257), incomplete},
		{"a query too long", "oauth_token=OWN&oauth_verifier=v&more=" + strings.Repeat("a", 2048), incomplete},
		{"a token with a space", "oauth_token=a+b&oauth_verifier=v", incomplete},
		{"a token with a line feed", "oauth_token=a%0ab&oauth_verifier=v", incomplete},
		{"a verifier with NUL", "oauth_token=OWN&oauth_verifier=%00", incomplete},
		{"a token of letters that are not ASCII", "oauth_token=%C3%A4&oauth_verifier=v", incomplete},
		{"bad encoding", "oauth_token=OWN&oauth_verifier=%zz", incomplete},
		{"a semicolon", "oauth_token=OWN;oauth_verifier=v", incomplete},
		{"other case", "OAUTH_TOKEN=OWN&OAUTH_VERIFIER=v", incomplete},
		{"denied, nothing", "denied=", incomplete},
		{"denied, nothing, beside a token", "denied=&oauth_token=OWN&oauth_verifier=v", incomplete},
		{"denied twice", "denied=OWN&denied=OWN", incomplete},
		{"denied, too long", "denied=" + strings.Repeat("a", 257), incomplete},
		{"an unknown token", "oauth_token=unknown&oauth_verifier=v", foreign},
		{"the longest token", "oauth_token=" + strings.Repeat("a", 256) + "&oauth_verifier=v", foreign},
		{"denied, an unknown token", "denied=unknown", foreign},
		{"an unknown token and a next", "oauth_token=unknown&oauth_verifier=v&next=/account", foreign},
		{"denied counts first", "denied=unknown&oauth_token=OWN&oauth_verifier=v", foreign},
		{"a notice to plant", "denied=unknown&notice=Send+money", foreign},
	}
	k := start(t)
	robin := k.browser(t)
	robin.signIn("robin")
	robin.get("/")
	session := robin.cookie("perch-session")
	v := robin.start("next=/account")
	calls := k.twitter.calls(accessToken)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			back := k.callback(strings.ReplaceAll(tt.query, own, v.token))
			stranger := k.browser(t)
			stranger.follow(stranger.get(back).leads("/")).shows(nobody, tt.notice)
			robin.follow(robin.get(back).leads("/")).shows("@robin", tt.notice)
		})
	}
	t.Run("another method", func(t *testing.T) {
		back := k.callback("oauth_token=" + v.token + "&oauth_verifier=v")
		for _, method := range []string{http.MethodHead, http.MethodPost, http.MethodPut} {
			if a := robin.do(method, back, nil, "Sec-Fetch-Site", "same-origin"); a.StatusCode != http.StatusMethodNotAllowed {
				t.Errorf("%s: status %d", method, a.StatusCode)
			}
		}
	})
	if n := k.twitter.calls(accessToken); n != calls {
		t.Errorf("access_token was called %d times", n-calls)
	}
	if robin.cookie("perch-session") != session {
		t.Error("the session has changed")
	}
	robin.get(v.authorize("suzume")).leads("/account") // all that has spoiled nothing
}

func TestSignInTakesTooLong(t *testing.T) {
	t.Parallel()
	for age, notice := range map[time.Duration]string{
		10*time.Minute - time.Second: "You were signed in as @robin",
		10 * time.Minute:             foreign,
	} {
		t.Run(age.String(), func(t *testing.T) {
			t.Parallel()
			k := start(t)
			b := k.browser(t)
			back := b.start("next=/").authorize("robin")
			k.clock.advance(age)
			if got := b.follow(b.get(back).leads("/")).notices(); !slices.Equal(got, []string{notice}) {
				t.Errorf("notices are %q, want %q", got, notice)
			}
		})
	}
}

// Whoever starts a sign-in decides where it leads; the callback's query never
// does.
func TestNextComesFromTheStart(t *testing.T) {
	t.Parallel()
	k := start(t)
	for query, lands := range map[string]string{
		"":                                      "/",
		"next=/account?x=1":                     "/account?x=1",
		"next=//evil.example/":                  "/",
		"next=https://evil.example/":            "/",
		"next=/%5cevil.example":                 "/",
		"next=/&next=/account":                  "/",
		"next=%2F%3Fq%3Dcaf%C3%A9":              "/?q=caf%C3%A9",
		"next=" + url.QueryEscape("/a b"):       "/",
		"next=" + url.QueryEscape("/no?a\r\nb"): "/",
	} {
		t.Run(query, func(t *testing.T) {
			b := k.browser(t)
			b.get(b.start(query).authorize("robin") + "&next=/account").leads(lands)
		})
	}
}

func TestTabsSideBySide(t *testing.T) {
	t.Parallel()
	for _, order := range [][]int{{0, 1}, {1, 0}, {0, 1, 2, 3, 4}, {4, 3, 2, 1, 0}, {2, 0, 4, 1, 3}} {
		t.Run(fmt.Sprint(order), func(t *testing.T) {
			t.Parallel()
			k := start(t)
			b := k.browser(t)
			names := []string{"robin", "suzume", "Bulbul", "jenny_wren", "goldcrest_wings"}
			var tabs []*visit
			for i := range order {
				tabs = append(tabs, b.start(fmt.Sprintf("next=/account?tab=%d", i)))
			}
			for _, i := range order {
				b.follow(b.get(tabs[i].authorize(names[i])).leads(fmt.Sprintf("/account?tab=%d", i))).
					shows("@"+names[i], "You were signed in as @"+names[i])
			}
			if left := b.pending(); len(left) > 0 {
				t.Errorf("sign-ins are left on their way: %v", left)
			}
		})
	}
}

func TestSixthTabDropsTheOldest(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	var tabs []*visit
	for i := range 6 {
		tabs = append(tabs, b.start(fmt.Sprintf("next=/?tab=%d", i)))
		k.clock.advance(time.Second)
	}
	if n := len(b.pending()); n != 5 {
		t.Errorf("%d sign-ins are on their way, want 5", n)
	}
	b.follow(b.get(tabs[0].authorize("robin")).leads("/")).shows(nobody, foreign)
	for i, tab := range tabs[1:] {
		b.get(tab.authorize("robin")).leads(fmt.Sprintf("/?tab=%d", i+1))
	}
}

func TestCookiesStaySmall(t *testing.T) {
	t.Parallel()
	long := base64.RawURLEncoding.EncodeToString(random(2048))
	tests := []struct{ name, next, lands string }{
		{"a long path", "/?" + long[:2046], "/?" + long[:2046]},
		{"a long path of hex", "/?" + fmt.Sprintf("%x", random(1023)), ""},
		{"a long path that is escaped", "/?" + string(bytes.Map(func(r rune) rune { return 0xc0 + r%64 }, random(1000))), ""},
		{"a long path of bytes that have to be escaped", "/?" + string(highBytes(2046)), ""},
		{"a path too long", "/?" + long[:2047], "/"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := start(t)
			query := "next=" + url.QueryEscape(tt.next)
			if tt.lands != "" {
				b := k.browser(t)
				b.get(b.start(query).authorize("robin")).leads(tt.lands)
			}

			b := k.browser(t)
			b.signIn("robin") // a session and a notice take room, too
			var newest *visit
			for range 7 {
				newest = b.start(query)
				b.small()
				k.clock.advance(time.Second)
			}
			for range 5 {
				b.get(k.callback("denied=unknown")) // notices come after the sign-ins had all the room
				b.small()
			}
			b.get(newest.authorize("suzume"))
			b.small()
			if got := b.who(); got != "@suzume" {
				t.Errorf("the newest sign-in was not kept: signed in is %q", got)
			}
		})
	}
}

// Somewhere among these lengths the sign-ins fill the room to the brim, and
// then come a session and the longest of notices.
func TestCookiesStaySmallWhateverTheLength(t *testing.T) {
	t.Parallel()
	k := start(t)
	for n := 10; n < 2046; n += 75 {
		b := k.browser(t)
		var newest *visit
		for range 6 {
			newest = b.start("next=/?" + base64.RawURLEncoding.EncodeToString(random(2046))[:n])
			k.clock.advance(time.Second)
		}
		b.small()
		k.twitter.fail(requestToken, func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) })
		for range 3 {
			b.get("/login").leads("/")
			b.small()
		}
		k.twitter.fail(requestToken, nil)
		b.get(newest.authorize("goldcrest_wings"))
		b.small()
		if got := b.who(); got != "@goldcrest_wings" {
			t.Errorf("a next of %d bytes: signed in is %q", n, got)
		}
	}
}

// Notices that nobody looks at must not pile up.
func TestNoticesThatNobodyReads(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	for range 8 {
		b.get(k.callback("denied=unknown")).leads("/")
		b.signOut("/").leads("/")
		b.small()
	}
	b.get("/").shows(nobody, "You were signed out", foreign, "You were signed out", foreign, "You were signed out") // the newest five
	b.get("/").shows(nobody)
}

// small fails unless Perch's cookies together have at most 4 KiB.
func (b *browser) small() {
	b.t.Helper()
	size := 0
	for _, c := range b.cookies() {
		size += len(c.Name) + len("=") + len(c.Value) + len("; ")
	}
	if size > 4096 {
		b.t.Errorf("the cookies have %d bytes together, want at most 4096", size)
	}
}

func text(_ int, s *goquery.Selection) string { return strings.TrimSpace(s.Text()) }

func random(n int) []byte {
	b := make([]byte, n)
	rand.Read(b)
	return b
}

// highBytes returns n random bytes, none of them ASCII.
func highBytes(n int) []byte {
	b := random(n)
	for i := range b {
		b[i] |= 0x80
	}
	return b
}
