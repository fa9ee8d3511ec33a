package routes

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"net/url"
	"strings"

	"github.com/dghubble/gologin/v2"
	"github.com/dghubble/gologin/v2/oauth1"
	"github.com/labstack/echo/v4"

	"perch/internal/session"
	"perch/internal/twitter"
)

// login starts a sign-in: it asks Twitter for a request token and sends the
// visitor there.
func (a *app) login(c echo.Context) error {
	return bridge(c, func(to func(echo.HandlerFunc) http.Handler) http.Handler {
		return a.Twitter.LoginHandler(to(a.toTwitter), to(a.notStarted))
	})
}

// bridge lets a chain of gologin's end in handlers of Echo's.
func bridge(c echo.Context, chain func(to func(echo.HandlerFunc) http.Handler) http.Handler) (err error) {
	to := func(next echo.HandlerFunc) http.Handler {
		return http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
			c.SetRequest(r)
			err = next(c)
		})
	}
	chain(to).ServeHTTP(c.Response(), c.Request())
	return err
}

// toTwitter binds the request token to this browser and sends the visitor to
// say yes or no.
func (a *app) toTwitter(c echo.Context) error {
	token, secret, err := oauth1.RequestTokenFromContext(c.Request().Context())
	if err != nil {
		return err
	}
	to, err := a.Twitter.AuthenticateURL(token, c.QueryParam("force_login") == "true")
	if err != nil {
		return err
	}
	pending := asked(c)
	pending.Token, pending.Secret = token, secret
	if err := a.Sessions.Begin(c.Response(), c.Request(), pending); err != nil {
		return err
	}
	a.Log.Info("login_started", "id", requestID(c))
	a.Metrics.SignInStarted()
	return a.redirect(c, to)
}

// asked reads what the visitor wants of a sign-in.
func asked(c echo.Context) session.Pending {
	p := session.Pending{Next: localPath(c.QueryParam("next"))}
	if id := c.QueryParam("popup"); plainID.MatchString(id) {
		p.Popup = id
	}
	return p
}

func (a *app) notStarted(c echo.Context) error {
	return a.failed(c, asked(c), gologin.ErrorFromContext(c.Request().Context()))
}

// callback is the way back from Twitter. A sign-in that this browser did not
// start ends here, before any call; whoever is signed in stays so.
func (a *app) callback(c echo.Context) error {
	back, err := twitter.ParseCallback(c.Request())
	if err != nil {
		return a.failed(c, session.Pending{Next: "/"}, err)
	}
	if back.Denied != "" {
		return a.denied(c, back.Denied)
	}
	pending, err := a.Sessions.Take(c.Response(), c.Request(), back.Token)
	if err != nil {
		return a.failed(c, session.Pending{Next: "/"}, err)
	}
	r := c.Request()
	c.SetRequest(r.WithContext(oauth1.WithRequestToken(r.Context(), pending.Token, pending.Secret)))
	return bridge(c, func(to func(echo.HandlerFunc) http.Handler) http.Handler {
		return a.Twitter.CallbackHandler(
			to(func(c echo.Context) error { return a.welcome(c, pending) }),
			to(func(c echo.Context) error {
				return a.failed(c, pending, gologin.ErrorFromContext(c.Request().Context()))
			}),
		)
	})
}

// denied says so, to the browser that asked. In any other it would be a
// notice that somebody else has planted.
func (a *app) denied(c echo.Context, token string) error {
	pending, err := a.Sessions.Take(c.Response(), c.Request(), token)
	if err != nil {
		return a.failed(c, session.Pending{Next: "/"}, err)
	}
	a.Log.Info("login_denied", "id", requestID(c))
	a.Metrics.SignInDenied()
	a.Sessions.Flash(c.Request(), session.Notice{Text: "You denied the request to sign in."})
	return a.arrive(c, pending, publicPath(pending.Next))
}

// welcome signs in whom Twitter names.
func (a *app) welcome(c echo.Context, pending session.Pending) error {
	person, err := twitter.IdentityFromContext(c.Request().Context())
	if err != nil {
		return err
	}
	token, secret, err := oauth1.AccessTokenFromContext(c.Request().Context())
	if err != nil {
		return err
	}
	pair := twitter.Token{Token: token, Secret: secret}
	if err := a.Sessions.SignIn(c.Response(), c.Request(), person, pair); err != nil {
		return a.failed(c, pending, err)
	}
	a.Log.Info("login_ok", "account", person.UserID, "id", requestID(c))
	a.Metrics.SignedIn()
	a.learnLater(c, pair)
	a.Sessions.Flash(c.Request(), session.Notice{Text: "You were signed in as @" + person.ScreenName})
	return a.arrive(c, pending, pending.Next)
}

// failed says kindly that a sign-in failed, on a page that anybody may see.
func (a *app) failed(c echo.Context, pending session.Pending, err error) error {
	if errors.Is(err, context.Canceled) {
		return err // nobody is there to read it
	}
	notice, reason := a.explain(err)
	a.providerError(c, err)
	if errors.Is(err, session.ErrUnavailable) {
		a.Log.Error("db_error", "error", err, "id", requestID(c))
	}
	a.Log.Info("login_failed", "reason", reason, "id", requestID(c))
	a.Metrics.SignInFailed(reason)
	a.Sessions.Flash(c.Request(), session.Notice{Text: notice, Problem: true, Retry: true})
	return a.arrive(c, pending, publicPath(pending.Next))
}

// arrive ends a sign-in at a page, in a popup by way of the page that closes
// it.
func (a *app) arrive(c echo.Context, pending session.Pending, to string) error {
	if pending.Popup != "" {
		to = "/popup?" + url.Values{"id": {pending.Popup}, "next": {to}}.Encode()
	}
	return a.redirect(c, to)
}

func (a *app) providerError(c echo.Context, err error) {
	var call *twitter.Error
	if errors.As(err, &call) {
		a.Log.Warn("provider_error", "call", call.Call, "reason", call.Reason, "status", call.Status, "code", call.Code, "error", call, "id", requestID(c))
	}
}

// explain finds the words for the visitor, and one for the log.
func (a *app) explain(err error) (notice, reason string) {
	switch {
	case errors.Is(err, twitter.ErrCallback):
		return "This sign-in link is not complete.", "malformed"
	case errors.Is(err, session.ErrUnknown):
		return "This sign-in took too long, or was started in another browser.", "unknown"
	case errors.Is(err, session.ErrUsed):
		return "This sign-in was used before.", "used"
	case errors.Is(err, session.ErrUnavailable):
		return "We could not keep your sign-in just now. Please wait a minute.", "database"
	}
	var call *twitter.Error
	if !errors.As(err, &call) {
		return "The sign-in did not work.", "internal"
	}
	switch call.Reason {
	case twitter.Unreachable, twitter.Unavailable:
		notice = "X is not answering at the moment. Please wait a little."
	case twitter.Expired:
		notice = "X no longer accepts this sign-in."
	case twitter.Locked:
		notice = "X has locked this account. Please unlock it at x.com first."
	case twitter.RateLimited:
		notice = "X takes no more sign-ins for now. Please wait a few minutes."
		if !call.RetryAt.IsZero() {
			notice = fmt.Sprintf("X takes no more sign-ins for now. Please try again at %s UTC.", call.RetryAt.UTC().Format("15:04"))
		}
	case twitter.Keys, twitter.Stripped, twitter.Clock, twitter.Unlisted, twitter.Suspended:
		notice = "Sign-in is not set up correctly on this site. The people who run it find the reason in their log."
	default:
		notice = "X did not let this sign-in through."
	}
	return notice, string(call.Reason)
}

// logout signs the visitor out, wherever they are.
func (a *app) logout(c echo.Context) error {
	if err := c.Request().ParseForm(); err != nil {
		return fmt.Errorf("%w: %w", errBadForm, err)
	}
	account, wasIn, err := a.Sessions.Current(c.Request())
	if err != nil {
		return err
	}
	if err := a.Sessions.SignOut(c.Response(), c.Request()); err != nil {
		return err
	}
	if wasIn {
		a.Log.Info("logout", "account", account.UserID, "id", requestID(c))
		a.Metrics.SignedOut()
	}
	a.Sessions.Flash(c.Request(), session.Notice{Text: "You were signed out"})
	if htmx(c) && !needsSignIn(a.here(c)) {
		return a.header(c)
	}
	return a.redirect(c, "/")
}

// publicPath is path when anybody may see it, else the home page.
func publicPath(path string) string {
	if needsSignIn(path) {
		return "/"
	}
	return path
}

// maxNext is how long a path to return to may be, in bytes.
const maxNext = 2048

// localPath returns next when it is a path on this site and a page that one
// can return to, without its fragment; else "/". It is strict, for browsers
// are not: they drop tabs, take a backslash for a slash, and two slashes for
// another site (WHATWG URL).
func localPath(next string) string {
	if next == "/" || next == "/header" { // most often
		return "/"
	}
	if len(next) > maxNext || !strings.HasPrefix(next, "/") || strings.HasPrefix(next, "//") || strings.ContainsFunc(next, func(r rune) bool { return r <= ' ' || r == 0x7f || r == '\\' }) {
		return "/"
	}
	u, err := url.Parse(next)
	if err != nil || u.Scheme != "" || u.Host != "" || u.User != nil {
		return "/"
	}
	if crooked(u.EscapedPath()) || crooked(u.Path) {
		return "/"
	}
	switch u.Path {
	case "/login", "/logout", "/oauth-authorized", "/header", "/popup":
		return "/"
	}
	u.Fragment, u.RawFragment = "", ""
	u.RawQuery = escapeNonASCII(u.RawQuery)
	return u.String()
}

// crooked tells whether a browser may read path as something else.
func crooked(path string) bool {
	if strings.Contains(path, "//") || strings.ContainsFunc(path, func(r rune) bool { return r < ' ' || r == 0x7f || r == '\\' }) {
		return true
	}
	for segment := range strings.SplitSeq(path, "/") {
		if segment == "." || segment == ".." {
			return true
		}
	}
	return false
}

// escapeNonASCII makes a query fit for a header of the answer.
func escapeNonASCII(query string) string {
	var b strings.Builder
	for _, char := range []byte(query) {
		if char < 0x80 {
			b.WriteByte(char)
		} else {
			fmt.Fprintf(&b, "%%%02X", char)
		}
	}
	return b.String()
}
