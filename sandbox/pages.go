package sandbox

import (
	"crypto/rand"
	_ "embed"
	"net/http"
	"strings"
	"sync"

	"perch/assets/htmx"
)

// pages are for the people who test against this Twitter: what it is, what it was asked, what shall go wrong, and who lives here. They are plain pages with
// forms; htmx swaps in what a form leads to, and new calls.
type pages struct {
	*Server
	run     string   // stands in each event's ID: the numbers of another run's calls mean nothing here
	endings sync.Map // by *http.Server: a chan struct{} that is closed when it shuts down
}

// pages returns their lines of the table.
func (s *Server) pages() []route {
	p := &pages{Server: s, run: rand.Text()[:8]}
	return []route{
		{"start", "GET HEAD", "/", p.start},
		{"calls", "GET HEAD", "/sandbox/calls", p.showCalls},
		{"stream", "GET", "/sandbox/calls/stream", p.stream},
		{"faults", "GET HEAD", "/sandbox/faults", p.showFaults},
		{"faults", "POST", "/sandbox/faults", p.changeFaults},
		{"accounts", "GET HEAD", "/sandbox/accounts", p.showAccounts},
		{"accounts", "POST", "/sandbox/accounts", p.changeAccounts},
		{"script", "GET HEAD", "/sandbox/sandbox.js", script},
	}
}

// toolPolicy lets a page have our scripts and what they fetch from here, too. Only htmx makes HTML of text, and nobody makes code.
const toolPolicy = policy + "'self'; script-src 'self'; connect-src 'self'; require-trusted-types-for 'script'; trusted-types htmx"

// csrf returns the secret of this browser's forms, and sees to it that the browser has it, in the cookie that cookie makes.
func csrf(w http.ResponseWriter, r *http.Request, cookie func(value string) *http.Cookie) string {
	value := rand.Text()
	if c, err := r.Cookie(cookie("").Name); err == nil && len(c.Value) == len(value) {
		value = c.Value // one for all tabs
	}
	http.SetCookie(w, cookie(value))
	return value
}

func pagesCookie(value string) *http.Cookie {
	c := csrfCookie("pages", value, 0) // as long as the browser: such a page stays open for days
	c.Path = "/sandbox/"
	c.SameSite = http.SameSiteLaxMode // with Strict, a link from elsewhere would bring a new one, and spoil the tabs that are open
	return c
}

var (
	errPagesForeign = refusePages(http.StatusForbidden, "This form was not sent from the sandbox's own page in this browser.", "the form is not from our page")
	errPagesGarbled = refusePages(http.StatusBadRequest, "The form that was sent makes no sense.", "no such form")
)

func refusePages(status int, sentence, reason string) *refusal {
	return refusePage(status, problemPage("Nothing was changed", sentence, "Load the page again and try once more."), reason)
}

// readForm reads a form of one of our pages.
func (p *pages) readForm(r *http.Request) error {
	if err := r.ParseForm(); err != nil {
		return errPagesGarbled
	}
	if !p.ownForm(r, "pages") {
		return errPagesForeign
	}
	return nil
}

// start says what this is, and what to tell an application.
func (p *pages) start(w http.ResponseWriter, r *http.Request) (string, error) {
	props := startProps{URL: "http://" + r.Host, ConsumerKey: p.ConsumerKey(), Callbacks: p.opts.Callbacks}
	if r.URL.Query().Get("secret") == "shown" {
		props.ConsumerSecret = p.ConsumerSecret()
	}
	return "shown", draw(w, r, http.StatusOK, toolPolicy, startPage(props))
}

//go:embed sandbox.js
var ownScript string

// script answers with all scripts in one: htmx looks through the page as soon as it is there, and must not do so before its extensions are.
func script(w http.ResponseWriter, _ *http.Request) (string, error) {
	answer(w, http.StatusOK, "text/javascript;charset=utf-8", strings.Join([]string{htmx.Script, htmx.SSE, ownScript}, ";\n"))
	return "sent", nil
}
