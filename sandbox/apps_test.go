package sandbox

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"

	"github.com/PuerkitoBio/goquery"
)

// TestApps: a person takes an application's access away, and its next call is refused as X refuses it.
func TestApps(t *testing.T) {
	k := newKit(t)
	b := newBrowser(t, k)
	if response, page := b.get("/sandbox/apps"); response.StatusCode != http.StatusOK || page.Find("form").Length() != 0 || !strings.Contains(page.Find("main").Text(), "Nobody has let") {
		t.Errorf("before any sign-in the page answers %s %q", response.Status, page.Find("main").Text())
	}
	wren, suzume := k.signIn(t, "12"), k.signIn(t, "1700000000000000004")

	response, page := b.get("/sandbox/apps")
	if got := names(page); !slices.Equal(got, []string{"@jenny_wren", "@suzume"}) {
		t.Errorf("connected are %q", got)
	}
	if got, want := page.Find("form .name").First().Text(), `Jenny "Wren" & <Co>`; got != want {
		t.Errorf("the first is called %q, want %q", got, want)
	}
	if got := response.Header.Get("Content-Security-Policy"); got != policy+"'self'" {
		t.Errorf("Content-Security-Policy %q", got)
	}
	for selector, want := range map[string]int{
		"html[lang=en]": 1, "title": 1, "header": 1, "main": 1, "main h1": 1, "form[method=post][action='/sandbox/apps']": 2,
		"form button[name=account][aria-label]": 2, "input[type=hidden][name=csrf]": 2, "script, [style], [onclick], style": 0,
	} {
		if got := page.Find(selector).Length(); got != want {
			t.Errorf("%d of %s, want %d", got, selector, want)
		}
	}

	if status, to := b.revoke(page, "12", nil); status != http.StatusSeeOther || to != "/sandbox/apps" {
		t.Errorf("the button answers %d and leads to %q", status, to)
	}
	if _, page := b.get("/sandbox/apps"); !slices.Equal(names(page), []string{"@suzume"}) {
		t.Errorf("afterwards connected are %q", names(page))
	}
	for who, tt := range map[string]struct {
		pair url.Values
		want int
	}{"wren": {wren, http.StatusUnauthorized}, "suzume": {suzume, http.StatusOK}} {
		a := k.call(t, signed{method: "GET", path: "/2/users/me", tokenSecret: tt.pair.Get("oauth_token_secret"), oauth: map[string]string{"oauth_token": tt.pair.Get("oauth_token")}})
		if a.status != tt.want {
			t.Errorf("%s's token: %d %s, want %d", who, a.status, a.body, tt.want)
		}
	}
	if status, _ := b.revoke(page, "12", nil); status != http.StatusSeeOther { // from a tab that shows what was
		t.Errorf("a second time the button answers %d", status)
	}
	if got := k.logs.String(); strings.Count(got, `level=INFO msg="sandbox apps" method=POST verdict="Access was taken away."`) != 2 || strings.Contains(got, page.Find("[name=csrf]").AttrOr("value", "")) {
		t.Errorf("the log reads\n%s", got)
	}
}

func names(page *goquery.Document) []string {
	return page.Find("form .handle").Map(func(_ int, handle *goquery.Selection) string { return handle.Text() })
}

// revoke presses an account's button on the page, after edit had its way with what is sent.
func (b *browser) revoke(page *goquery.Document, account string, edit func(url.Values, http.Header)) (status int, location string) {
	b.t.Helper()
	form := url.Values{"csrf": {page.Find("[name=csrf]").AttrOr("value", "")}, "account": {account}}
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if edit != nil {
		edit(form, h)
	}
	r, err := http.NewRequest("POST", b.base+"/sandbox/apps", strings.NewReader(form.Encode()))
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
	response.Body.Close()
	return response.StatusCode, response.Header.Get("Location")
}

// TestAppsForm: nobody but the page takes access away.
func TestAppsForm(t *testing.T) {
	tests := []struct {
		name   string
		edit   func(url.Values, http.Header)
		status int
	}{
		{"as the page sends it", nil, 303},
		{"from the same origin", func(_ url.Values, h http.Header) { h.Set("Sec-Fetch-Site", "same-origin") }, 303},
		{"from another site", func(_ url.Values, h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") }, 403},
		{"from the other loopback name", func(_ url.Values, h http.Header) { h.Set("Sec-Fetch-Site", "same-site") }, 403},
		{"from another origin, an old browser", func(_ url.Values, h http.Header) { h.Set("Origin", "http://evil.example") }, 403},
		{"without the cookie", func(_ url.Values, h http.Header) { h.Set("Cookie", "a=b") }, 403},
		{"without the field", func(form url.Values, _ http.Header) { form.Del("csrf") }, 403},
		{"with another field", func(form url.Values, _ http.Header) { form.Set("csrf", "x") }, 403},
		{"with neither in it", func(form url.Values, h http.Header) { form.Set("csrf", ""); h.Set("Cookie", appsCookie("").Name+"=") }, 403},
		{"as plain text", func(_ url.Values, h http.Header) { h.Set("Content-Type", "text/plain") }, 403},
		{"unreadable", func(_ url.Values, h http.Header) { h.Set("Content-Type", "x;=") }, 400},
		{"too large", func(form url.Values, _ http.Header) { form.Set("more", strings.Repeat("a", maxBody)) }, 400},
		{"with no account", func(form url.Values, _ http.Header) { form.Del("account") }, 400},
		{"with an account that is none", func(form url.Values, _ http.Header) { form.Set("account", "404") }, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			k.signIn(t, "12")
			b := newBrowser(t, k)
			_, page := b.get("/sandbox/apps")
			b.get("/sandbox/apps") // in another tab, which spoils nothing
			if status, _ := b.revoke(page, "12", tt.edit); status != tt.status {
				t.Errorf("answered %d, want %d", status, tt.status)
			}
			if got := len(k.connected()); got == 1 != (tt.status != http.StatusSeeOther) {
				t.Errorf("%d accounts are connected", got)
			}
		})
	}
}

func TestAppsCookie(t *testing.T) {
	k := newKit(t)
	response, _ := newBrowser(t, k).get("/sandbox/apps")
	cookies := response.Cookies()
	if len(cookies) != 1 {
		t.Fatalf("%d cookies, want 1", len(cookies))
	}
	if c := cookies[0]; !c.HttpOnly || c.SameSite != http.SameSiteStrictMode || c.Path != "/sandbox/apps" || c.MaxAge != 3600 || len(c.Value) < 26 {
		t.Errorf("cookie %s", c.Raw)
	}
	// Every page leads there.
	for _, path := range []string{"/sandbox/apps", "/oauth/authenticate"} {
		if _, page := newBrowser(t, k).get(path); page.Find("footer a[href='/sandbox/apps']").Length() != 1 {
			t.Errorf("%s has no link to the apps page", path)
		}
	}
}
