package routes_test

import (
	"net/http"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var noticeID = regexp.MustCompile(`id="notice-([^"]+)"`)

// fragment cuts the header out of a page.
func fragment(t *testing.T, page string) string {
	t.Helper()
	begin, end := strings.Index(page, "<header"), strings.Index(page, "</header>")
	if begin < 0 || end < 0 {
		t.Fatalf("a page without a header: %.200s", page)
	}
	return page[begin : end+len("</header>")]
}

// The page's header, GET /header and the answer to htmx's sign-out are the
// same bytes.
func TestHeaderIsOne(t *testing.T) {
	t.Parallel()
	tests := []struct {
		name, page string
		prepare    func(b *browser)
	}{
		{"nobody is signed in", "/", func(*browser) {}},
		{"with a query", "/?a=1&b=%22%3C", func(*browser) {}},
		{"with a notice", "/", func(b *browser) { b.signOut("/") }},
		{"with a notice that something went wrong", "/", func(b *browser) { b.get("/oauth-authorized") }},
		{"with several notices", "/", func(b *browser) { b.signOut("/"); b.get("/oauth-authorized"); b.signOut("/") }},
		{"signed in", "/", func(b *browser) { b.signIn("goldcrest_wings"); b.get("/") }},
		{"signed in, with a notice", "/", func(b *browser) { b.signIn("jenny_wren") }},
		{"signed in, on the account page", "/account?x=1", func(b *browser) { b.signIn("robin") }},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			t.Parallel()
			k := start(t)
			b := k.browser(t)
			tt.prepare(b)
			page := b.copied().get(tt.page)
			plain, htmx := b.copied().get("/header"), b.copied().get("/header", b.htmx(tt.page)...)
			if want := fragment(t, page.body); htmx.body != want {
				t.Errorf("GET /header by htmx answers\n%s\nwant\n%s", htmx.body, want)
			}
			if want := fragment(t, b.copied().get("/").body); plain.body != want {
				t.Errorf("GET /header answers\n%s\nwant\n%s", plain.body, want)
			}
			if !strings.HasPrefix(plain.body, `<header id="header"`) {
				t.Errorf("GET /header begins with %.40q", plain.body)
			}
		})
	}
	t.Run("signing out", func(t *testing.T) {
		t.Parallel()
		k := start(t)
		b := k.browser(t)
		b.signIn("robin")
		b.get("/")
		byForm, byHTMX := b.copied(), b.copied()
		page := byForm.follow(byForm.signOut("/?page=2").leads("/"))
		page.shows(nobody, "You were signed out")
		answer := byHTMX.signOut("/", byHTMX.htmx("/")...).shows(nobody, "You were signed out")
		// Each notice has an id of its own; all else is the same.
		id := func(body string) string { return noticeID.FindStringSubmatch(body)[1] }
		if got, want := strings.ReplaceAll(answer.body, id(answer.body), id(page.body)), fragment(t, page.body); got != want {
			t.Errorf("POST /logout answers\n%s\nwant\n%s", got, want)
		}
	})
}

// From the account page, sign-out leads away: the page shows what is over.
func TestSignOutFromTheAccountPage(t *testing.T) {
	t.Parallel()
	k := start(t)
	for name, htmx := range map[string]bool{"without scripts": false, "with htmx": true} {
		t.Run(name, func(t *testing.T) {
			b := k.browser(t)
			b.signIn("robin")
			b.get("/account?x=1")
			var header []string
			if htmx {
				header = b.htmx("/account?x=1")
			}
			out := b.signOut("/account?x=1", header...)
			if htmx {
				if out.StatusCode != http.StatusOK || out.Header.Get("HX-Redirect") != "/" || out.body != "" {
					t.Errorf("status %d, HX-Redirect %q, body %q", out.StatusCode, out.Header.Get("HX-Redirect"), out.body)
				}
			} else {
				out.leads("/")
			}
			b.follow(out).shows(nobody, "You were signed out") // the notice has waited
		})
	}
}

// A tab on the account page that asks for its header after signing out
// elsewhere leaves the page.
func TestHeaderOfAPageThatIsOver(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	a := b.get("/header?quiet=1", b.htmx("/account")...)
	if a.StatusCode >= 300 || a.Header.Get("HX-Redirect") != "/" {
		t.Errorf("status %d, HX-Redirect %q, want / for a page that needs sign-in", a.StatusCode, a.Header.Get("HX-Redirect"))
	}
	b.get("/header?quiet=1", b.htmx("/")...).shows(nobody)
}

func TestNoticeIsShownOnce(t *testing.T) {
	t.Parallel()
	k := start(t)
	// These look at nothing, and take nothing away.
	blind := map[string]func(b *browser){
		"HEAD /":                     func(b *browser) { b.do(http.MethodHead, "/", nil) },
		"HEAD /header":               func(b *browser) { b.do(http.MethodHead, "/header", nil) },
		"HEAD /account":              func(b *browser) { b.do(http.MethodHead, "/account", nil) },
		"prefetch":                   func(b *browser) { b.get("/", "Sec-Purpose", "prefetch") },
		"prerender":                  func(b *browser) { b.get("/account", "Sec-Purpose", "prefetch;prerender") },
		"an older prefetch":          func(b *browser) { b.get("/", "Purpose", "prefetch") },
		"Firefox's older prefetch":   func(b *browser) { b.get("/", "X-Moz", "prefetch") },
		"quiet":                      func(b *browser) { b.get("/header?quiet=1") },
		"quiet by htmx":              func(b *browser) { b.get("/header?quiet=1", b.htmx("/")...) },
		"a page that is not there":   func(b *browser) { b.get("/nowhere") },
		"a method that is not there": func(b *browser) { b.get("/logout") },
		"health":                     func(b *browser) { b.get("/healthz"); b.get("/readyz") },
		"a redirect":                 func(b *browser) { b.get("/login") },
	}
	shown := map[string]func(b *browser) *answer{
		"the home page":    func(b *browser) *answer { return b.get("/") },
		"the account page": func(b *browser) *answer { return b.get("/account") },
		"the header":       func(b *browser) *answer { return b.get("/header") },
		"the header, htmx": func(b *browser) *answer { return b.get("/header", b.htmx("/")...) },
	}
	for where, look := range shown {
		t.Run(where, func(t *testing.T) {
			b := k.browser(t)
			b.signIn("robin")
			for name, pass := range blind {
				pass(b)
				if b.cookie("perch-notices") == "" {
					t.Fatalf("eaten by %s", name)
				}
			}
			look(b).shows("@robin", "You were signed in as @robin")
			look(b).shows("@robin")
		})
	}
}

// The same words a second time are another notice, or they are not announced.
func TestEveryNoticeHasItsOwnID(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	b.signOut("/")
	b.signOut("/")
	bodies := b.get("/").body + b.signOut("/", b.htmx("/")...).body
	foreign := []string{"Sec-Fetch-Site", "cross-site"}
	for range 2 {
		bodies += b.signOut("/", append(b.htmx("/"), foreign...)...).body // a problem, told by htmx
	}
	var ids []string
	for _, match := range noticeID.FindAllStringSubmatch(bodies, -1) {
		ids = append(ids, match[1])
	}
	slices.Sort(ids)
	if len(ids) != 5 || len(slices.Compact(ids)) != 5 {
		t.Errorf("ids of five notices: %q", ids)
	}
}

func TestNoticeCannotBePlanted(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	const planted = "Send+us+your+password"
	for _, target := range []string{"/", "/header", "/account", "/login", "/oauth-authorized"} {
		for _, name := range []string{"notice", "flash", "error", "message", "denied", "problem"} {
			a := b.get(target + "?" + name + "=" + planted)
			if target != "/account" && target != "/login" && a.to() != "" {
				a = b.follow(a)
			}
			if a.to() == "" && slices.ContainsFunc(a.notices(), func(s string) bool { return strings.Contains(s, "password") }) {
				t.Errorf("%s?%s: notices are %q", target, name, a.notices())
			}
		}
	}
	cookie := k.request(http.MethodGet, "/", "Cookie", "perch-notices="+planted)
	k.serve(t, cookie).shows(nobody)
}

// The way back to the page one is on, for the sign-in link and "Try again".
func TestHeaderKnowsThePage(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	tests := []struct {
		name, target string
		header       []string
		href         string
	}{
		{"a page", "/?a=1", nil, "/login?next=%2F%3Fa%3D1"},
		{"the header, of no page", "/header?a=1", nil, "/login?next=%2F"},
		{"htmx says the page", "/header", b.htmx("/?a=1"), "/login?next=%2F%3Fa%3D1"},
		{"htmx says a page that is none to return to", "/header", b.htmx("/login?next=/"), "/login?next=%2F"},
		{"htmx says a page of another site", "/header", []string{"HX-Request", "true", "HX-Current-URL", "https://evil.example/?a=1"}, "/login?next=%2F"},
		{"htmx says a path that leads away", "/header", b.htmx("//evil.example"), "/login?next=%2F"},
		{"htmx says garbage", "/header", []string{"HX-Request", "true", "HX-Current-URL", ":%zz"}, "/login?next=%2F"},
		{"somebody says so who is not htmx", "/header", []string{"HX-Current-URL", k.base.String() + "/?a=1"}, "/login?next=%2F"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			got := b.get(tt.target, tt.header...).document().Find("#sign-in").AttrOr("href", "")
			if got != tt.href {
				t.Errorf("the sign-in link is %q, want %q", got, tt.href)
			}
		})
	}
	t.Run("a form says the page", func(t *testing.T) {
		for here, href := range map[string]string{
			"/?a=1":                "/login?next=%2F%3Fa%3D1",
			"//evil.example":       "/login?next=%2F",
			"https://evil.example": "/login?next=%2F",
			"javascript:alert(1)":  "/login?next=%2F",
			"":                     "/login?next=%2F",
		} {
			if got := b.signOut(here, b.htmx("/")...).document().Find("#sign-in").AttrOr("href", ""); got != href {
				t.Errorf("from %q: the sign-in link is %q, want %q", here, got, href)
			}
		}
	})
}
