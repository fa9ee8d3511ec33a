// Package routes is Perch over HTTP: the way in, the route table, and the two
// ways out.
package routes

import (
	"bytes"
	"compress/gzip"
	"context"
	"log/slog"
	"net/http"
	"net/netip"
	"net/url"
	"os"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"

	"perch/assets"
	"perch/internal/metrics"
	"perch/internal/session"
	"perch/internal/twitter"
)

// Options is what the routes depend on.
type Options struct {
	Sessions *session.Sessions
	Twitter  *twitter.Provider

	// BaseURL is the public origin, without a path. Links, redirects and the
	// check of the Host header follow it, never the connection.
	BaseURL *url.URL

	// Ready returns nil while the database answers.
	Ready func(context.Context) error

	// Sandbox says that Twitter is the sandbox, for the pages to say so.
	Sandbox bool

	// LoginRate is how many sign-ins may be started per minute and address; 0
	// for no limit.
	LoginRate int

	// TrustedProxies are the addresses whose X-Forwarded-For counts.
	TrustedProxies []netip.Prefix

	// Beside runs work that no visitor waits for, such as asking for a profile;
	// nil runs it in a goroutine.
	Beside func(work func())

	Metrics *metrics.Metrics // counts nowhere when nil
	Log     *slog.Logger     // nowhere when nil
	Now     func() time.Time // time.Now when nil
}

type app struct {
	Options
	origin   string // BaseURL's
	zipped   zipped
	lastHome atomic.Pointer[homePage]
	watched  bool // templ changes pages while Perch runs, for `task dev`
}

// New returns Perch as a handler.
func New(o Options) http.Handler {
	if o.Log == nil {
		o.Log = slog.New(slog.DiscardHandler)
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Beside == nil {
		o.Beside = func(work func()) { go work() }
	}
	a := &app{Options: o, origin: o.BaseURL.String(), watched: os.Getenv("TEMPL_DEV_MODE") == "true"}

	e := echo.New()
	e.HTTPErrorHandler = a.problem
	e.IPExtractor = clientIP(o.TrustedProxies)
	e.Use(once(a.requestID, a.logged, a.recovered(), a.headers, a.addressed, middleware.BodyLimit("64KiB"), a.sameOrigin, a.attached))

	for _, method := range []string{http.MethodGet, http.MethodHead} {
		e.Add(method, "/", a.home)
		e.Add(method, "/header", a.header)
		e.Add(method, "/privacy", a.privacy)
		e.Add(method, "/avatar/:name", a.avatar)
		e.Add(method, "/account", a.account, a.signedIn)
		e.Add(method, "/account/disconnect", a.askDisconnect, a.signedIn)
		e.Add(method, "/account/delete", a.askDelete, a.signedIn)
		e.Add(method, "/account/data.json", a.download, a.signedIn)
		e.Add(method, "/popup", a.popup)
		e.Add(method, "/healthz", a.healthy)
		e.Add(method, "/readyz", a.ready)
		e.Add(method, assets.Prefix+"*", a.asset)
	}
	e.GET("/login", a.login, a.deliberate, a.limited())
	e.GET("/oauth-authorized", a.callback)
	e.POST("/logout", a.logout)
	e.POST("/account/refresh", a.refresh, a.signedIn)
	e.POST("/account/devices/end", a.endDevice, a.signedIn)
	e.POST("/account/devices/end-others", a.endOthers, a.signedIn)
	e.POST("/account/disconnect", a.disconnect, a.signedIn)
	e.POST("/account/delete", a.delete, a.signedIn)
	return e
}

// once builds a chain of middleware, the first outermost, once for all
// requests: Echo would build it for each. The handler at its end is the one
// that Echo has found.
func once(chain ...echo.MiddlewareFunc) echo.MiddlewareFunc {
	all := func(c echo.Context) error { return c.Handler()(c) }
	for _, link := range slices.Backward(chain) {
		all = link(all)
	}
	return func(echo.HandlerFunc) echo.HandlerFunc { return all }
}

// needsSignIn tells whether a page is for people who are signed in only.
func needsSignIn(path string) bool {
	u, err := url.Parse(path)
	return err == nil && (u.Path == "/account" || strings.HasPrefix(u.Path, "/account/"))
}

// htmx tells whether htmx made the request, which cannot follow a redirect to
// another origin and swaps whatever comes back. The way back from Twitter is
// the browser's own, whatever the header says. htmx writes HX-Request; asked
// for as net/http keeps it, the name need not be rewritten each time.
func htmx(c echo.Context) bool {
	return c.Request().Header.Get("Hx-Request") == "true" && c.Path() != "/oauth-authorized"
}

// render is the one way out with a body, but for the home page that is kept.
func (a *app) render(c echo.Context, status int, policy []string, view templ.Component) error {
	if err := a.Sessions.Save(c.Response(), c.Request()); err != nil {
		return err
	}
	return a.draw(c, status, policy, view)
}

// draw makes the view whole before the first byte goes out, so there is never
// half a page.
func (a *app) draw(c echo.Context, status int, policy []string, view templ.Component) error {
	b := buffers.Get().(*bytes.Buffer)
	defer buffers.Put(b)
	b.Reset()
	if err := view.Render(c.Request().Context(), b); err != nil {
		return err
	}
	if stranger(c) && takesGzip(c) {
		return send(c, status, policy, gzipped, a.zipped.of(b.Bytes()))
	}
	return send(c, status, policy, nil, b.Bytes())
}

// send writes a document or a fragment, in a content coding if one is given.
func send(c echo.Context, status int, policy, coding []string, body []byte) error {
	h := c.Response().Header()
	h["Content-Security-Policy"] = policy
	h["Content-Type"] = html
	personal(h)
	if coding != nil {
		h["Content-Encoding"] = coding
	}
	h["Content-Length"] = []string{strconv.Itoa(len(body))}
	c.Response().WriteHeader(status)
	_, err := c.Response().Write(body)
	return err
}

func takesGzip(c echo.Context) bool {
	return assets.Takes(c.Request().Header.Get(echo.HeaderAcceptEncoding), "gzip")
}

// stranger tells whether the visitor sent no cookie, so that the answer is the
// same for all of them.
func stranger(c echo.Context) bool {
	return c.Request().Header.Get("Cookie") == ""
}

// zipped keeps the last answer that strangers got, compressed, but for the home
// page: they often get the same one, and to compress it costs more than to draw
// it.
type zipped struct{ last atomic.Pointer[zippedPage] }

var zippers = sync.Pool{New: func() any { return gzip.NewWriter(nil) }}

type zippedPage struct{ plain, gzip []byte }

func (z *zipped) of(plain []byte) []byte {
	if last := z.last.Load(); last != nil && bytes.Equal(last.plain, plain) {
		return last.gzip
	}
	page := &zippedPage{bytes.Clone(plain), zip(plain)}
	z.last.Store(page)
	return page.gzip
}

func zip(plain []byte) []byte {
	var b bytes.Buffer
	w := zippers.Get().(*gzip.Writer)
	defer zippers.Put(w)
	w.Reset(&b)
	w.Write(plain)
	w.Close()
	return b.Bytes()
}

var buffers = sync.Pool{New: func() any { return new(bytes.Buffer) }}

// redirect is the other way out: 303, or for htmx the header that makes it
// load the page.
func (a *app) redirect(c echo.Context, to string) error {
	if err := a.Sessions.Save(c.Response(), c.Request()); err != nil {
		return err
	}
	h := c.Response().Header()
	personal(h)
	if htmx(c) {
		h.Set("HX-Redirect", to)
		return c.NoContent(http.StatusOK)
	}
	return c.Redirect(http.StatusSeeOther, to)
}

// What many answers carry is made once. Nobody may change it in place.
var (
	html        = []string{"text/html; charset=utf-8"}
	gzipped     = []string{"gzip"}
	noStore     = []string{"no-store"}
	varyPersons = []string{"Cookie, Accept-Encoding"}
)

// personal keeps an answer out of every cache: it depends on who asks.
func personal(h http.Header) {
	h["Cache-Control"] = noStore
	h["Vary"] = varyPersons
}
