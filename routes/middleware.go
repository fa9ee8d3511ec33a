package routes

import (
	"context"
	"crypto/rand"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"regexp"
	"strings"

	"github.com/labstack/echo/v4"
	"github.com/labstack/echo/v4/middleware"
)

// plainID is what an id from outside has to look like, so that it can do no
// harm in a log, a cookie or a page.
var plainID = regexp.MustCompile(`^[A-Za-z0-9-]{8,64}$`)

// requestID gives every request an id, for the log and the answer.
func (a *app) requestID(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		id := c.Request().Header.Get(echo.HeaderXRequestID)
		if !plainID.MatchString(id) {
			id = rand.Text()[:16] // 80 random bits
		}
		c.Response().Header()[echo.HeaderXRequestID] = []string{id}
		return next(c)
	}
}

// logged counts the request and writes one line, without the query: it may
// hold a token. It is here that an error is shown, so that both know the
// status.
func (a *app) logged(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		began := a.Now()
		if err := next(c); err != nil {
			a.problem(err, c)
		}
		ended := a.Now()
		took := ended.Sub(began)
		if log, ctx := a.Log.Handler(), c.Request().Context(); log.Enabled(ctx, slog.LevelInfo) {
			line := slog.NewRecord(ended, slog.LevelInfo, "request", 0) // nobody asks from which line of the code
			line.AddAttrs(slog.String("method", c.Request().Method), slog.String("route", c.Path()), slog.Int("status", c.Response().Status),
				slog.Float64("duration_ms", float64(took.Microseconds())/1000), slog.String("id", requestID(c)))
			log.Handle(ctx, line)
		}
		a.Metrics.Request(c.Request().Method, c.Path(), c.Response().Status, took)
		return nil
	}
}

func requestID(c echo.Context) string {
	return c.Response().Header().Get(echo.HeaderXRequestID)
}

// recovered turns a panic into an error like any other.
func (a *app) recovered() echo.MiddlewareFunc {
	return middleware.RecoverWithConfig(middleware.RecoverConfig{
		LogErrorFunc: func(c echo.Context, err error, stack []byte) error {
			return fmt.Errorf("panic: %w\n%s", err, stack)
		},
	})
}

// documentPolicy is for pages: scripts and styles of our own alone, and no
// text that turns into HTML but by htmx. answerPolicy is for all that is not
// a page.
var (
	documentPolicy = []string{"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types htmx"}
	answerPolicy = []string{"default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"}
)

// headers sets what every answer carries.
func (a *app) headers(next echo.HandlerFunc) echo.HandlerFunc {
	type header struct {
		name   string
		values []string
	}
	common := []header{
		{"Content-Security-Policy", answerPolicy},
		{"X-Content-Type-Options", []string{"nosniff"}},
		{"X-Frame-Options", []string{"DENY"}},
		{"Referrer-Policy", []string{"same-origin"}},
		{"Cross-Origin-Opener-Policy", []string{"same-origin"}},
		{"Cross-Origin-Resource-Policy", []string{"same-origin"}},
		{"Origin-Agent-Cluster", []string{"?1"}},
		{"Permissions-Policy", []string{"camera=(), geolocation=(), microphone=()"}},
	}
	if a.BaseURL.Scheme == "https" {
		common = append(common, header{"Strict-Transport-Security", []string{"max-age=63072000; includeSubDomains"}})
	}
	return func(c echo.Context) error {
		h := c.Response().Header()
		for _, one := range common {
			h[one.name] = one.values
		}
		return next(c)
	}
}

// addressed refuses requests for another host than ours: a page under a wrong
// name would lose its cookies. Health is asked by address, and a sign-in goes
// to the right name first, so that it comes back to the same cookies.
func (a *app) addressed(next echo.HandlerFunc) echo.HandlerFunc {
	defaultPort := map[string]string{"http": ":80", "https": ":443"}[a.BaseURL.Scheme]
	trim := func(host string) string { return strings.TrimSuffix(host, defaultPort) }
	ours := trim(a.BaseURL.Host)
	return func(c echo.Context) error {
		r := c.Request()
		switch {
		case strings.EqualFold(trim(r.Host), ours), c.Path() == "/healthz", c.Path() == "/readyz":
			return next(c)
		case r.Method == http.MethodGet && c.Path() == "/login":
			return a.redirect(c, a.origin+r.URL.RequestURI())
		}
		return echo.NewHTTPError(http.StatusMisdirectedRequest)
	}
}

// sameOrigin refuses what another site made the browser send.
func (a *app) sameOrigin(next echo.HandlerFunc) echo.HandlerFunc {
	protection := http.NewCrossOriginProtection()
	return func(c echo.Context) error {
		if err := protection.Check(c.Request()); err != nil {
			a.Log.Warn("csrf_refused", "route", c.Path(), "id", requestID(c))
			a.Metrics.CSRFRefused()
			return echo.NewHTTPError(http.StatusForbidden)
		}
		return next(c)
	}
}

// attached makes the request remember its sessions, before gologin clones it.
// What a form asks for is done though the visitor does not wait for the
// answer: a sign-out above all.
func (a *app) attached(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		if c.Request().Method == http.MethodPost {
			c.SetRequest(c.Request().WithContext(context.WithoutCancel(c.Request().Context())))
		}
		a.Sessions.Attach(c.Request())
		return next(c)
	}
}

// signedIn is the guard of pages for people who are signed in: it sends all
// others to sign in, and back here.
func (a *app) signedIn(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		_, ok, err := a.Sessions.Current(c.Request())
		if err != nil {
			return err
		}
		if !ok {
			back := "/account" // after a form, whose own address shows nothing
			if c.Request().Method != http.MethodPost {
				back = localPath(c.Request().URL.RequestURI())
			}
			return a.redirect(c, "/login?next="+url.QueryEscape(back))
		}
		return next(c)
	}
}

// deliberate lets a sign-in start only when somebody wants it: not for a
// prefetch, nor for an image or a frame that another page holds.
func (a *app) deliberate(next echo.HandlerFunc) echo.HandlerFunc {
	return func(c echo.Context) error {
		dest := c.Request().Header.Get("Sec-Fetch-Dest") // absent in old browsers
		if speculative(c) || dest != "" && dest != "document" && !(dest == "empty" && htmx(c)) {
			return echo.NewHTTPError(http.StatusForbidden)
		}
		return next(c)
	}
}

// speculative tells whether the browser asks before anybody has.
func speculative(c echo.Context) bool {
	h := c.Request().Header
	for _, name := range [...]string{"Sec-Purpose", "Purpose", "X-Moz"} {
		for _, purpose := range h[name] {
			if purpose = strings.ToLower(purpose); strings.Contains(purpose, "prefetch") || strings.Contains(purpose, "prerender") {
				return true
			}
		}
	}
	return false
}

// limited refuses more sign-ins than LoginRate from one address.
func (a *app) limited() echo.MiddlewareFunc {
	if a.LoginRate == 0 {
		return func(next echo.HandlerFunc) echo.HandlerFunc { return next }
	}
	return middleware.RateLimiterWithConfig(middleware.RateLimiterConfig{
		Store:               newLimiter(a.LoginRate, a.Now),
		IdentifierExtractor: func(c echo.Context) (string, error) { return network(c.RealIP()), nil },
		DenyHandler: func(c echo.Context, _ string, err error) error {
			if err != nil {
				return err
			}
			a.Log.Warn("rate_limited", "route", c.Path(), "id", requestID(c))
			a.Metrics.RateLimited()
			return echo.NewHTTPError(http.StatusTooManyRequests)
		},
		ErrorHandler: func(_ echo.Context, err error) error { return err },
	})
}

// network is what one visitor can be expected to hold: an IPv4 address, or
// the first 64 bits of an IPv6 one.
func network(ip string) string {
	addr, err := netip.ParseAddr(ip)
	if err != nil {
		return ip
	}
	if addr = addr.Unmap(); addr.Is4() {
		return addr.String()
	}
	prefix, err := addr.WithZone("").Prefix(64)
	if err != nil {
		return ip
	}
	return prefix.String()
}

// clientIP returns how to tell a visitor's address: from X-Forwarded-For as
// far as trusted proxies wrote it, else from the connection.
func clientIP(trusted []netip.Prefix) echo.IPExtractor {
	if len(trusted) == 0 {
		return echo.ExtractIPDirect()
	}
	options := []echo.TrustOption{echo.TrustLoopback(false), echo.TrustLinkLocal(false), echo.TrustPrivateNet(false)}
	for _, prefix := range trusted {
		options = append(options, echo.TrustIPRange(&net.IPNet{
			IP:   prefix.Addr().AsSlice(),
			Mask: net.CIDRMask(prefix.Bits(), prefix.Addr().BitLen()),
		}))
	}
	return echo.ExtractIPFromXFFHeader(options...)
}
