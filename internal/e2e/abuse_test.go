package e2e

import (
	"fmt"
	"math/rand/v2"
	"net/http"
	"net/url"
	"strings"
	"sync"
	"testing"

	"github.com/PuerkitoBio/goquery"

	"perch/sandbox"
)

// Wherever a next comes in and goes out again, a browser that follows it stays
// here. Chromium itself is the judge (WHATWG URL).
func TestNoNextLeadsOffTheSite(t *testing.T) {
	t.Parallel()
	p := start(t, "LOGIN_RATE=0")
	nexts := hostileNexts(p.addr)
	var mu sync.Mutex
	led := map[string]string{} // where to, and by which way and value
	lead := func(to, way, next string) {
		mu.Lock()
		defer mu.Unlock()
		led[to] = fmt.Sprintf("%s, given %.200q,", way, next)
	}

	var all sync.WaitGroup
	work := make(chan int)
	for range 4 {
		v, stranger := p.visitor(), p.visitor()
		for _, one := range []*visitor{v, stranger} {
			one.client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
		}
		all.Go(func() {
			for i := range work {
				v.followThroughSignIn(nexts[i], i%16 == 0, lead)
				stranger.followThroughPages(nexts[i], i%2 == 0, lead)
			}
		})
	}
	for i := range nexts {
		work <- i
	}
	close(work)
	all.Wait()

	b := p.browse()
	b.visit("/")
	leavers := func(links []string) []string {
		return ask[[]string](b, fmt.Sprintf(`%s.filter((link) => {
			try { return new URL(link, %s).origin !== location.origin } catch { return false } // what is no URL leads nowhere
		})`, mustJSON(links), quote(p.url+"/oauth-authorized")))
	}
	var links []string
	for to := range led {
		links = append(links, to)
	}
	for _, to := range leavers(links) {
		t.Errorf("%s leads off the site, to %.200q", led[to], to)
	}
	off := len(leavers(nexts))
	t.Logf("%d of %d values would lead off the site; what came of all of them are %d links", off, len(nexts), len(links))
	if len(nexts) != 2000 || off < 400 || len(links) < 20 {
		t.Error("that shows nothing")
	}
}

// followThroughSignIn goes through a sign-in, whole or denied.
func (v *visitor) followThroughSignIn(next string, whole bool, lead func(to, way, next string)) {
	page, err := v.try(v.request("/login?next="+url.QueryEscape(next), nil))
	location := func() string { return page.resp.Header.Get("Location") }
	if err == nil && whole {
		if page, err = v.try(v.request(location(), nil)); err == nil {
			page, err = v.try(v.decision(page, account(v, "robin"), "authorize"))
		}
	}
	if err == nil {
		_, token, _ := strings.Cut(location(), "oauth_token=")
		back := "/oauth-authorized?denied=" + token
		if whole {
			back = location()
		}
		page, err = v.try(v.request(back, nil))
	}
	if err != nil || page.resp.StatusCode != http.StatusSeeOther {
		v.Errorf("next %.200q: the way back ends with %v, %v, want 303", next, page.resp, err)
		return
	}
	lead(location(), "the way back", next)
}

// followThroughPages goes with htmx through the header and the guard of the
// account page, or through a sign-out; and to the end of a popup.
func (v *visitor) followThroughPages(next string, popup bool, lead func(to, way, next string)) {
	do := func(way string, r *http.Request, links func(answer) []string) {
		page, err := v.try(r)
		if err != nil || page.resp.StatusCode != http.StatusOK {
			v.Errorf("%s, given %.200q, ends with %v, %v, want 200", way, next, page.resp, err)
			return
		}
		found := links(page)
		if len(found) == 0 {
			v.Errorf("%s, given %.200q, has no link", way, next)
		}
		for _, link := range found {
			lead(link, way, next)
			if u, err := url.Parse(link); err == nil && u.Path == "/login" {
				lead(u.Query().Get("next"), way, next)
			}
		}
	}
	htmx := func(link string, form url.Values, header ...string) *http.Request {
		r := v.request(link, form)
		r.Header.Set("HX-Request", "true")
		for i := 0; i < len(header); i += 2 {
			r.Header.Set(header[i], header[i+1])
		}
		return r
	}
	signIn := func(page answer) []string {
		if to := page.resp.Header.Get("HX-Redirect"); to != "" { // away from a page that needs sign-in
			return []string{to}
		}
		return page.Find("#sign-in").Map(func(_ int, s *goquery.Selection) string { return s.AttrOr("href", "") })
	}

	if popup {
		do("the end of a popup", v.request("/popup?id=any-popup&next="+url.QueryEscape(next), nil), func(page answer) []string {
			return []string{page.Find("#popup").AttrOr("data-next", ""), page.Find("#popup a").AttrOr("href", "")}
		})
	}
	if strings.ContainsFunc(next, func(r rune) bool { return r < ' ' || r == 0x7f }) { // which no header can hold
		do("a sign-out", htmx("/logout", url.Values{"here": {next}}), signIn)
		return
	}
	current := next
	if strings.HasPrefix(next, "/") {
		current = v.p.url + next
	}
	do("the header", htmx("/header", nil, "HX-Current-URL", current), signIn)
	guarded := htmx("/account", nil)
	guarded.URL.RawQuery = strings.ReplaceAll(next, " ", "")
	do("the account page", guarded, func(page answer) []string { return []string{page.resp.Header.Get("HX-Redirect")} })
}

// hostileNexts returns 2,000 values of next, most of which some browser, or
// some careless program, takes for another site.
func hostileNexts(addr string) []string {
	openers := []string{
		"//", "///", "////", `/\`, `\\`, `\/`, `/\/`, `\`, "http://", "https://", "HTTPS://", "https:", "https:/", `https:\\`, `hTTp:/\`, "ws://", "ftp://", "file:///", "://", ":", "",
		"/\t/", "/\n/", "/\r/", "\t//", " //", "/ /", "/\x00/", "\x01//", "ht\ntps://", "/\u200b/", "\ufeff//", "/\u00a0/", "/\u2028/", "\u3000//", "/\u00ad/", "//\t", "//\u200b",
		"/%2f", "/%2F%2f", "%2f%2f", "/%5c", `/%5C/`, `\%5c`, "/%09/", "/%0a/", "/%0d%0a/", "/%00/", "/%20/", "/%e2%80%8b/", "/%c0%af", "/%252f", "/%252f%252f", "/%255c", "/%25%32%66",
		"/.//", "/..//", "/./", "/../", "/a/..//", "/a/.//", "/%2e//", "/%2e%2e//", "/.%2e//", "/..%2f/", "/a/%2e%2e%2f/", `/..\/`, "/;//", "/a;/..//", "./", "../", ".//", "?//", "#//",
		"\uff0f\uff0f", "/\uff0f", "/\u2044", "/\u2215", "/\uff3c", "/\u29f8", "\u2024\u2024//", "/\uff0e\uff0e//", "@", "/@", ":@", "//@", "/:80//", "//:@", "//;@", "//?@",
		"javascript:", "java\tscript:", "JaVaScRiPt://%0a", "\x19javascript:", "data:text/html,", "vbscript:", "blob:http://", "filesystem:http://", "view-source:http://", "mailto:", "tel:",
		"/login?next=//", "/login/../..//", "/logout//", "/popup?id=any-popup&next=//", "/oauth-authorized/..//", "/account//", "/account/../..//", "/account?next=//", "/account#//", "/header//",
	}
	hosts := []string{
		"evil.example", "EVIL.example.", "evil.example:80", "user@evil.example", "user:word@evil.example:8080", addr + "@evil.example", addr + ".evil.example", `evil.example\@` + addr, "evil.example#@" + addr,
		"evil.example?@" + addr, "evil\u3002example", "evil%2eexample", "evil%E3%80%82example", "\u0435vil.example", "xn--vil-4pa.example", "\uff45vil.example", "[::1]", "[::ffff:7f00:1]", "0x7f000001", "2130706433",
		"\u2460\u2461\u2466.\u24ea.\u24ea.\u2460", "127.1", "localhost", "alert(1)", "",
	}
	endings := []string{"", "/", "/account", "?x=1", "#x", `\..`, "/%2e%2e", "//", "\t", "\n", "%0d%0aSet-Cookie:a=b", "\u2028", "/" + strings.Repeat("a", 3000)}

	nexts := []string{"/" + strings.Repeat("a", 2030) + "//evil.example", "/" + strings.Repeat("/", 2046), "/" + strings.Repeat("../", 600) + "/evil.example", strings.Repeat("/", 70_000/40) + "evil.example", "/\xff/evil.example", "/\xc0\xaf/evil.example"}
	for control := range byte(' ' + 1) { // in every place
		for at := range 4 {
			for _, whole := range []string{"//evil.example", `/\evil.example`} {
				nexts = append(nexts, whole[:at]+string(rune(control))+whole[at:])
			}
		}
	}
	random := rand.New(rand.NewPCG(1, 2))
	pick := func(from []string) string { return from[random.IntN(len(from))] }
	known := map[string]bool{}
	for len(nexts) < 2000 {
		next := pick(openers) + pick(hosts) + pick(endings)
		switch random.IntN(16) {
		case 0:
			next = url.QueryEscape(next)
		case 1:
			next = url.QueryEscape(url.QueryEscape(next))
		case 2:
			next = "/" + url.PathEscape(next)
		}
		if !known[next] {
			known[next] = true
			nexts = append(nexts, next)
		}
	}
	return nexts
}

// Whatever people call themselves at X, no page runs it, nor is changed by it.
// What a browser makes of markup is for a browser to say.
func TestHostileNamesInABrowser(t *testing.T) {
	t.Parallel()
	x := &ownTwitter{}
	for i, name := range []string{
		`<script>window.hit=1</script>`, `<img src=x onerror=window.hit=1>`, `"><svg onload=window.hit=1>`, `</bdi></p></main><header id="header">`,
		`' onfocus='window.hit=1' autofocus='`, `<hx-partial hx-target="body">`, `<template><b hx-get="/logout">`, `</title></script><!--`, "\u202eevil\u2066\u200b",
	} {
		x.people = append(x.people, sandbox.Account{ID: fmt.Sprint(i + 1), ScreenName: fmt.Sprintf("hostile_%d", i), Name: name})
	}
	b := startWith(t, x, "LOGIN_RATE=0").browse()
	const state = `[window.hit ?? 0, document.querySelectorAll('header').length, document.querySelectorAll('main').length, document.querySelectorAll('bdi *, [onerror], [onload], [onfocus], hx-partial').length].join()`
	for _, person := range x.people {
		v := b.p.visitor()
		v.signIn(person)
		await(t, "the name to arrive", func() bool { return v.get("/account").Find("#profile bdi").Length() == 1 })

		b.visit("/login?next=/account")
		b.untilAsked()
		if got := ask[string](b, state); got != "0,1,1,0" {
			t.Errorf("%q changes the page that asks: %s", person.Name, got)
		}
		b.choose(person)
		b.untilGreeted(person.ScreenName)
		for _, swap := range []string{"", "htmx.ajax('GET', '/header', { target: '#header', swap: 'outerMorph' })", "document.querySelector('#profile button').click()"} {
			ask[bool](b, swap+"; true")
			b.untilQuiet()
			if got := ask[string](b, state); got != "0,1,1,0" {
				t.Errorf("%q changes the page: %s", person.Name, got)
			}
			if got := ask[string](b, "document.querySelector('#profile bdi').textContent"); got != person.Name {
				t.Errorf("the page says %q, want %q", got, person.Name)
			}
		}
	}
}

// Every test ends with a look for secrets in log, pages and files. This one
// makes them come by, and would not if nobody were listening.
func TestSecretsStayWhereTheyBelong(t *testing.T) {
	t.Parallel()
	const key = "a-secret-key-of-more-than-thirty-two-bytes"
	p := startWith(t, &ownTwitter{}, "SECRET_KEY="+key)
	p.keep("secret key", key)
	v := p.visitor()
	v.signIn(account(t, "robin"))
	await(t, "the profile to arrive", func() bool { return v.get("/account").Find("#profile img.avatar").Length() == 1 })
	for _, path := range []string{"/", "/header", "/privacy", "/account/data.json", "/account/delete", "/account/disconnect", "/nowhere", "/popup?id=any-popup&next=/"} {
		v.get(path)
	}
	v.decide(v.consent("/account"), account(t, "suzume"), "cancel")

	seen := map[string]int{}
	for _, what := range p.secrets {
		seen[what]++
	}
	for _, what := range []string{"consumer key", "consumer secret", "secret key", "oauth_token", "oauth_verifier", "csrf value", "cookie perch-session", "session id",
		"cookie perch-notices", "access token", "token secret of /oauth/request_token", "token secret of /oauth/access_token"} {
		if seen[what] == 0 {
			t.Errorf("no %s came by", what)
		}
	}
	if records := p.records(); len(records) < 3 || len(p.pages) < 8 {
		t.Errorf("there are %d records and %d pages to look at", len(records), len(p.pages))
	}
}
