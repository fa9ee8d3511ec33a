package routes_test

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode/utf8"
)

// The demo accounts' numbers at the sandbox.
const (
	robinsID = "2244994945"
	suzumeID = "1700000000000000004"
)

// What Perch says of a profile.
const (
	refreshed  = "This is how X shows you now."
	tooSoon    = "That was refreshed just now. Please wait a minute."
	notToday   = "X does not tell this site more about you. What you see stays as it is."
	noAnswer   = "X is not answering at the moment. What you see stays as it is."
	tooMany    = "X answers no more questions for now. Please wait a few minutes."
	signInAnew = "X no longer accepts this sign-in. Please sign in again."
)

// card is what the account page says of a person.
type card struct{ name, handle, avatar string }

// card reads it out of the account page, or the fragment.
func (a *answer) card() card {
	a.t.Helper()
	profile := a.document().Find("section#profile")
	if a.StatusCode != http.StatusOK || profile.Length() != 1 {
		a.t.Errorf("status %d, %d cards", a.StatusCode, profile.Length())
	}
	name := profile.Find(".person bdi").Text()
	words := strings.Fields(strings.TrimPrefix(strings.TrimSpace(profile.Find(".person p").Text()), name))
	return card{name, strings.Join(words, " "), profile.Find("img.avatar").AttrOr("src", "")}
}

// has fails unless the card says that, with a picture of any name, or with
// none but a letter.
func (a *answer) has(name, handle string, picture bool) *answer {
	a.t.Helper()
	got := a.card()
	if got.name != name || got.handle != handle || strings.HasPrefix(got.avatar, "/avatar/") != picture {
		a.t.Errorf("the card says %q, want %q, %q and a picture: %v", got, name, handle, picture)
	}
	if letters := a.document().Find("#profile svg.avatar text").Text(); !picture && letters != handle[1:2] {
		a.t.Errorf("the letter is %q", letters)
	}
	return a
}

func (b *browser) refresh(header ...string) *answer {
	b.t.Helper()
	return b.submit("/account/refresh", map[string][]string{"here": {"/account"}}, header...)
}

func TestProfileIsAskedForOnceADayAndPerson(t *testing.T) {
	t.Parallel()
	k := start(t)
	robin, elsewhere, suzume := k.browser(t), k.browser(t), k.browser(t)
	for _, step := range []struct {
		name  string
		b     *browser
		who   string
		wait  time.Duration // before
		calls int           // in all
	}{
		{"the first sign-in", robin, "robin", 0, 1},
		{"again", robin, "robin", time.Minute, 1},
		{"in another browser", elsewhere, "robin", 23 * time.Hour, 1},
		{"somebody else", suzume, "suzume", 0, 2},
		{"a day later", elsewhere, "robin", time.Hour, 3},
		{"and once more", robin, "robin", time.Second, 3},
	} {
		k.clock.advance(step.wait)
		step.b.signIn(step.who)
		if got := k.twitter.calls(usersMe); got != step.calls {
			t.Errorf("%s: X was asked %d times in all, want %d", step.name, got, step.calls)
		}
	}
	robin.get("/account").has("Robin Perch", "@robin", true)
	suzume.get("/account").has("雀 すずめ", "@suzume", true)
	if n := k.twitter.calls(verify); n != 0 {
		t.Errorf("verify_credentials was asked %d times, though the other way works", n)
	}
	if one, other := robin.get("/account").card().avatar, suzume.get("/account").card().avatar; one == other {
		t.Errorf("two people have the picture %s", one)
	}
	if got := robin.get("/").document().Find("#header img.avatar").AttrOr("src", ""); got != robin.get("/account").card().avatar {
		t.Errorf("the header's picture is %q", got)
	}
}

// Off the request's path: the visitor is in at once, and sees the letter until
// there is more.
func TestProfileComesLater(t *testing.T) {
	t.Parallel()
	k := start(t, func(s *setup) { s.aside = true })
	arrived, release := k.twitter.hold(usersMe, k.twitter.pass)
	b := k.browser(t)
	b.follow(b.signIn("robin").leads("/")).shows("@robin", "You were signed in as @robin")
	<-arrived
	b.get("/account").has("", "@robin", false)
	release()
	k.working.Wait()
	b.get("/account").has("Robin Perch", "@robin", true)
}

func TestProfileComesTheSecondWay(t *testing.T) {
	t.Parallel()
	k := start(t)
	k.twitter.fail(usersMe, jsonError(403, 453))
	b := k.browser(t)
	b.signIn("robin")
	b.get("/account").has("Robin Perch", "@robin", true)
	if got := k.log.events("profile_failed"); len(got) > 0 {
		t.Errorf("the log tells of a failure: %v", got)
	}
}

// Whatever X does at the profile, who signed in is signed in, the old profile
// stays, and there is one event. What Refresh says depends on the cause.
func TestProfileFails(t *testing.T) {
	t.Parallel()
	k := start(t)
	k.secrets.add(providersWords)
	first := k.browser(t)
	first.signIn("robin")
	old := first.get("/account").has("Robin Perch", "@robin", true).card()
	for _, f := range faults(k) {
		if f.atStart == "" {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			reason, words := f.end, notToday
			if f.code == 32 {
				reason = "keys"
			}
			if f.status == http.StatusNoContent {
				reason = "garbled"
			}
			switch reason {
			case "unreachable", "unavailable":
				words = noAnswer
			case "rate_limited":
				words = tooMany
			}
			k.restart() // what was left alone is asked again
			k.clock.advance(25 * time.Hour)
			k.twitter.fail(usersMe, f.answer)
			k.twitter.fail(verify, f.answer)
			defer k.twitter.fail(usersMe, nil)
			defer k.twitter.fail(verify, nil)

			events := len(k.log.events("profile_failed"))
			b := k.browser(t)
			b.follow(b.signIn("robin").leads("/")).shows("@robin", "You were signed in as @robin")
			if got := b.get("/account").shows("@robin").card(); got != old {
				t.Errorf("the card says %q, want %q", got, old)
			}
			if got := k.log.events("profile_failed")[events:]; len(got) != 1 || got[0]["account"] != robinsID || !strings.Contains(fmt.Sprint(got[0]["error"]), reason) {
				t.Errorf("the log says %v, want one event of the reason %s", got, reason)
			}

			k.clock.advance(time.Minute)
			if reason == "expired" {
				b.follow(b.refresh().leads("/")).shows(nobody, signInAnew)
				first.signIn("robin") // for the next
				return
			}
			page := b.follow(b.refresh().leads("/account")).shows("@robin", words)
			if got := page.card(); got != old {
				t.Errorf("after a refresh the card says %q, want %q", got, old)
			}
			if got := len(k.log.events("profile_failed")) - events; got != 2 {
				t.Errorf("%d events in all, want 2", got)
			}
			k.clock.advance(time.Minute)
			fragment := b.refresh(b.htmx("/account")...)
			if got := fragment.card(); got != old || !slices.Equal(fragment.notices(), []string{words}) {
				t.Errorf("htmx gets %q with %q", got, fragment.notices())
			}
		})
	}
	if n := k.twitter.calls("/elsewhere"); n != 0 {
		t.Errorf("a redirect was followed, %d times", n)
	}
}

func TestProfileIsSlow(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	k.restart(func(s *setup) { s.timeout = 100 * time.Millisecond })
	for _, f := range slowFaults(k) {
		t.Run(f.name, func(t *testing.T) {
			k.clock.advance(time.Hour) // nothing rests any more
			k.twitter.fail(usersMe, f.answer)
			k.twitter.fail(verify, f.answer)
			b.get("/") // without notices
			b.follow(b.refresh().leads("/account")).shows("@robin", noAnswer).has("Robin Perch", "@robin", true)
		})
	}
}

// "Please try again at": X says when, and is left alone until then.
func TestProfileTooOften(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	b.get("/")
	until := says(429, "", providersWords, "X-Rate-Limit-Reset", fmt.Sprint(k.clock.Now().Add(10*time.Minute).Unix()))
	k.twitter.fail(usersMe, until)
	k.twitter.fail(verify, jsonError(403, 453))
	calls := k.twitter.calls(usersMe)
	for _, step := range []struct {
		wait   time.Duration
		notice string
		calls  int
	}{
		{time.Minute, "X answers no more questions for now. Please try again at 12:10 UTC.", 1},
		{time.Minute, "X answers no more questions for now. Please try again at 12:10 UTC.", 1},
		{8*time.Minute - time.Second, "X answers no more questions for now. Please try again at 12:10 UTC.", 1},
		{time.Second, tooSoon, 1}, // of ours
		{time.Minute, refreshed, 2},
	} {
		k.clock.advance(step.wait)
		if step.notice == refreshed {
			k.twitter.fail(usersMe, nil)
		}
		b.follow(b.refresh().leads("/account")).shows("@robin", step.notice)
		if got := k.twitter.calls(usersMe) - calls; got != step.calls {
			t.Errorf("after %v X was asked %d times, want %d", step.wait, got, step.calls)
		}
	}
}

// No storm: a way that the plan lacks is asked once a day, by however many
// people.
func TestProfileThatIsNotPlanned(t *testing.T) {
	t.Parallel()
	k := start(t)
	k.twitter.fail(usersMe, says(402, "application/json", `{"title":"CreditsDepleted"}`))
	k.twitter.fail(verify, jsonError(403, 453))
	for day := range 2 {
		for _, name := range []string{"robin", "suzume", "Bulbul", "jenny_wren", "goldcrest_wings"} {
			b := k.browser(t)
			b.signIn(name)
			b.get("/account").has("", "@"+name, false)
		}
		if me, v := k.twitter.calls(usersMe), k.twitter.calls(verify); me != day+1 || v != day+1 {
			t.Errorf("on day %d X was asked %d and %d times, want %d", day+1, me, v, day+1)
		}
		k.clock.advance(24 * time.Hour)
	}
}

func TestRefresh(t *testing.T) {
	t.Parallel()
	for name, byHTMX := range map[string]bool{"without scripts": false, "with htmx": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t)
			b := k.browser(t)
			b.signIn("robin")
			b.get("/")
			told := func(notice, handle string) {
				t.Helper()
				if !byHTMX {
					b.follow(b.refresh().leads("/account")).shows(handle, notice).has("Robin Perch", handle, true)
					return
				}
				a := b.refresh(b.htmx("/account")...).has("Robin Perch", handle, true)
				if !strings.HasPrefix(a.body, `<section id="profile"`) || a.document().Find("hx-partial #header .hello a").Text() != handle || a.to() != "" {
					t.Errorf("htmx gets %.300q", a.body)
				}
				if got := a.document().Find("hx-partial[hx-target='#header'] > #header #notices").Length(); got != 1 || !slices.Equal(a.notices(), []string{notice}) {
					t.Errorf("%d partials for the notices, which are %q, want %q", got, a.notices(), notice)
				}
				b.get("/").shows(handle) // the notice was shown
			}
			calls := k.twitter.calls(usersMe)
			if err := k.twitter.sandbox.Rename(robinsID, "redbreast"); err != nil {
				t.Fatal(err)
			}
			told(tooSoon, "@robin")
			k.clock.advance(time.Minute - time.Second)
			told(tooSoon, "@robin")
			if n := k.twitter.calls(usersMe) - calls; n != 0 {
				t.Errorf("X was asked %d times within a minute", n)
			}
			k.clock.advance(time.Second)
			told(refreshed, "@redbreast")
			told(tooSoon, "@redbreast")
			if n := k.twitter.calls(usersMe) - calls; n != 1 {
				t.Errorf("X was asked %d times, want once", n)
			}
			b.get("/").shows("@redbreast")
		})
	}
}

// Two people swap their names at X. Each stays who they are.
func TestSwappedNames(t *testing.T) {
	t.Parallel()
	k := start(t)
	robin, suzume := k.browser(t), k.browser(t)
	robin.signIn("robin")
	suzume.signIn("suzume")
	before := map[*browser]card{robin: robin.get("/account").card(), suzume: suzume.get("/account").card()}
	for _, rename := range [][2]string{{robinsID, "for_a_moment"}, {suzumeID, "robin"}, {robinsID, "suzume"}} {
		if err := k.twitter.sandbox.Rename(rename[0], rename[1]); err != nil {
			t.Fatal(err)
		}
	}
	k.clock.advance(time.Hour)
	apart := func() {
		t.Helper()
		for b, want := range map[*browser]struct{ id, handle, name string }{robin: {robinsID, "@suzume", "Robin Perch"}, suzume: {suzumeID, "@robin", "雀 すずめ"}} {
			page := b.get("/account")
			if got := page.has(want.name, want.handle, true).card(); got.avatar != before[b].avatar {
				t.Errorf("%s has another picture", want.name)
			}
			row, err := k.row(b.cookie(sessionCookie))
			if err != nil || row.Account.UserID != want.id || page.document().Find("#header").AttrOr("data-user", "") != want.id {
				t.Errorf("%s is %s, %v, want %s", want.name, row.Account.UserID, err, want.id)
			}
		}
	}
	robin.follow(robin.refresh().leads("/account")).shows("@suzume", refreshed)
	suzume.follow(suzume.refresh().leads("/account")).shows("@robin", refreshed)
	apart()
	suzume.signIn("robin") // as the person is called now
	robin.signIn("suzume")
	apart()
}

// The person takes the access away at X, on the sandbox's own page. Here it
// is noticed at the next call, and said kindly.
func TestRevokedAtX(t *testing.T) {
	t.Parallel()
	for name, byHTMX := range map[string]bool{"without scripts": false, "with htmx": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t)
			b, elsewhere, suzume := k.browser(t), k.browser(t), k.browser(t)
			b.signIn("robin")
			elsewhere.signIn("robin")
			suzume.signIn("suzume")
			b.get("/")

			apps := b.get(k.twitter.base.String() + "/sandbox/apps").document()
			form := map[string][]string{"csrf": {apps.Find("[name=csrf]").AttrOr("value", "")}, "account": {robinsID}}
			if a := b.submit(k.twitter.base.String()+"/sandbox/apps", form); a.StatusCode != http.StatusSeeOther {
				t.Fatalf("the sandbox's page answers %d", a.StatusCode)
			}
			b.get("/account").shows("@robin") // nobody knows yet
			k.clock.advance(time.Hour)
			var header []string
			if byHTMX {
				header = b.htmx("/account")
			}
			a := b.refresh(header...)
			if byHTMX {
				if a.StatusCode != http.StatusOK || a.Header.Get("HX-Redirect") != "/" {
					t.Errorf("status %d, HX-Redirect %q", a.StatusCode, a.Header.Get("HX-Redirect"))
				}
			} else {
				a.leads("/")
			}
			page := b.follow(a).shows(nobody, signInAnew)
			if got := page.document().Find("#notices .problem a").First(); got.Text() != "Try again" || got.AttrOr("href", "") != "/login?next=%2F" {
				t.Errorf("the notice offers %q at %q", got.Text(), got.AttrOr("href", ""))
			}
			if got := elsewhere.who(); got != nobody {
				t.Errorf("elsewhere still signed in is %q", got)
			}
			if got := suzume.who(); got != "@suzume" {
				t.Errorf("suzume is %q", got)
			}
			if got := k.sealed(robinsID); got != 0 {
				t.Errorf("a pair of %d bytes is still in the database", got)
			}
			if got := len(k.log.events("revoked")); got != 1 {
				t.Errorf("%d events say so, want 1", got)
			}
			b.signIn("robin")
			b.get("/account").shows("@robin", "You were signed in as @robin").has("Robin Perch", "@robin", true)
		})
	}
}

// While X thinks, the session is ended from another browser.
func TestRefreshOfASessionThatEndsMeanwhile(t *testing.T) {
	t.Parallel()
	k := start(t)
	b, other := k.browser(t), k.browser(t)
	b.signIn("robin")
	other.signIn("robin")
	for _, then := range []http.HandlerFunc{k.twitter.pass, jsonError(401, 89)} {
		k.clock.advance(time.Hour)
		arrived, release := k.twitter.hold(usersMe, then)
		late := make(chan *answer, 1)
		go func() { late <- b.refresh() }()
		<-arrived
		other.submit("/account/devices/end-others", nil)
		release()
		(<-late).leads("/")
		if got := b.who(); got != nobody {
			t.Errorf("signed in is %q", got)
		}
		b.signIn("robin")
	}
}

func TestRefreshWhileTheDatabaseIsDown(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	k.clock.advance(time.Minute)
	arrived, release := k.twitter.hold(usersMe, k.twitter.pass)
	late := make(chan *answer, 1)
	go func() { late <- b.refresh() }()
	<-arrived
	k.loseDatabase()
	release()
	if a := <-late; a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
		t.Errorf("status %d, Retry-After %q", a.StatusCode, a.Header.Get("Retry-After"))
	}
}

// A visitor who leaves while X thinks is no fault of anybody's: the refresh is
// made all the same.
func TestVisitorLeavesDuringRefresh(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	k.clock.advance(time.Hour)
	arrived, release := k.twitter.hold(usersMe, k.twitter.pass)
	ctx, leave := context.WithCancel(context.Background())
	go func() { <-arrived; leave() }()
	r, err := http.NewRequestWithContext(ctx, http.MethodPost, k.base.String()+"/account/refresh", nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := b.Do(r); !errors.Is(err, context.Canceled) {
		t.Errorf("the visitor gets %v", err)
	}
	release()
	for len(k.log.search(`"route":"/account/refresh"`)) == 0 {
		time.Sleep(time.Millisecond)
	}
	b.get("/") // for the notice of the sign-in
	b.follow(b.refresh().leads("/account")).shows("@robin", "That was refreshed just now. Please wait a minute.")
	k.clock.advance(time.Hour)
	b.follow(b.refresh().leads("/account")).shows("@robin", refreshed)
}

// A stored pair is sealed anew when it is used, so that the older key can go;
// one under a key that is gone asks for a new sign-in.
func TestRefreshWithRotatedKeys(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	b.get("/")
	for _, step := range []struct {
		keys   [][]byte
		to     string
		who    string
		notice string
	}{
		{[][]byte{anotherKey, oneKey}, "/account", "@robin", refreshed},
		{[][]byte{anotherKey}, "/account", "@robin", refreshed},
		{[][]byte{thirdKey}, "/", nobody, "The connection to X has to be made anew. Please sign in again."},
	} {
		k.restart(func(s *setup) { s.keys = step.keys })
		k.clock.advance(time.Hour)
		b.follow(b.refresh().leads(step.to)).shows(step.who, step.notice)
	}
}

// pretend makes X show the person so.
func (k *kit) pretend(id, screenName, name, image string) {
	body, err := json.Marshal(map[string]any{"data": map[string]string{"id": id, "username": screenName, "name": name, "profile_image_url": image}})
	if err != nil {
		k.Fatal(err)
	}
	k.twitter.fail(usersMe, says(200, "application/json", string(body)))
}

// Whatever somebody calls themselves, they change nothing of the page.
func TestHostileNames(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	b.get("/")
	for i, name := range hostileNames() {
		k.clock.advance(time.Minute)
		k.pretend(robinsID, "robin", name, "")
		want := strings.Join(strings.Fields(name), " ")
		a := b.refresh(b.htmx("/account")...)
		if got := strings.Join(strings.Fields(a.card().name), " "); got != want || !slices.Equal(a.notices(), []string{refreshed}) {
			t.Errorf("%d: the fragment says %q, want %q, with %q", i, got, want, a.notices())
		}
		page := b.get("/account").shows("@robin")
		if got := strings.Join(strings.Fields(page.card().name), " "); got != want {
			t.Errorf("%d: the page says %q, want %q", i, got, want)
		}
		for selector, n := range map[string]int{
			"header": 1, "#header": 1, "main": 1, "#profile": 1, "#devices": 1, "script": 2, "#profile bdi": 1, "#profile bdi *": 0, "dialog": 1,
			"[onerror], [onload], [onclick], [style], style, iframe, object, base, b, marquee": 0, "meta[http-equiv]": 0,
		} {
			if got := page.document().Find(selector).Length(); got != n {
				t.Errorf("%d: %q makes %d of %s, want %d", i, name, got, selector, n)
			}
		}
	}
}

// hostileNames returns sixty, all of them as X could let through, and none of
// them longer than that.
func hostileNames() []string {
	names := []string{
		`<script>alert(1)</script>`, `</strong></section></main><header>`, `<header id="header">`, `<img src=x onerror=alert(1)>`, `"><svg onload=alert(1)>`,
		`' onclick='alert(1)`, `" onfocus="alert(1)" autofocus="`, `<!-- `, `-->`, `<![CDATA[`, `]]>`, `</bdi></p>`, `</title><b>`, `<base href=//evil.example>`,
		`<meta http-equiv=refresh content=0>`, `<iframe src=//evil.example>`, `<style>*{display:none}</style>`, `<hx-partial hx-target="body">`, `<b hx-get="/logout">`,
		`{{constructor.constructor('alert(1)')()}}`, `${alert(1)}`, `<%= 7*7 %>`, `&lt;b&gt;`, `&amp;lt;`, `&#60;b&#62;`, `&nbsp;`, `&`, `<`, `>`, `"`, `'`, "`", `\`, `\u003cb\u003e`,
		`javascript:alert(1)`, `data:text/html,<b>`, `'; DROP TABLE accounts; --`, `" OR ""="`, `%00%0d%0aSet-Cookie: a=b`, `../../etc/passwd`,
		"\u202eevil\u202d", "\u2066\u2067\u2068", "\u200b\u200b\u200b", "a\u200d\u200cb", "\ufeffbom", "بلبل العرب", "שלום עולם", "雀 すずめ", "👩‍👩‍👧‍👦 🏳️‍🌈",
		"Z\u0351\u034a\u0357\u0308a\u0300l\u0340g\u0341o", "e\u0301", "\U000e0001\U000e0041", "\u00ad\u00ad", "ﷺ", "𝕬𝖉𝖆", "NULL", "undefined", "@suzume", strings.Repeat("W", 50), strings.Repeat("<", 50),
	}
	if len(names) != 60 || slices.ContainsFunc(names, func(s string) bool { return utf8.RuneCountInString(s) > 50 }) {
		panic(fmt.Sprintf("%d names, or one too long", len(names)))
	}
	return names
}

// A screen name that cannot be one changes nothing.
func TestHostileScreenNames(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	b.get("/")
	k.twitter.fail(verify, jsonError(403, 453))
	for _, name := range []string{"", "<b>", "a b", "robin\n", "@robin", "räbin", "../robin", strings.Repeat("a", 51)} {
		k.clock.advance(time.Minute)
		k.pretend(robinsID, name, "Robin", "")
		b.follow(b.refresh().leads("/account")).shows("@robin", notToday).has("Robin Perch", "@robin", true)
	}
	k.clock.advance(time.Minute)
	k.pretend(suzumeID, "suzume", "Suzume", "") // nor does somebody else's profile
	b.follow(b.refresh().leads("/account")).shows("@robin", notToday).has("Robin Perch", "@robin", true)
}

func TestAvatar(t *testing.T) {
	t.Parallel()
	k := start(t)
	b, suzume, stranger := k.browser(t), k.browser(t), k.browser(t)
	b.signIn("robin")
	suzume.signIn("suzume")
	stored := b.get("/account").card().avatar
	tag := `"` + strings.TrimPrefix(stored, "/avatar/") + `"`
	want := b.get(k.twitter.base.String() + "/sandbox/avatars/" + robinsID + "_normal.png").body
	if len(want) < 60 {
		t.Fatalf("the sandbox's picture has %d bytes", len(want))
	}
	for _, tt := range []struct {
		name, method, target string
		b                    *browser
		header               []string
		status               int
	}{
		{"whose it is", "GET", stored, b, nil, 200},
		{"HEAD", "HEAD", stored, b, nil, 200},
		{"kept in the browser", "GET", stored, b, []string{"If-None-Match", tag}, 304},
		{"kept, among others", "GET", stored, b, []string{"If-None-Match", `"other", W/` + tag}, 304},
		{"kept, but another", "GET", stored, b, []string{"If-None-Match", `"other"`}, 200},
		{"by another name", "GET", "/avatar/00112233445566778899aabbccddeeff", b, nil, 404},
		{"by no name", "GET", "/avatar/", b, nil, 404},
		{"by a way around", "GET", "/avatar/../avatar/x", b, nil, 404},
		{"a stranger", "GET", stored, stranger, nil, 404},
		{"a stranger who had it", "GET", stored, stranger, []string{"If-None-Match", tag}, 404},
		{"another account", "GET", stored, suzume, nil, 404},
		{"another account that had it", "GET", stored, suzume, []string{"If-None-Match", tag}, 404},
		{"to change it", "POST", stored, b, []string{"Sec-Fetch-Site", "same-origin"}, 405},
	} {
		t.Run(tt.name, func(t *testing.T) {
			a := tt.b.do(tt.method, tt.target, nil, tt.header...)
			if a.StatusCode != tt.status {
				t.Fatalf("status %d, want %d", a.StatusCode, tt.status)
			}
			h := a.Header
			if tt.status >= 400 {
				if h.Get("ETag") != "" || h.Get("Cache-Control") != "no-store" {
					t.Errorf("ETag %q, Cache-Control %q", h.Get("ETag"), h.Get("Cache-Control"))
				}
				return
			}
			if h.Get("ETag") != tag || h.Get("Cache-Control") != "private, max-age=86400" || h.Get("Vary") != "Cookie" {
				t.Errorf("ETag %q, Cache-Control %q, Vary %q", h.Get("ETag"), h.Get("Cache-Control"), h.Get("Vary"))
			}
			body := map[string]string{"GET200": want}[tt.method+fmt.Sprint(tt.status)]
			if a.body != body || tt.status == 200 && h.Get("Content-Type") != "image/png" {
				t.Errorf("%d bytes of %s, want %d", len(a.body), h.Get("Content-Type"), len(body))
			}
		})
	}
	b.signOut("/")
	if a := b.get(stored); a.StatusCode != http.StatusNotFound {
		t.Errorf("after signing out: status %d", a.StatusCode)
	}
}

// What is no picture, or comes from where none should be asked for, is never
// stored: the letter stays, or the picture that was there.
func TestHostileAvatars(t *testing.T) {
	t.Parallel()
	k := start(t)
	inside := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("an address inside was asked") }))
	t.Cleanup(inside.Close)
	here := k.twitter.base.String()
	picture := k.browser(t).get(here + "/sandbox/avatars/" + robinsID + ".png").body
	for path, answer := range map[string]http.HandlerFunc{
		"/svg":      says(200, "image/svg+xml", `<svg xmlns="http://www.w3.org/2000/svg"><script>alert(1)</script></svg>`),
		"/html":     says(200, "image/png", `<!doctype html><script>alert(1)</script>`),
		"/huge":     says(200, "image/png", picture+strings.Repeat("\x00", 10<<20)),
		"/cut":      says(200, "image/png", picture, "Content-Length", "99999"),
		"/nothing":  says(200, "image/png", ""),
		"/redirect": says(302, "image/png", picture, "Location", inside.URL+"/"),
		"/reset":    reset,
		"/gone":     says(404, "image/png", picture),
		"/bomb":     bomb(picture),
	} {
		k.twitter.fail(path, answer)
	}
	addresses := []string{
		"javascript:alert(1)", "data:image/png;base64,iVBORw0KGgo=", "file:///etc/passwd", "http://169.254.169.254/latest/meta-data/", inside.URL + "/me.png",
		k.base.String() + "/", "http://[::1]/", "https://pbs.twimg.com/me.png", "https://pbs.twimg.com.evil.example/me.png", strings.Replace(here, "http://", "http://user@", 1) + "/svg",
		"//evil.example/me.png", "/me.png", ":%zz", strings.Replace(here, "localhost", "127.0.0.1", 1) + "/sandbox/avatars/12.png", strings.Replace(here, "http:", "https:", 1) + "/me.png",
		here + "/svg", here + "/html", here + "/huge", here + "/cut", here + "/nothing", here + "/redirect", here + "/reset", here + "/gone", here + "/bomb",
	}
	for _, before := range []bool{false, true} {
		b := k.browser(t)
		k.pretend(robinsID, "robin", "Robin", map[bool]string{true: here + "/sandbox/avatars/" + robinsID + ".png"}[before])
		b.signIn("robin")
		if before {
			k.clock.advance(time.Minute)
			b.refresh()
		}
		b.get("/")
		old := b.get("/account").has("Robin", "@robin", before).card().avatar
		for i, address := range addresses {
			k.clock.advance(time.Minute)
			events := len(k.log.events("profile_failed"))
			k.pretend(robinsID, "robin", fmt.Sprintf("Robin the %d", i), address)
			page := b.follow(b.refresh().leads("/account")).shows("@robin", refreshed).has(fmt.Sprintf("Robin the %d", i), "@robin", before)
			if got := page.card().avatar; got != old {
				t.Errorf("%s: the picture is %q, want %q", address, got, old)
			}
			if got := len(k.log.events("profile_failed")) - events; got != 1 {
				t.Errorf("%s: %d events, want one", address, got)
			}
			if got := page.document().Find("img").Length(); before != (got == 2) || !before && got != 0 {
				t.Errorf("%s: %d pictures on the page", address, got)
			}
		}
		if before {
			if got := b.get(old).body; got != picture {
				t.Errorf("the picture has %d bytes, want the %d of before", len(got), len(picture))
			}
		}
		k.pretend(robinsID, "robin", "Robin", "")
	}
}
