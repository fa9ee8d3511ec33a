package e2e

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"os/exec"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/chromedp/cdproto/audits"
	"github.com/chromedp/cdproto/cdp"
	"github.com/chromedp/cdproto/emulation"
	chromelog "github.com/chromedp/cdproto/log"
	"github.com/chromedp/cdproto/network"
	"github.com/chromedp/cdproto/page"
	"github.com/chromedp/cdproto/runtime"
	"github.com/chromedp/chromedp"

	"perch/sandbox"
)

// browser is Chromium, started at the first test that asks for it and shared
// by all: each test has a profile of its own.
var browser = sync.OnceValues(openBrowser)

var closeBrowser = func() {}

func openBrowser() (context.Context, error) {
	path, err := findChromium()
	if err != nil {
		return nil, err
	}
	profile, err := os.MkdirTemp("", "perch-chromium-")
	if err != nil {
		return nil, err
	}
	options := append(slices.Clone(chromedp.DefaultExecAllocatorOptions[:]),
		chromedp.ExecPath(path),
		chromedp.UserDataDir(profile),
		chromedp.NoSandbox, // root has none
		chromedp.DisableGPU,
		chromedp.Flag("disable-quic", true),
		chromedp.Flag("disable-component-update", true),
		chromedp.Flag("disable-features", "Translate,BlinkGenPropertyTrees,PaintHolding,WebUIOmniboxPopup,WebUIOmniboxAimPopup"), // an address bar that nobody sees
		chromedp.Flag("disable-popup-blocking", false), // on, as with everybody: a window opens for a click, not for a script
		chromedp.Flag("blink-settings", "primaryHoverType=2,availableHoverTypes=2,primaryPointerType=4,availablePointerTypes=4"), // a mouse, which a server has not
	)
	allocator, stop := chromedp.NewExecAllocator(context.Background(), options...)
	ctx, cancel := chromedp.NewContext(allocator)
	closeBrowser = func() {
		cancel()
		stop()
		os.RemoveAll(profile)
	}
	return ctx, chromedp.Do(ctx)
}

func findChromium() (string, error) {
	for _, name := range []string{"chromium", "chromium-browser", "google-chrome"} {
		if path, err := exec.LookPath(name); err == nil {
			return path, nil
		}
	}
	return "", errors.New("these tests need Chromium: please install it (on Debian and Ubuntu: apt-get install chromium), so that chromium or google-chrome is on the PATH")
}

// tab is a page in a real browser, and a person in front of it.
type tab struct {
	testing.TB
	p      *perch
	ctx    context.Context
	closes bool // it closes itself

	scriptless bool
	*heard
}

// browse opens a browser that has never been here.
func (p *perch) browse() *tab {
	p.Helper()
	return p.browseFor(p.TB)
}

// browseFor does so for a part of a test, whose parts share the program.
func (p *perch) browseFor(tb testing.TB) *tab {
	tb.Helper()
	ctx, err := browser()
	if err != nil {
		tb.Fatal(err)
	}
	return p.open(tb, ctx, chromedp.WithNewBrowserContext())
}

// another opens one more tab of the same browser.
func (t *tab) another() *tab {
	t.Helper()
	return t.p.open(t.TB, t.ctx)
}

func (p *perch) open(tb testing.TB, parent context.Context, options ...chromedp.ContextOption) *tab {
	tb.Helper()
	t := p.attach(tb, parent, options...)
	t.screen(narrow, 800, light)
	return t
}

// On a screen this narrow a sign-in runs in the page itself; wide, it opens a
// popup.
const narrow, wide = 720, 1280

// attach listens to a tab, a new one or one that is there.
func (p *perch) attach(tb testing.TB, parent context.Context, options ...chromedp.ContextOption) *tab {
	tb.Helper()
	for deadline := time.Now().Add(patience); ; time.Sleep(10 * time.Millisecond) {
		t := &tab{TB: tb, p: p, heard: &heard{p: p, requests: map[network.RequestID]*request{}, origins: map[string]string{}}}
		ctx, cancel := chromedp.NewContext(parent, slices.Concat(options, []chromedp.ContextOption{chromedp.WithListener(t.hear)})...)
		t.ctx = ctx
		tb.Cleanup(cancel)      // not before: it closes the tab
		err := chromedp.Do(ctx) // without a limit, for it limits the tab's whole life
		if err == nil {
			tb.Cleanup(t.checkWhatWasHeard)
			send(t, audits.Enable, cdp.Empty{})
			return t
		}
		if !betweenPages(err) || time.Now().After(deadline) { // it asks a page what it is
			tb.Fatal(err)
		}
	}
}

// betweenPages tells whether a tab had no page when it was asked: one has gone,
// and the next has not come.
func betweenPages(err error) bool {
	return strings.Contains(err.Error(), "Cannot find default execution context")
}

// withoutScripts switches scripts off, for good.
func (t *tab) withoutScripts() *tab {
	t.Helper()
	t.scriptless = true
	send(t, emulation.SetScriptExecutionDisabled, emulation.SetScriptExecutionDisabledParams{Value: true})
	return t
}

// look is how a person, or a printer, has pages drawn.
type look string

const light, dark, forced, onPaper look = "light", "dark", "forced-colors", "print"

// screen sets the size of the window, and the look. Nothing moves, which
// pictures and clicks are better off with.
func (t *tab) screen(width, height int64, look look) {
	t.Helper()
	t.do(fmt.Sprintf("a screen %d wide", width), chromedp.EmulateViewport(width, height))
	media := emulation.SetEmulatedMediaParams{Features: []*emulation.MediaFeature{{Name: "prefers-reduced-motion", Value: "reduce"}}}
	switch look {
	case light, dark:
		media.Features = append(media.Features, &emulation.MediaFeature{Name: "prefers-color-scheme", Value: string(look)})
	case forced:
		media.Features = append(media.Features, &emulation.MediaFeature{Name: "forced-colors", Value: "active"})
	case onPaper:
		media.Media = "print"
	}
	send(t, emulation.SetEmulatedMedia, media)
}

// send sends a command of the browser's protocol.
func send[P, R any](t *tab, command cdp.Command[P, R], params P) R {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	result, err := chromedp.Call(ctx, command, params)
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// do takes steps, or fails with what they were for.
func (t *tab) do(what string, steps ...chromedp.Action[chromedp.Void]) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	if err := chromedp.Do(ctx, steps...); err != nil {
		t.Fatalf("%s: %v; the page is:\n%s", what, err, t.describe())
	}
}

// onceFound takes a step on an element, and again when the element was replaced
// after it was found: by then nothing was done to it.
func onceFound(step chromedp.Action[chromedp.Void]) chromedp.Action[chromedp.Void] {
	return func(ctx context.Context, target *chromedp.Target) (chromedp.Void, error) {
		for {
			none, err := step(ctx, target)
			if err == nil || !strings.Contains(err.Error(), "Could not find node with given id") {
				return none, err
			}
		}
	}
}

// visit opens an address: a path, or a whole URL.
func (t *tab) visit(link string) {
	t.Helper()
	if strings.HasPrefix(link, "/") {
		link = t.p.url + link
	}
	t.do("opening "+link, chromedp.Navigate(link))
}

func (t *tab) click(selector string) {
	t.Helper()
	t.do("clicking "+selector, onceFound(chromedp.Click(chromedp.CSS(selector), chromedp.NodeVisible)))
}

func (t *tab) write(selector, text string) {
	t.Helper()
	t.do("typing into "+selector, onceFound(chromedp.SendKeys(chromedp.CSS(selector), text)))
}

// press puts the focus on an element, as the Tab key does, and presses Enter.
func (t *tab) press(selector string) {
	t.Helper()
	t.do("pressing "+selector, onceFound(chromedp.Focus(chromedp.CSS(selector))), chromedp.KeyEvent("\r"))
}

// ask evaluates an expression in the page, once.
func ask[T any](t *tab, expression string) T {
	t.Helper()
	value, err := try[T](t, expression)
	if err != nil {
		t.Fatalf("%s: %v", expression, err)
	}
	return value
}

func try[T any](t *tab, expression string) (T, error) {
	ctx, cancel := context.WithTimeout(t.ctx, patience)
	defer cancel()
	for {
		value, err := chromedp.Run(ctx, chromedp.Evaluate[T](expression))
		if err == nil || ctx.Err() != nil || !betweenPages(err) {
			return value, err
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// until waits for an expression to be true, across page loads.
func (t *tab) until(what, expression string) {
	t.Helper()
	deadline := time.Now().Add(patience)
	for {
		ok, err := try[bool](t, "!!("+expression+")")
		if ok && err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("waited %s in vain for %s (%v); the page is:\n%s", patience, what, err, t.describe())
		}
		time.Sleep(10 * time.Millisecond)
	}
}

// untilAt waits until a page of the program is there, whole.
func (t *tab) untilAt(path string) {
	t.Helper()
	t.until("the page "+path, fmt.Sprintf("location.href === %s && document.readyState === 'complete'", quote(t.p.url+path)))
}

// untilGreeted waits until the header greets somebody; nobody when name is "".
func (t *tab) untilGreeted(name string) {
	t.Helper()
	want := "Hello @" + name
	if name == "" {
		want = ""
	}
	t.until(fmt.Sprintf("the header to say %q", want), fmt.Sprintf(
		"document.querySelector('#header') && (document.querySelector('#header .hello')?.innerText ?? '') === %s && !document.querySelector('#sign-in') === %t",
		quote(want), name != ""))
}

// untilTold waits until the page shows exactly these notices.
func (t *tab) untilTold(want ...string) {
	t.Helper()
	if want == nil {
		want = []string{}
	}
	t.until(fmt.Sprintf("the notices %q", want), fmt.Sprintf("JSON.stringify(%s) === %s", told, quote(mustJSON(want))))
}

// told are the notices that the page shows.
const told = "[...document.querySelectorAll('#notices .notice > span')].map((s) => s.innerText.trim())"

// consent waits for the sandbox to ask.
func (t *tab) untilAsked() {
	t.Helper()
	t.until("the consent page", fmt.Sprintf("location.origin === %s && document.querySelector('#consent') && document.readyState === 'complete'", quote(t.p.sandboxURL)))
}

// choose answers the consent page: authorize it as the account.
func (t *tab) choose(as sandbox.Account) {
	t.Helper()
	t.untilAsked()
	t.click(fmt.Sprintf("#consent input[name=account][value=%q]", as.ID))
	t.click("#remember") // off: the next sign-in is to ask again
	t.click("#authorize")
}

// signIn goes from the page that is shown through the whole sign-in.
func (t *tab) signIn(as sandbox.Account) {
	t.Helper()
	t.click("#sign-in")
	t.choose(as)
	t.untilGreeted(as.ScreenName)
}

// describe tells what a person would see, for a test that fails.
func (t *tab) describe() string {
	text, err := try[string](t, "location.href + '\\n' + document.body.innerText")
	if err != nil {
		return err.Error()
	}
	return text
}

func quote(text string) string { return mustJSON(text) }

func mustJSON(v any) string {
	b, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return string(b)
}

// heard is what the browser says about a tab: what developers see in its
// tools.
type heard struct {
	p *perch

	mu          sync.Mutex
	navigations int // of the page itself
	order       []network.RequestID
	requests    map[network.RequestID]*request
	origins     map[string]string // that were asked, each with an address there
	complaints  []string
	expected    []string
}

// request is something the page loaded.
type request struct {
	method, url string
	status      int64
	loader      cdp.LoaderID // the page that asks
	bytes       float64      // over the wire, headers and all
	done        bool
}

// hear takes an event. It runs in the loop that reads them.
func (h *heard) hear(event any) {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch e := event.(type) {
	case *page.EventFrameNavigated:
		if e.Frame.ParentID == "" {
			h.navigations++
			for _, r := range h.requests {
				r.done = r.done || r.loader != e.Frame.LoaderID // nobody waits for it any more, and nobody says so
			}
		}
	case *network.EventRequestWillBeSent:
		if _, known := h.requests[e.RequestID]; !known {
			h.order = append(h.order, e.RequestID)
		}
		h.requests[e.RequestID] = &request{method: e.Request.Method, url: e.Request.URL, loader: e.LoaderID}
		if u, err := url.Parse(e.Request.URL); err == nil {
			h.origins[u.Scheme+"://"+u.Host] = e.Request.URL
		}
		h.p.keepFrom(e.Request.URL, nil)
	case *network.EventResponseReceived:
		if r := h.requests[e.RequestID]; r != nil {
			r.status = e.Response.Status
		}
		if e.Response.Status >= http.StatusBadRequest {
			h.complain("%s answered %d", e.Response.URL, e.Response.Status)
		}
	case *network.EventResponseReceivedExtraInfo:
		for name, value := range e.Headers {
			if text, ok := value.(string); ok && strings.EqualFold(name, "Set-Cookie") {
				h.p.keepFrom("", http.Header{"Set-Cookie": strings.Split(text, "\n")})
			}
		}
	case *network.EventLoadingFinished:
		if r := h.requests[e.RequestID]; r != nil {
			r.bytes, r.done = e.EncodedDataLength, true
		}
	case *network.EventLoadingFailed:
		r := h.requests[e.RequestID]
		if r == nil {
			return // began before anybody listened: the page of a popup
		}
		r.done = true
		if !e.Canceled || e.BlockedReason != "" {
			h.complain("loading %s failed: %s %s", r.url, e.ErrorText, e.BlockedReason)
		}
	case *runtime.EventConsoleAPICalled:
		if e.Type == runtime.ConsoleAPICalledTypeError || e.Type == runtime.ConsoleAPICalledTypeWarning || e.Type == runtime.ConsoleAPICalledTypeAssert {
			var words []string
			for _, arg := range e.Args {
				words = append(words, string(arg.Value)+arg.Description)
			}
			h.complain("console.%s: %s", e.Type, strings.Join(words, " "))
		}
	case *runtime.EventExceptionThrown:
		text := e.ExceptionDetails.Text
		if e.ExceptionDetails.Exception != nil {
			text += " " + e.ExceptionDetails.Exception.Description
		}
		h.complain("uncaught: %s", text)
	case *chromelog.EventEntryAdded:
		if strings.Contains(e.Entry.Text, "the server responded with a status of") {
			return // said above, and this one may come when the page is gone
		}
		if e.Entry.Level == chromelog.EntryLevelError || e.Entry.Level == chromelog.EntryLevelWarning {
			h.complain("%s %s: %s (%s)", e.Entry.Source, e.Entry.Level, e.Entry.Text, e.Entry.URL)
		}
	case *audits.EventIssueAdded:
		if e.Issue.Code == audits.InspectorIssueCodeBounceTrackingIssue {
			return // Chromium's guess at what any sign-in that redirects looks like
		}
		if strings.Contains(mustJSON(e.Issue.Details), "NavigationEntryMarkedSkippable") {
			return // a page that needs sign-in was left without a click, which is what it is for
		}
		h.complain("issue %s: %s", e.Issue.Code, mustJSON(e.Issue.Details))
	}
}

func (h *heard) complain(format string, args ...any) {
	h.complaints = append(h.complaints, fmt.Sprintf(format, args...))
}

// expect says that the browser is going to complain with these words, for the
// test provokes it. Each must be heard, and nothing else.
func (h *heard) expect(words ...string) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.expected = append(h.expected, words...)
}

// loads returns what was loaded so far.
func (h *heard) loads() []request {
	h.mu.Lock()
	defer h.mu.Unlock()
	var all []request
	for _, id := range h.order {
		all = append(all, *h.requests[id])
	}
	return all
}

func (h *heard) navigated() int {
	h.mu.Lock()
	defer h.mu.Unlock()
	return h.navigations
}

// checkWhatWasHeard holds for every page of every test: no error or warning in
// the console, no exception, no violation of a policy, no request that failed
// or that went to anybody else.
func (t *tab) checkWhatWasHeard() {
	page, err := try[[2]string](t, "[location.href, document.documentElement?.outerHTML ?? '']") // all that was said before has now been heard
	if err != nil && !t.closes {
		t.Errorf("the page does not answer any more: %v", err)
	}
	t.p.keepPage(page[0], page[1])
	t.mu.Lock()
	defer t.mu.Unlock()
	for origin, link := range t.origins {
		if origin != t.p.url && origin != t.p.sandboxURL {
			t.Errorf("the page asked a stranger: %s", link)
		}
	}
	for _, complaint := range t.complaints {
		if !slices.ContainsFunc(t.expected, func(words string) bool { return strings.Contains(complaint, words) }) {
			t.Errorf("the browser complains: %s", complaint)
		}
	}
	for _, words := range t.expected {
		if !slices.ContainsFunc(t.complaints, func(complaint string) bool { return strings.Contains(complaint, words) }) {
			t.Errorf("the browser was to complain with %q, and did not", words)
		}
	}
}
