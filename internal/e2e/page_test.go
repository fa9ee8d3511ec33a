package e2e

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/chromedp/chromedp"
)

// Somebody types all the while: the box stays where it is, with a notice and
// without one.
func TestNoticesLieOverThePage(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/")
	b.signIn(account(t, "robin"))
	b.untilTold("You were signed in as @robin")
	b.write("#draft", "half a tho")
	const place = "document.querySelector('#draft').getBoundingClientRect().top" // in the window: nothing may scroll either
	want := ask[float64](b, place)
	stays := func(when string) {
		t.Helper()
		b.write("#draft", "half a tho")
		if got := ask[float64](b, place); got != want {
			t.Errorf("%s the box stands at %v, before at %v", when, got, want)
		}
	}
	stays("with a notice")
	b.click("#notices .dismiss")
	b.untilTold()
	if got := ask[float64](b, place); got != want {
		t.Errorf("dismissing moved the box from %v to %v", want, got)
	}
	stays("without it")
	b.click("#sign-out button")
	b.untilTold("You were signed out")
	stays("with the next")
}

func TestTheSameWordsAreAnnouncedAgain(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/")
	ids := map[string]bool{}
	for range 2 {
		b.signIn(account(t, "robin"))
		b.click("#sign-out button")
		b.untilTold("You were signed out")
		ids[ask[string](b, "document.querySelector('#notices .notice').id")] = true
	}
	if len(ids) != 2 {
		t.Errorf("two notices have the ids %v, want one each", ids)
	}
}

// A person without a mouse: everything by Tab and Enter, and the focus always
// to be seen.
func TestTheWholeFlowByKeyboard(t *testing.T) {
	t.Parallel()
	p := start(t)
	t.Run("from the skip link on", func(t *testing.T) {
		b := p.browseFor(t)
		b.visit("/")
		b.tabKey()
		if got := ask[string](b, "document.activeElement.innerText"); got != "Skip to content" {
			t.Errorf("the first stop is %q, want the skip link", got)
		}
		b.until("the skip link to be seen", "document.activeElement.getBoundingClientRect().top >= 0")
		b.enterKey()
		b.until("the focus to be on the content", "document.activeElement.id === 'main' && location.hash === '#main'")
		b.tabTo("#draft")
	})
	t.Run("in the page", func(t *testing.T) {
		b := p.browseFor(t)
		b.visit("/")
		b.tabTo("#sign-in")
		b.enterKey()
		b.untilAsked()
		b.tabTo("#authorize")
		b.enterKey()
		b.untilGreeted("robin")
		b.untilTold("You were signed in as @robin")
		b.tabTo("#sign-out button")
		b.enterKey()
		b.untilGreeted("")
		b.until("the focus to be on the sign-in link", "document.activeElement.id === 'sign-in'")
		b.tabTo("#notices .dismiss")
		b.enterKey()
		b.untilTold()
	})
	t.Run("in a popup", func(t *testing.T) {
		b := p.browseFor(t)
		same := b.halfWay()
		b.do("starting at the top", chromedp.Focus(chromedp.CSS(".brand")))
		b.tabTo("#sign-in")
		popup := b.opens(b.enterKey)
		popup.closes = true
		popup.untilAsked()
		popup.tabTo("#authorize")
		popup.enterKey()
		popup.untilClosed()
		b.untilGreeted("robin")
		b.untilTold("You were signed in as @robin")
		same()
		b.until("the focus to be on the sign-out button", "document.activeElement.innerText === 'Sign out'")
		b.enterKey()
		b.untilGreeted("")
		same()
	})
}

func (t *tab) tabKey() {
	t.Helper()
	t.do("pressing Tab", chromedp.KeyEvent("\t"))
}

func (t *tab) enterKey() {
	t.Helper()
	t.do("pressing Enter", chromedp.KeyEvent("\r"))
}

// tabTo goes from stop to stop until the element is reached. Each shows that
// it has the focus.
func (t *tab) tabTo(selector string) {
	t.Helper()
	for range 30 {
		t.tabKey()
		if !ask[bool](t, "document.activeElement === document.body || getComputedStyle(document.activeElement).outlineStyle !== 'none'") {
			t.Errorf("the focus on %s cannot be seen", ask[string](t, "document.activeElement.outerHTML"))
		}
		if ask[bool](t, fmt.Sprintf("document.activeElement.matches(%s)", quote(selector))) {
			return
		}
	}
	t.Fatalf("Tab does not lead to %s", selector)
}

func TestSigningOutWhenNobodyAnswersInTime(t *testing.T) {
	t.Parallel()
	release := make(chan struct{})
	p := prepare(t)
	front := newProxy(t, p)
	p.start()
	b := p.browse()
	defer close(release) // however this ends, or the proxy would not stop
	b.visit("/")
	b.signIn(account(t, "robin"))
	b.write("#draft", "half a tho")
	if got := ask[int](b, "htmx.config.defaultTimeout"); got != 10_000 {
		t.Errorf("the page waits for %d ms, want 10000", got)
	}
	ask[bool](b, "htmx.config.defaultTimeout = 200; true")

	hold := http.HandlerFunc(func(http.ResponseWriter, *http.Request) { <-release })
	front.instead.Store(&hold)
	b.expect("htmx:error")
	b.press("#sign-out button")
	b.untilTold("The server cannot be reached. Please try again.")
	b.untilGreeted("robin")
	if got := ask[string](b, "document.activeElement.innerText + document.querySelector('#draft').value"); got != "Sign outhalf a tho" {
		t.Errorf("focus and text are %q, want them untouched", got)
	}
}

func TestSigningOutThatIsRefused(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	front := newProxy(t, p)
	p.start()
	b := p.browse()
	b.visit("/")
	b.signIn(account(t, "robin"))
	b.expect("answered 403")
	refused := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Header.Set("Sec-Fetch-Site", "cross-site") // as if another site had sent it
		front.behind.ServeHTTP(w, r)
	})
	front.instead.Store(&refused)
	b.press("#sign-out button")
	b.untilTold("The request did not come from a page of this site. Please go to the home page and try again from there.")
	b.untilGreeted("robin")
	if got := ask[string](b, "document.activeElement.innerText"); got != "Sign out" {
		t.Errorf("the focus is on %q, want it where it was", got)
	}
}

func TestEveryPageSaysWhatItIs(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := p.browse()
	b.visit("/")
	b.untilLoaded()
	for what, expression := range map[string]string{
		"title":       "document.title === 'Sign in with X, done right · Perch'",
		"description": "document.querySelector('meta[name=description]').content.length > 50",
		"preview":     "document.querySelector('meta[property=\"og:title\"]').content === 'Sign in with X, done right'",
		"picture":     fmt.Sprintf("document.querySelector('meta[property=\"og:image\"]').content.startsWith(%s)", quote(p.url+"/assets/")),
		"icon":        "document.querySelector('link[rel=icon]').type === 'image/svg+xml'",
		"touch icon":  "document.querySelector('link[rel=apple-touch-icon]').href.endsWith('.png')",
		"language":    "document.documentElement.lang === 'en'",
	} {
		if !ask[bool](b, expression) {
			t.Errorf("the head lacks its %s", what)
		}
	}
	for _, selector := range []string{`meta[property="og:image"]`, "link[rel=icon]", "link[rel=apple-touch-icon]"} {
		link := ask[string](b, fmt.Sprintf("(e => e.content || e.href)(document.querySelector(%s))", quote(selector)))
		resp := p.visitor().get(link).resp
		if kind := resp.Header.Get("Content-Type"); resp.StatusCode != http.StatusOK || !strings.HasPrefix(kind, "image/") {
			t.Errorf("%s leads to %d, %s", selector, resp.StatusCode, kind)
		}
	}
	titles := map[string]string{"/account": "Your account · Perch", "/nowhere": "There is no such page · Perch"}
	v := p.visitor()
	v.signIn(account(t, "robin"))
	for path, want := range titles {
		if got := v.get(path).Find("title").Text(); got != want {
			t.Errorf("%s calls itself %q, want %q", path, got, want)
		}
	}
}

func TestNothingMovesForPeopleWhoAskForIt(t *testing.T) {
	t.Parallel()
	b := start(t).browse() // which asks for it
	b.visit("/")
	b.signIn(account(t, "robin"))
	b.untilTold("You were signed in as @robin")
	if got := ask[string](b, "getComputedStyle(document.querySelector('.notice')).animationName"); got != "none" {
		t.Errorf("the notice moves by %q", got)
	}
}

func TestOnPaperThereIsNothingToPress(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/")
	gone := func(selectors ...string) {
		t.Helper()
		b.screen(narrow, 800, onPaper)
		for _, selector := range selectors {
			if got := ask[string](b, fmt.Sprintf("getComputedStyle(document.querySelector(%s)).display", quote(selector))); got != "none" {
				t.Errorf("%s is printed, as %s", selector, got)
			}
		}
		b.screen(narrow, 800, light)
	}
	gone("#sign-in", ".aside", "#notices", "footer", ".skip")
	b.signIn(account(t, "robin"))
	gone("#sign-out", "#notices")
	b.visit("/account")
	gone(".actions")
}

// Every colour is the system's then: what only a colour told apart has a line
// around it.
func TestForcedColoursLeaveTheButtonsTheirShape(t *testing.T) {
	t.Parallel()
	b := start(t).browse()
	b.visit("/")
	b.screen(narrow, 800, forced)
	if got := ask[string](b, "(s => s.borderStyle + ' ' + (s.borderColor === s.color))(getComputedStyle(document.querySelector('#sign-in')))"); got != "solid true" {
		t.Errorf("the button's border is %q, want a line in the colour of its text", got)
	}
	b.screen(narrow, 800, light)
	b.signIn(account(t, "robin"))
	b.screen(narrow, 800, forced)
	if got := ask[string](b, "(s => s.borderStyle + ' ' + (s.borderColor === s.color))(getComputedStyle(document.querySelector('.notice')))"); got != "solid true" {
		t.Errorf("the notice's border is %q, want a line in the colour of its text", got)
	}
}

func TestTheScriptStaysShortAndExplained(t *testing.T) {
	script, err := os.ReadFile(filepath.Join(root, "assets", "app.js"))
	if err != nil {
		t.Fatal(err)
	}
	if lines := strings.Count(string(script), "\n"); lines >= 150 {
		t.Errorf("app.js has %d lines, want fewer than 150", lines)
	}
	if without, listeners := strings.Count(string(script), "Without"), strings.Count(string(script), "addEventListener("); without < 10 || listeners > without+3 {
		t.Errorf("app.js says %d times what breaks without a behaviour, for %d listeners", without, listeners)
	}
}

// axe is axe-core 4.14.1 as published on npm (axe.min.js), under the Mozilla
// Public License 2.0.
func axe(t *testing.T) string {
	t.Helper()
	const want = "29348999450cdf2849a8e70b7912fc2da85a849da39c0d0d5394f51d4a9ed95c"
	source, err := os.ReadFile("testdata/axe.min.js")
	if err != nil {
		t.Fatal(err)
	}
	if sum := sha256.Sum256(source); hex.EncodeToString(sum[:]) != want {
		t.Fatalf("axe.min.js has the SHA-256 %x, want %s", sum, want)
	}
	return string(source)
}

// violations asks axe what is wrong with the page that is shown.
const violations = `axe.run(document, { runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'wcag22aa', 'best-practice'] })
	.then((found) => JSON.stringify(found.violations.map((v) => v.id + ': ' + v.nodes.map((n) => n.html).join(' '))))`

// run runs a script in the page, whatever the page's policy says.
func run(source string) chromedp.Action[chromedp.Void] {
	return chromedp.Evaluate[chromedp.Void](source + "; undefined")
}

func TestAccessibility(t *testing.T) {
	t.Parallel()
	source := axe(t)
	p := start(t)
	for _, look := range []look{light, dark} {
		for _, width := range []int64{320, wide} {
			p.walk(t, width, look, func(b *tab, scene string) {
				t.Helper()
				b.do("loading axe", run(source))
				ctx, cancel := context.WithTimeout(b.ctx, patience)
				defer cancel()
				found, err := chromedp.Run(ctx, chromedp.Evaluate[string](violations, chromedp.EvalAwaitPromise))
				if err != nil {
					t.Fatal(err)
				}
				if found != "[]" {
					t.Errorf("%s at %d, %s: %s", scene, width, look, found)
				}
			})
		}
	}
}
