package routes

import (
	"bytes"
	"context"
	"net/http"
	"net/url"
	"strings"
	"time"

	"github.com/labstack/echo/v4"

	"perch/assets"
	"perch/views"
)

// home shows the first page. To those who send no cookie nobody is signed in
// there and no notice waits, so that it depends on its address alone: the last
// one is kept, compressed, for most of them come to the same.
func (a *app) home(c echo.Context) error {
	kept := stranger(c) && takesGzip(c) && !a.watched
	if kept {
		if last := a.lastHome.Load(); last != nil && last.here == a.here(c) {
			return send(c, http.StatusOK, documentPolicy, gzipped, last.gzip)
		}
	}
	header, err := a.headerProps(c)
	if err != nil {
		return err
	}
	view := views.Home(views.HomeProps{Header: header, Sandbox: a.Sandbox})
	if !kept {
		return a.render(c, http.StatusOK, documentPolicy, view)
	}
	var b bytes.Buffer
	if err := view.Render(c.Request().Context(), &b); err != nil {
		return err
	}
	page := &homePage{header.Here, zip(b.Bytes())}
	a.lastHome.Store(page)
	return send(c, http.StatusOK, documentPolicy, gzipped, page.gzip)
}

type homePage struct {
	here string
	gzip []byte
}

// header shows the header alone. A page that needs sign-in has no header for
// people who are not signed in: it is left.
func (a *app) header(c echo.Context) error {
	_, in, err := a.Sessions.Current(c.Request())
	if err != nil {
		return err
	}
	if htmx(c) && !in && needsSignIn(a.here(c)) {
		return a.redirect(c, "/") // before the notices are taken: they are for the page that comes
	}
	header, err := a.headerProps(c)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, answerPolicy, views.Header(header))
}

// popup ends a sign-in that runs in a popup: it tells the page that opened it,
// which shows the header and the notices.
func (a *app) popup(c echo.Context) error {
	id := c.QueryParam("id")
	if !plainID.MatchString(id) {
		return a.redirect(c, "/")
	}
	return a.render(c, http.StatusOK, documentPolicy, views.Popup(views.PopupProps{ID: id, Next: localPath(c.QueryParam("next"))}))
}

// headerProps fills the header, wherever it is shown, and takes the notices
// that wait: they are shown once.
func (a *app) headerProps(c echo.Context) (views.HeaderProps, error) {
	account, _, err := a.Sessions.Current(c.Request())
	if err != nil {
		return views.HeaderProps{}, err
	}
	props := views.HeaderProps{ScreenName: account.ScreenName, UserID: account.UserID, Avatar: account.Avatar, Here: a.here(c), Origin: a.origin}
	if seen(c) {
		for _, n := range a.Sessions.Notices(c.Request()) {
			props.Notices = append(props.Notices, views.Notice(n))
		}
	}
	return props, nil
}

// seen tells whether somebody is going to look at the answer. A notice is not
// for a HEAD, a prefetch, or a page that only wants to know who is signed in.
func seen(c echo.Context) bool {
	quiet := c.Request().URL.RawQuery != "" && c.QueryParams().Has("quiet")
	return c.Request().Method != http.MethodHead && !speculative(c) && !quiet
}

// here returns the page that the visitor is on: for a fragment it is htmx or
// the form that says so.
func (a *app) here(c echo.Context) string {
	r := c.Request()
	if r.Method == http.MethodPost {
		return localPath(r.PostFormValue("here"))
	}
	if htmx(c) {
		if current, err := url.Parse(r.Header.Get("Hx-Current-Url")); err == nil && strings.EqualFold(current.Host, a.BaseURL.Host) {
			return localPath(current.RequestURI())
		}
	}
	return localPath(r.URL.RequestURI())
}

// asset serves what pages load.
func (a *app) asset(c echo.Context) error {
	if !assets.Serve(c.Response(), c.Request()) {
		return echo.ErrNotFound
	}
	return nil
}

// healthy says that the process lives.
func (a *app) healthy(c echo.Context) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	return c.String(http.StatusOK, "ok\n")
}

// ready says whether to send visitors here: while the database answers.
func (a *app) ready(c echo.Context) error {
	c.Response().Header().Set("Cache-Control", "no-store")
	ctx, cancel := context.WithTimeout(c.Request().Context(), time.Second)
	defer cancel()
	if err := a.Ready(ctx); err != nil {
		a.Log.Warn("not ready", "error", err)
		return c.String(http.StatusServiceUnavailable, "not ready\n")
	}
	return c.String(http.StatusOK, "ok\n")
}
