package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/http/httputil"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/chromedp"

	"perch/sandbox"
)

func TestTheWholeStory(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/")
	b.untilGreeted("")
	b.click("#sign-in")
	b.untilAsked()
	if ask[bool](b, fmt.Sprintf("document.querySelector('input[value=%q]').checked", account(t, "suzume").ID)) {
		t.Fatal("suzume is chosen to begin with: choosing would show nothing")
	}
	b.choose(account(t, "suzume"))
	b.untilAt("/")
	b.untilGreeted("suzume")
	b.untilTold("You were signed in as @suzume")

	b.write("#draft", "half a tho")
	before := b.navigated()
	ask[bool](b, "window.mark = 'here'; window.live = document.querySelector('#notices'); window.box = document.querySelector('#draft'); true")
	b.click("#sign-out button")
	b.untilGreeted("")
	b.untilTold("You were signed out")

	for what, expression := range map[string]string{
		"the page is the same":                       "window.mark === 'here'",
		"the text is still there":                    "document.querySelector('#draft').value === 'half a tho' && document.querySelector('#draft') === window.box",
		"the notice is in the region that was there": "document.querySelector('#notices') === window.live && window.live.isConnected",
		"the region is announced":                    "window.live.getAttribute('role') === 'status'",
		"there is one header":                        "document.querySelectorAll('#header').length === 1 && document.querySelectorAll('#notices').length === 1",
		"there is nothing left of the greeting":      "!document.querySelector('#header').innerText.includes('suzume')",
	} {
		if !ask[bool](b, expression) {
			t.Errorf("after signing out it is not so that %s", what)
		}
	}
	if got := b.navigated() - before; got != 0 {
		t.Errorf("signing out loaded %d pages, want none", got)
	}

	b.signIn(account(t, "robin")) // the link that was swapped in works like the first one
	b.untilAt("/")
	b.untilTold("You were signed in as @robin")
}

func TestTheWholeStoryWithoutScripts(t *testing.T) {
	t.Parallel()
	b := start(t).browse().withoutScripts()
	b.visit("/")
	b.untilGreeted("")
	b.signIn(account(t, "suzume"))
	b.untilAt("/")
	b.untilTold("You were signed in as @suzume")

	b.click("#sign-out button")
	b.untilGreeted("")
	b.untilAt("/")
	b.untilTold("You were signed out")
	b.visit("/")
	b.untilTold()
}

// withAndWithoutScripts runs a story twice. Whatever the scripts do, the
// visitor gets there.
func withAndWithoutScripts(t *testing.T, story func(t *testing.T, b *tab)) {
	t.Helper()
	t.Run("with scripts", func(t *testing.T) { story(t, start(t).browse()) })
	t.Run("without scripts", func(t *testing.T) { story(t, start(t).browse().withoutScripts()) })
}

func TestSigningOutByKeyboardKeepsTheFocusInPlace(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/")
	b.signIn(account(t, "robin"))
	b.press("#sign-out button")
	b.untilGreeted("")
	b.until("the focus to be on the sign-in link", "document.activeElement.id === 'sign-in'")

	b.do("pressing Enter on what has the focus", chromedp.KeyEvent("\r"))
	b.choose(account(t, "Bulbul"))
	b.untilGreeted("Bulbul")
}

func TestCancelling(t *testing.T) {
	t.Parallel()
	withAndWithoutScripts(t, func(t *testing.T, b *tab) {
		for _, from := range []string{"/", "/account"} {
			b.visit(from)
			if from == "/" {
				b.click("#sign-in")
			}
			b.untilAsked()
			b.click("#cancel")
			b.untilAt("/")
			b.untilGreeted("")
			b.untilTold("You denied the request to sign in.")
		}
		b.signIn(account(t, "robin"))
		b.untilTold("You were signed in as @robin")
	})
}

func TestAPageThatNeedsSignInComesAfterIt(t *testing.T) {
	t.Parallel()
	withAndWithoutScripts(t, func(t *testing.T, b *tab) {
		b.visit("/account?x=1")
		b.choose(account(t, "jenny_wren"))
		b.untilAt("/account?x=1")
		b.untilGreeted("jenny_wren")
		b.untilTold("You were signed in as @jenny_wren")

		b.click("#sign-out button")
		b.untilAt("/")
		b.untilGreeted("")
		b.untilTold("You were signed out")
		b.visit("/")
		b.untilTold() // once
	})
}

func TestFiveTabsSideBySide(t *testing.T) {
	t.Parallel()
	first := start(t).browse()
	tabs := []*tab{first, first.another(), first.another(), first.another(), first.another()}
	for i, b := range tabs {
		b.visit(fmt.Sprintf("/?tab=%d", i))
		b.click("#sign-in")
	}
	for _, b := range tabs {
		b.untilAsked()
	}

	people := sandbox.DemoAccounts()
	var arrived []*tab
	for _, i := range []int{2, 0, 4, 1, 3} {
		b := tabs[i]
		b.choose(people[i])
		b.untilAt(fmt.Sprintf("/?tab=%d", i))
		b.untilGreeted(people[i].ScreenName)
		b.untilTold("You were signed in as @" + people[i].ScreenName)
		arrived = append(arrived, b)
		for _, b := range arrived { // else the next one signs in while they load a picture that is not theirs any more
			b.untilGreeted(people[i].ScreenName)
			b.untilQuiet()
		}
	}
	for _, b := range tabs { // it is one browser, and the last one counts
		b.visit("/")
		b.untilGreeted(people[3].ScreenName)
		b.untilTold()
	}
}

func TestDismissingANotice(t *testing.T) {
	t.Parallel()
	p := start(t)
	for how, dismiss := range map[string]func(*tab, string){"by mouse": (*tab).click, "by keyboard": (*tab).press} {
		t.Run("with scripts, "+how, func(t *testing.T) {
			b := p.browseFor(t)
			b.visit("/")
			b.signIn(account(t, "robin"))
			b.untilTold("You were signed in as @robin")
			b.write("#draft", "half a tho")
			before := b.navigated()
			dismiss(b, "#notices .dismiss")
			b.untilTold()
			if got := ask[string](b, "document.querySelector('#draft').value"); got != "half a tho" {
				t.Errorf("the text is now %q, want it untouched", got)
			}
			if got := ask[string](b, "document.activeElement.id"); got != "main" {
				t.Errorf("the focus is on %q, want main", got)
			}
			if got := b.navigated() - before; got != 0 {
				t.Errorf("dismissing loaded %d pages, want none", got)
			}
		})
		t.Run("without scripts, "+how, func(t *testing.T) {
			b := p.browseFor(t).withoutScripts()
			b.visit("/?x=1")
			b.signIn(account(t, "robin"))
			b.untilTold("You were signed in as @robin")
			before := b.navigated()
			dismiss(b, "#notices .dismiss")
			b.until("the page to load", "document.readyState === 'complete'")
			b.untilTold()
			b.untilAt("/?x=1")
			b.untilGreeted("robin")
			if got := b.navigated() - before; got != 1 {
				t.Errorf("dismissing loaded %d pages, want one", got)
			}
		})
	}
}

func TestSigningOutFromAServerThatIsGone(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := p.browse()
	b.visit("/")
	b.signIn(account(t, "robin"))
	b.write("#draft", "half a tho")
	before := b.navigated()
	p.kill()

	b.expect("ERR_CONNECTION_REFUSED", "htmx:error: Failed to fetch")
	b.click("#sign-out button")
	b.untilTold("The server cannot be reached. Please try again.")
	b.untilGreeted("robin")
	if got := ask[string](b, "document.querySelector('#draft').value"); got != "half a tho" || b.navigated() != before {
		t.Errorf("the text is now %q after %d page loads, want it untouched", got, b.navigated()-before)
	}

	p.start()
	b.click("#sign-out button")
	b.untilGreeted("")
	b.untilTold("You were signed out")
}

func TestAnswersThatAreNotOurs(t *testing.T) {
	t.Parallel()
	const portal = "<!doctype html><title>Hotel</title><body><header>Welcome to the hotel</header><p>Please pay for the network.</p></body>"
	tests := map[string]struct {
		answer http.HandlerFunc
		says   string
		expect []string
	}{
		"a proxy's 502": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				w.WriteHeader(http.StatusBadGateway)
				fmt.Fprint(w, "<html><body><center><h1>502 Bad Gateway</h1></center><hr><center>nginx</center></body></html>")
			},
			says:   "Something between here and the server went wrong (502). Please try again.",
			expect: []string{"answered 502"},
		},
		"an empty 500": {
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusInternalServerError) },
			says:   "Something between here and the server went wrong (500). Please try again.",
			expect: []string{"answered 500"},
		},
		"a proxy's limit": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Retry-After", "60")
				http.Error(w, "Slow down.", http.StatusTooManyRequests)
			},
			says:   "Something between here and the server went wrong (429). Please try again.",
			expect: []string{"answered 429"},
		},
		"an empty 200": {
			answer: func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusOK) },
			says:   "Something between here and the server went wrong (200). Please try again.",
		},
		"a captive portal": {
			answer: func(w http.ResponseWriter, _ *http.Request) {
				w.Header().Set("Content-Type", "text/html")
				fmt.Fprint(w, portal)
			},
			says: "Something between here and the server went wrong (200). Please try again.",
		},
		"a connection that breaks": {
			answer: func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) },
			says:   "The server cannot be reached. Please try again.",
			expect: []string{"ERR_EMPTY_RESPONSE", "htmx:error: Failed to fetch"},
		},
	}
	p := prepare(t)
	front := newProxy(t, p)
	p.start()
	for name, test := range tests {
		t.Run(name, func(t *testing.T) {
			b := p.browseFor(t)
			b.visit("/")
			b.signIn(account(t, "robin"))
			b.write("#draft", "half a tho")
			before := b.navigated()
			ask[bool](b, "window.whole = document.querySelector('#header .bar').innerText; window.live = document.querySelector('#notices'); true")

			front.instead.Store(&test.answer)
			b.expect(test.expect...)
			b.click("#sign-out button")
			b.untilTold(test.says)
			b.untilGreeted("robin")
			if !ask[bool](b, "window.whole === document.querySelector('#header .bar').innerText && document.querySelector('#draft').value === 'half a tho'") || b.navigated() != before {
				t.Errorf("header or page have changed:\n%s", b.describe())
			}
			if !ask[bool](b, "window.live === document.querySelector('#notices')") {
				t.Error("the notice stands in another region, which nobody announces")
			}
			if got := ask[string](b, "document.activeElement.innerText"); got != "Sign out" {
				t.Errorf("the focus is on %q, want it on the button that was pressed", got)
			}

			front.instead.Store(nil)
			b.click("#sign-out button")
			b.untilGreeted("")
			b.untilTold("You were signed out")
		})
	}
}

// proxy stands between the browser and the program, and may answer itself what
// htmx asks: a sign-out, or for the header.
type proxy struct {
	instead atomic.Pointer[http.HandlerFunc]
	behind  http.Handler // the program
}

// newProxy puts a proxy in front of p, which is not started yet.
func newProxy(t *testing.T, p *perch) *proxy {
	t.Helper()
	front := &proxy{}
	front.behind = &httputil.ReverseProxy{Rewrite: func(r *httputil.ProxyRequest) {
		r.SetURL(&url.URL{Scheme: "http", Host: p.addr})
		r.Out.Host = r.In.Host
	}}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if instead := front.instead.Load(); instead != nil && r.Header.Get("HX-Request") == "true" {
			(*instead)(w, r)
			return
		}
		front.behind.ServeHTTP(w, r)
	}))
	t.Cleanup(server.Close)
	p.env["BASE_URL"] = server.URL
	return front
}

func TestBackNeverShowsAGreetingThatIsOver(t *testing.T) {
	t.Parallel()
	withAndWithoutScripts(t, func(t *testing.T, b *tab) {
		b.visit("/?first")
		b.signIn(account(t, "robin"))
		b.untilAt("/?first")
		b.click("#header .hello a")
		b.untilAt("/account")
		b.click("#sign-out button")
		b.untilAt("/")
		b.untilTold("You were signed out")

		b.back("/account") // which asks to sign in again
		b.untilAsked()
		b.back("/?first")
		b.untilAt("/?first")
		b.untilGreeted("")

		b.signIn(account(t, "suzume"))
		b.untilAt("/?first")
		b.untilGreeted("suzume")
	})
}

func TestBackAfterSigningOutInPlace(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/?first")
	b.signIn(account(t, "robin"))
	b.untilAt("/?first")
	b.visit("/?second")
	b.untilGreeted("robin")
	b.click("#sign-out button")
	b.untilGreeted("")
	b.back("/?first")
	b.untilAt("/?first")
	b.untilGreeted("")
}

// back goes back in the history of the tab, to the last entry at path.
func (t *tab) back(path string) {
	t.Helper()
	history, err := chromedp.Run(t.ctx, chromedp.NavigationEntries())
	if err != nil {
		t.Fatal(err)
	}
	for i := int(history.CurrentIndex) - 1; i >= 0; i-- {
		if history.Entries[i].URL == t.p.url+path || history.Entries[i].UserTypedURL == t.p.url+path {
			send(t, page.NavigateToHistoryEntry, page.NavigateToHistoryEntryParams{EntryID: history.Entries[i].ID})
			return
		}
	}
	t.Fatalf("%s is not in the history: %s", path, mustJSON(history))
}

// firstVisit is how many bytes the first visit takes at the most, headers and
// all.
const firstVisit = 20_000

func TestTheFirstVisitIsSmall(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := p.browse()
	b.visit("/")
	await(t, "the icon, which comes last", func() bool {
		return slices.ContainsFunc(b.loads(), func(r request) bool { return strings.Contains(r.url, "/assets/icon.") })
	})
	loads := b.untilLoaded()
	total := 0.0
	for _, r := range loads {
		t.Logf("%6.0f bytes: %s", r.bytes, r.url)
		total += r.bytes
		if !strings.HasPrefix(r.url, p.url+"/") {
			t.Errorf("%s is not ours", r.url)
		}
	}
	if len(loads) > 5 || total > firstVisit {
		t.Errorf("the first visit takes %d requests and %.0f bytes, want 5 and %d at most", len(loads), total, firstVisit)
	}

	b.signIn(account(t, "robin"))
	before := len(b.untilLoaded())
	b.click("#sign-out button")
	b.untilGreeted("")
	total = 0
	for _, r := range b.untilLoaded()[before:] {
		total += r.bytes // the icon may come once more, for nothing: from memory
	}
	if total == 0 || total > 2000 {
		t.Errorf("signing out takes %.0f bytes, want 2000 at most", total)
	}
}

// untilLoaded waits until nothing is on its way, and returns all that came.
func (t *tab) untilLoaded() []request {
	t.Helper()
	await(t, "everything to be loaded", func() bool {
		return !slices.ContainsFunc(t.loads(), func(r request) bool { return !r.done })
	})
	return t.loads()
}

// scene is a page worth looking at.
type scene struct {
	name string
	show func(*tab)
}

// scenes are all pages that people see, each from where the one before ended.
func scenes(t *testing.T, as sandbox.Account) []scene {
	return []scene{
		{"home-signed-out", func(b *tab) {
			b.visit("/")
			b.untilGreeted("")
		}},
		{"consent", func(b *tab) {
			b.visit("/login?next=%2F") // not by the link: it would open a popup
			b.untilAsked()
		}},
		{"home-signed-in-notice", func(b *tab) {
			b.choose(as)
			b.untilAt("/")
			b.untilTold("You were signed in as @" + as.ScreenName)
		}},
		{"home-signed-in", func(b *tab) {
			b.visit("/")
			b.untilTold()
		}},
		{"privacy", func(b *tab) {
			b.visit("/privacy")
			b.untilGreeted(as.ScreenName)
		}},
		{"account-delete", func(b *tab) {
			b.visit("/account/delete")
			b.untilGreeted(as.ScreenName)
		}},
		{"account-dialog", func(b *tab) {
			b.visit("/account")
			b.click("main a[href='/account/disconnect']")
			b.until("the dialog", "document.querySelector('dialog[open]')")
		}},
		{"account", func(b *tab) {
			b.visit("/account")
			b.untilGreeted(as.ScreenName)
		}},
		{"home-signed-out-notice", func(b *tab) {
			b.click("#sign-out button")
			b.untilAt("/")
			b.untilTold("You were signed out")
		}},
		{"home-problem-notice", func(b *tab) {
			b.visit("/oauth-authorized?oauth_token=unknown&oauth_verifier=unknown")
			b.until("the notice", told+".length === 1")
		}},
		{"consent-problem", func(b *tab) {
			b.visit(b.p.sandboxURL + "/oauth/authenticate?oauth_token=unknown")
			b.until("the page", "document.querySelector('h1')")
		}},
		{"popup", func(b *tab) {
			b.visit("/popup?id=nobody-waits-for-it&next=%2Fnowhere")
			b.until("the page", "document.querySelector('h1')?.innerText === 'Back to your page'")
		}},
		{"problem", func(b *tab) {
			b.visit("/nowhere")
			b.until("the page", "document.querySelector('h1')")
		}},
	}
}

// TestScreenshots looks at every page, from a small phone to a wide window: it
// fits, with the longest name. Where PERCH_SCREENSHOTS names a folder, from
// the top of the checkout, it leaves pictures there, in every look.
func TestScreenshots(t *testing.T) {
	t.Parallel()
	dir := os.Getenv("PERCH_SCREENSHOTS")
	if dir != "" && !filepath.IsAbs(dir) {
		dir = filepath.Join(root, dir)
	}
	looks := []look{light}
	if dir != "" {
		looks = []look{light, dark, forced, onPaper}
	}
	p := start(t)
	for _, look := range looks {
		for _, width := range []int64{320, narrow, wide} {
			p.walk(t, width, look, func(b *tab, scene string) {
				if dir != "" {
					b.picture(filepath.Join(dir, fmt.Sprintf("%s-%d-%s.png", scene, width, look)))
				}
			})
		}
	}
}

// walk shows every scene, which has to fit the screen, and lets see look at
// it.
func (p *perch) walk(t *testing.T, width int64, look look, see func(b *tab, scene string)) {
	t.Helper()
	b := p.browseFor(t)
	b.expect("/nowhere answered 404", "authenticate?oauth_token=unknown answered 403")
	send(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: stay})
	for _, scene := range scenes(t, account(t, "goldcrest_wings")) {
		b.screen(width, 800, light) // for paper has no buttons
		scene.show(b)
		b.screen(width, 800, look)
		if !ask[bool](b, "document.scrollingElement.scrollWidth <= innerWidth") {
			t.Errorf("%s scrolls sideways at %d, %s", scene.name, width, look)
		}
		see(b, scene.name)
	}
}

// stay lets the page that ends a popup wait for ever, or it would be gone
// before anybody has looked at it.
const stay = "if (location.pathname === '/popup') { const later = setTimeout; window.setTimeout = (f, ms, ...args) => ms === 1000 ? 0 : later(f, ms, ...args) }"

// picture writes what the page looks like, down to its end.
func (t *tab) picture(name string) {
	t.Helper()
	png, err := chromedp.Run(t.ctx, chromedp.FullScreenshot(100))
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(filepath.Dir(name), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, png, 0o644); err != nil {
		t.Fatal(err)
	}
}
