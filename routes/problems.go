package routes

import (
	"context"
	"crypto/rand"
	"errors"
	"net/http"

	"github.com/labstack/echo/v4"

	"perch/internal/session"
	"perch/views"
)

var errBadForm = errors.New("the form cannot be read")

// words says to people what a status means for them.
var words = map[int]views.ProblemProps{
	http.StatusBadRequest:            {Title: "That did not make sense", Text: "The request could not be understood. Please go back and try again."},
	http.StatusForbidden:             {Title: "That was not allowed", Text: "The request did not come from a page of this site. Please go to the home page and try again from there."},
	http.StatusNotFound:              {Title: "There is no such page", Text: "The address may be mistyped, or the page is gone."},
	http.StatusMethodNotAllowed:      {Title: "That does not work this way", Text: "This address is there, but not for this kind of request. Please go to the home page and use the links there."},
	http.StatusRequestEntityTooLarge: {Title: "That was too much", Text: "The request is larger than this site takes. Please send less."},
	http.StatusMisdirectedRequest:    {Title: "This is not the right address", Text: "You reached this site under a name that is not its own. Please use the link below."},
	http.StatusTooManyRequests:       {Title: "Too many sign-ins", Text: "Too many sign-ins were started from your network. Please wait a minute and try again."},
	http.StatusInternalServerError:   {Title: "Something went wrong", Text: "The fault is ours, and it is noted. Please try again in a little while."},
	http.StatusServiceUnavailable:    {Title: "Back in a moment", Text: "We cannot reach our own records just now. Nothing is lost; please try again in a minute."},
}

// retryAfter is when to come back, in seconds.
var retryAfter = map[int]string{
	http.StatusTooManyRequests:    "60",
	http.StatusServiceUnavailable: "10",
}

// problem is the one function that turns an error into what people see: a
// page, or for htmx a notice in the page they are on. The cause goes to the
// log.
func (a *app) problem(err error, c echo.Context) {
	left := c.Request().Context().Err() != nil
	switch {
	case c.Response().Committed && left:
		return // nobody reads the rest
	case c.Response().Committed:
		a.Log.Error("internal_error", "error", err, "id", requestID(c))
		return
	case errors.Is(err, context.Canceled) && left:
		c.Response().WriteHeader(499) // nginx's number for it, for the log alone
		return
	}
	status := status(err)
	switch {
	case errors.Is(err, session.ErrUnavailable):
		a.Log.Error("db_error", "error", err, "id", requestID(c))
	case status >= 500:
		a.Log.Error("internal_error", "error", err, "id", requestID(c))
	}
	if seconds, ok := retryAfter[status]; ok {
		c.Response().Header().Set("Retry-After", seconds)
	}
	if err := a.show(c, status); err != nil {
		a.Log.Error("internal_error", "error", err, "id", requestID(c))
	}
}

// show says what is the matter where it can be read. That is not in a popup
// that may not start a sign-in: it closes, and the page behind says so.
func (a *app) show(c echo.Context, status int) error {
	props := words[status]
	if pending := asked(c); status == http.StatusTooManyRequests && pending.Popup != "" {
		a.Sessions.Flash(c.Request(), session.Notice{Text: props.Text, Problem: true})
		return a.render(c, status, documentPolicy, views.Popup(views.PopupProps{ID: pending.Popup, Next: publicPath(pending.Next)}))
	}
	if htmx(c) {
		h := c.Response().Header()
		h.Set("HX-Retarget", "#notices")
		h.Set("HX-Reswap", "outerMorph")
		notice := views.Notice{ID: rand.Text(), Text: props.Text, Problem: true}
		return a.draw(c, status, answerPolicy, views.Notices([]views.Notice{notice}, a.here(c)))
	}
	props.Home = a.origin + "/"
	return a.draw(c, status, documentPolicy, views.Problem(props))
}

// status tells what an error is to HTTP.
func status(err error) int {
	var tooLarge *http.MaxBytesError
	var known *echo.HTTPError
	switch {
	case errors.Is(err, session.ErrUnavailable):
		return http.StatusServiceUnavailable
	case errors.As(err, &tooLarge):
		return http.StatusRequestEntityTooLarge
	case errors.As(err, &known) && words[known.Code].Title != "":
		return known.Code
	case errors.As(err, &known) && known.Code < 500, errors.Is(err, errBadForm):
		return http.StatusBadRequest
	}
	return http.StatusInternalServerError
}
