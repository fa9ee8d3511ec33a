package routes_test

import (
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"time"

	"perch/internal/store"
	"perch/internal/testdb"
	"perch/internal/twitter"
)

const (
	disconnected = "You are disconnected. X has ended this site's access."
	halfDone     = "You are disconnected here, but X did not confirm it. Please also remove this site among the connected apps at x.com/settings/connected_apps."
	deleted      = "Your data is deleted."

	firefox = "Mozilla/5.0 (Windows NT 10.0; Win64; x64; rv:143.0) Gecko/20100101 Firefox/143.0"
	safari  = "Mozilla/5.0 (iPhone; CPU iPhone OS 18_6 like Mac OS X) AppleWebKit/605.1.15 (KHTML, like Gecko) Version/18.6 Mobile/15E148 Safari/604.1"
)

// sealed returns how many bytes the pair of a person has in the database.
func (k *kit) sealed(userID string) (n int) {
	k.Helper()
	db := testdb.Open(k, k.database)
	if err := db.QueryRow(`SELECT length(token) FROM accounts WHERE user_id = $1`, userID).Scan(&n); err != nil {
		k.Fatal(err)
	}
	return n
}

// pair returns the browser's access token, as Perch keeps it.
func (b *browser) pair() twitter.Token {
	b.t.Helper()
	r := httptest.NewRequest(http.MethodGet, "/", nil)
	for _, c := range b.cookies() {
		r.AddCookie(c)
	}
	pair, ok, err := b.k.sessions.Token(r)
	if !ok || err != nil {
		b.t.Fatalf("no pair: %v, %v", ok, err)
	}
	return pair
}

// accepts tells whether X still takes the pair.
func (k *kit) accepts(pair twitter.Token, userID string) bool {
	k.Helper()
	p := twitter.New(twitter.Options{ConsumerKey: k.twitter.sandbox.ConsumerKey(), ConsumerSecret: k.twitter.sandbox.ConsumerSecret(), APIURL: k.twitter.base})
	_, err := p.Profile(context.Background(), pair, userID)
	var e *twitter.Error
	if err != nil && (!errors.As(err, &e) || e.Reason != twitter.Expired) {
		k.Errorf("asking X: %v", err)
	}
	return err == nil
}

// calling signs in with a browser that calls itself so.
func (b *browser) calling(userAgent, name string) *browser {
	b.t.Helper()
	b.get(b.start("next=/").authorize(name), "User-Agent", userAgent)
	b.get("/").shows("@"+name, "You were signed in as @"+name)
	return b
}

// devices reads the list: what each is called, and "this one" for that.
func (a *answer) devices() (all []string) {
	a.t.Helper()
	list := a.document().Find("section#devices")
	if a.StatusCode != http.StatusOK || list.Length() != 1 {
		a.t.Errorf("status %d, %d lists of devices", a.StatusCode, list.Length())
	}
	for _, item := range list.Find("li").EachIter() {
		name := item.Find("strong").Text()
		if item.Find(".tag").Text() == "this one" {
			name += " (this one)"
		}
		if here, forms := strings.HasSuffix(name, "(this one)"), item.Find("form").Length(); here == (forms == 1) {
			a.t.Errorf("%s has %d forms", name, forms)
		}
		all = append(all, name)
	}
	return all
}

// handle returns the value that ends a device of the list.
func (a *answer) handle(name string) url.Values {
	a.t.Helper()
	form := url.Values{}
	for _, item := range a.document().Find("#devices li").EachIter() {
		if item.Find("strong").Text() == name {
			for _, input := range item.Find("form input").EachIter() {
				form.Set(input.AttrOr("name", ""), input.AttrOr("value", ""))
			}
		}
	}
	if form.Get("device") == "" {
		a.t.Fatalf("no device %q that can be ended", name)
	}
	return form
}

func TestDevices(t *testing.T) {
	t.Parallel()
	for name, byHTMX := range map[string]bool{"without scripts": false, "with htmx": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t)
			laptop := k.browser(t).calling(firefox, "robin")
			k.clock.advance(time.Hour)
			phone := k.browser(t).calling(safari, "robin")
			pub, foreign := k.browser(t).calling("", "robin"), k.browser(t).calling(firefox, "suzume")
			k.clock.advance(time.Hour)
			phone.get("/")

			// told sends a form, and fails unless the answer is the new list.
			told := func(b *browser, target string, form url.Values, notice string, want ...string) {
				t.Helper()
				var a *answer
				if byHTMX {
					a = b.submit(target, form, b.htmx("/account")...)
					if !strings.HasPrefix(a.body, `<section id="devices"`) || a.document().Find("hx-partial[hx-target='#header'] > #header #notices").Length() != 1 {
						t.Errorf("htmx gets %.300q", a.body)
					}
				} else {
					a = b.follow(b.submit(target, form).leads("/account"))
				}
				if got := a.devices(); !slices.Equal(got, want) || !slices.Equal(a.notices(), []string{notice}) {
					t.Errorf("devices are %q with %q, want %q with %q", got, a.notices(), want, notice)
				}
			}
			page := laptop.get("/account")
			got := page.devices()
			slices.Sort(got) // two signed in at the same moment
			if want := []string{"A browser we do not know", "Firefox on Windows (this one)", "Safari on iOS"}; !slices.Equal(got, want) {
				t.Errorf("devices are %q, want %q", got, want)
			}
			for _, item := range page.document().Find("#devices li").EachIter() {
				if times := item.Find("time").Map(text); item.Find("strong").Text() == "Safari on iOS" && !slices.Equal(times, []string{"1 September 2026, 13:00 UTC", "1 September 2026, 14:00 UTC"}) {
					t.Errorf("the phone's times are %q", times)
				}
			}
			if got, want := foreign.get("/account").devices(), []string{"Firefox on Windows (this one)"}; !slices.Equal(got, want) {
				t.Errorf("suzume's devices are %q, want %q", got, want)
			}

			// A device of another account is none that suzume finds.
			ofPub := page.handle("A browser we do not know")
			told(foreign, "/account/devices/end", ofPub, "That browser was signed out.", "Firefox on Windows (this one)")
			if got := pub.who(); got != "@robin" {
				t.Fatalf("suzume ended robin's session: %q", got)
			}

			told(laptop, "/account/devices/end", ofPub, "That browser was signed out.", "Safari on iOS", "Firefox on Windows (this one)")
			if got := pub.who(); got != nobody { // at once
				t.Errorf("the browser at the pub is still %q", got)
			}
			pub.get("/account").leads("/login?next=%2Faccount")
			told(laptop, "/account/devices/end", ofPub, "That browser was signed out.", "Safari on iOS", "Firefox on Windows (this one)") // again
			told(laptop, "/account/devices/end", url.Values{"device": {"<b>"}}, "That browser was signed out.", "Safari on iOS", "Firefox on Windows (this one)")

			pub.calling(safari, "robin")
			told(phone, "/account/devices/end-others", nil, "You are signed in nowhere else any more.", "Safari on iOS (this one)")
			if a := phone.get("/account"); a.document().Find("form[action='/account/devices/end-others']").Length() != 0 {
				t.Error("it offers to sign out everywhere else, though there is nowhere else")
			}
			for b, want := range map[*browser]string{laptop: nobody, pub: nobody, phone: "@robin", foreign: "@suzume"} {
				if got := b.who(); got != want {
					t.Errorf("signed in is %q, want %q", got, want)
				}
			}
			if got := len(k.log.events("device_ended")); got != 5 {
				t.Errorf("%d events, want 5", got)
			}
		})
	}
}

func TestTwentyDevicesAtTheMost(t *testing.T) {
	t.Parallel()
	k := start(t)
	suzume := k.browser(t)
	suzume.signIn("suzume")
	var all []*browser
	for range 22 {
		k.clock.advance(time.Second)
		b := k.browser(t)
		b.signIn("robin")
		all = append(all, b)
	}
	if got := all[21].get("/account").devices(); len(got) != 20 {
		t.Errorf("%d devices, want 20", len(got))
	}
	for i, b := range all {
		if want := map[bool]string{true: "@robin"}[i >= 2]; b.who() != want {
			t.Errorf("browser %d is not %q", i+1, want)
		}
	}
	if got := suzume.who(); got != "@suzume" {
		t.Errorf("suzume is %q", got)
	}
}

// What a browser calls itself is shown by a library, and never as markup.
func TestHostileUserAgents(t *testing.T) {
	t.Parallel()
	k := start(t)
	for _, name := range []string{
		`<script>alert(1)</script>`, `Mozilla/5.0 (<b>) "x" 'y' & z`, `</strong></section><header>/1.0 (Windows)`, strings.Repeat("A", 4000), "Mozilla/5.0 (" + strings.Repeat("(", 500),
		"\u202eevil/1.0", "Firefox", "/", "()", ";;;;", "bot/1.0 (+http://evil.example)", "curl/8.0", "Mozilla/5.0 \xff\xfe",
	} {
		b := k.browser(t)
		b.get(b.start("next=/").authorize("robin"), "User-Agent", name)
		page := b.get("/account")
		if got := page.devices(); len(got) == 0 || !slices.ContainsFunc(got, func(s string) bool { return strings.HasSuffix(s, "(this one)") }) {
			t.Errorf("%.40q: devices are %q", name, got)
		}
		for selector, n := range map[string]int{"header": 1, "main": 1, "#devices": 1, "script": 2, "#devices b, #devices strong *": 0} {
			if got := page.document().Find(selector).Length(); got != n {
				t.Errorf("%.40q makes %d of %s, want %d", name, got, selector, n)
			}
		}
		b.signOut("/")
	}
}

// Before something that cannot be taken back, Perch asks: on a page, or for
// htmx in a dialog. To look at the question does nothing.
func TestItAsksFirst(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	b.get("/")
	for target, title := range map[string]string{"/account/disconnect": "Disconnect from X?", "/account/delete": "Delete your data?"} {
		link := b.get("/account").document().Find(`main a[href="` + target + `"]`)
		if link.Length() != 1 || link.AttrOr("hx-get", "") != target || link.AttrOr("hx-target", "") != "#dialog" {
			t.Errorf("%s: the account page has no such link", target)
		}
		page, dialog := b.get(target).shows("@robin"), b.get(target, b.htmx("/account")...)
		if !strings.HasPrefix(dialog.body, `<dialog id="dialog"`) || dialog.document().Find("header").Length() != 0 {
			t.Errorf("%s: htmx gets %.200q", target, dialog.body)
		}
		for name, a := range map[string]*answer{"page": page, "dialog": dialog} {
			form := a.document().Find(`form[method=post][action="` + target + `"]`)
			if a.StatusCode != http.StatusOK || a.document().Find("h1").Text() != title || form.Find("button").Length() != 1 || a.document().Find(`a[href="/account"]`).Length() < 1 {
				t.Errorf("%s: the %s asks not, or offers no way back: %.300q", target, name, a.body)
			}
		}
		b.do(http.MethodHead, target, nil)
	}
	if got := b.who(); got != "@robin" || k.twitter.calls(endToken) != 0 {
		t.Errorf("to look is to do: signed in is %q, X was called %d times", got, k.twitter.calls(endToken))
	}
}

func TestDisconnect(t *testing.T) {
	t.Parallel()
	k := start(t)
	b, elsewhere, suzume := k.browser(t), k.browser(t), k.browser(t)
	b.signIn("robin")
	elsewhere.signIn("robin")
	suzume.signIn("suzume")
	b.get("/")
	pair, hers := b.pair(), suzume.pair()
	if !k.accepts(pair, robinsID) || k.sealed(robinsID) == 0 {
		t.Fatal("there is no connection to begin with")
	}

	b.follow(b.submit("/account/disconnect", nil).leads("/")).shows(nobody, disconnected)
	if k.accepts(pair, robinsID) {
		t.Error("X still takes the pair")
	}
	if got := k.sealed(robinsID); got != 0 {
		t.Errorf("a pair of %d bytes is still in the database", got)
	}
	if got := elsewhere.who(); got != nobody {
		t.Errorf("elsewhere still signed in is %q", got)
	}
	if got := suzume.who(); got != "@suzume" || !k.accepts(hers, suzumeID) {
		t.Errorf("suzume is %q, and X takes her pair: %v", got, k.accepts(hers, suzumeID))
	}
	if left := b.cookies(); len(left) > 0 {
		t.Errorf("cookies are left behind: %v", left)
	}
	if got := len(k.log.events("disconnected")); got != 1 || k.twitter.calls(endToken) != 1 {
		t.Errorf("%d events, and %d calls to X, want one each", got, k.twitter.calls(endToken))
	}

	// Who comes back is who they were, with a new pair.
	b.signIn("robin")
	b.get("/account").shows("@robin", "You were signed in as @robin").has("Robin Perch", "@robin", true)
	if again := b.pair(); again == pair || !k.accepts(again, robinsID) {
		t.Error("the pair is not new, or not good")
	}
	if a := b.submit("/account/disconnect", nil, b.htmx("/account")...); a.Header.Get("HX-Redirect") != "/" {
		t.Errorf("htmx gets %d with HX-Redirect %q", a.StatusCode, a.Header.Get("HX-Redirect"))
	}
}

// Whatever X does at invalidate_token: it is done here, and said so.
func TestDisconnectWhileXFails(t *testing.T) {
	t.Parallel()
	k := start(t)
	k.secrets.add(providersWords)
	disconnects := func(t *testing.T, f fault, notice string, ready func()) {
		b, elsewhere := k.browser(t), k.browser(t)
		b.signIn("robin")
		elsewhere.signIn("robin")
		b.get("/")
		events := len(k.log.events("provider_error"))
		ready() // only now does Perch lose patience
		k.twitter.fail(endToken, f.answer)
		defer k.twitter.fail(endToken, nil)
		calls := k.twitter.calls(endToken)
		b.follow(b.submit("/account/disconnect", nil).leads("/")).shows(nobody, notice)
		if n := k.twitter.calls(endToken) - calls; n != 1 {
			t.Errorf("X was called %d times, want once", n)
		}
		if got := elsewhere.who(); got != nobody || k.sealed(robinsID) != 0 {
			t.Errorf("elsewhere signed in is %q, and the pair has %d bytes", got, k.sealed(robinsID))
		}
		failed := k.log.events("provider_error")[events:]
		if want := map[bool]int{true: 1}[notice == halfDone]; len(failed) != want {
			t.Errorf("the log tells of %v, want %d events", failed, want)
		}
		for _, event := range failed {
			if event["call"] != endToken || event["status"] != float64(f.status) || event["code"] != float64(f.code) {
				t.Errorf("the log says %v", event)
			}
		}
	}
	for _, f := range faults(k) {
		if f.atStart == "" {
			continue
		}
		t.Run(f.name, func(t *testing.T) {
			notice := halfDone
			if f.end == "expired" && f.code != 32 || f.status/100 == 2 && !strings.HasPrefix(f.name, "huge") && f.name != "a gzip bomb" {
				notice = disconnected // it is over at X, or X said so
			}
			disconnects(t, f, notice, func() {})
		})
	}
	for _, f := range slowFaults(k) {
		t.Run(f.name, func(t *testing.T) {
			k.restart(func(s *setup) { s.timeout = 20 * time.Second })
			disconnects(t, f, halfDone, func() { k.restart(func(s *setup) { s.timeout = impatience }) })
		})
	}
}

// Who leaves while X thinks has asked for it all the same.
func TestVisitorLeavesDuringDisconnect(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	arrived, release := k.twitter.hold(endToken, k.twitter.pass)
	ctx, leave := context.WithCancel(context.Background())
	r := k.request(http.MethodPost, "/account/disconnect", "Sec-Fetch-Site", "same-origin").WithContext(ctx)
	for _, c := range b.cookies() {
		r.AddCookie(c)
	}
	done := make(chan struct{})
	go func() { defer close(done); k.serve(t, r) }()
	<-arrived
	leave()
	release()
	<-done
	if got := b.who(); got != nobody || k.sealed(robinsID) != 0 {
		t.Errorf("signed in is %q, and the pair has %d bytes", got, k.sealed(robinsID))
	}
}

// With the key the pair goes, too: what is left is to say so.
func TestDisconnectWithoutTheKey(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	k.restart(func(s *setup) { s.keys = [][]byte{anotherKey} })
	b.follow(b.submit("/account/disconnect", nil).leads("/")).shows(nobody, halfDone)
	if n := k.twitter.calls(endToken); n != 0 || k.sealed(robinsID) != 0 {
		t.Errorf("X was called %d times, and the pair has %d bytes", n, k.sealed(robinsID))
	}
}

func TestDelete(t *testing.T) {
	t.Parallel()
	for name, byHTMX := range map[string]bool{"without scripts": false, "with htmx": true} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			k := start(t)
			b, elsewhere, suzume := k.browser(t).calling(firefox, "robin"), k.browser(t).calling(safari, "robin"), k.browser(t)
			suzume.signIn("suzume")
			session := b.cookie(sessionCookie)
			row, err := k.row(session)
			if err != nil {
				t.Fatal(err)
			}
			picture := b.get("/account").card().avatar
			face := b.get(picture).body
			traces := map[string]string{
				"name": "Robin Perch", "user id": robinsID, "screen name": "robin", "avatar": face, "avatar's name": strings.TrimPrefix(picture, "/avatar/"),
				"pair": string(row.Account.Token), "browser": firefox, "other browser": safari, "session": string(row.ID),
			}
			for what, trace := range traces {
				if !testdb.Holds(k, k.database, trace) {
					t.Errorf("the test does not see the %s in the database", what)
				}
			}

			var header []string
			if byHTMX {
				header = b.htmx("/account")
			}
			a := b.submit("/account/delete", nil, header...)
			if byHTMX && a.Header.Get("HX-Redirect") != "/" || !byHTMX && a.Header.Get("Location") != "/" {
				t.Errorf("status %d, leads to %q", a.StatusCode, a.to())
			}
			b.follow(a).shows(nobody, deleted)
			for what, trace := range traces {
				if testdb.Holds(k, k.database, trace) {
					t.Errorf("the %s is still in the database's files", what)
				}
			}
			if got := elsewhere.who(); got != nobody {
				t.Errorf("elsewhere still signed in is %q", got)
			}
			if _, err := k.row(session); !errors.Is(err, store.ErrNotFound) {
				t.Errorf("the session's row: %v", err)
			}
			if got := b.get(picture).StatusCode; got != http.StatusNotFound {
				t.Errorf("the picture: status %d", got)
			}
			if left := b.cookies(); len(left) > 0 {
				t.Errorf("cookies are left behind: %v", left)
			}
			if got := suzume.who(); got != "@suzume" || !testdb.Holds(k, k.database, "雀 すずめ") {
				t.Errorf("suzume is %q", got)
			}
			if got := len(k.log.events("account_deleted")); got != 1 {
				t.Errorf("%d events, want 1", got)
			}

			k.clock.advance(time.Hour)
			b.signIn("robin") // as somebody new
			if got, want := b.get("/account").document().Find("main dd").Map(text), []string{"1 September 2026, 13:00 UTC", "1 September 2026, 13:00 UTC"}; !slices.Equal(got, want) {
				t.Errorf("who comes back was here before: %q", got)
			}
		})
	}
}

// Deleted while X was still being asked: what comes late brings nothing back.
func TestDeleteWhileTheProfileIsOnItsWay(t *testing.T) {
	t.Parallel()
	k := start(t, func(s *setup) { s.aside = true })
	arrived, release := k.twitter.hold(usersMe, k.twitter.pass)
	b := k.browser(t)
	b.signIn("robin")
	b.get("/")
	<-arrived
	b.follow(b.submit("/account/delete", nil).leads("/")).shows(nobody, deleted)
	release()
	k.working.Wait()
	if testdb.Holds(k, k.database, "Robin Perch") || testdb.Holds(k, k.database, robinsID) {
		t.Error("the profile that came late is stored")
	}
}

func TestDownload(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t).calling(firefox, "robin")
	k.clock.advance(time.Hour)
	other, suzume := k.browser(t).calling(safari, "robin"), k.browser(t).calling("suzume's", "suzume")
	picture := b.get(b.get("/account").card().avatar).body
	if link := b.get("/account").document().Find(`main a[href="/account/data.json"][download]`); link.Length() != 1 {
		t.Error("the account page has no such link")
	}
	row, err := k.row(b.cookie(sessionCookie))
	if err != nil {
		t.Fatal(err)
	}

	a := b.get("/account/data.json")
	if a.StatusCode != http.StatusOK || a.Header.Get("Content-Type") != "application/json" || a.Header.Get("Content-Disposition") != `attachment; filename="perch-account.json"` ||
		a.Header.Get("Cache-Control") != "no-store" {
		t.Errorf("status %d, header %v", a.StatusCode, a.Header)
	}
	var got map[string]any
	if err := json.Unmarshal([]byte(a.body), &got); err != nil {
		t.Fatal(err)
	}
	device := func(userAgent, signedIn, seen string) map[string]any {
		return map[string]any{"user_agent": userAgent, "signed_in_at": signedIn, "last_seen_at": seen}
	}
	want := map[string]any{
		"provider": k.twitter.base.String(), "user_id": robinsID, "screen_name": "robin", "name": "Robin Perch",
		"first_signed_in_at": "2026-09-01T12:00:00Z", "last_signed_in_at": "2026-09-01T13:00:00Z", "profile_asked_at": "2026-09-01T12:00:00Z",
		"avatar_type": "image/png", "avatar": base64.StdEncoding.EncodeToString([]byte(picture)),
		"devices":      []any{device(safari, "2026-09-01T13:00:00Z", "2026-09-01T13:00:00Z"), device(firefox, "2026-09-01T12:00:00Z", "2026-09-01T13:00:00Z")},
		"access_token": "stored encrypted, and not part of this file",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("the file says\n%v\nwant\n%v", got, want)
	}

	pair := b.pair()
	secrets := []string{pair.Token, pair.Secret, base64.StdEncoding.EncodeToString(row.Account.Token), hex.EncodeToString(row.Account.Token),
		hex.EncodeToString(row.ID), hex.EncodeToString(row.ID[:8]), base64.StdEncoding.EncodeToString(row.ID), base64.RawURLEncoding.EncodeToString(row.ID), "suzume"}
	for _, c := range slices.Concat(b.cookies(), other.cookies(), suzume.cookies()) {
		hash := sha256.Sum256(decode(t, c.Value))
		secrets = append(secrets, c.Value, hex.EncodeToString(hash[:8]))
	}
	for secret := range k.secrets.values {
		secrets = append(secrets, secret)
	}
	for _, page := range []*answer{a, b.get("/account"), b.get("/")} {
		for i, secret := range secrets {
			ownHandle := page != a && len(secret) == 16
			if strings.Contains(page.body, secret) && !ownHandle {
				t.Errorf("%s holds secret %d: %q", page.Request.URL.Path, i, secret)
			}
		}
	}

	// While nothing is known but who it is.
	k.twitter.fail(usersMe, jsonError(403, 453))
	k.twitter.fail(verify, jsonError(403, 453))
	wren := k.browser(t).calling("", "jenny_wren")
	bare := wren.get("/account/data.json")
	if strings.Contains(bare.body, `"avatar`) || !strings.Contains(bare.body, `"name": ""`) || bare.StatusCode != http.StatusOK {
		t.Errorf("without a profile: status %d, %s", bare.StatusCode, bare.body)
	}
	if got := k.browser(t).get("/account/data.json"); got.to() != "/login?next=%2Faccount%2Fdata.json" {
		t.Errorf("a stranger gets %d, %q", got.StatusCode, got.to())
	}
}

func TestPrivacy(t *testing.T) {
	t.Parallel()
	for _, tt := range []struct {
		idle, lifetime time.Duration
		want           string
	}{
		{168 * time.Hour, 720 * time.Hour, "after 7 days without use, and after 30 days in any case"},
		{24 * time.Hour, 48 * time.Hour, "after 1 day without use, and after 2 days in any case"},
		{time.Hour, 36 * time.Hour, "after 1 hour without use, and after 36 hours in any case"},
		{90 * time.Minute, 12 * time.Hour, "after 90 minutes without use, and after 12 hours in any case"},
		{time.Minute, 90 * time.Second, "after 1 minute without use, and after 1m30s in any case"},
	} {
		t.Run(tt.want, func(t *testing.T) {
			t.Parallel()
			k := start(t, func(s *setup) { s.idle, s.lifetime = tt.idle, tt.lifetime })
			stranger, robin := k.browser(t), k.browser(t)
			robin.signIn("robin")
			for who, page := range map[string]*answer{nobody: stranger.get("/privacy").shows(nobody), "@robin": robin.get("/privacy").shows("@robin", "You were signed in as @robin")} {
				words := strings.Join(strings.Fields(page.document().Find("main").Text()), " ")
				for _, want := range []string{tt.want, "encrypted", "Signing out here does not sign you out of X", "Delete my data", "up to ten minutes"} {
					if !strings.Contains(words, want) {
						t.Errorf("to %q the page does not say %q", who, want)
					}
				}
			}
			if cookies := stranger.cookies(); len(cookies) != 0 {
				t.Errorf("the page about privacy sets %v", cookies)
			}
			for _, b := range []*browser{stranger, robin} {
				for _, target := range []string{"/", "/privacy"} {
					page := b.get(target).document()
					if page.Find(`footer a[href="/privacy"]`).Length() != 1 || page.Find(`#header a[href="/privacy"]`).Length() != map[bool]int{true: 1}[b == stranger] {
						t.Errorf("%s: no link in the footer, or in the header beside the sign-in", target)
					}
				}
			}
		})
	}
}

// "Use another account" stands beside the sign-in, and on the account page.
func TestAnotherAccount(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	link := func(page *answer, where string) string {
		t.Helper()
		found := page.document().Find(where + ` a[href*="force_login=true"]`)
		if found.Length() != 1 || found.Text() != "Use another account" {
			t.Fatalf("%s: %d links", where, found.Length())
		}
		return found.AttrOr("href", "")
	}
	beside := link(b.get("/privacy"), "#header")
	if beside != "/login?next=%2Fprivacy&force_login=true" {
		t.Errorf("the link leads to %q", beside)
	}
	a := b.get(beside)
	if query := parse(t, a.to()).Query(); query.Get("force_login") != "true" || len(query) != 2 {
		t.Errorf("X gets %v", query)
	}
	b.get(b.consent(a).authorize("robin")).leads("/privacy")

	b.get("/")
	first := b.copied()
	a = b.get(link(b.get("/account"), "main"))
	if query := parse(t, a.to()).Query(); query.Get("force_login") != "true" || len(query) != 2 {
		t.Errorf("X gets %v", query)
	}
	b.follow(b.get(b.consent(a).authorize("suzume")).leads("/account")).shows("@suzume", "You were signed in as @suzume")
	if got := first.who(); got != nobody {
		t.Errorf("the session of before is still %q", got)
	}
}

// All that changes something is a POST from a page of ours, by somebody who is
// signed in.
func TestAccountActions(t *testing.T) {
	t.Parallel()
	k := start(t)
	b, other := k.browser(t), k.browser(t).calling(safari, "robin")
	b.signIn("robin")
	b.get("/")
	device := b.get("/account").handle("Safari on iOS")
	k.clock.advance(time.Hour)
	calls := k.twitter.calls(usersMe) + k.twitter.calls(endToken)
	for _, target := range []string{"/account/refresh", "/account/devices/end", "/account/devices/end-others", "/account/disconnect", "/account/delete"} {
		t.Run(target, func(t *testing.T) {
			for name, header := range map[string][]string{
				"another site":                 {"Sec-Fetch-Site", "cross-site"},
				"another name of ours":         {"Sec-Fetch-Site", "same-site"},
				"another site, an old browser": {"Sec-Fetch-Site", "", "Origin", "https://evil.example"},
				"a frame without an origin":    {"Sec-Fetch-Site", "", "Origin", "null"},
			} {
				if a := b.submit(target, device, header...); a.StatusCode != http.StatusForbidden || a.document().Find("main h1").Text() != "That was not allowed" {
					t.Errorf("from %s: status %d", name, a.StatusCode)
				}
				if a := b.submit(target, device, append(b.htmx("/account"), header...)...); a.StatusCode != http.StatusForbidden || a.Header.Get("HX-Retarget") != "#notices" || len(a.notices()) != 1 {
					t.Errorf("from %s, by htmx: status %d, HX-Retarget %q", name, a.StatusCode, a.Header.Get("HX-Retarget"))
				}
			}
			stranger := k.browser(t)
			stranger.submit(target, device).leads("/login?next=%2Faccount")
			if a := stranger.submit(target, device, stranger.htmx("/account")...); a.StatusCode != http.StatusOK || a.Header.Get("HX-Redirect") != "/login?next=%2Faccount" {
				t.Errorf("a stranger with htmx: status %d, HX-Redirect %q", a.StatusCode, a.Header.Get("HX-Redirect"))
			}
			want := http.StatusMethodNotAllowed
			if target == "/account/disconnect" || target == "/account/delete" {
				want = http.StatusOK // the question
			}
			for _, method := range []string{http.MethodGet, http.MethodHead} {
				if a := b.do(method, target+"?"+device.Encode(), nil); a.StatusCode != want {
					t.Errorf("%s: status %d, want %d", method, a.StatusCode, want)
				}
			}
			for _, method := range []string{http.MethodPut, http.MethodDelete, http.MethodPatch} {
				if a := b.do(method, target, nil, "Sec-Fetch-Site", "same-origin"); a.StatusCode != http.StatusMethodNotAllowed {
					t.Errorf("%s: status %d", method, a.StatusCode)
				}
			}
		})
	}
	if b.who() != "@robin" || other.who() != "@robin" || k.twitter.calls(usersMe)+k.twitter.calls(endToken) != calls {
		t.Errorf("something was done: signed in are %q and %q, and X was called %d times", b.who(), other.who(), k.twitter.calls(usersMe)+k.twitter.calls(endToken)-calls)
	}
}

// Without the database none of it goes, and all of it says so.
func TestAccountWithoutTheDatabase(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	picture := b.get("/account").card().avatar
	k.loseDatabase()
	for _, target := range []string{"/account", "/account/data.json", "/account/disconnect", "/account/delete", picture, "/privacy"} {
		if a := b.get(target); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
			t.Errorf("GET %s: status %d", target, a.StatusCode)
		}
	}
	for _, target := range []string{"/account/refresh", "/account/devices/end", "/account/devices/end-others", "/account/disconnect", "/account/delete"} {
		if a := b.submit(target, nil); a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" {
			t.Errorf("POST %s: status %d", target, a.StatusCode)
		}
	}
	if n := k.twitter.calls(endToken); n != 0 {
		t.Errorf("X was told %d times of what did not happen", n)
	}
	if a := k.browser(t).get("/privacy"); a.StatusCode != http.StatusOK { // a stranger needs no database
		t.Errorf("a stranger gets status %d", a.StatusCode)
	}
}
