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
	"time"

	chrome "github.com/chromedp/cdproto/browser"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/target"
	"github.com/chromedp/chromedp"

	"perch/sandbox"
)

// ownTwitter is a sandbox in the test's hands, in the place of X: the program
// has real keys and knows nothing of it.
type ownTwitter struct {
	people  []sandbox.Account // the demo accounts when nil
	coop    atomic.Value      // the Cross-Origin-Opener-Policy of its pages, a string; none when empty
	failing atomic.Pointer[string]
}

// fail lets a call of the program's fail, until failing is nil again.
func (x *ownTwitter) fail(path string) { x.failing.Store(&path) }

// startWith starts the program with an ownTwitter.
func startWith(t *testing.T, x *ownTwitter, settings ...string) *perch {
	t.Helper()
	p := prepare(t)
	p.set(settings...)
	origin := x.standIn(p, "http://"+p.addr+"/oauth-authorized")
	p.start()
	p.sandboxURL = origin
	return p
}

// standIn starts the sandbox, for a program that is not started yet, and
// returns its origin.
func (x *ownTwitter) standIn(p *perch, callback string) string {
	p.Helper()
	s, err := sandbox.New(sandbox.Options{Accounts: x.people, Callbacks: []string{callback}})
	if err != nil {
		p.Fatal(err)
	}
	l, err := sandbox.Listen(p.Context(), "localhost:0")
	if err != nil {
		p.Fatal(err)
	}
	server := httptest.NewUnstartedServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if failing := x.failing.Load(); failing != nil && r.URL.Path == *failing {
			w.WriteHeader(http.StatusServiceUnavailable)
			return
		}
		if coop, _ := x.coop.Load().(string); coop != "" {
			w.Header().Set("Cross-Origin-Opener-Policy", coop)
		}
		if strings.HasSuffix(r.URL.Path, "_token") {
			w = tapped{w, p, r.URL.Path}
		}
		s.ServeHTTP(w, r)
	}))
	server.Listener.Close()
	server.Listener = l
	server.Start()
	p.Cleanup(server.Close)

	origin := strings.Replace(server.URL, "127.0.0.1", "localhost", 1)
	p.env["TWITTER_API_URL"], p.env["TWITTER_CONSUMER_KEY"], p.env["TWITTER_CONSUMER_SECRET"] = origin, s.ConsumerKey(), s.ConsumerSecret()
	p.keep("consumer key", s.ConsumerKey())
	p.keep("consumer secret", s.ConsumerSecret())
	return origin
}

// tapped remembers the tokens that X tells the program, and nobody else.
type tapped struct {
	http.ResponseWriter
	p    *perch
	path string
}

func (w tapped) Write(b []byte) (int, error) {
	if told, err := url.ParseQuery(string(b)); err == nil {
		w.p.keep("token secret of "+w.path, told.Get("oauth_token_secret"))
		if w.path == "/oauth/access_token" {
			w.p.keep("access token", told.Get("oauth_token"))
		}
	}
	return w.ResponseWriter.Write(b)
}

// beside clicks, and returns the popup that opens.
func (t *tab) beside(selector string) *tab {
	t.Helper()
	popup := t.opens(func() { t.click(selector) })
	popup.closes = true
	return popup
}

// opens does something, and returns the window that opens.
func (t *tab) opens(do func()) *tab {
	t.Helper()
	before := t.windows()
	do()
	var id target.ID
	await(t, "a window to open", func() bool {
		for _, one := range t.windows() {
			if !slices.Contains(before, one) {
				id = one
			}
		}
		return id != ""
	})
	return t.p.attach(t.TB, t.ctx, chromedp.WithTargetID(id))
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
	t.screen(wide, 500, light)
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
	x := &ownTwitter{}
	p := startWith(t, x)
	for _, coop := range []string{"", "unsafe-none", "same-origin-allow-popups", "same-origin"} {
		t.Run("consent page with "+coop, func(t *testing.T) {
			x.coop.Store(coop)
			b := p.browseFor(t)
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
			b.untilTold("You were signed in as @robin")
			same()
			b.visit("/")
			b.untilTold() // once
		})
	}
}

func TestPopupEndsWellWhateverHappens(t *testing.T) {
	t.Parallel()
	x := &ownTwitter{}
	p := startWith(t, x)
	t.Run("cancelled", func(t *testing.T) {
		b := p.browseFor(t)
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
		b := p.browseFor(t)
		same := b.halfWay()
		popup := b.beside("#sign-in")
		popup.untilAsked()
		x.fail("/oauth/access_token")
		popup.click("#remember") // off: the second try is to ask again
		popup.click("#authorize")
		popup.untilClosed()
		x.failing.Store(nil)
		b.untilTold("X is not answering at the moment. Please wait a little. Try again")
		b.untilGreeted("")
		same()

		popup = b.beside("#notices .notice span a")
		popup.choose(account(t, "robin"))
		popup.untilClosed()
		b.untilGreeted("robin")
		b.untilTold("You were signed in as @robin")
		same()
	})
	t.Run("X fails at once", func(t *testing.T) {
		b := p.browseFor(t)
		same := b.halfWay()
		x.fail("/oauth/request_token")
		b.click("#sign-in") // the popup closes before one can look at it
		b.untilTold("X is not answering at the moment. Please wait a little. Try again")
		x.failing.Store(nil)
		await(t, "the popup to close", func() bool { return len(b.windows()) == 1 })
		same()
	})
	t.Run("closed by hand", func(t *testing.T) {
		b := p.browseFor(t)
		same := b.halfWay()
		popup := b.beside("#sign-in")
		popup.untilAsked()
		send(popup, page.Close, cdp.Empty{})
		popup.untilClosed()
		b.untilGreeted("")
		b.untilTold()
		same()
		popup = b.beside("#sign-in")
		popup.choose(account(t, "robin"))
		popup.untilClosed()
		b.untilGreeted("robin")
		same()
	})
	t.Run("the page behind is gone", func(t *testing.T) {
		b := p.browseFor(t)
		b.screen(wide, 800, light)
		b.visit("/?x=1")
		popup := b.beside("#sign-in")
		popup.untilAsked()
		b.closes, popup.closes = true, false
		send(b, page.Close, cdp.Empty{})
		b.untilClosed()
		popup.choose(account(t, "robin"))
		popup.until("the end of the sign-in", "location.pathname === '/popup'")
		soon := promise(t)
		popup.untilAt("/?x=1")
		soon("the popup went on by itself")
		popup.untilGreeted("robin")
		popup.untilTold("You were signed in as @robin")
	})
}

func TestPopupWhenTooManyWereOpened(t *testing.T) {
	t.Parallel()
	b := start(t, "LOGIN_RATE=1").browse()
	same := b.halfWay()
	popup := b.beside("#sign-in")
	popup.untilAsked()
	send(popup, page.Close, cdp.Empty{})
	popup.untilClosed()
	b.click("#sign-in") // the popup closes before one can look at it
	b.untilTold("Too many sign-ins were started from your network. Please wait a minute and try again.")
	await(t, "the popup to close", func() bool { return len(b.windows()) == 1 })
	same()
}

func TestPopupWhoseNewsDoesNotComeThrough(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	front := newProxy(t, p)
	p.start()
	b := p.browse()
	same := b.halfWay()
	popup := b.beside("#sign-in")
	popup.untilAsked()
	down := http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusBadGateway) })
	front.instead.Store(&down)
	b.expect("answered 502")
	popup.choose(account(t, "robin"))
	popup.untilClosed()
	b.untilTold("Something between here and the server went wrong (502). Please try again.")
	b.untilGreeted("")
	same()

	front.instead.Store(nil)
	b.hide()
	b.show()
	b.untilGreeted("robin")
	b.untilTold("You were signed in as @robin") // which had not been seen yet
	same()
}

func TestNoPopupFor(t *testing.T) {
	t.Parallel()
	p := start(t)
	for name, prepare := range map[string]func(*tab){
		"a browser that opens none": func(b *tab) {
			send(b, page.AddScriptToEvaluateOnNewDocument, page.AddScriptToEvaluateOnNewDocumentParams{Source: "window.open = () => null"})
			b.screen(wide, 800, light)
		},
		"a narrow window": func(b *tab) { b.screen(narrow, 800, light) },
		"a finger": func(b *tab) {
			b.screen(wide, 800, light)
			send(b, emulation.SetTouchEmulationEnabled, emulation.SetTouchEmulationEnabledParams{Enabled: true})
		},
	} {
		t.Run(name, func(t *testing.T) {
			b := p.browseFor(t)
			prepare(b)
			b.visit("/?x=1")
			b.click("#sign-in")
			b.signsInHere("/?x=1")
		})
	}
	t.Run("a click that the browser's own blocker does not believe", func(t *testing.T) {
		b := p.browseFor(t)
		b.screen(wide, 800, light)
		b.visit("/?x=1")
		ask[bool](b, "document.querySelector('#sign-in').click(); true") // nobody's finger
		b.signsInHere("/?x=1")
	})
	for name, how := range map[string]chromedp.MouseOption{
		"a click with Ctrl":       chromedp.ButtonModifiers(chromedp.ModifierCtrl),
		"a click with Shift":      chromedp.ButtonModifiers(chromedp.ModifierShift),
		"a click with the middle": chromedp.ButtonMiddle,
	} {
		t.Run(name, func(t *testing.T) {
			b := p.browseFor(t)
			b.screen(wide, 800, light)
			b.visit("/?x=1")
			ask[bool](b, "window.opened = 0; const open = window.open; window.open = (...a) => { window.opened++; return open(...a) }; true")
			before := b.navigated()
			own := b.opens(func() { b.clickWith(how, "#sign-in") }) // the browser's, for the link
			own.signsInHere("/?x=1")
			if got := ask[int](b, "window.opened"); got != 0 || b.navigated() != before {
				t.Errorf("%d popups of ours and %d page loads, want none", got, b.navigated()-before)
			}
			b.untilGreeted("robin")
			b.untilTold()
		})
	}
	t.Run("a click with Meta, which means nothing to this system's browser", func(t *testing.T) {
		b := p.browseFor(t)
		b.screen(wide, 800, light)
		b.visit("/?x=1")
		b.clickWith(chromedp.ButtonModifiers(chromedp.ModifierMeta), "#sign-in")
		b.signsInHere("/?x=1")
	})
}

// signsInHere goes through the sign-in that was just started, in this very
// window and in no other.
func (t *tab) signsInHere(path string) {
	t.Helper()
	windows := len(t.windows())
	t.choose(account(t, "robin"))
	t.untilAt(path)
	t.untilGreeted("robin")
	t.untilTold("You were signed in as @robin")
	if got := len(t.windows()); got != windows {
		t.Errorf("%d windows are open, want %d", got, windows)
	}
}

// clickWith clicks with another button than the first, or with a key held.
func (t *tab) clickWith(how chromedp.MouseOption, selector string) {
	t.Helper()
	nodes, err := chromedp.Run(t.ctx, chromedp.Nodes(chromedp.CSS(selector)))
	if err != nil {
		t.Fatal(err)
	}
	t.do("clicking "+selector, chromedp.MouseClickNode(nodes[0], how))
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
	asked := b.askedForHeader()
	ask[bool](b, "window.seen = 0; window.channel = new BroadcastChannel('perch'); channel.onmessage = ({ data }) => { if (data.seen) window.seen++ }; true")
	for _, forged := range []string{"{ popup: 'nobody-knows-it' }", "{ popup: undefined }", "{ seen: 'nobody-knows-it' }", "{}"} {
		ask[bool](b, "channel.postMessage("+forged+"); true")
	}
	b.untilQuiet()
	if got, seen := b.askedForHeader()-asked, ask[int](b, "window.seen"); got != 0 || seen != 0 {
		t.Errorf("forged messages made the page ask %d times and acknowledge %d", got, seen)
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
	others[2].hide() // where timers sleep
	before := make([]int, len(others))
	for i, b := range others {
		before[i] = b.navigated()
	}
	agree := func(name string) {
		t.Helper()
		one.untilGreeted(name)
		soon := promise(t)
		for _, b := range others {
			b.untilGreeted(name)
			b.untilTold()
			if got := ask[string](b, "document.querySelector('#draft').value"); got != "half a tho" {
				t.Errorf("the text in another tab is %q", got)
			}
		}
		soon(fmt.Sprintf("all tabs greeted %q", name))
	}

	one.signIn(account(t, "robin"))
	agree("robin")
	one.untilTold("You were signed in as @robin")
	one.click("#sign-out button")
	agree("")
	one.untilTold("You were signed out")
	one.visit("/?y") // so that the notice is gone
	one.signIn(account(t, "suzume"))
	agree("suzume")
	one.visit("/login?force_login=true&next=/?z")
	one.choose(account(t, "Bulbul"))
	one.untilAt("/?z")
	agree("Bulbul")
	one.untilTold("You were signed in as @Bulbul")

	for i, b := range others {
		if got := b.navigated() - before[i]; got != 0 {
			t.Errorf("tab %d was loaded %d times", i, got)
		}
		b.untilQuiet()
		asked := b.askedForHeader()
		t.Logf("tab %d asked for its header %d times", i, asked)
		if asked < 4 || asked > 12 { // four changes, and no loop
			t.Errorf("tab %d asked for its header %d times, want 4 to 12", i, asked)
		}
	}
}

// promise returns what to call when a thing has come about. People are
// promised a second; on a machine that has more to do it may take three.
func promise(tb testing.TB) (kept func(what string)) {
	began := time.Now()
	return func(what string) {
		tb.Helper()
		took := time.Since(began)
		tb.Logf("%s within %s", what, took.Round(time.Millisecond))
		if took > 3*time.Second {
			tb.Errorf("%s after %s only", what, took)
		}
	}
}

// askedForHeader returns how often the tab has fetched its header alone.
func (t *tab) askedForHeader() int {
	asked := 0
	for _, r := range t.loads() {
		if strings.HasPrefix(r.url, t.p.url+"/header") {
			asked++
		}
	}
	return asked
}

// untilQuiet waits until the tab asks for nothing any more, for longer than it
// takes to answer what another tab says.
func (t *tab) untilQuiet() {
	t.Helper()
	const rest = "new Promise((done) => setTimeout(done, 100, true))" // it thinks about an answer for 30 ms
	await(t, "the tab to be quiet", func() bool {
		before := len(t.untilLoaded())
		if _, err := chromedp.Run(t.ctx, chromedp.Evaluate[bool](rest, chromedp.EvalAwaitPromise)); err != nil {
			t.Fatal(err)
		}
		return len(t.untilLoaded()) == before
	})
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
	soon := promise(t)
	other.untilAt("/")
	other.untilGreeted("")
	soon("the account page was left")
	other.untilTold()
	one.untilTold("You were signed out")
}

func TestATabThatSleptAsksWhoIsThere(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/")
	b.signIn(account(t, "robin"))
	b.untilTold("You were signed in as @robin")
	asked := b.askedForHeader()
	b.hide()
	b.show()
	await(t, "the page to ask", func() bool { return b.askedForHeader() > asked })
	b.untilQuiet()
	b.untilTold("You were signed in as @robin") // nothing is taken away unread

	b.hide()
	b.elsewhere().signOut() // as another device would, without a word to this tab
	b.show()
	b.untilGreeted("")
	b.untilTold()

	other := b.another()
	other.visit("/?other")
	b.hide()
	b.freeze(page.SetWebLifecycleStateStateFrozen) // as browsers do with a tab that was hidden for long
	other.signIn(account(t, "suzume"))
	b.freeze(page.SetWebLifecycleStateStateActive)
	b.show()
	soon := promise(t)
	b.untilGreeted("suzume")
	soon("the tab that was frozen greeted suzume")
	b.untilTold()
	other.untilTold("You were signed in as @suzume")
}

// hide puts the tab's window away, and show brings it back.
func (t *tab) hide() {
	t.Helper()
	t.window(chrome.WindowStateMinimized)
	t.until("the tab to be hidden", "document.hidden")
}

func (t *tab) show() {
	t.Helper()
	t.window(chrome.WindowStateNormal)
	t.until("the tab to be seen", "!document.hidden")
}

func (t *tab) window(state chrome.WindowState) {
	t.Helper()
	id := send(t, chrome.GetWindowForTarget, chrome.GetWindowForTargetParams{}).WindowID
	send(t, chrome.SetWindowBounds, chrome.SetWindowBoundsParams{WindowID: id, Bounds: &chrome.Bounds{WindowState: state}})
}

func (t *tab) freeze(state page.SetWebLifecycleStateState) {
	t.Helper()
	send(t, page.SetWebLifecycleState, page.SetWebLifecycleStateParams{State: state})
}

func TestAPageOutOfTheBrowsersMemoryAsksWhoIsThere(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/")
	b.signIn(account(t, "robin"))
	b.visit("/?first")
	b.untilGreeted("robin")
	ask[bool](b, "window.mark = 'kept'; true")
	b.expect("answered 403")
	b.visit(b.p.sandboxURL + "/oauth/authenticate?oauth_token=unknown") // any other site
	b.elsewhere().signOut()
	b.back("/?first")
	b.untilAt("/?first")
	if got := ask[string](b, "window.mark ?? 'loaded'"); got != "kept" {
		t.Fatalf("the page was %s, not kept in memory: this test shows nothing", got)
	}
	b.untilGreeted("")

	b.visit("/")
	b.signIn(account(t, "suzume"))
	b.elsewhere().signOut()
	ask[bool](b, "window.dispatchEvent(new PageTransitionEvent('pageshow', { persisted: true }))") // all that some browsers say
	b.untilGreeted("")
}

func TestANoticeWaitsForThePageItIsMeantFor(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/")
	other := b.another()
	other.visit("/?other")
	ask[bool](b, "fetch('/oauth-authorized?denied=unknown', { redirect: 'manual' }); true") // on its way to a page
	await(t, "the notice to wait", b.holdsNotice)
	asked := other.askedForHeader()
	other.hide()
	other.show()
	await(t, "the other tab to ask", func() bool { return other.askedForHeader() > asked })
	other.untilQuiet()
	other.untilTold()
	b.visit("/")
	b.untilTold("This sign-in took too long, or was started in another browser. Try again")
	b.visit("/")
	b.untilTold() // once
}

// holdsNotice tells whether a notice is on its way to a page.
func (t *tab) holdsNotice() bool {
	t.Helper()
	return slices.ContainsFunc(send(t, network.GetCookies, network.GetCookiesParams{URLs: []string{t.p.url}}).Cookies, func(c *network.Cookie) bool { return c.Name == "perch-notices" })
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
