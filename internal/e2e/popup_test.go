package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"perch/internal/sandbox"
)

// ownTwitter is a sandbox in the test's hands, in the place of X: the program
// has real keys and knows nothing of it.
type ownTwitter struct {
	coop    string // the Cross-Origin-Opener-Policy of its pages; none when empty
	failing atomic.Pointer[string]
}

// fail lets a call of the program's fail, until failing is nil again.
func (x *ownTwitter) fail(path string) { x.failing.Store(&path) }

// startWith starts the program with an ownTwitter.
func startWith(t *testing.T, x *ownTwitter) *perch {
	t.Helper()
	p := prepare(t)
	s, err := sandbox.New(sandbox.Options{Callbacks: []string{"http://" + p.addr + "/oauth-authorized"}})
	if err != nil {
		t.Fatal(err)
	}
	l, err := sandbox.Listen(t.Context(), "localhost:"+freePort(t))
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if failing := x.failing.Load(); failing != nil && r.URL.Path == *failing {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if x.coop != "" {
			w.Header().Set("Cross-Origin-Opener-Policy", x.coop)
		}
		s.ServeHTTP(w, r)
	}))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	t.Cleanup(server.Close)

	origin := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	p.env["TWITTER_API_URL"], p.env["TWITTER_CONSUMER_KEY"], p.env["TWITTER_CONSUMER_SECRET"] = origin, s.ConsumerKey(), s.ConsumerSecret()
	p.start()
	p.sandboxURL = origin
	return p
}

// beside clicks, and returns the popup that opens.
func (t *tab) beside(selector string) *tab {
	t.Helper()
	before := t.windows()
	t.click(selector)
	var id target.ID
	await(t, "the popup to open", func() bool {
		for _, one := range t.windows() {
			if !slices.Contains(before, one) {
				id = one
			}
		}
		return id != ""
	})
	popup := t.p.attach(t.ctx, chromedp.WithTargetID(id))
	popup.closes = true
	return popup
}

// windows returns what is open in the tab's browser.
func (t *tab) windows() (ids []target.ID) {
	t.Helper()
	all, err := chromedp.Targets(t.ctx)
	if err != nil {
		t.Fatal(err)
	}
	for _, info := range all {
		if info.Type == "page" && info.BrowserContextID == chromedp.FromContext(t.ctx).BrowserContextID {
			ids = append(ids, info.TargetID)
		}
	}
	return ids
}

// untilClosed waits until the popup has closed itself.
func (t *tab) untilClosed() {
	t.Helper()
	detached, err := chromedp.Detached(t.ctx)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "the popup to close", func() bool {
		select {
		case <-detached:
			return true
		default:
			return false
		}
	})
}

// halfWay opens the home page, wide, and leaves it as somebody does who is in
// the middle of something. check tells whether it still is so.
func (t *tab) halfWay() (check func()) {
	t.Helper()
	t.screen(wide, 500, "light")
	t.visit("/")
	t.write("#draft", "half a tho")
	before := t.navigated()
	ask[bool](t, "window.mark = 'here'; document.querySelector('#draft').setSelectionRange(4, 6); scrollTo(0, 40); true")
	const state = "[window.mark, document.querySelector('#draft').value, document.querySelector('#draft').selectionStart, document.querySelector('#draft').selectionEnd, scrollY].join()"
	want := ask[string](t, state)
	return func() {
		t.Helper()
		if got := ask[string](t, state); got != want {
			t.Errorf("the page is %q now, it was %q", got, want)
		}
		if got := t.navigated() - before; got != 0 {
			t.Errorf("the page was loaded %d times", got)
		}
	}
}

func TestPopupWhateverTheOpenerPolicy(t *testing.T) {
	t.Parallel()
	for _, coop := range []string{"", "unsafe-none", "same-origin-allow-popups", "same-origin"} {
		t.Run("consent page with "+coop, func(t *testing.T) {
			b := startWith(t, &ownTwitter{coop: coop}).browse()
			same := b.halfWay()
			popup := b.beside("#sign-in")
			popup.choose(account(t, "suzume"))
			popup.untilClosed()
			b.untilGreeted("suzume")
			b.untilTold("You were signed in as @suzume")
			same()
			if got := ask[string](b, "document.activeElement.innerText"); got != "Sign out" {
				t.Errorf("the focus is on %q, want it on the sign-out button", got)
			}

			b.click("#sign-out button")
			b.untilGreeted("")
			popup = b.beside("#sign-in") // the link that was swapped in works like the first one
			popup.choose(account(t, "robin"))
			popup.untilClosed()
			b.untilGreeted("robin")
			same()
		})
	}
}

func TestPopupEndsWellWhateverHappens(t *testing.T) {
	t.Parallel()
	t.Run("cancelled", func(t *testing.T) {
		b := start(t).browse()
		same := b.halfWay()
		popup := b.beside("#sign-in")
		popup.untilAsked()
		popup.click("#cancel")
		popup.untilClosed()
		b.untilTold("You denied the request to sign in.")
		b.untilGreeted("")
		same()
	})
	t.Run("X fails on the way back, and the notice offers another try", func(t *testing.T) {
		x := &ownTwitter{}
		b := startWith(t, x).browse()
		same := b.halfWay()
		popup := b.beside("#sign-in")
		popup.untilAsked()
		x.fail("/oauth/access_token")
		popup.click("#authorize")
		popup.untilClosed()
		x.failing.Store(nil)
		b.untilTold("X is not answering at the moment. Please wait a little. Try again")
		same()

		popup = b.beside("#notices .notice span a")
		popup.choose(account(t, "robin"))
		popup.untilClosed()
		b.untilGreeted("robin")
		same()
	})
	t.Run("X fails at once", func(t *testing.T) {
		x := &ownTwitter{}
		b := startWith(t, x).browse()
		same := b.halfWay()
		x.fail("/oauth/request_token")
		b.click("#sign-in") // the popup closes before one can look at it
		b.untilTold("X is not answering at the moment. Please wait a little. Try again")
		await(t, "the popup to close", func() bool { return len(b.windows()) == 1 })
		same()
	})
	t.Run("closed by hand", func(t *testing.T) {
		b := start(t).browse()
		same := b.halfWay()
		popup := b.beside("#sign-in")
		popup.untilAsked()
		send(popup, page.Close, cdp.Empty{})
		popup.untilClosed()
		b.untilGreeted("")
		same()
		popup = b.beside("#sign-in")
		popup.choose(account(t, "robin"))
		popup.untilClosed()
		b.untilGreeted("robin")
		same()
	})
	t.Run("the page behind is gone", func(t *testing.T) {
		b := start(t).browse()
		b.screen(wide, 800, "light")
		b.visit("/?x=1")
		popup := b.beside("#sign-in")
		popup.untilAsked()
		b.closes, popup.closes = true, false
		send(b, page.Close, cdp.Empty{})
		b.untilClosed()
		popup.choose(account(t, "robin"))
		popup.untilAt("/?x=1")
		popup.untilGreeted("robin")
		popup.untilTold("You were signed in as @robin")
	})
}

func TestNoPopupFor(t *testing.T) {
	t.Parallel()
	for name, prepare := range map[string]func(*tab){
		"a blocked popup": func(b *tab) {
			send(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: "window.open = () => null"})
			b.screen(wide, 800, "light")
		},
		"a narrow window": func(b *tab) { b.screen(narrow, 800, "light") },
		"a finger": func(b *tab) {
			b.screen(wide, 800, "light")
			send(b, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := start(t).browse()
			prepare(b)
			b.visit("/?x=1")
			b.click("#sign-in")
			b.choose(account(t, "robin"))
			b.untilAt("/?x=1")
			b.untilGreeted("robin")
			b.untilTold("You were signed in as @robin")
		})
	}
	for name, modifier := range map[string]chromedp.Modifier{"Ctrl": chromedp.ModifierCtrl, "Shift": chromedp.ModifierShift} {
		t.Run("a click with "+name, func(t *testing.T) {
			b := start(t).browse()
			b.screen(wide, 800, "light")
			b.visit("/")
			ask[bool](b, "window.opened = 0; const open = window.open; window.open = (...a) => { window.opened++; return open(...a) }; true")
			before := b.navigated()
			nodes, err := chromedp.Run(b.ctx, chromedp.Nodes(chromedp.CSS("#sign-in")))
			if err != nil {
				t.Fatal(err)
			}
			b.do("clicking with "+name, chromedp.MouseClickNode(nodes[0], chromedp.ButtonModifiers(modifier)))
			if got := ask[int](b, "window.opened"); got != 0 || b.navigated() != before {
				t.Errorf("%d popups of ours and %d page loads, want none", got, b.navigated()-before)
			}
		})
	}
}

func TestThePopupsEndBelievesNobody(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	for link, want := range map[string]string{
		"/popup?id=x": "/",
		"/popup?id=nobody-knows-it&next=//evil.example":  "/",
		"/popup?id=nobody-knows-it&next=%2Faccount%3Fy":  "", // asks to sign in
		"/popup?id=nobody-knows-it&next=%2F%3Fx%3D1%23y": "/?x=1",
	} {
		b.visit(link)
		if want == "" {
			b.untilAsked()
			continue
		}
		b.untilAt(want)
	}
	b.visit("/")
	const loads = "performance.getEntriesByType('resource').filter((r) => r.name.includes('/header')).length"
	before := ask[int](b, loads)
	ask[bool](b, "new BroadcastChannel('perch').postMessage({ popup: 'nobody-knows-it' }); true")
	b.write("#draft", "time goes by")
	if got := ask[int](b, loads) - before; got != 0 {
		t.Errorf("a forged message made the page load %d things", got)
	}
}

func TestAllTabsAgree(t *testing.T) {
	t.Parallel()
	p := start(t)
	one := p.browse()
	one.visit("/")
	others := []*tab{one.another(), one.another(), one.another()}
	for i, b := range others {
		b.visit("/?tab=" + fmt.Sprint(i))
		b.write("#draft", "half a tho")
	}
	hidden := others[2]
	ask[bool](hidden, "Object.defineProperty(document, 'hidden', { get: () => true }); true")
	before := make([]int, len(others))
	for i, b := range others {
		before[i] = b.navigated()
	}
	agree := func(name string) {
		t.Helper()
		for _, b := range others {
			b.untilGreeted(name)
			b.untilTold()
			if got := ask[string](b, "document.querySelector('#draft').value"); got != "half a tho" {
				t.Errorf("the text in another tab is %q", got)
			}
		}
	}

	one.signIn(account(t, "robin"))
	agree("robin")
	one.untilTold("You were signed in as @robin")
	one.click("#sign-out button")
	agree("")
	one.visit("/?y") // so that the notice is gone
	one.signIn(account(t, "suzume"))
	one.visit("/login?force_login=true&next=/?z")
	one.choose(account(t, "Bulbul"))
	one.untilAt("/?z")
	agree("Bulbul")
	one.untilTold("You were signed in as @Bulbul")

	for i, b := range others {
		if got := b.navigated() - before[i]; got != 0 {
			t.Errorf("tab %d was loaded %d times", i, got)
		}
		asked := 0
		for _, r := range b.untilLoaded() {
			if strings.Contains(r.url, "/header") {
				asked++
			}
		}
		if asked < 4 || asked > 12 { // four changes, and no loop
			t.Errorf("tab %d asked for its header %d times", i, asked)
		}
	}
}

func TestAPageThatNeedsSignInIsLeftWhenItEnds(t *testing.T) {
	t.Parallel()
	one := start(t).browse()
	one.visit("/")
	one.signIn(account(t, "robin"))
	other := one.another()
	other.visit("/account")
	other.untilGreeted("robin")
	one.click("#sign-out button")
	one.untilTold("You were signed out")
	other.untilAt("/")
	other.untilGreeted("")
	one.untilTold("You were signed out")
}

func TestATabThatSleptAsksWhoIsThere(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/")
	b.signIn(account(t, "robin"))
	b.untilTold("You were signed in as @robin")
	const wake = "document.dispatchEvent(new Event('visibilitychange')); true"
	ask[bool](b, "window.swaps = 0; document.addEventListener('htmx:after:swap', () => window.swaps++); true")
	ask[bool](b, wake)
	b.until("the page to have asked", "window.swaps === 1")
	b.untilTold("You were signed in as @robin") // nothing is taken away unread

	b.elsewhere().signOut() // as another device would, without a word to this tab
	ask[bool](b, wake)
	b.untilGreeted("")
	b.untilTold()
}

// elsewhere returns a visitor with the cookies of the tab's browser.
func (t *tab) elsewhere() *visitor {
	t.Helper()
	v := t.p.visitor()
	u, err := url.Parse(t.p.url)
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range send(t, network.GetCookies, network.GetCookiesParams{URLs: []string{t.p.url}}).Cookies {
		v.client.Jar.SetCookies(u, []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/"}})
	}
	return v
}
