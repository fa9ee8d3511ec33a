package sandbox

import (
	"net/http"
	"net/url"
	"strings"
	"testing"
	"time"
)

func TestConsentPage(t *testing.T) {
	for _, path := range []string{"/oauth/authenticate", "/oauth/authorize"} {
		k := newKit(t)
		token, _ := k.begin(t)
		response, page := newBrowser(t, k).get(path + "?force_login=true&oauth_token=" + token)

		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "text/html;charset=utf-8" {
			t.Fatalf("%s answered %s %s", path, response.Status, response.Header.Get("Content-Type"))
		}
		want := "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action 'self' http://127.0.0.1:8080"
		if got := response.Header.Get("Content-Security-Policy"); got != want {
			t.Errorf("Content-Security-Policy %q, want %q", got, want)
		}
		for _, cookie := range response.Cookies() {
			if !cookie.HttpOnly || cookie.SameSite != http.SameSiteStrictMode || cookie.Path != "/oauth/" || cookie.MaxAge != 600 {
				t.Errorf("cookie %s", cookie.Raw)
			}
		}
		if got := len(response.Cookies()); got != 1 {
			t.Errorf("%d cookies, want 1", got)
		}
		if got := page.Find("form#consent").AttrOr("action", ""); got != path {
			t.Errorf("the form leads to %s, want %s", got, path)
		}
		for selector, want := range map[string]int{
			"html[lang=en]": 1, "title": 1, "header": 1, "main": 1, "main h1": 1, "fieldset > legend": 1,
			"fieldset label input[type=radio][name=account]": len(DemoAccounts()), "input[type=radio][checked]": 1, "input[type=checkbox][name=remember][checked]": 1,
			"button#authorize[name=action][value=authorize]": 1, "button#cancel[name=action][value=cancel]": 1,
			"input[type=hidden][name=oauth_token]": 1, "input[type=hidden][name=csrf]": 1,
			"script, [style], [onclick], style": 0,
		} {
			if got := page.Find(selector).Length(); got != want {
				t.Errorf("%d of %s, want %d", got, selector, want)
			}
		}
		text := page.Find("body").Text()
		for _, want := range []string{"Sandbox", "This is not X", "http://127.0.0.1:8080", "No password", "Authorize app", "Cancel"} {
			if !strings.Contains(text, want) {
				t.Errorf("the page does not say %q", want)
			}
		}
		for _, a := range DemoAccounts() {
			label := page.Find("label:has(input[value='" + a.ID + "'])")
			if got := label.Find(".name").Text(); got != a.Name {
				t.Errorf("account %s is called %q, want %q", a.ID, got, a.Name)
			}
			if got := label.Find(".handle").Text(); got != "@"+a.ScreenName {
				t.Errorf("account %s is %q, want @%s", a.ID, got, a.ScreenName)
			}
		}
	}
}

func TestPreselected(t *testing.T) {
	for name, want := range map[string]string{"": "2244994945", "nobody": "2244994945", "jenny_wren": "12", "JENNY_Wren": "12"} {
		k := newKit(t)
		token, _ := k.begin(t)
		_, page := newBrowser(t, k).get("/oauth/authenticate?oauth_token=" + token + "&screen_name=" + name)
		if got := page.Find("input[checked]").AttrOr("value", ""); got != want {
			t.Errorf("screen_name=%s selects %s, want %s", name, got, want)
		}
	}
}

// TestDecision: where each button leads, and that it is final.
func TestDecision(t *testing.T) {
	tests := []struct{ name, callback, button, want string }{
		{"authorize", callback, "authorize", callback + "?oauth_token=TOKEN&oauth_verifier="},
		{"cancel", callback, "cancel", callback + "?denied=TOKEN"},
		{"authorize, to a callback with a query", otherCallback, "authorize", otherCallback + "&oauth_token=TOKEN&oauth_verifier="},
		{"cancel, to a callback with a query", otherCallback, "cancel", otherCallback + "&denied=TOKEN"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			a := k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": tt.callback}})
			v, _ := url.ParseQuery(a.body)
			token := v.Get("oauth_token")
			b := newBrowser(t, k)
			_, page := b.get("/oauth/authenticate?oauth_token=" + token)
			_, again := b.get("/oauth/authenticate?oauth_token=" + token)
			want := strings.Replace(tt.want, "TOKEN", token, 1)
			if got := b.submit(again, "", tt.button); got != want && (tt.button == "cancel" || !strings.HasPrefix(got, want)) {
				t.Errorf("leads to %s, want %s", got, want)
			}
			if response, _ := b.get("/oauth/authenticate?oauth_token=" + token); response.StatusCode != http.StatusForbidden {
				t.Errorf("afterwards the page answers %s", response.Status)
			}
			if status := b.post(url.Values{"oauth_token": {token}, "csrf": {page.Find("[name=csrf]").AttrOr("value", "")}, "action": {"authorize"}, "account": {"12"}}, nil); status != http.StatusForbidden {
				t.Errorf("afterwards the form answers %d", status)
			}
		})
	}

	t.Run("too late", func(t *testing.T) {
		k := newKit(t)
		token, _ := k.begin(t)
		b := newBrowser(t, k)
		_, page := b.get("/oauth/authenticate?oauth_token=" + token)
		k.turn(10*time.Minute + 1)
		if status := b.post(fields(page.Find("[name=csrf]").AttrOr("value", ""), token), nil); status != http.StatusForbidden {
			t.Errorf("the form answers %d", status)
		}
		response, late := b.get("/oauth/authenticate?oauth_token=" + token)
		if response.StatusCode != http.StatusForbidden || !strings.Contains(late.Text(), "start again") {
			t.Errorf("the page answers %s %s", response.Status, late.Text())
		}
	})
	t.Run("two tabs", func(t *testing.T) {
		k := newKit(t)
		b := newBrowser(t, k)
		one, _ := k.begin(t)
		two, _ := k.begin(t)
		_, pageOne := b.get("/oauth/authenticate?oauth_token=" + one)
		_, pageTwo := b.get("/oauth/authenticate?oauth_token=" + two)
		b.submit(pageOne, "12", "authorize")
		b.submit(pageTwo, "12", "authorize")
	})
}

// TestForgedForm: a form that did not come from the page in this browser decides nothing.
func TestForgedForm(t *testing.T) {
	tests := []struct {
		name   string
		edit   func(form url.Values, h http.Header)
		status int
	}{
		{"the page's own form", func(url.Values, http.Header) {}, 303},
		{"from another site", func(_ url.Values, h http.Header) { h.Set("Sec-Fetch-Site", "cross-site") }, 403},
		{"from the other loopback name", func(_ url.Values, h http.Header) { h.Set("Sec-Fetch-Site", "same-site") }, 403},
		{"from another origin, an old browser", func(_ url.Values, h http.Header) { h.Set("Origin", "http://evil.example") }, 403},
		{"without the cookie", func(_ url.Values, h http.Header) { h.Set("Cookie", "a=b") }, 403},
		{"without the field", func(form url.Values, _ http.Header) { form.Del("csrf") }, 403},
		{"with another field", func(form url.Values, _ http.Header) { form.Set("csrf", "x") }, 403},
		{"with neither in it", func(form url.Values, h http.Header) {
			form.Set("csrf", "")
			h.Set("Cookie", csrfCookie(form.Get("oauth_token"), "", 0).Name+"=")
		}, 403},
		{"for another token", func(form url.Values, _ http.Header) { form.Set("oauth_token", "other") }, 403},
		{"without a token", func(form url.Values, _ http.Header) { form.Del("oauth_token") }, 403},
		{"as plain text", func(_ url.Values, h http.Header) { h.Set("Content-Type", "text/plain") }, 403},
		{"unreadable", func(_ url.Values, h http.Header) { h.Set("Content-Type", "x;=") }, 400},
		{"too large", func(form url.Values, _ http.Header) { form.Set("more", strings.Repeat("a", maxBody)) }, 400},
		{"with no button", func(form url.Values, _ http.Header) { form.Del("action") }, 400},
		{"with another button", func(form url.Values, _ http.Header) { form.Set("action", "follow") }, 400},
		{"with no account", func(form url.Values, _ http.Header) { form.Del("account") }, 400},
		{"with another account", func(form url.Values, _ http.Header) { form.Set("account", "404") }, 400},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			token, secret := k.begin(t)
			b := newBrowser(t, k)
			_, page := b.get("/oauth/authenticate?oauth_token=" + token)
			form := fields(page.Find("[name=csrf]").AttrOr("value", ""), token)
			if got := b.post(form, tt.edit); got != tt.status {
				t.Errorf("answered %d, want %d", got, tt.status)
			}
			if _, pending := k.pending(token); pending != (tt.status != http.StatusSeeOther) {
				t.Errorf("still to be decided: %t", pending)
			}
			if a := k.exchangeCall(t, token, secret, ""); a.status != http.StatusUnauthorized {
				t.Errorf("access_token answered %d", a.status)
			}
		})
	}
}

func fields(csrf, token string) url.Values {
	return url.Values{"oauth_token": {token}, "csrf": {csrf}, "account": {"12"}, "action": {"authorize"}}
}

// post sends the consent form after edit had its way with it; a Cookie header of edit's stands in for the jar's.
func (b *browser) post(form url.Values, edit func(url.Values, http.Header)) (status int) {
	b.t.Helper()
	h := http.Header{"Content-Type": {"application/x-www-form-urlencoded"}}
	if edit != nil {
		edit(form, h)
	}
	r, err := http.NewRequest("POST", b.base+"/oauth/authenticate", strings.NewReader(form.Encode()))
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
	return response.StatusCode
}

// TestFormSource: a policy that does not name the application would keep people here, and one that names too much is none.
func TestFormSource(t *testing.T) {
	for callback, want := range map[string]string{
		"http://127.0.0.1:8080/back":         "http://127.0.0.1:8080",
		"https://example.com/back?a=b":       "https://example.com",
		"http://[::1]:8080/back":             "http:",
		"my-app://back/here":                 "my-app:",
		"http://a;script-src/back":           "http:",
		"http://a,default-src/back":          "http:",
		"http://localhost:8080/'self';x=%20": "http://localhost:8080",
	} {
		u, err := url.Parse(callback)
		if err != nil {
			t.Fatal(err)
		}
		if got := formSource(u); got != want {
			t.Errorf("%s: %s, want %s", callback, got, want)
		}
	}
}
