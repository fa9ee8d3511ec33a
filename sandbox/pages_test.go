package sandbox

import (
	"bufio"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/PuerkitoBio/goquery"
)

// TestPages: every page for those who test is plainly a sandbox's, may do no more than it needs, and works without scripts.
func TestPages(t *testing.T) {
	k := newKit(t)
	k.signIn(t, "12")
	k.call(t, signed{path: "/oauth/request_token", consumerSecret: "wrong"})
	b := newBrowser(t, k)
	for path, here := range map[string]string{"/": "Start", "/sandbox/calls": "Calls", "/sandbox/calls?only=refused": "Calls", "/sandbox/faults": "Faults", "/sandbox/accounts": "Accounts"} {
		t.Run(path, func(t *testing.T) {
			response, page := b.get(path)
			h := response.Header
			if response.StatusCode != http.StatusOK || h.Get("Content-Type") != kindHTML || h.Get("X-Perch-Sandbox") != "true" || h.Get("X-Frame-Options") != "DENY" {
				t.Errorf("answered %s %v", response.Status, h)
			}
			want := "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self'; " +
				"script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types htmx"
			if got := h.Get("Content-Security-Policy"); got != want {
				t.Errorf("Content-Security-Policy %q, want %q", got, want)
			}
			for selector, want := range map[string]int{
				"html[lang=en]": 1, "title": 1, "main#main h1": 1, "nav a": 4, "nav [aria-current=page]": 1, "footer a[href='/sandbox/apps']": 1,
				"script[src='/sandbox/sandbox.js']": 1, "script": 1, "[style], [onclick], style": 0,
			} {
				if got := page.Find(selector).Length(); got != want {
					t.Errorf("%d of %s, want %d", got, selector, want)
				}
			}
			if got := page.Find("nav [aria-current=page]").Text(); got != here {
				t.Errorf("it says that this is %q, want %q", got, here)
			}
			if text := page.Find("header").Text(); !strings.Contains(text, "Sandbox") || !strings.Contains(text, "not X") {
				t.Errorf("it says %q", text)
			}
			page.Find("[hx-get], [hx-post]").Each(func(_ int, e *goquery.Selection) {
				plain := e.AttrOr("action", e.AttrOr("href", ""))
				if plain, _, _ = strings.Cut(plain, "#"); plain != e.AttrOr("hx-post", e.AttrOr("hx-get", "")) {
					t.Errorf("with scripts a form or link leads elsewhere than to %s", plain)
				}
			})
			page.Find("form").Each(func(_ int, form *goquery.Selection) {
				if form.Find("[name=csrf]").Length() != 1 || form.AttrOr("method", "") != "post" {
					t.Error("a form lacks its secret, or its method")
				}
			})
		})
	}
	for _, path := range []string{"/sandbox/sandbox.js", "/sandbox/sandbox.css", "/sandbox/icon.png"} {
		if response, _ := b.get(path); response.StatusCode != http.StatusOK {
			t.Errorf("%s answered %s", path, response.Status)
		}
	}
}

func TestStartPage(t *testing.T) {
	k := newKit(t)
	b := newBrowser(t, k)
	_, page := b.get("/")
	for _, want := range []string{b.base, k.ConsumerKey(), callback, otherCallback, "/2/users/me"} {
		if !strings.Contains(page.Find("main").Text(), want) {
			t.Errorf("it does not say %q", want)
		}
	}
	if html, _ := page.Html(); strings.Contains(html, k.ConsumerSecret()) {
		t.Error("it shows the secret to whoever looks over a shoulder")
	}
	show, _ := page.Find("a[href*='secret=shown']").Attr("href")
	if _, page := b.get(show); !strings.Contains(page.Find("main").Text(), k.ConsumerSecret()) {
		t.Errorf("%s does not show the secret", show)
	}
}

// press sends a form of one of the pages, after edit had its way with it; a Cookie header of edit's stands in for the jar's.
func (b *browser) press(path, selector string, values url.Values, edit func(url.Values, http.Header)) (*http.Response, *goquery.Document) {
	b.t.Helper()
	_, page := b.get(path)
	button := page.Find(selector).First()
	form := button.Closest("form")
	if form.Length() != 1 {
		b.t.Fatalf("%s has no form with %s", path, selector)
	}
	filled := url.Values{button.AttrOr("name", ""): {button.AttrOr("value", "")}}
	form.Find("input, select").Each(func(_ int, in *goquery.Selection) {
		_, checked := in.Attr("checked")
		if in.AttrOr("type", "") != "radio" || checked {
			filled.Set(in.AttrOr("name", ""), in.AttrOr("value", ""))
		}
	})
	for name, value := range values {
		filled[name] = value
	}
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if edit != nil {
		edit(filled, h)
	}
	r, err := http.NewRequest("POST", b.base+form.AttrOr("action", ""), strings.NewReader(filled.Encode()))
	if err != nil {
		b.t.Fatal(err)
	}
	r.Header = h
	client := *b.client
	if h.Get("Cookie") != "" {
		client.Jar = nil
	}
	response, err := client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	defer response.Body.Close()
	answered, err := goquery.NewDocumentFromReader(response.Body)
	if err != nil {
		b.t.Fatal(err)
	}
	return response, answered
}

// TestPagesForms: nobody but the pages changes anything.
func TestPagesForms(t *testing.T) {
	tests := []struct {
		name   string
		edit   func(url.Values, http.Header)
		status int
	}{
		{"as the page sends it", nil, 303},
		{"as htmx sends it", func(_ url.Values, h http.Header) { h.Set("HX-Request", "true"); h.Set("Sec-Fetch-Site", "same-origin") }, 303},
		{"from another site", func(_ url.Values, h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") }, 403},
		{"from the other loopback name", func(_ url.Values, h http.Header) { h.Set("Sec-Fetch-Site", "same-site") }, 403},
		{"from another origin, an old browser", func(_ url.Values, h http.Header) { h.Set("Origin", "http://evil.example") }, 403},
		{"without the cookie", func(_ url.Values, h http.Header) { h.Set("Cookie", "a=b") }, 403},
		{"without the field", func(form url.Values, _ http.Header) { form.Del("csrf") }, 403},
		{"with another field", func(form url.Values, _ http.Header) { form.Set("csrf", "x") }, 403},
		{"with neither in it", func(form url.Values, h http.Header) { form.Set("csrf", ""); h.Set("Cookie", pagesCookie("").Name+"=") }, 403},
		{"unreadable", func(_ url.Values, h http.Header) { h.Set("Content-Type", "x;=") }, 400},
		{"too large", func(form url.Values, _ http.Header) { form.Set("more", strings.Repeat("a", maxBody)) }, 400},
		{"with no action", func(form url.Values, _ http.Header) { form.Del("action") }, 400},
		{"with another action", func(form url.Values, _ http.Header) { form.Set("action", "follow") }, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			b := newBrowser(t, k)
			response, page := b.press("/sandbox/faults", "[value=add]", nil, tt.edit)
			if response.StatusCode != tt.status || len(k.Faults()) == 1 != (tt.status == 303) {
				t.Errorf("the faults page answered %s, want %d; now %v", response.Status, tt.status, k.Faults())
			}
			if tt.status != 303 && page.Find("main#main h1").Text() != "Nothing was changed" {
				t.Errorf("htmx finds no #main in %q", page.Text())
			}
			response, _ = b.press("/sandbox/accounts", "[value=suspend]", nil, tt.edit)
			if response.StatusCode != tt.status || k.Accounts()[0].State == "suspended" != (tt.status == 303) {
				t.Errorf("the accounts page answered %s, want %d; now %v", response.Status, tt.status, k.Accounts()[0])
			}
		})
	}
}

func TestPagesCookie(t *testing.T) {
	b := newBrowser(t, newKit(t))
	response, _ := b.get("/sandbox/faults")
	cookies := response.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d cookies, want 1", len(cookies))
	}
	if c := cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/sandbox/" || c.MaxAge != 0 || len(c.Value) < 26 {
		t.Errorf("cookie %s", c.Raw)
	}
	if response, _ := b.get("/sandbox/accounts"); response.Cookies()[0].Value != cookies[0].Value {
		t.Error("another tab spoils this one's forms")
	}
}

func TestFaultsPage(t *testing.T) {
	first := newKit(t).FaultKinds()[0].Name
	tests := []struct {
		name   string
		values url.Values
		want   []Fault
	}{
		{"as it stands there", nil, []Fault{{Kind: first, Times: 1}}},
		{"three times at one place", url.Values{"last": {"some"}, "times": {"3"}, "endpoint": {"users_me"}}, []Fault{{Kind: first, Endpoint: "users_me", Times: 3}}},
		{"until it is cleared, after some seconds", url.Values{"kind": {"slow"}, "last": {"cleared"}, "seconds": {"7"}}, []Fault{{Kind: "slow", Seconds: 7}}},
		{"a clock behind", url.Values{"kind": {"clock"}, "last": {"cleared"}, "seconds": {"-420"}}, []Fault{{Kind: "clock", Seconds: -420}}},
		{"seconds that mean nothing", url.Values{"last": {"cleared"}, "seconds": {"7"}}, nil},
		{"a kind that is none", url.Values{"kind": {"<b>"}}, nil},
		{"an endpoint that is none", url.Values{"endpoint": {"<b>"}}, nil},
		{"no number of times", url.Values{"last": {"some"}, "times": {"<b>"}}, nil},
		{"too many times", url.Values{"last": {"some"}, "times": {"1001"}}, nil},
		{"not once", url.Values{"last": {"some"}, "times": {"0"}}, nil},
		{"no number of seconds", url.Values{"kind": {"slow"}, "seconds": {"soon"}}, nil},
		{"nobody knows how long", url.Values{"last": {""}}, nil},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			b := newBrowser(t, k)
			response, page := b.press("/sandbox/faults", "[value=add]", tt.values, nil)
			if got := k.Faults(); !slices.Equal(got, tt.want) {
				t.Errorf("on are %v, want %v", got, tt.want)
			}
			if tt.want == nil {
				if response.StatusCode != http.StatusUnprocessableEntity || page.Find("[role=alert] .problem").Length() != 1 || page.Find("b").Length() != 0 {
					t.Errorf("answered %s %q", response.Status, page.Find("[role=alert]").Text())
				}
				return
			}
			_, page = b.get(response.Header.Get("Location"))
			if got := page.Find("[role=status]").Text(); !strings.Contains(got, faultInWords(tt.want[0])) {
				t.Errorf("the page says %q, want %q", got, faultInWords(tt.want[0]))
			}
			b.press("/sandbox/faults", "[value=clear]", nil, nil)
			if got := k.Faults(); len(got) != 0 {
				t.Errorf("cleared, on are %v", got)
			}
		})
	}
}

func TestAccountsPage(t *testing.T) {
	k := newKit(t)
	k.signIn(t, "12")
	b := newBrowser(t, k)
	wren := func() Account { return k.Accounts()[1] }

	const hostile = `<img src=x onerror="alert(1)">`
	response, _ := b.press("/sandbox/accounts", "#account-12 [value=save]", url.Values{"screen_name": {"@wren"}, "name": {hostile}, "email": {"wren@example.com"}}, nil)
	if want := (Account{ID: "12", ScreenName: "wren", Name: hostile, Email: "wren@example.com"}); wren() != want {
		t.Errorf("renamed, it is %v, want %v", wren(), want)
	}
	_, page := b.get(response.Header.Get("Location"))
	if got := page.Find("#account-12 h2").Text(); got != hostile || page.Find("[onerror]").Length() != 0 {
		t.Errorf("the page calls it %q", got)
	}
	if got := page.Find("[role=status]").First().Text(); !strings.Contains(got, "@wren is in good standing, and an application has access") {
		t.Errorf("the page says %q", got)
	}

	for _, step := range []struct{ button, want string }{{"lock", "locked"}, {"restore", ""}, {"suspend", "suspended"}} {
		b.press("/sandbox/accounts", "#account-12 [value="+step.button+"]", nil, nil)
		_, page := b.get("/sandbox/accounts")
		if got := page.Find("#account-12 .tag:not(.quiet)").Text(); wren().State != step.want || got != step.want {
			t.Errorf("%s: it is %q, and the page says %q; want %q", step.button, wren().State, got, step.want)
		}
	}
	token, _ := k.begin(t)
	if _, page := b.get("/oauth/authenticate?oauth_token=" + token); page.Find("label:has([value='12']) .tag").Text() != "suspended" || page.Find(".tag").Length() != 1 {
		t.Error("the consent page does not say who is suspended")
	}
	b.press("/sandbox/accounts", "#account-12 [value=revoke]", nil, nil)
	if got := k.connected(); len(got) != 0 {
		t.Errorf("connected are %v still", got)
	}

	b.press("/sandbox/accounts", "#add button", url.Values{"screen_name": {"finch"}, "name": {"Fiona"}}, nil)
	all := k.Accounts()
	finch := all[len(all)-1]
	if finch.ScreenName != "finch" || !accountID.MatchString(finch.ID) || len(finch.ID) != 19 {
		t.Errorf("added was %v", finch)
	}
	if response, _ := b.get(avatarPath(finch.ID, "_normal")); response.StatusCode != http.StatusOK {
		t.Errorf("the picture of who was added answers %s", response.Status)
	}
	for name, values := range map[string]url.Values{
		"an ID that is taken":     {"screen_name": {"other"}, "name": {"Other"}, "id": {"12"}},
		"an ID that is none":      {"screen_name": {"other"}, "name": {"Other"}, "id": {"<b>"}},
		"a name that is none":     {"screen_name": {"<b>"}, "name": {"Other"}},
		"nothing to be called by": {"screen_name": {"other"}},
	} {
		response, page := b.press("/sandbox/accounts", "#add button", values, nil)
		if response.StatusCode != http.StatusUnprocessableEntity || page.Find(".problem").Length() != 1 || page.Find("b").Length() != 0 {
			t.Errorf("%s: answered %s %q", name, response.Status, page.Find("[role=alert]").Text())
		}
	}
	if got := len(k.Accounts()); got != len(all) {
		t.Errorf("%d accounts, want %d", got, len(all))
	}
	if response, _ := b.press("/sandbox/accounts", "#account-12 [value=restore]", url.Values{"id": {"404"}}, nil); response.StatusCode != http.StatusBadRequest {
		t.Errorf("an account that is none: answered %s", response.Status)
	}
}

// TestCallsPage: what a stranger sent is shown, and is nothing but text.
func TestCallsPage(t *testing.T) {
	k := newKit(t)
	b := newBrowser(t, k)
	if _, page := b.get("/sandbox/calls"); page.Find("#calls").Children().Length() != 0 || !strings.Contains(page.Find(".none pre").Text(), "curl -i -X POST "+b.base) {
		t.Error("without calls the page does not say how to make the first")
	}
	k.begin(t)
	const hostile = "<script>alert(1)</script>\r\ndata: x\x00\u202e\xff\"'"
	k.call(t, signed{path: "/oauth/request_token", consumerSecret: "wrong", form: url.Values{hostile: {hostile, strings.Repeat("long", 5000)}}})

	_, page := b.get("/sandbox/calls")
	items := page.Find("#calls > li")
	if items.Length() != 2 || !items.First().HasClass("refused") || items.Last().HasClass("refused") {
		t.Fatalf("the page shows %q", items.Text())
	}
	text := items.First().Text()
	for _, want := range []string{"401", "code 32", "POST", "request_token", "<script>alert(1)</script>␍␊data: x␀⟨U+202E⟩⟨byte FF⟩\"'", "longlong…"} {
		if !strings.Contains(text, want) {
			t.Errorf("the call lacks %q", want)
		}
	}
	if page.Find("main script").Length() != 0 {
		t.Error("markup got through")
	}
	_, page = b.get("/sandbox/calls?only=refused")
	if got := page.Find("#calls > li"); got.Length() != 1 || !got.HasClass("refused") {
		t.Errorf("only refused are %q", got.Text())
	}
	if got := page.Find("#live").AttrOr("hx-sse:connect", ""); !strings.HasPrefix(got, "/sandbox/calls/stream?only=refused&after=") || !strings.HasSuffix(got, "-2") {
		t.Errorf("the page listens to %s", got)
	}
}

func TestCompare(t *testing.T) {
	const (
		params   = "a%3D1%26b%3Dhttp%253A%252F%252Fx"
		expected = "POST&http%3A%2F%2Flocalhost%2Fx&" + params
	)
	tests := []struct {
		name, received, words string
		marks                 [2]string
	}{
		{"the same", expected, "", [2]string{}},
		{"unknown", "", "", [2]string{}},
		{"another method", "GET&http%3A%2F%2Flocalhost%2Fx&" + params, "in method, after 0 characters: “POS” belongs there, and the client signed “GE”", [2]string{"POS", "GE"}},
		{"another scheme", "POST&https%3A%2F%2Flocalhost%2Fx&" + params, "in URL, after 4 characters: nothing belongs there, and the client signed “s”", [2]string{"", "s"}},
		{"encoded once", "POST&http%3A%2F%2Flocalhost%2Fx&a%3D1%26b%3Dhttp%3A%2F%2Fx", "“%253A%252F%252F” belongs there, and the client signed “%3A%2F%2F”", [2]string{"%253A%252F%252F", "%3A%2F%2F"}},
		{"in small letters", "POST&http%3A%2F%2Flocalhost%2Fx&a%3D1%26b%3Dhttp%253a%252F%252Fx", "“%253A” belongs there, and the client signed “%253a”", [2]string{"%253A", "%253a"}},
		{"one is missing", "POST&http%3A%2F%2Flocalhost%2Fx&a%3D1", "The first difference is b: it belongs there, and the client left it out", [2]string{"b%3Dhttp%253A%252F%252Fx", ""}},
		{"one too many", expected + "%26c%3D", "The first difference is c: the client signed it, and it does not belong there.", [2]string{"", "c%3D"}},
		{"none of it", "<b>", "in method", [2]string{"POST", "<b>"}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			rows, words := compare(expected, tt.received)
			if tt.words == "" != (words == "") || !strings.Contains(words, tt.words) {
				t.Errorf("in words %q, want %q", words, tt.words)
			}
			firsts := 0
			for _, r := range rows {
				if r.first {
					firsts++
					if got := [2]string{r.want.mark, r.got.mark}; got != tt.marks {
						t.Errorf("marked are %q, want %q", got, tt.marks)
					}
				}
			}
			if firsts > 1 || firsts == 1 != (tt.words != "") {
				t.Errorf("%d first differences", firsts)
			}
		})
	}
	if rows, _ := compare(expected, expected); rows[1].want.plain != "http://localhost/x" || rows[3].want.plain != "b = http://x" {
		t.Errorf("decoded it is %+v", rows)
	}
}

// listener is a browser that hears the stream.
type listener struct {
	events *bufio.Scanner
	body   func() error
}

func (b *browser) listen(path, last string) *listener {
	b.t.Helper()
	r, err := http.NewRequestWithContext(b.t.Context(), "GET", b.base+path, nil)
	if err != nil {
		b.t.Fatal(err)
	}
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	response, err := b.client.Do(r)
	if err != nil {
		b.t.Fatal(err)
	}
	b.t.Cleanup(func() { response.Body.Close() })
	if response.Header.Get("Content-Type") != "text/event-stream" || response.Header.Get("X-Perch-Sandbox") != "true" {
		b.t.Fatalf("answered %s %v", response.Status, response.Header)
	}
	events := bufio.NewScanner(response.Body)
	events.Buffer(nil, 1<<20)
	events.Split(func(data []byte, atEOF bool) (int, []byte, error) {
		if i := strings.Index(string(data), "\n\n"); i >= 0 {
			return i + 2, data[:i], nil
		}
		return 0, nil, nil
	})
	return &listener{events, response.Body.Close}
}

// next returns the next event: its ID, and which call it shows.
func (l *listener) next(t *testing.T) (id, call string) {
	t.Helper()
	if !l.events.Scan() {
		t.Fatalf("the stream ended: %v", l.events.Err())
	}
	first, data, ok := strings.Cut(l.events.Text(), "\n")
	id, isID := strings.CutPrefix(first, "id: ")
	html, isData := strings.CutPrefix(data, "data: ")
	page, err := goquery.NewDocumentFromReader(strings.NewReader(html))
	if !ok || !isID || !isData || strings.ContainsAny(html, "\r\n") || err != nil {
		t.Fatalf("the event is %q (%v)", l.events.Text(), err)
	}
	if page.Find("hx-partial").Length() == 1 {
		return id, "forget"
	}
	return id, page.Find("li").AttrOr("id", "")
}

func TestStream(t *testing.T) {
	k := newKit(t)
	k.begin(t)
	b := newBrowser(t, k)
	_, page := b.get("/sandbox/calls")
	link := page.Find("#live").AttrOr("hx-sse:connect", "")
	k.call(t, signed{path: "/oauth/request_token", consumerSecret: "wrong"}) // between the page and its stream

	l := b.listen(link, "")
	second, call := l.next(t)
	if call != "call-2" {
		t.Errorf("the stream begins with %s, want call-2", call)
	}
	k.call(t, signed{path: "/oauth/request_token", consumerSecret: "wrong", form: url.Values{"a": {"<b>\r\n\r\ndata: x"}}})
	third, call := l.next(t)
	if call != "call-3" {
		t.Errorf("a new call comes as %s, want call-3", call)
	}
	l.body()

	k.begin(t)
	k.call(t, signed{path: "/oauth/request_token", consumerSecret: "wrong"})
	for name, tt := range map[string]struct {
		path, last string
		want       []string
	}{
		"one that broke off":                 {link, second, []string{"call-3", "call-4", "call-5"}},
		"one that broke off a little later":  {link, third, []string{"call-4", "call-5"}},
		"one that saw nothing":               {link, "", []string{"call-2", "call-3", "call-4", "call-5"}},
		"refused ones alone":                 {strings.Replace(link, "?", "?only=refused&", 1), "", []string{"call-2", "call-3", "call-5"}},
		"a page of another run":              {link, "other-3", []string{"forget", "call-1", "call-2", "call-3", "call-4", "call-5"}},
		"somebody who says nothing of a run": {"/sandbox/calls/stream", "", []string{"forget", "call-1", "call-2", "call-3", "call-4", "call-5"}},
	} {
		l := b.listen(tt.path, tt.last)
		for i, want := range tt.want {
			if _, got := l.next(t); got != want {
				t.Errorf("%s: event %d is %s, want %s", name, i, got, want)
			}
		}
		l.body()
	}
}

// TestStreamEnds by itself, before any server's limit, and with its browser, and with its server.
func TestStreamEnds(t *testing.T) {
	t.Run("in time", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := newKit(t)
			began := time.Now()
			a := k.do(httptest.NewRequest("GET", "http://localhost/sandbox/calls/stream", nil))
			if took := time.Since(began); a.status != http.StatusOK || took != streamLife || took >= 30*time.Second {
				t.Errorf("answered %d, after %s", a.status, took)
			}
		})
	})
	t.Run("with the browser", func(t *testing.T) {
		synctest.Test(t, func(t *testing.T) {
			k := newKit(t)
			ctx, leave := context.WithTimeout(t.Context(), time.Second)
			defer leave()
			began := time.Now()
			k.do(httptest.NewRequest("GET", "http://localhost/sandbox/calls/stream", nil).WithContext(ctx))
			if took := time.Since(began); took != time.Second {
				t.Errorf("it ended after %s, want 1s", took)
			}
		})
	})
	t.Run("with each server", func(t *testing.T) {
		k := newKit(t)
		for range 2 {
			l, err := Listen(t.Context(), "localhost:0")
			if err != nil {
				t.Fatal(err)
			}
			server := &http.Server{Handler: k}
			go server.Serve(l)
			b := &browser{t, "http://" + l.Addr().String(), http.DefaultClient}
			open := b.listen("/sandbox/calls/stream", "")
			open.next(t)
			began := time.Now()
			if err := server.Shutdown(t.Context()); err != nil || time.Since(began) > streamLife/2 {
				t.Errorf("shutting down took %s: %v", time.Since(began), err)
			}
			if open.events.Scan() || open.events.Err() != nil {
				t.Errorf("the stream was cut: %v", open.events.Err())
			}
		}
	})
}

// TestConsentAccess: people see what they agree to.
func TestConsentAccess(t *testing.T) {
	for access, want := range map[string]string{"read": "It asks to read:", "": "It asks to read and write:", "write": "It asks to read and write:"} {
		var b strings.Builder
		if err := consentPage(consentProps{Access: access}).Render(t.Context(), &b); err != nil {
			t.Fatal(err)
		}
		page, err := goquery.NewDocumentFromReader(strings.NewReader(b.String()))
		if err != nil {
			t.Fatal(err)
		}
		if got := page.Find("#access").Text(); !strings.HasPrefix(got, want) {
			t.Errorf("%q: the page says %q, want %q", access, got, want)
		}
	}
}

// TestScriptStaysShort: the pages work without it, and each behaviour says what for it is there.
func TestScriptStaysShort(t *testing.T) {
	if lines, without := strings.Count(ownScript, "\n"), strings.Count(ownScript, "Without"); lines > 60 || without < 5 {
		t.Errorf("%d lines, %d times what breaks without them", lines, without)
	}
	if !strings.Contains(ownScript, fmt.Sprintf("n+%d", maxCalls+1)) {
		t.Errorf("it does not keep %d calls", maxCalls)
	}
}
