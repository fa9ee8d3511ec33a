package e2e

import (
	"context"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha1"
	"encoding/base64"
	"fmt"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/chromedp/chromedp"
)

// inspect opens the list of calls, and waits until it hears of new ones.
func (t *tab) inspect() {
	t.Helper()
	t.visit(t.p.sandboxURL + "/sandbox/calls")
	t.until("the page to be live", "document.querySelector('#live').innerText === 'New ones appear by themselves.'")
}

// askToken asks the sandbox for a request token as a client does that signs
// another scheme than it calls, and one more parameter.
func (p *perch) askToken(scheme, more string) *http.Response {
	p.Helper()
	params := fmt.Sprintf("more=%s&oauth_callback=%s&oauth_consumer_key=%s&oauth_nonce=%s&oauth_signature_method=HMAC-SHA1&oauth_timestamp=%d",
		escape(more), escape("http://"+p.addr+"/oauth-authorized"), escape(p.key), rand.Text(), time.Now().Unix())
	address := p.sandboxURL + "/oauth/request_token"
	mac := hmac.New(sha1.New, []byte(escape(p.secret)+"&"))
	mac.Write([]byte("POST&" + escape(strings.Replace(address, "http", scheme, 1)) + "&" + escape(params)))
	body := params + "&oauth_signature=" + escape(base64.StdEncoding.EncodeToString(mac.Sum(nil)))
	resp, err := http.Post(address, "application/x-www-form-urlencoded", strings.NewReader(body))
	if err != nil {
		p.Fatal(err)
	}
	resp.Body.Close()
	return resp
}

func escape(s string) string { return strings.ReplaceAll(url.QueryEscape(s), "+", "%20") }

func TestSandboxShowsARefusedCallLive(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := p.browse()
	b.inspect()
	if !ask[bool](b, "document.querySelector('.none').innerText.includes('curl -i -X POST ' + location.origin)") {
		t.Errorf("without calls the page says %q", ask[string](b, "document.querySelector('#main').innerText"))
	}
	before := b.navigated()
	const hostile = "<img src=x onerror=alert(1)>\r\n\u202ex"
	if resp := p.askToken("https", hostile); resp.StatusCode != http.StatusUnauthorized {
		t.Fatalf("signed for another scheme, the call was answered %s", resp.Status)
	}
	b.until("the call to appear", "document.querySelectorAll('#calls > li.refused').length === 1")
	b.until("the empty page's advice to be gone", "document.querySelector('.none').checkVisibility() === false")
	b.press("#calls summary")
	b.until("the call to open", "document.querySelector('#calls mark').checkVisibility()")
	for what, expression := range map[string]string{
		"the status and the code":        "document.querySelector('#calls .status').innerText.replace(/\\s+/g, ' ') === '401 code 32'",
		"the endpoint":                   "document.querySelector('#calls summary strong').innerText === 'request_token'",
		"one difference, in the URL":     "document.querySelectorAll('#calls .differs').length === 1 && document.querySelector('#calls .differs .want .raw').innerText.startsWith('http%3A%2F%2Flocalhost')",
		"what is too much, marked":       "document.querySelector('#calls .got mark').innerText === 's'",
		"the difference in words":        "document.querySelector('#calls .words').innerText.includes('URL')",
		"what was sent, and where it is": "[...document.querySelectorAll('#calls tbody tr')].some((tr) => tr.innerText.replace(/\\s+/g, ' ') === 'more body <img src=x onerror=alert(1)>␍␊⟨U+202E⟩x')",
		"nothing of it as markup":        "document.querySelectorAll('#calls img').length === 0",
	} {
		if !ask[bool](b, expression) {
			t.Errorf("the page does not show %s: %s", what, ask[string](b, "document.querySelector('#calls').innerText"))
		}
	}

	// The stream breaks off, and a call is made meanwhile.
	ask[bool](b, "document.querySelector('#live')._htmx.sse.reader.cancel(); true")
	p.askToken("https", "two")
	b.until("the second call", "document.querySelectorAll('#calls > li').length >= 2")
	p.askToken("http", "three")
	b.until("the third call", "document.querySelector('#calls > li:first-child:not(.refused)')")
	if got := ask[string](b, "[...document.querySelectorAll('#calls > li')].map((li) => li.id).join()"); got != "call-3,call-2,call-1" {
		t.Errorf("the page shows %s", got)
	}
	if !ask[bool](b, "document.querySelector('#call-1 details').open") || b.navigated() != before {
		t.Error("what was open did not stay open")
	}

	for range 201 {
		if _, err := http.Post(p.sandboxURL+"/oauth/access_token", "", nil); err != nil {
			t.Fatal(err)
		}
	}
	b.until("the last of many calls", "document.querySelector('#calls > li').id === 'call-204'")
	if got := ask[int](b, "document.querySelectorAll('#calls > li').length"); got != 200 {
		t.Errorf("the page shows %d calls, want 200", got)
	}

	p.askToken("http", "four")
	b.until("an accepted call", "document.querySelector('#call-205:not(.refused)')")
	b.click(".filter a:last-child")
	b.until("the refused ones alone", "document.querySelectorAll('#calls > li').length === 199 && document.querySelectorAll('#calls > li.refused').length === 199")
}

// A sandbox that is started anew numbers its calls from one again.
func TestSandboxPageOutlivesTheSandbox(t *testing.T) {
	t.Parallel()
	p := start(t, "SANDBOX_CONSUMER_KEY=key-for-both-runs", "SANDBOX_CONSUMER_SECRET=secret-for-both-runs")
	b := p.browse()
	b.inspect()
	p.askToken("http", "one")
	p.askToken("http", "two")
	b.until("the calls", "document.querySelectorAll('#calls > li').length === 2")
	b.expect("/sandbox/calls/stream", "htmx:sse:error")
	p.kill()
	b.until("the page to say so", "document.querySelector('#live').innerText.includes('does not answer')")
	p.start()
	b.until("the page to be live again", "document.querySelector('#live').innerText === 'New ones appear by themselves.'")
	p.askToken("https", "anew")
	b.until("the new run's call alone", "document.querySelectorAll('#calls > li').length === 1 && document.querySelector('#call-1.refused')")
}

func TestSandboxStopsWithAnOpenInspector(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := p.browse()
	b.inspect()
	faults := b.another()
	faults.visit(p.sandboxURL + "/sandbox/faults")
	b.expect("/sandbox/calls/stream", "htmx:sse:error") // the page has to notice
	began := time.Now()
	p.signal(os.Interrupt)
	if code := p.awaitExit(); code != 0 || time.Since(began) > 10*time.Second {
		t.Errorf("the program ended with %d after %s", code, time.Since(began))
	}
	b.until("the page to notice", "document.querySelector('#live').innerText.includes('does not answer')")
	faults.expect("htmx:error", "ERR_CONNECTION_REFUSED")
	faults.press("[value=add]")
	faults.until("the page to say so", "document.querySelector('[role=alert]').innerText === 'The sandbox does not answer. Is it running?'")
}

func TestSandboxFaultAndTheNextSignIn(t *testing.T) {
	t.Parallel()
	for _, scriptless := range []bool{false, true} {
		t.Run("scriptless "+strconv.FormatBool(scriptless), func(t *testing.T) {
			p := start(t)
			b := p.browseFor(t)
			if scriptless {
				b.withoutScripts()
			}
			b.visit(p.sandboxURL + "/sandbox/faults")
			before := b.navigated()
			kind := ask[string](b, "[...document.querySelectorAll('.option')].find((o) => o.innerText.includes('503')).querySelector('input').value")
			b.click("input[name=kind][value='" + kind + "']")
			b.do("choosing where", chromedp.SetValue(chromedp.CSS("select[name=endpoint]"), "request_token"))
			b.click("form button[value=add]")
			b.until("the fault to be on", fmt.Sprintf("document.querySelector('.on')?.innerText.includes(%s)", quote(kind+" at request_token, for one more request")))
			if !scriptless && b.navigated() != before {
				t.Error("the page was loaded again")
			}

			b.visit("/")
			b.click("#sign-in")
			b.untilTold("X is not answering at the moment. Please wait a little. Try again")
			b.untilGreeted("")
			b.click("#sign-in") // the fault was for one request
			b.choose(account(t, "robin"))
			b.untilGreeted("robin")

			b.visit(p.sandboxURL + "/sandbox/faults")
			if ask[bool](b, "!!document.querySelector('.on')") {
				t.Error("the fault is on still")
			}
			b.click("input[name=last][value=cleared]")
			b.click("form button[value=add]")
			b.until("the fault to be on", "document.querySelector('.on')?.innerText.includes('every endpoint, until it is cleared')")
			b.press("form button[value=clear]")
			b.until("no fault to be on", "!document.querySelector('.on')")
			if !scriptless {
				b.until("the focus to be on the content", "document.activeElement.id === 'main'")
			}
		})
	}
}

func TestSandboxAccountIsRenamedAndSuspended(t *testing.T) {
	t.Parallel()
	for _, scriptless := range []bool{false, true} {
		t.Run("scriptless "+strconv.FormatBool(scriptless), func(t *testing.T) {
			p := start(t)
			b := p.browseFor(t)
			if scriptless {
				b.withoutScripts()
			}
			b.visit(p.sandboxURL + "/sandbox/accounts")
			before := b.navigated()
			b.click("#account-12 summary")
			b.do("a new name", chromedp.SetValue(chromedp.CSS("#account-12 [name=screen_name]"), "wren_renamed"))
			b.click("#account-12 [value=save]")
			b.until("the new name", "document.querySelector('#account-12 .handle').innerText === '@wren_renamed' && document.querySelector('[role=status]').innerText.includes('@wren_renamed')")
			b.press("#account-12 [value=suspend]")
			b.until("the account to be suspended", "document.querySelector('#account-12 .tag')?.innerText === 'suspended'")
			if !scriptless {
				b.until("the focus to be on the button in its place", "document.activeElement.matches('#account-12 [value=restore]')")
			}
			b.write("#add [name=screen_name]", "finch")
			b.write("#add [name=name]", "Fiona Finch")
			b.click("#add button")
			b.until("the new account", "[...document.querySelectorAll('.handle')].some((h) => h.innerText === '@finch')")
			b.until("the form to be empty again", "document.querySelector('#add [name=screen_name]')?.value === ''") // the page may not be whole yet
			if !scriptless && b.navigated() != before {
				t.Error("the page was loaded again")
			}

			b.visit("/")
			b.click("#sign-in")
			b.untilAsked()
			if got := ask[string](b, "document.querySelector('label:has([value=\"12\"])').innerText.replace(/\\s+/g, ' ')"); !strings.HasSuffix(got, "@wren_renamed suspended") {
				t.Errorf("the consent page says %q", got)
			}
		})
	}
}

func TestSandboxShowsItsSecretToWhoAsks(t *testing.T) {
	t.Parallel()
	p := start(t)
	b := p.browse()
	b.visit(p.sandboxURL + "/")
	before := b.navigated()
	for _, shown := range []bool{true, false} {
		b.press("#secret-link")
		b.until("the secret", fmt.Sprintf("document.querySelector('main').innerText.includes(%s) === %t", quote(p.secret), shown))
		b.until("the focus to stay", "document.activeElement.id === 'secret-link'")
	}
	if b.navigated() != before {
		t.Error("the page was loaded again")
	}
}

// TestSandboxPagesForEverybody looks at every page of the sandbox as
// TestAccessibility does at Perch's, and leaves pictures as TestScreenshots
// does.
func TestSandboxPagesForEverybody(t *testing.T) {
	t.Parallel()
	source, dir := axe(t), os.Getenv("PERCH_SCREENSHOTS")
	if dir != "" && !filepath.IsAbs(dir) {
		dir = filepath.Join(root, dir)
	}
	p := start(t)
	b := p.browse()
	page := func(path, ready string) func() {
		return func() {
			b.visit(p.sandboxURL + path)
			b.until(path, ready)
		}
	}
	scenes := []struct {
		name string
		show func()
	}{
		{"start", page("/", "document.querySelector('h1')")},
		{"calls-none", b.inspect},
		{"calls", func() {
			p.askToken("http", "right")
			p.askToken("https", strings.Repeat("a long value without an end ", 10)+strings.Repeat("x", 200))
			p.askToken("http", "<b>"+strings.Repeat("&", 40))
			if _, err := http.Post(p.sandboxURL+"/oauth/access_token", "", nil); err != nil {
				t.Fatal(err)
			}
			b.inspect()
			b.click("#calls > li:nth-child(3) summary")
			b.click("#calls > li:nth-child(1) summary")
		}},
		{"calls-refused", page("/sandbox/calls?only=refused", "document.querySelector('#calls li')")},
		{"faults", page("/sandbox/faults", "document.querySelector('.option')")},
		{"faults-on", func() {
			page("/sandbox/faults", "document.querySelector('.option')")()
			b.click("form button[value=add]")
			b.until("the fault", "document.querySelector('.on')")
		}},
		{"accounts", func() {
			page("/sandbox/accounts", "document.querySelector('.person')")()
			if ask[bool](b, "!!document.querySelector('#account-12 [value=suspend]')") {
				b.click("#account-12 [value=suspend]")
				b.until("the state", "document.querySelector('#account-12 .tag')")
			}
			b.click("#account-12 summary")
		}},
		{"apps", page("/sandbox/apps", "document.querySelector('h1')")},
		{"consent", func() {
			page("/sandbox/faults", "document.querySelector('.option')")()
			if ask[bool](b, "!!document.querySelector('[value=clear]')") {
				b.click("[value=clear]")
				b.until("no fault", "!document.querySelector('.on')")
			}
			b.visit("/login?next=%2F")
			b.untilAsked()
		}},
	}
	for _, width := range []int64{320, wide} {
		for _, look := range []look{light, dark} {
			for _, scene := range scenes {
				b.screen(width, 800, look)
				scene.show()
				if !ask[bool](b, "document.scrollingElement.scrollWidth <= innerWidth") {
					t.Errorf("%s scrolls sideways at %d", scene.name, width)
				}
				if dir != "" {
					b.picture(filepath.Join(dir, fmt.Sprintf("sandbox-%s-%d-%s.png", scene.name, width, look)))
				}
				b.do("loading axe", run(source))
				ctx, cancel := context.WithTimeout(b.ctx, patience)
				found, err := chromedp.Run(ctx, chromedp.Evaluate[string](violations, chromedp.EvalAwaitPromise))
				cancel()
				if err != nil {
					t.Fatal(err)
				}
				if found != "[]" {
					t.Errorf("%s at %d, %s: %s", scene.name, width, look, found)
				}
			}
		}
	}
}
