package routes_test

import (
	"compress/gzip"
	"io"
	"net/http"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"perch/assets"
	"perch/internal/twitter"
	"perch/routes"
)

// Every route, as its first and as its second kind of visitor meets it, plain
// and by htmx. The kit looks at the rest of the header of every answer.
func TestAnswers(t *testing.T) {
	t.Parallel()
	k := start(t)
	robin := k.browser(t)
	robin.signIn("robin")
	robin.get("/")
	toTwitter := regexp.QuoteMeta(k.twitter.base.String()) + `/oauth/authenticate\?oauth_token=[A-Z0-9]{32}`
	const (
		document = "<!doctype html>" // what a body begins with, in lower case
		fragment = `<header id="header"`
		notices  = `<div id="notices"`
		nothing  = "" // and no more than that
		personal = "no-store Cookie, Accept-Encoding"
		forever  = "public, max-age=31536000, immutable Accept-Encoding"
	)
	tests := []struct {
		method, target string
		signedIn, htmx bool
		status         int
		to             string // a pattern: Location, or for htmx HX-Redirect
		begins, holds  string // of the body
		cache          string // Cache-Control and Vary
	}{
		{"GET", "/", false, false, 200, "", document, "Sign in with X", personal},
		{"GET", "/", false, true, 200, "", document, "Sign in with X", personal},
		{"GET", "/", true, false, 200, "", document, "@robin", personal},
		{"GET", "/", true, true, 200, "", document, "@robin", personal},
		{"HEAD", "/", false, false, 200, "", nothing, "", personal},
		{"HEAD", "/", true, false, 200, "", nothing, "", personal},
		{"POST", "/", true, false, 405, "", document, "does not work this way", personal},
		{"DELETE", "/", true, true, 405, "", notices, "not for this kind of request", personal},
		{"OPTIONS", "/", false, false, 204, "", nothing, "", " "}, // Echo says what is allowed; no other site is

		{"GET", "/header", false, false, 200, "", fragment, "Sign in with X", personal},
		{"GET", "/header", false, true, 200, "", fragment, "Sign in with X", personal},
		{"GET", "/header", true, false, 200, "", fragment, "@robin", personal},
		{"GET", "/header", true, true, 200, "", fragment, "@robin", personal},
		{"HEAD", "/header", true, false, 200, "", nothing, "", personal},
		{"POST", "/header", true, false, 405, "", document, "", personal},
		{"PUT", "/header", true, true, 405, "", notices, "", personal},

		{"GET", "/account", false, false, 303, `/login\?next=%2Faccount`, nothing, "", personal},
		{"GET", "/account?x=1&y=%2F", false, false, 303, `/login\?next=%2Faccount%3Fx%3D1%26y%3D%252F`, nothing, "", personal},
		{"GET", "/account", false, true, 200, `/login\?next=%2Faccount`, nothing, "", personal},
		{"GET", "/account", true, false, 200, "", document, "Your account", personal},
		{"GET", "/account", true, true, 200, "", document, "Your account", personal},
		{"HEAD", "/account", false, false, 303, `/login\?next=%2Faccount`, nothing, "", personal},
		{"HEAD", "/account", true, false, 200, "", nothing, "", personal},
		{"POST", "/account", true, false, 405, "", document, "", personal},
		{"PATCH", "/account", true, true, 405, "", notices, "", personal},

		{"GET", "/privacy", false, false, 200, "", document, "What is stored, and why", personal},
		{"GET", "/privacy", true, true, 200, "", document, "What is stored, and why", personal},
		{"HEAD", "/privacy", false, false, 200, "", nothing, "", personal},
		{"POST", "/privacy", true, false, 405, "", document, "", personal},
		{"GET", "/account/data.json", false, false, 303, `/login\?next=%2Faccount%2Fdata.json`, nothing, "", personal},
		{"GET", "/account/data.json", true, false, 200, "", "{", `"robin"`, personal},
		{"HEAD", "/account/data.json", true, false, 200, "", nothing, "", personal},
		{"GET", "/account/disconnect", false, false, 303, `/login\?next=%2Faccount%2Fdisconnect`, nothing, "", personal},
		{"GET", "/account/disconnect", false, true, 200, `/login\?next=%2Faccount%2Fdisconnect`, nothing, "", personal},
		{"GET", "/account/disconnect", true, false, 200, "", document, "Disconnect from X?", personal},
		{"GET", "/account/disconnect", true, true, 200, "", `<dialog id="dialog"`, "Disconnect from X?", personal},
		{"GET", "/account/delete", false, false, 303, `/login\?next=%2Faccount%2Fdelete`, nothing, "", personal},
		{"GET", "/account/delete", true, false, 200, "", document, "Delete your data?", personal},
		{"GET", "/account/delete", true, true, 200, "", `<dialog id="dialog"`, "Delete your data?", personal},
		{"GET", "/account/refresh", true, false, 405, "", document, "", personal},
		{"GET", "/account/devices/end", true, true, 405, "", notices, "", personal},
		{"GET", "/account/devices/end-others", true, false, 405, "", document, "", personal},
		{"POST", "/account/refresh", false, false, 303, `/login\?next=%2Faccount`, nothing, "", personal},
		{"POST", "/account/refresh", true, true, 200, "", `<section id="profile"`, "Please wait a minute", personal},
		{"POST", "/account/devices/end", true, true, 200, "", `<section id="devices"`, "That browser was signed out", personal},
		{"POST", "/account/devices/end", true, false, 303, "/account", nothing, "", personal},
		{"GET", "/avatar/0011", false, false, 404, "", document, "no such page", personal},
		{"GET", "/avatar/0011", true, true, 404, "", notices, "", personal},
		{"GET", "/popup?id=12345678&next=/account", false, false, 200, "", document, "12345678", personal},
		{"GET", "/popup?id=12345678", true, true, 200, "", document, "12345678", personal},
		{"GET", "/popup", true, false, 303, "/", nothing, "", personal},
		{"GET", "/popup", true, true, 200, "/", nothing, "", personal},
		{"HEAD", "/popup?id=12345678", true, false, 200, "", nothing, "", personal},
		{"POST", "/popup", true, false, 405, "", document, "", personal},

		{"GET", "/login", false, false, 303, toTwitter, nothing, "", personal},
		{"GET", "/login", false, true, 200, toTwitter, nothing, "", personal},
		{"GET", "/login?next=/account", true, false, 303, toTwitter, nothing, "", personal},
		{"GET", "/login", true, true, 200, toTwitter, nothing, "", personal},
		{"GET", "/login?force_login=1&screen_name=x&oauth_token=y", false, false, 303, toTwitter, nothing, "", personal},
		{"HEAD", "/login", false, false, 405, "", nothing, "", personal},
		{"POST", "/login", false, false, 405, "", document, "", personal},
		{"POST", "/login", false, true, 405, "", notices, "", personal},

		{"GET", "/oauth-authorized", false, false, 303, "/", nothing, "", personal},
		{"GET", "/oauth-authorized?denied=x", true, false, 303, "/", nothing, "", personal},
		{"GET", "/oauth-authorized", false, true, 303, "/", nothing, "", personal},
		{"HEAD", "/oauth-authorized", false, false, 405, "", nothing, "", personal},
		{"POST", "/oauth-authorized?oauth_token=a&oauth_verifier=b", true, false, 405, "", document, "", personal},

		{"POST", "/logout", false, false, 303, "/", nothing, "", personal},
		{"POST", "/logout", false, true, 200, "", fragment, "You were signed out", personal},
		{"POST", "/logout", true, false, 303, "/", nothing, "", personal},
		{"POST", "/logout", true, true, 200, "", fragment, "You were signed out", personal},
		{"GET", "/logout", true, false, 405, "", document, "does not work this way", personal},
		{"GET", "/logout", true, true, 405, "", notices, "", personal},
		{"HEAD", "/logout", true, false, 405, "", nothing, "", personal},

		{"GET", "/healthz", false, false, 200, "", "ok\n", "", "no-store "},
		{"GET", "/healthz", true, true, 200, "", "ok\n", "", "no-store "},
		{"HEAD", "/healthz", false, false, 200, "", nothing, "", "no-store "},
		{"POST", "/healthz", false, false, 405, "", document, "", personal},
		{"GET", "/readyz", false, false, 200, "", "ok\n", "", "no-store "},
		{"HEAD", "/readyz", false, false, 200, "", nothing, "", "no-store "},
		{"DELETE", "/readyz", false, false, 405, "", document, "", personal},

		{"GET", assets.CSS.URL, false, false, 200, "", "", "{", forever},
		{"GET", assets.App.URL, true, false, 200, "", "", "htmx", forever},
		{"GET", assets.HTMX.URL, true, true, 200, "", "", "htmx", forever},
		{"GET", assets.Icon.URL, false, false, 200, "", "<svg", "", forever},
		{"HEAD", assets.CSS.URL, false, false, 200, "", nothing, "", forever},
		{"POST", assets.CSS.URL, false, false, 405, "", document, "", personal},
		{"GET", "/assets/", false, false, 404, "", document, "no such page", personal},
		{"GET", "/assets/app.css", false, false, 404, "", document, "no such page", personal},
		{"GET", "/assets/../main.go", false, false, 404, "", document, "no such page", personal},
		{"GET", "/assets/%2e%2e/main.go", false, true, 404, "", notices, "The address may be mistyped", personal},

		{"GET", "/nowhere", false, false, 404, "", document, "no such page", personal},
		{"GET", "/nowhere", true, true, 404, "", notices, "The address may be mistyped", personal},
		{"HEAD", "/nowhere", false, false, 404, "", nothing, "", personal},
		{"POST", "/nowhere", true, false, 404, "", document, "no such page", personal},
		{"GET", "/Account", true, false, 404, "", document, "no such page", personal},
		{"GET", "/account/", true, false, 404, "", document, "no such page", personal},
		{"GET", "//account", true, false, 404, "", document, "no such page", personal},
		{"GET", "/%ff", false, false, 404, "", document, "no such page", personal},
		{"BREW", "/", false, false, 405, "", document, "", personal},
	}
	for _, tt := range tests {
		name := tt.method + " " + tt.target
		b := k.browser(t)
		if tt.signedIn {
			name, b = name+" signed in", robin
		}
		if tt.htmx {
			name += " htmx"
		}
		t.Run(name, func(t *testing.T) {
			header := []string{"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Dest", "document"}
			if tt.htmx {
				header = b.htmx("/")
			}
			who := *b // a copy of the cookies, for sign-out ends the session of the others
			if tt.target == "/logout" && tt.signedIn && tt.method == http.MethodPost {
				who = *k.browser(t)
				who.signIn("robin")
				who.get("/")
			}
			a := who.do(tt.method, tt.target, nil, header...)

			where := "Location"
			if tt.htmx && tt.status == http.StatusOK {
				where = "HX-Redirect"
			}
			if a.StatusCode != tt.status {
				t.Errorf("status %d, want %d", a.StatusCode, tt.status)
			}
			if got := a.Header.Get(where); !regexp.MustCompile("^"+tt.to+"$").MatchString(got) || got != a.to() {
				t.Errorf("%s is %q (of both: %q), want %s", where, got, a.to(), tt.to)
			}
			if !strings.HasPrefix(strings.ToLower(a.body), tt.begins) || !strings.Contains(a.body, tt.holds) {
				t.Errorf("body is %.200q, want it to begin with %q and to hold %q", a.body, tt.begins, tt.holds)
			}
			if isAsset := strings.HasPrefix(tt.cache, "public"); tt.begins == nothing && !isAsset && a.body != "" {
				t.Errorf("body is %.200q, want none", a.body)
			}
			if got := a.Header.Get("Cache-Control") + " " + a.Header.Get("Vary"); got != tt.cache {
				t.Errorf("Cache-Control and Vary are %q, want %q", got, tt.cache)
			}
			if got := a.Header.Get("HX-Retarget") + a.Header.Get("HX-Reswap"); (got == "#noticesouterMorph") != (tt.begins == notices) {
				t.Errorf("HX-Retarget and HX-Reswap are %q", got)
			}
			if (tt.status == http.StatusMethodNotAllowed || tt.method == http.MethodOptions) && a.Header.Get("Allow") == "" {
				t.Error("no Allow")
			}
		})
	}
	if got := robin.who(); got != "@robin" {
		t.Errorf("after all that, signed in is %q", got)
	}
}

// What strangers get is the same for all of them, so it may be compressed;
// what is somebody's own stays plain.
func TestPagesForStrangersAreCompressed(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	own := "perch-session=" + b.cookie(sessionCookie)
	tests := []struct{ name, target, accepts, cookie, encoding string }{
		{"a stranger", "/", "gzip, deflate, br", "", "gzip"},
		{"a stranger again", "/", "gzip", "", "gzip"},
		{"another page", "/?a=1", "gzip", "", "gzip"},
		{"the first page again", "/", "gzip", "", "gzip"},
		{"the header", "/header", "gzip", "", "gzip"},
		{"a page that is not there", "/nowhere", "gzip", "", "gzip"},
		{"a stranger who takes none", "/", "", "", ""},
		{"a stranger who refuses gzip", "/", "gzip;q=0", "", ""},
		{"somebody who is signed in", "/", "gzip", own, ""},
		{"somebody with a cookie of no meaning", "/", "gzip", "a=b", ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			ask := func(accepts string) *answer {
				header := []string{"Accept-Encoding", accepts}
				if tt.cookie != "" {
					header = append(header, "Cookie", tt.cookie)
				}
				return k.serve(t, k.request(http.MethodGet, tt.target, header...))
			}
			got, want := ask(tt.accepts), ask("")
			body := got.body
			if got.Header.Get("Content-Encoding") != tt.encoding {
				t.Fatalf("Content-Encoding is %q, want %q", got.Header.Get("Content-Encoding"), tt.encoding)
			}
			if n := got.Header.Get("Content-Length"); n != strconv.Itoa(len(body)) {
				t.Errorf("Content-Length is %s, want %d", n, len(body))
			}
			if tt.encoding != "" {
				body = unzip(t, body)
			}
			if body != want.body {
				t.Errorf("body is\n%s\nwant\n%s", body, want.body)
			}
		})
	}
}

func unzip(t *testing.T, body string) string {
	t.Helper()
	z, err := gzip.NewReader(strings.NewReader(body))
	if err != nil {
		t.Fatal(err)
	}
	plain, err := io.ReadAll(z)
	if err != nil {
		t.Fatal(err)
	}
	return string(plain)
}

func TestLoginAddsNothingToTwittersURL(t *testing.T) {
	t.Parallel()
	k := start(t)
	for query, want := range map[string]string{
		"next=/account":                     "oauth_token",
		"next=/account&force_login=true":    "force_login=true oauth_token",
		"force_login=yes":                   "oauth_token",
		"screen_name=robin&callback=x&a=b":  "oauth_token",
		"force_login=false&force_login=tru": "oauth_token",
	} {
		b := k.browser(t)
		to, err := url.Parse(b.get("/login?" + query).to())
		if err != nil {
			t.Fatal(err)
		}
		got := to.Query()
		token := got["oauth_token"]
		got["oauth_token"] = []string{""}
		if s := strings.ReplaceAll(strings.ReplaceAll(got.Encode(), "oauth_token=", "oauth_token"), "&", " "); s != want || len(token) != 1 {
			t.Errorf("/login?%s: Twitter gets %q, want %q", query, s, want)
		}
	}
}

// A sign-in starts only when somebody wants it.
func TestLoginOnlyWhenAsked(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name   string
		header []string
		want   int
	}{
		{"a link", []string{"Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate"}, 303},
		{"a link on another site", []string{"Sec-Fetch-Dest", "document", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Site", "cross-site"}, 303},
		{"a browser that says nothing", nil, 303},
		{"htmx", []string{"Sec-Fetch-Dest", "empty", "HX-Request", "true"}, 200},
		{"a fetch that is not htmx", []string{"Sec-Fetch-Dest", "empty"}, 403},
		{"an image", []string{"Sec-Fetch-Dest", "image"}, 403},
		{"an image that says it is htmx", []string{"Sec-Fetch-Dest", "image", "HX-Request", "true"}, 403},
		{"a frame", []string{"Sec-Fetch-Dest", "iframe", "Sec-Fetch-Mode", "navigate"}, 403},
		{"an old frame", []string{"Sec-Fetch-Dest", "frame"}, 403},
		{"a script", []string{"Sec-Fetch-Dest", "script"}, 403},
		{"a style", []string{"Sec-Fetch-Dest", "style"}, 403},
		{"an object", []string{"Sec-Fetch-Dest", "object"}, 403},
		{"prefetch", []string{"Sec-Fetch-Dest", "document", "Sec-Purpose", "prefetch"}, 403},
		{"prerender", []string{"Sec-Fetch-Dest", "document", "Sec-Purpose", "prefetch;prerender"}, 403},
		{"an older prefetch", []string{"Purpose", "prefetch"}, 403},
		{"Firefox's older prefetch", []string{"X-Moz", "prefetch"}, 403},
	}
	k := start(t)
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			calls := k.twitter.calls(requestToken)
			a := k.serve(t, k.request(http.MethodGet, "/login", tt.header...))
			if a.StatusCode != tt.want {
				t.Errorf("status %d, want %d", a.StatusCode, tt.want)
			}
			made, want := k.twitter.calls(requestToken)-calls, 1
			if tt.want == http.StatusForbidden {
				want = 0
			}
			if made != want || len(a.Cookies()) != want {
				t.Errorf("%d calls made and %d cookies set, want %d", made, len(a.Cookies()), want)
			}
		})
	}
	t.Run("HEAD", func(t *testing.T) {
		calls := k.twitter.calls(requestToken)
		if a := k.serve(t, k.request(http.MethodHead, "/login")); a.StatusCode != http.StatusMethodNotAllowed || k.twitter.calls(requestToken) != calls {
			t.Errorf("status %d, calls made: %d", a.StatusCode, k.twitter.calls(requestToken)-calls)
		}
	})
}

func TestLogoutFromAnotherSite(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	b.get("/")
	tests := []struct {
		name   string
		header []string
		want   int
	}{
		{"cross-site", []string{"Sec-Fetch-Site", "cross-site"}, 403},
		{"same-site: another name of ours", []string{"Sec-Fetch-Site", "same-site"}, 403},
		{"cross-site, though the origin is ours", []string{"Sec-Fetch-Site", "cross-site", "Origin", k.base.String()}, 403},
		{"another origin, in an old browser", []string{"Sec-Fetch-Site", "", "Origin", "https://evil.example"}, 403},
		{"no origin: a sandboxed frame", []string{"Sec-Fetch-Site", "", "Origin", "null"}, 403},
		{"another port", []string{"Sec-Fetch-Site", "", "Origin", "http://127.0.0.1:1"}, 403},
		{"our own", []string{"Sec-Fetch-Site", "same-origin", "Origin", k.base.String()}, 303},
		{"our own, in an old browser", []string{"Sec-Fetch-Site", "", "Origin", k.base.String()}, 303},
		{"no browser at all", []string{"Sec-Fetch-Site", ""}, 303},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			header := tt.header
			if header[1] == "" {
				header = header[2:]
			}
			send := func(more ...string) *answer {
				who := b.copied()
				r := k.request(http.MethodPost, "/logout", append(header, more...)...)
				for _, c := range who.cookies() {
					r.AddCookie(c)
				}
				return k.serve(t, r)
			}
			if a := send(); a.StatusCode != tt.want {
				t.Errorf("status %d, want %d", a.StatusCode, tt.want)
			} else if tt.want == http.StatusForbidden && a.document().Find("main h1").Text() != "That was not allowed" {
				t.Errorf("not a page that says so: %.200q", a.body)
			}
			if tt.want != http.StatusForbidden {
				b.signIn("robin")
				b.get("/")
				return
			}
			a := send("HX-Request", "true")
			if a.StatusCode != http.StatusForbidden || a.Header.Get("HX-Retarget") != "#notices" || len(a.notices()) != 1 {
				t.Errorf("htmx gets status %d, HX-Retarget %q, notices %q", a.StatusCode, a.Header.Get("HX-Retarget"), a.notices())
			}
			if got := b.who(); got != "@robin" {
				t.Errorf("signed in is %q", got)
			}
		})
	}
}

func TestBodyTooLarge(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	b.get("/")
	form := func(size int) string { return "here=%2F&fill=" + strings.Repeat("a", size-len("here=%2F&fill=")) }
	tests := []struct {
		name string
		body io.Reader
		want int
	}{
		{"one byte more than 64 KiB", strings.NewReader(form(64<<10 + 1)), 413},
		{"one byte more, of a length not told", io.MultiReader(strings.NewReader(form(64<<10 + 1))), 413},
		{"much more", strings.NewReader(form(1 << 20)), 413},
		{"64 KiB", strings.NewReader(form(64 << 10)), 303},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := b.do(http.MethodPost, "/logout", tt.body, "Content-Type", "application/x-www-form-urlencoded")
			if a.StatusCode != tt.want {
				t.Errorf("status %d, want %d", a.StatusCode, tt.want)
			}
			want := "@robin"
			if tt.want == http.StatusSeeOther {
				want = nobody
			}
			if got := b.who(); got != want {
				t.Errorf("signed in is %q, want %q", got, want)
			}
		})
	}
	t.Run("by htmx", func(t *testing.T) {
		a := b.do(http.MethodPost, "/logout", strings.NewReader(form(1<<20)), append(b.htmx("/"), "Content-Type", "application/x-www-form-urlencoded")...)
		if a.StatusCode != http.StatusRequestEntityTooLarge || len(a.notices()) != 1 {
			t.Errorf("status %d, notices %q", a.StatusCode, a.notices())
		}
	})
}

func TestFormThatCannotBeRead(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signIn("robin")
	b.get("/")
	for body, kind := range map[string]string{
		"here=%zz":           "application/x-www-form-urlencoded",
		"here=/;also=/":      "application/x-www-form-urlencoded",
		"here=/":             "application/x-www-form-urlencoded; charset=\"",
		"not multipart":      "multipart/form-data",
		"not multipart, too": "multipart/form-data; boundary=x",
	} {
		a := b.copied().do(http.MethodPost, "/logout", strings.NewReader(body), "Content-Type", kind)
		if a.StatusCode != http.StatusBadRequest && a.StatusCode != http.StatusSeeOther {
			t.Errorf("%q as %s: status %d", body, kind, a.StatusCode)
		}
	}
}

func TestWrongHost(t *testing.T) {
	t.Parallel()
	tests := []struct {
		origin, host, method, target string
		status                       int
		to                           string
	}{
		{"http://127.0.0.1:8080", "127.0.0.1:8080", "GET", "/", 200, ""},
		{"http://127.0.0.1:8080", "localhost:8080", "GET", "/", 421, ""},
		{"http://127.0.0.1:8080", "127.0.0.1", "GET", "/", 421, ""},
		{"http://127.0.0.1:8080", "127.0.0.1:8081", "GET", "/", 421, ""},
		{"https://perch.example", "perch.example", "GET", "/", 200, ""},
		{"https://perch.example", "PERCH.example", "GET", "/", 200, ""},
		{"https://perch.example", "perch.example:443", "GET", "/", 200, ""},
		{"https://perch.example", "perch.example:80", "GET", "/", 421, ""},
		{"https://perch.example", "perch.example.", "GET", "/", 421, ""},
		{"https://perch.example", "perch.example.evil.example", "GET", "/", 421, ""},
		{"https://perch.example", "evil.example", "HEAD", "/", 421, ""},
		{"https://perch.example", "evil.example", "POST", "/logout", 421, ""},
		{"https://perch.example", "evil.example", "GET", "/nowhere", 421, ""},
		{"https://perch.example", "evil.example", "GET", "/oauth-authorized?denied=x", 421, ""},
		{"https://perch.example", "evil.example", "GET", assets.CSS.URL, 421, ""},
		{"https://perch.example", "", "GET", "/", 421, ""},
		{"https://perch.example", "10.0.0.7:8080", "GET", "/healthz", 200, ""},
		{"https://perch.example", "10.0.0.7:8080", "HEAD", "/readyz", 200, ""},
		{"https://perch.example", "www.perch.example", "GET", "/login", 303, "https://perch.example/login"},
		{"https://perch.example", "www.perch.example", "GET", "/login?next=%2Faccount%3Fx%3D1&a=b", 303, "https://perch.example/login?next=%2Faccount%3Fx%3D1&a=b"},
		{"https://perch.example", "www.perch.example", "HEAD", "/login", 421, ""},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.host+tt.target, func(t *testing.T) {
			t.Parallel()
			k := start(t, func(s *setup) { s.origin = "https://perch.example" })
			k.base = parse(t, tt.origin)
			k.restart()
			a := k.serve(t, k.request(tt.method, tt.target, "Host", tt.host))
			if a.StatusCode != tt.status || a.to() != tt.to {
				t.Errorf("status %d to %q, want %d to %q", a.StatusCode, a.to(), tt.status, tt.to)
			}
			if n := k.twitter.calls(requestToken); n != 0 {
				t.Errorf("request_token was called %d times", n)
			}
			if tt.status == http.StatusMisdirectedRequest && tt.method == http.MethodGet {
				if got := a.document().Find("main a").AttrOr("href", ""); got != tt.origin+"/" {
					t.Errorf("the page leads to %q, want the right address", got)
				}
			}
		})
	}
}

// X-Forwarded-Host and the like are anybody's word.
func TestForwardedHostMeansNothing(t *testing.T) {
	t.Parallel()
	k := start(t)
	a := k.serve(t, k.request(http.MethodGet, "/login", "X-Forwarded-Host", "evil.example", "X-Forwarded-Proto", "https", "Forwarded", "host=evil.example"))
	if a.StatusCode != http.StatusSeeOther || strings.Contains(a.to(), "evil") {
		t.Errorf("status %d to %q", a.StatusCode, a.to())
	}
	a = k.serve(t, k.request(http.MethodGet, "/", "X-Forwarded-Host", "evil.example", "X-HTTP-Method-Override", "POST"))
	if a.StatusCode != http.StatusOK || strings.Contains(a.body, "evil") {
		t.Errorf("status %d, body %.200q", a.StatusCode, a.body)
	}
}

func TestLoginRate(t *testing.T) {
	t.Parallel()
	proxies := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("fd00::/8")}
	type ask struct {
		from, forwarded string
		want            int
	}
	tests := []struct {
		name string
		asks []ask
	}{
		{"one address, and then another", []ask{{"192.0.2.1:1", "", 303}, {"192.0.2.1:2", "", 303}, {"192.0.2.1:3", "", 429}, {"192.0.2.2:1", "", 303}}},
		{"X-Forwarded-For of a stranger is nothing", []ask{{"192.0.2.1:1", "203.0.113.1", 303}, {"192.0.2.1:1", "203.0.113.2", 303}, {"192.0.2.1:1", "203.0.113.3", 429}}},
		{"nor is that of a neighbour", []ask{{"192.168.0.1:1", "203.0.113.1", 303}, {"192.168.0.1:1", "203.0.113.2", 303}, {"192.168.0.1:1", "203.0.113.3", 429}}},
		{"nor that of this computer", []ask{{"127.0.0.1:1", "203.0.113.1", 303}, {"127.0.0.1:1", "203.0.113.2", 303}, {"127.0.0.1:1", "203.0.113.3", 429}}},
		{"behind a proxy, each on their own", []ask{{"10.0.0.1:1", "203.0.113.1", 303}, {"10.0.0.1:1", "203.0.113.1", 303}, {"10.0.0.1:1", "203.0.113.1", 429}, {"10.0.0.1:1", "203.0.113.2", 303}}},
		{"what a visitor adds in front is nothing", []ask{{"10.0.0.1:1", "1.1.1.1, 203.0.113.1", 303}, {"10.0.0.1:1", "2.2.2.2, 203.0.113.1", 303}, {"10.0.0.1:1", "3.3.3.3, 203.0.113.1", 429}}},
		{"two proxies", []ask{{"10.0.0.1:1", "203.0.113.1, 10.9.9.9", 303}, {"10.0.0.2:1", "203.0.113.1, 10.8.8.8", 303}, {"10.0.0.1:1", "203.0.113.1", 429}}},
		{"IPv6: a network is one visitor", []ask{{"[2001:db8::1]:1", "", 303}, {"[2001:db8::2]:1", "", 303}, {"[2001:db8::3]:1", "", 429}, {"[2001:db8:0:1::1]:1", "", 303}}},
		{"an IPv6 proxy", []ask{{"[fd00::1]:1", "203.0.113.1", 303}, {"[fd00::1]:1", "203.0.113.1", 303}, {"[fd00::1]:1", "203.0.113.1", 429}, {"[fd00::1]:1", "203.0.113.2", 303}}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := start(t, func(s *setup) { s.loginRate, s.proxies = 2, proxies })
			for i, ask := range tt.asks {
				header := []string{"RemoteAddr", ask.from}
				if ask.forwarded != "" {
					header = append(header, "X-Forwarded-For", ask.forwarded)
				}
				a := k.serve(t, k.request(http.MethodGet, "/login", header...))
				if a.StatusCode != ask.want || (a.Header.Get("Retry-After") != "") != (ask.want == http.StatusTooManyRequests) {
					t.Errorf("ask %d: status %d, Retry-After %q, want %d", i, a.StatusCode, a.Header.Get("Retry-After"), ask.want)
				}
			}
		})
	}
	t.Run("goes by", func(t *testing.T) {
		t.Parallel()
		k := start(t, func(s *setup) { s.loginRate = 2 })
		b := k.browser(t)
		b.signIn("robin")
		b.get("/login")
		page := b.get("/login")
		if page.StatusCode != http.StatusTooManyRequests || page.document().Find("main h1").Text() != "Too many sign-ins" {
			t.Errorf("status %d, body %.200q", page.StatusCode, page.body)
		}
		if a := b.get("/login", b.htmx("/")...); a.StatusCode != http.StatusTooManyRequests || len(a.notices()) != 1 || a.Header.Get("Retry-After") == "" {
			t.Errorf("htmx gets status %d, notices %q", a.StatusCode, a.notices())
		}
		b.get("/").shows("@robin", "You were signed in as @robin") // all else goes on
		k.clock.advance(30 * time.Second)
		if a := b.get("/login"); a.StatusCode != http.StatusSeeOther {
			t.Errorf("after half a minute: status %d", a.StatusCode)
		}
		if a := b.get("/login"); a.StatusCode != http.StatusTooManyRequests {
			t.Errorf("and once more: status %d", a.StatusCode)
		}
	})
	t.Run("without proxies, X-Forwarded-For is nothing", func(t *testing.T) {
		t.Parallel()
		k := start(t, func(s *setup) { s.loginRate = 1 })
		for _, forwarded := range []string{"203.0.113.1", "203.0.113.2"} {
			k.serve(t, k.request(http.MethodGet, "/login", "RemoteAddr", "10.0.0.1:1", "X-Forwarded-For", forwarded, "X-Real-IP", forwarded))
		}
		if n := k.twitter.calls(requestToken); n != 1 {
			t.Errorf("%d sign-ins were started, want 1", n)
		}
	})
	t.Run("what is refused anyway does not count", func(t *testing.T) {
		t.Parallel()
		k := start(t, func(s *setup) { s.loginRate = 1 })
		b := k.browser(t)
		b.get("/login", "Sec-Purpose", "prefetch")
		if a := b.get("/login"); a.StatusCode != http.StatusSeeOther {
			t.Errorf("status %d", a.StatusCode)
		}
	})
	t.Run("no limit", func(t *testing.T) {
		t.Parallel()
		k := start(t)
		b := k.browser(t)
		for range 40 {
			if a := b.get("/login"); a.StatusCode != http.StatusSeeOther {
				t.Fatalf("status %d", a.StatusCode)
			}
		}
	})
}

func TestDatabaseIsDown(t *testing.T) {
	t.Parallel()
	k := start(t)
	robin, suzume, stranger := k.browser(t), k.browser(t), k.browser(t)
	robin.signIn("robin")
	robin.get("/")
	back := suzume.start("next=/account").authorize("suzume")
	k.loseDatabase()

	for _, target := range []string{"/", "/account", "/header"} {
		a := robin.get(target)
		if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || a.document().Find("main h1").Text() != "Back in a moment" {
			t.Errorf("GET %s: status %d, Retry-After %q, body %.200q", target, a.StatusCode, a.Header.Get("Retry-After"), a.body)
		}
		a = robin.get(target, robin.htmx("/")...)
		if a.StatusCode != http.StatusServiceUnavailable || a.Header.Get("Retry-After") == "" || len(a.notices()) != 1 || a.Header.Get("HX-Retarget") != "#notices" {
			t.Errorf("GET %s by htmx: status %d, Retry-After %q, notices %q", target, a.StatusCode, a.Header.Get("Retry-After"), a.notices())
		}
	}
	if a := robin.signOut("/"); a.StatusCode != http.StatusServiceUnavailable || robin.cookie(sessionCookie) == "" {
		t.Errorf("sign-out: status %d; to say that it worked would be a lie", a.StatusCode)
	}
	if a := robin.get("/readyz"); a.StatusCode != http.StatusServiceUnavailable {
		t.Errorf("readyz: status %d", a.StatusCode)
	}
	if a := robin.get("/healthz"); a.StatusCode != http.StatusOK {
		t.Errorf("healthz: status %d", a.StatusCode)
	}
	if a := robin.get(assets.CSS.URL); a.StatusCode != http.StatusOK {
		t.Errorf("stylesheet: status %d", a.StatusCode)
	}

	// Who is not signed in needs no database, up to the last step.
	stranger.get("/").shows(nobody)
	stranger.get("/account").leads("/login?next=%2Faccount")
	stranger.start("next=/")
	stranger.follow(stranger.signOut("/").leads("/")).shows(nobody, "You were signed out")
	suzume.follow(suzume.get(back).leads("/")).shows(nobody, "We could not keep your sign-in just now. Please wait a minute.")
	if got := k.log.last("login_failed")["reason"]; got != "database" {
		t.Errorf("the log's reason is %v, want database", got)
	}
	if len(k.log.events("db_error")) == 0 {
		t.Error("the log has no db_error")
	}
	for _, event := range k.log.events("db_error") {
		if event["error"] == nil {
			t.Errorf("a db_error without a cause: %v", event)
		}
	}
}

// A panic is a page like any other, and its cause is for the log.
func TestPanic(t *testing.T) {
	t.Parallel()
	k := start(t)
	k.down.Store(true) // a 500 is right
	handler := routes.New(routes.Options{
		Sessions: k.sessions, BaseURL: k.base, Twitter: twitter.New(twitter.Options{APIURL: k.twitter.base}), Log: k.logger(),
	}) // without Ready
	k.handler.Store(&handler)
	a := k.serve(t, k.request(http.MethodGet, "/readyz"))
	if a.StatusCode != http.StatusInternalServerError || a.document().Find("main h1").Text() != "Something went wrong" || strings.Contains(a.body, "goroutine") {
		t.Errorf("status %d, body %.300q", a.StatusCode, a.body)
	}
	event := k.log.last("internal_error")
	if cause, _ := event["error"].(string); !strings.Contains(cause, "routes.(*app).ready") || strings.Contains(cause, "\x00") {
		t.Errorf("the log does not say where: %q", cause)
	}
	if a := k.serve(t, httptest.NewRequest(http.MethodGet, "/healthz", nil)); a.StatusCode != http.StatusOK {
		t.Errorf("afterwards: status %d", a.StatusCode)
	}
}

func parse(t *testing.T, origin string) *url.URL {
	t.Helper()
	u, err := url.Parse(origin)
	if err != nil {
		t.Fatal(err)
	}
	return u
}
