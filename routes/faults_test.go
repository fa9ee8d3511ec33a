package routes_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"time"
)

// providersWords stand in every body that Twitter sends along with a fault.
// They must not reach a visitor, nor the log.
const providersWords = "the provider's very own words"

// What Perch says to the visitor, by the reason that the log tells.
var wordsFor = map[string]string{
	"unreachable":  "X is not answering at the moment. Please wait a little.",
	"unavailable":  "X is not answering at the moment. Please wait a little.",
	"expired":      "X no longer accepts this sign-in.",
	"locked":       "X has locked this account. Please unlock it at x.com first.",
	"rate_limited": "X takes no more sign-ins for now. Please wait a few minutes.",
	"keys":         "Sign-in is not set up correctly on this site. The people who run it find the reason in their log.",
	"stripped":     "Sign-in is not set up correctly on this site. The people who run it find the reason in their log.",
	"clock":        "Sign-in is not set up correctly on this site. The people who run it find the reason in their log.",
	"callback":     "Sign-in is not set up correctly on this site. The people who run it find the reason in their log.",
	"suspended":    "Sign-in is not set up correctly on this site. The people who run it find the reason in their log.",
	"refused":      "X did not let this sign-in through.",
	"no_credits":   "X did not let this sign-in through.",
	"not_planned":  "X did not let this sign-in through.",
	"garbled":      "X did not let this sign-in through.",
}

// fault is a way for Twitter to fail, and what Perch makes of it.
type fault struct {
	name         string
	answer       http.HandlerFunc
	atStart, end string // the reason at request_token and at access_token; "": the fault does not exist there
	status, code int    // for the log; status 0: no answer
}

// faults returns them all. Those that only time ends are in slowFaults.
func faults(k *kit) []fault {
	moved := func(status int) http.HandlerFunc {
		return func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Location", k.twitter.base.String()+"/elsewhere")
			w.WriteHeader(status)
		}
	}
	inAnHour := strconv.FormatInt(k.clock.Now().Add(time.Hour).Unix(), 10)
	const pair = "oauth_token=tttttttt&oauth_token_secret=ssssssss"
	const given, exchanged = pair + "&oauth_callback_confirmed=true", pair + "&user_id=12&screen_name=jenny_wren"
	all := []fault{
		{"a reset", reset, "unreachable", "unreachable", 0, 0},
		{"an answer cut short", says(200, "", given+"&"+exchanged, "Content-Length", "9999"), "unreachable", "unreachable", 0, 0},
		{"moved permanently", moved(301), "refused", "refused", 301, 0},
		{"moved, elsewhere", moved(302), "refused", "refused", 302, 0},
		{"moved, see other", moved(303), "refused", "refused", 303, 0},
		{"moved, and the same again", moved(307), "refused", "refused", 307, 0},
		{"moved for good, and the same again", moved(308), "refused", "refused", 308, 0},

		// TWITTER.md's table, in the four shapes.
		{"32: wrong keys", jsonError(401, 32), "keys", "expired", 401, 32},
		{"135: the clock", jsonError(401, 135), "clock", "clock", 401, 135},
		{"215: no Authorization arrived", jsonError(400, 215), "stripped", "stripped", 400, 215},
		{"89: token expired", jsonError(401, 89), "expired", "expired", 401, 89},
		{"415 in XML: callback not approved", says(403, "application/xml", `<?xml version="1.0"?><errors><error code="415">`+providersWords+`</error></errors>`), "callback", "callback", 403, 415},
		{"415 in JSON", jsonError(403, 415), "callback", "callback", 403, 415},
		{"416: application suspended", jsonError(401, 416), "suspended", "suspended", 401, 416},
		{"417: no callback registered", jsonError(401, 417), "callback", "callback", 401, 417},
		{"417 in XML without its code", says(401, "application/xml", `<?xml version="1.0"?><hash><error>Desktop applications only support the oauth_callback value 'oob'</error>`+
			`<request>`+providersWords+`</request></hash>`), "callback", "callback", 401, 417},
		{"453: plan", jsonError(403, 453), "not_planned", "not_planned", 403, 453},
		{"326: account locked", jsonError(403, 326), "locked", "locked", 403, 326},
		{"64: account suspended", jsonError(403, 64), "locked", "locked", 403, 64},
		{"63: account suspended", jsonError(403, 63), "locked", "locked", 403, 63},
		{"88: too many", jsonError(429, 88), "rate_limited", "rate_limited", 429, 88},
		{"too many, without a code", says(429, "text/plain", providersWords), "rate_limited", "rate_limited", 429, 0},
		{"too many, reset long ago", says(429, "", providersWords, "X-Rate-Limit-Reset", "0"), "rate_limited", "rate_limited", 429, 0},
		{"too many, reset in a thousand years", says(429, "", providersWords, "X-Rate-Limit-Reset", "99999999999"), "rate_limited", "rate_limited", 429, 0},
		{"too many, until", says(429, "", providersWords, "X-Rate-Limit-Reset", inAnHour), "rate_limited", "rate_limited", 429, 0},
		{"130: over capacity", jsonError(503, 130), "unavailable", "unavailable", 503, 130},
		{"131: internal error", jsonError(500, 131), "unavailable", "unavailable", 500, 131},
		{"a code nobody knows", jsonError(403, 9999), "refused", "refused", 403, 9999},
		{"402: no credits", says(402, "application/problem+json", `{"title":"CreditsDepleted","detail":"`+providersWords+`","status":402}`), "no_credits", "no_credits", 402, 0},
		{"403: not enrolled", says(403, "application/json", `{"reason":"client-not-enrolled","detail":"`+providersWords+`"}`), "refused", "refused", 403, 0},
		{"401 in old XML", says(401, "application/xml", `<hash><error>`+providersWords+`</error><request>/oauth</request></hash>`), "keys", "expired", 401, 0},
		{"401 in plain text", says(401, "text/html", "Request token missing. "+providersWords), "keys", "expired", 401, 0},
		{"401 without a body", says(401, "", ""), "keys", "expired", 401, 0},
		{"404", says(404, "text/html", providersWords), "refused", "refused", 404, 0},
		{"500 in HTML", says(500, "text/html", "<h1>"+providersWords+"</h1>"), "unavailable", "unavailable", 500, 0},
		{"502 in HTML", says(502, "text/html", "<h1>"+providersWords+"</h1>"), "unavailable", "unavailable", 502, 0},
		{"503 in HTML", says(503, "text/html", "<h1>"+providersWords+"</h1>"), "unavailable", "unavailable", 503, 0},
		{"504 without a body", says(504, "", ""), "unavailable", "unavailable", 504, 0},
		{"500, huge", says(500, "text/html", strings.Repeat(providersWords, 40_000)), "unavailable", "unavailable", 500, 0},

		// 200, and yet no answer.
		{"204", says(204, "", ""), "refused", "refused", 204, 0},
		{"HTML", says(200, "text/html", "<html><p>"+providersWords+"</p></html>"), "garbled", "garbled", 200, 0},
		{"JSON", says(200, "application/json", `{"oauth_token":"`+providersWords+`"}`), "garbled", "garbled", 200, 0},
		{"nothing", says(200, "", ""), "garbled", "garbled", 200, 0},
		{"huge", says(200, "", given+"&"+exchanged+"&more="+strings.Repeat("a", 1<<20)), "garbled", "garbled", 200, 0},
		{"huge, and without an end", k.twitter.endless, "garbled", "garbled", 200, 0},
		{"a gzip bomb", bomb(given + "&more="), "garbled", "garbled", 200, 0},
		{"gzip that is none", says(200, "", given, "Content-Encoding", "gzip"), "unreachable", "unreachable", 0, 0},
		{"bad encoding", says(200, "", given+"&user_id=%zz"), "garbled", "garbled", 200, 0},
		{"no token", says(200, "", "oauth_token_secret=ssssssss&oauth_callback_confirmed=true&user_id=12&screen_name=a"), "garbled", "garbled", 200, 0},
		{"no secret", says(200, "", "oauth_token=tttttttt&oauth_callback_confirmed=true&user_id=12&screen_name=a"), "garbled", "garbled", 200, 0},
		{"an empty token", says(200, "", "oauth_token=&oauth_token_secret=ssssssss&oauth_callback_confirmed=true&user_id=12&screen_name=a"), "garbled", "garbled", 200, 0},
		{"a token too long", says(200, "", strings.Replace(given+"&user_id=12&screen_name=a", "tttttttt", strings.Repeat("t", 257), 1)), "garbled", "garbled", 200, 0},
		{"a token with a line feed", says(200, "", strings.Replace(given+"&user_id=12&screen_name=a", "tttttttt", "t%0d%0at", 1)), "garbled", "garbled", 200, 0},
		{"the token twice", says(200, "", given+"&user_id=12&screen_name=a&oauth_token=another_token"), "garbled", "garbled", 200, 0},
		{"the secret twice", says(200, "", given+"&user_id=12&screen_name=a&oauth_token_secret=another_secret"), "garbled", "garbled", 200, 0},

		{"callback not confirmed", says(200, "", pair), "garbled", "", 200, 0},
		{"callback confirmed: false", says(200, "", pair+"&oauth_callback_confirmed=false"), "garbled", "", 200, 0},
		{"callback confirmed twice", says(200, "", given+"&oauth_callback_confirmed=true"), "garbled", "", 200, 0},
	}
	for name, identity := range map[string]string{
		"no identity":                        "",
		"no user id":                         "&screen_name=jenny_wren",
		"no screen name":                     "&user_id=12",
		"an empty user id":                   "&user_id=&screen_name=jenny_wren",
		"an empty screen name":               "&user_id=12&screen_name=",
		"the user id twice":                  "&user_id=12&user_id=13&screen_name=jenny_wren",
		"the screen name twice":              "&user_id=12&screen_name=jenny_wren&screen_name=robin",
		"a user id of letters":               "&user_id=twelve&screen_name=jenny_wren",
		"a negative user id":                 "&user_id=-12&screen_name=jenny_wren",
		"a user id too long":                 "&user_id=123456789012345678901&screen_name=jenny_wren",
		"a user id and a line feed":          "&user_id=12%0a&screen_name=jenny_wren",
		"a user id in other digits":          "&user_id=%D9%A1%D9%A2&screen_name=jenny_wren",
		"a screen name of markup":            "&user_id=12&screen_name=%3Cscript%3E",
		"a screen name with a space":         "&user_id=12&screen_name=jenny+wren",
		"a screen name that is not ASCII":    "&user_id=12&screen_name=%E9%9B%80",
		"a screen name too long":             "&user_id=12&screen_name=" + strings.Repeat("a", 51),
		"a screen name that looks like mail": "&user_id=12&screen_name=jenny@wren",
	} {
		all = append(all, fault{name, says(200, "", pair+identity), "", "garbled", 200, 0})
	}
	return all
}

// impatience is how long Perch waits for Twitter where Twitter does not answer:
// long enough for a call to get there on a busy machine.
const impatience = 600 * time.Millisecond

func slowFaults(k *kit) []fault {
	return []fault{
		{"hangs", k.twitter.hang, "unreachable", "unreachable", 0, 0},
		{"hangs after its header", k.twitter.drip(""), "unreachable", "unreachable", 0, 0},
		{"drips", k.twitter.drip("oauth_token=tttttttt&oauth_token_secret=ssssssss&oauth_callback_confirmed=true"), "unreachable", "unreachable", 0, 0},
	}
}

func TestTwitterFails(t *testing.T) {
	t.Parallel()
	k := start(t)
	k.secrets.add(providersWords)
	session := k.browser(t).signedIn()
	for _, tt := range faults(k) {
		t.Run(tt.name, func(t *testing.T) { k.fails(t, tt, session, func() {}) })
	}
}

func TestTwitterIsSlow(t *testing.T) {
	t.Parallel()
	k := start(t)
	session := k.browser(t).signedIn()
	for _, tt := range slowFaults(k) {
		t.Run(tt.name, func(t *testing.T) {
			// Only now does Perch lose patience: what goes before is not what this
			// is about, and a busy machine may take its time for it.
			k.restart(func(s *setup) { s.timeout = 20 * time.Second })
			k.fails(t, tt, session, func() { k.restart(func(s *setup) { s.timeout = impatience }) })
		})
	}
}

// signedIn signs robin in and returns the cookie.
func (b *browser) signedIn() []*http.Cookie {
	b.t.Helper()
	b.signIn("robin")
	b.get("/").shows("@robin", "You were signed in as @robin")
	return b.cookies()
}

// fails lets Twitter fail at each of its calls, for a stranger and for robin,
// who is signed in. ready is called just before the fault.
func (k *kit) fails(t *testing.T, f fault, session []*http.Cookie, ready func()) {
	for _, at := range []struct{ path, reason string }{{requestToken, f.atStart}, {accessToken, f.end}} {
		if at.reason == "" {
			continue
		}
		robin, stranger := k.browser(t), k.browser(t)
		robin.putBack(session)
		for who, b := range map[string]*browser{"@robin": robin, nobody: stranger} {
			target := "/login?next=/account"
			if at.path == accessToken {
				target = b.start("next=/account").authorize("suzume")
			}
			ready()
			calls := k.twitter.calls(at.path)
			failed := fmt.Sprintf(`perch_signins_total{outcome="failed",reason=%q}`, at.reason)
			failures := k.count(failed)
			k.twitter.fail(at.path, f.answer)
			began := time.Now()
			a := b.get(target)
			took := time.Since(began)
			k.twitter.fail(at.path, nil)

			// With the account as next, the home page, where the notice is for all.
			page := b.follow(a.leads("/"))
			want := wordsFor[at.reason]
			if f.name == "too many, until" {
				want = "X takes no more sign-ins for now. Please try again at 13:00 UTC."
			}
			page.shows(who, want)
			if again := page.document().Find("#notices .notice.problem a").First(); again.Text() != "Try again" || !strings.HasPrefix(again.AttrOr("href", ""), "/login?") {
				t.Errorf("%s: the notice offers no other try", at.path)
			}
			if took > 10*time.Second {
				t.Errorf("%s: the answer took %v", at.path, took)
			}
			if n := k.twitter.calls(at.path) - calls; n != 1 {
				t.Errorf("%s was called %d times, want once", at.path, n)
			}
			if got := k.log.last("login_failed")["reason"]; got != at.reason {
				t.Errorf("%s: the log's reason is %v, want %s", at.path, got, at.reason)
			}
			if n := k.count(failed) - failures; n != 1 {
				t.Errorf("%s is %v more, want one", failed, n)
			}
			event := k.log.last("provider_error")
			got := fmt.Sprint(event["call"], " ", event["status"], " ", event["code"])
			if want := fmt.Sprint(strings.TrimPrefix(at.path, "/oauth/"), " ", f.status, " ", f.code); got != want {
				t.Errorf("the log says %q of the call, want %q", got, want)
			}
		}
		if robin.cookie(sessionCookie) != session[0].Value {
			t.Errorf("%s: robin's session has changed", at.path)
		}
		if stranger.cookie(sessionCookie) != "" {
			t.Errorf("%s: the stranger has a session", at.path)
		}
	}
	if n := k.twitter.calls("/elsewhere"); n != 0 {
		t.Errorf("a redirect was followed, %d times", n)
	}
}

// Once Twitter is back, so is sign-in.
func TestTwitterRecovers(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	k.twitter.fail(requestToken, says(503, "", ""))
	for range 3 {
		b.get("/login").leads("/")
		b.get("/").shows(nobody, wordsFor["unavailable"])
	}
	k.twitter.fail(requestToken, nil)
	b.signIn("robin")
	b.get("/").shows("@robin", "You were signed in as @robin")
}

// While Twitter is down nobody waits for it: the fifth failure in a row is the
// last that is waited for, and the words stay the same. Once it is back, so is
// sign-in.
func TestTwitterIsDownForAWhile(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	back := b.start("next=/").authorize("robin")
	k.twitter.fail(requestToken, reset)
	k.twitter.fail(accessToken, reset)
	calls := k.twitter.calls(requestToken)
	for n, want := range []int{1, 2, 3, 4, 5, 5, 5} {
		b.get("/login").leads("/")
		b.get("/").shows(nobody, wordsFor["unreachable"])
		if got := k.twitter.calls(requestToken) - calls; got != want {
			t.Errorf("after %d sign-ins Twitter was called %d times, want %d", n+1, got, want)
		}
	}
	b.get(back).leads("/")
	b.get("/").shows(nobody, wordsFor["unreachable"])
	if got := k.twitter.calls(accessToken); got != 0 {
		t.Errorf("for the way back Twitter was called %d times, want 0", got)
	}
	if got, want := k.log.last("provider_error")["error"], "twitter: access_token: unreachable (not tried: X did not answer a moment ago)"; got != want {
		t.Errorf("the log says %q, want %q", got, want)
	}

	k.twitter.fail(requestToken, nil)
	k.twitter.fail(accessToken, nil)
	k.clock.advance(10 * time.Second)
	b.signIn("robin")
	b.get("/").shows("@robin", "You were signed in as @robin")
}

// htmx hears of a fault as of everything else: by going to a page.
func TestTwitterFailsForHTMX(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	k.twitter.fail(requestToken, reset)
	a := b.get("/login?next=/?a=1", b.htmx("/?a=1")...)
	if a.StatusCode != http.StatusOK || a.Header.Get("HX-Redirect") != "/?a=1" {
		t.Errorf("status %d, HX-Redirect %q", a.StatusCode, a.Header.Get("HX-Redirect"))
	}
	b.follow(a).shows(nobody, wordsFor["unreachable"])
}

// The profile never stands in the way: signed in all the same, at once.
func TestProfileHangs(t *testing.T) {
	t.Parallel()
	k := start(t, func(s *setup) { s.timeout, s.aside = time.Hour, true }) // whoever waits for it waits for ever
	k.twitter.fail(verify, k.twitter.hang)
	k.twitter.fail(usersMe, k.twitter.hang)
	b := k.browser(t)
	b.follow(b.signIn("robin").leads("/")).shows("@robin", "You were signed in as @robin")
	b.get("/account").shows("@robin")
}

// The visitor leaves while Twitter thinks. Nobody is signed in, and nothing
// is told to nobody.
func TestVisitorLeaves(t *testing.T) {
	t.Parallel()
	k := start(t, func(s *setup) { s.timeout = time.Hour })
	b := k.browser(t)
	back := b.start("next=/").authorize("robin")
	arrived, left := make(chan struct{}), make(chan struct{})
	k.twitter.fail(accessToken, func(_ http.ResponseWriter, r *http.Request) {
		close(arrived)
		<-r.Context().Done() // Perch hangs up as well
		close(left)
	})
	ctx, leave := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, back, nil)
	if err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		_, err := b.Do(r)
		done <- err
	}()
	<-arrived
	leave()
	if err := <-done; !errors.Is(err, context.Canceled) {
		t.Errorf("the visitor gets %v", err)
	}
	select {
	case <-left:
	case <-time.After(10 * time.Second):
		t.Error("Perch still waits for Twitter")
	}
	if got := b.who(); got != nobody {
		t.Errorf("signed in is %q", got)
	}
}

// says is a fault that consists of an answer. Headers come in pairs.
func says(status int, kind, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", kind)
		for i := 0; i < len(header); i += 2 {
			w.Header().Set(header[i], header[i+1])
		}
		w.WriteHeader(status)
		w.Write([]byte(body))
	}
}

func jsonError(status, code int) http.HandlerFunc {
	return says(status, "application/json", fmt.Sprintf(`{"errors":[{"code":%d,"message":%q}]}`, code, providersWords))
}

// reset cuts the connection without a word.
func reset(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }

// endless sends more than Perch takes, and keeps it waiting for the rest.
func (w *wire) endless(rw http.ResponseWriter, r *http.Request) {
	rw.Write(bytes.Repeat([]byte("a"), 128<<10))
	http.NewResponseController(rw).Flush()
	w.hang(rw, r)
}

// drip sends a header, and then the body, letter by letter, and never ends.
func (w *wire) drip(body string) http.HandlerFunc {
	return func(rw http.ResponseWriter, r *http.Request) {
		for i := 0; ; i++ {
			if i < len(body) {
				rw.Write([]byte{body[i]})
			}
			http.NewResponseController(rw).Flush()
			select {
			case <-time.After(10 * time.Millisecond):
			case <-r.Context().Done():
				return
			case <-w.over:
				return
			}
		}
	}
}

// bomb is small on the wire and 16 MiB in memory.
func bomb(begin string) http.HandlerFunc {
	var b bytes.Buffer
	z := gzip.NewWriter(&b)
	z.Write([]byte(begin))
	mega := bytes.Repeat([]byte("a"), 1<<20)
	for range 16 {
		z.Write(mega)
	}
	z.Close()
	return says(200, "text/html", b.String(), "Content-Encoding", "gzip")
}
