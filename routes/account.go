package routes

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/a-h/templ"
	"github.com/labstack/echo/v4"
	"github.com/mileusna/useragent"

	"perch/internal/session"
	"perch/internal/twitter"
	"perch/views"
)

// account shows who is signed in, and where.
func (a *app) account(c echo.Context) error {
	header, err := a.headerProps(c)
	if err != nil {
		return err
	}
	account, _, err := a.Sessions.Current(c.Request())
	if err != nil {
		return err
	}
	devices, err := a.devices(c)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, documentPolicy, views.Account(views.AccountProps{
		Header: header, Profile: profileProps(account), Devices: devices,
	}))
}

func profileProps(account session.Account) views.ProfileProps {
	return views.ProfileProps{
		ScreenName: account.ScreenName, Name: account.Name, Avatar: account.Avatar,
		SignedInAt: account.SignedInAt, CreatedAt: account.CreatedAt,
	}
}

func (a *app) devices(c echo.Context) ([]views.Device, error) {
	all, err := a.Sessions.Devices(c.Request())
	if err != nil {
		return nil, err
	}
	var devices []views.Device
	for _, d := range all {
		devices = append(devices, views.Device{
			Handle: d.Handle, Name: deviceName(d.UserAgent), SignedInAt: d.SignedInAt, SeenAt: d.SeenAt, Here: d.Here,
		})
	}
	return devices, nil
}

// deviceName says in two words what a browser calls itself in many.
func deviceName(userAgent string) string {
	ua := useragent.Parse(userAgent)
	switch {
	case ua.Name != "" && ua.OS != "":
		return ua.Name + " on " + ua.OS
	case ua.Name != "":
		return ua.Name
	}
	return "A browser we do not know"
}

// refresh asks X at once how it shows the person.
func (a *app) refresh(c echo.Context) error {
	account, _, err := a.Sessions.Current(c.Request())
	if err != nil {
		return err
	}
	if a.Now().Sub(account.ProfileAt) < time.Minute {
		return a.profile(c, session.Notice{Text: "That was refreshed just now. Please wait a minute."})
	}
	token, _, err := a.Sessions.Token(c.Request())
	if err == nil {
		err = a.learn(c.Request().Context(), account, token)
	}
	switch {
	case errors.Is(err, session.ErrSealed):
		return a.sealed(c)
	case expired(err):
		return a.revoked(c, account)
	case errors.Is(err, session.ErrUnavailable):
		return err
	}
	if err != nil {
		return a.profile(c, session.Notice{Text: stale(err), Problem: true})
	}
	if err := a.Sessions.Reload(c.Request()); err != nil {
		return err
	}
	return a.profile(c, session.Notice{Text: "This is how X shows you now."})
}

// expired tells whether X has ended the connection.
func expired(err error) bool {
	var call *twitter.Error
	return errors.As(err, &call) && call.Reason == twitter.Expired
}

// revoked ends a connection that X has ended.
func (a *app) revoked(c echo.Context, account session.Account) error {
	if err := a.Sessions.Disconnect(c.Response(), c.Request()); err != nil {
		return err
	}
	a.Log.Info("revoked", "account", account.UserID, "id", requestID(c))
	a.Sessions.Flash(c.Request(), session.Notice{Text: "X no longer accepts this sign-in. Please sign in again.", Problem: true, Retry: true})
	return a.redirect(c, "/")
}

// sealed asks for a new sign-in, which brings a new token: the operator took
// away the key of the old one.
func (a *app) sealed(c echo.Context) error {
	if err := a.Sessions.SignOut(c.Response(), c.Request()); err != nil {
		return err
	}
	a.Sessions.Flash(c.Request(), session.Notice{Text: "The connection to X has to be made anew. Please sign in again.", Problem: true, Retry: true})
	return a.redirect(c, "/")
}

// stale says why what is shown stays as it is.
func stale(err error) string {
	var call *twitter.Error
	if errors.As(err, &call) {
		switch call.Reason {
		case twitter.RateLimited:
			if !call.RetryAt.IsZero() {
				return fmt.Sprintf("X answers no more questions for now. Please try again at %s UTC.", call.RetryAt.UTC().Format("15:04"))
			}
			return "X answers no more questions for now. Please wait a few minutes."
		case twitter.Unreachable, twitter.Unavailable:
			return "X is not answering at the moment. What you see stays as it is."
		}
	}
	return "X does not tell this site more about you. What you see stays as it is."
}

// profile answers with the card about the person, and a notice.
func (a *app) profile(c echo.Context, n session.Notice) error {
	account, ok, err := a.Sessions.Current(c.Request())
	if err != nil {
		return err
	}
	if !ok { // signed out meanwhile, from another browser
		return a.redirect(c, "/")
	}
	return a.told(c, n, views.Profile(profileProps(account)))
}

// told answers htmx with a fragment of the account page and a notice, and
// everybody else with the page.
func (a *app) told(c echo.Context, n session.Notice, fragment templ.Component) error {
	a.Sessions.Flash(c.Request(), n)
	if !htmx(c) {
		return a.redirect(c, "/account")
	}
	header, err := a.headerProps(c)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, answerPolicy, views.Told(fragment, header))
}

// endDevice signs the account out in another browser.
func (a *app) endDevice(c echo.Context) error {
	account, _, err := a.Sessions.Current(c.Request())
	if err != nil {
		return err
	}
	if err := a.Sessions.EndDevice(c.Request(), c.FormValue("device")); err != nil {
		return err
	}
	a.Log.Info("device_ended", "account", account.UserID, "id", requestID(c))
	return a.devicesNow(c, "That browser was signed out.")
}

// endOthers signs the account out in all browsers but this one.
func (a *app) endOthers(c echo.Context) error {
	account, _, err := a.Sessions.Current(c.Request())
	if err != nil {
		return err
	}
	if err := a.Sessions.EndOtherDevices(c.Request()); err != nil {
		return err
	}
	a.Log.Info("device_ended", "account", account.UserID, "others", true, "id", requestID(c))
	return a.devicesNow(c, "You are signed in nowhere else any more.")
}

func (a *app) devicesNow(c echo.Context, text string) error {
	devices, err := a.devices(c)
	if err != nil {
		return err
	}
	return a.told(c, session.Notice{Text: text}, views.Devices(devices))
}

var (
	disconnecting = views.ConfirmProps{
		Title: "Disconnect from X?", Button: "Disconnect", Action: "/account/disconnect",
		Text: "This site forgets its access to your X account and asks X to end it, and you are signed out in every browser. You can sign in again at any time.",
	}
	deleting = views.ConfirmProps{
		Title: "Delete your data?", Button: "Delete my data", Action: "/account/delete",
		Text: "Everything that this site has stored about you goes, at once, and you are signed out in every browser. It cannot be taken back.",
	}
)

func (a *app) askDisconnect(c echo.Context) error { return a.confirm(c, disconnecting) }
func (a *app) askDelete(c echo.Context) error     { return a.confirm(c, deleting) }

// confirm asks before something that cannot be taken back: in a dialog for
// htmx, else on a page.
func (a *app) confirm(c echo.Context, question views.ConfirmProps) error {
	if htmx(c) {
		return a.render(c, http.StatusOK, answerPolicy, views.Dialog(question))
	}
	header, err := a.headerProps(c)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, documentPolicy, views.Confirm(header, question))
}

// disconnect ends the connection to X: there if X answers, here in any case.
func (a *app) disconnect(c echo.Context) error {
	account, _, err := a.Sessions.Current(c.Request())
	if err != nil {
		return err
	}
	token, connected, err := a.Sessions.Token(c.Request())
	if errors.Is(err, session.ErrUnavailable) {
		return err
	}
	text := "You are disconnected. X has ended this site's access."
	if connected {
		err = a.Twitter.Revoke(c.Request().Context(), token)
	}
	if err != nil {
		a.providerError(c, err)
		text = "You are disconnected here, but X did not confirm it. Please also remove this site among the connected apps at x.com/settings/connected_apps."
	}
	if err := a.Sessions.Disconnect(c.Response(), c.Request()); err != nil {
		return err
	}
	a.Log.Info("disconnected", "account", account.UserID, "id", requestID(c))
	a.Sessions.Flash(c.Request(), session.Notice{Text: text, Problem: err != nil})
	return a.redirect(c, "/")
}

// delete forgets the person.
func (a *app) delete(c echo.Context) error {
	if err := a.Sessions.Delete(c.Response(), c.Request()); err != nil {
		return err
	}
	a.Log.Info("account_deleted", "id", requestID(c)) // of whom is not for the log to remember
	a.Sessions.Flash(c.Request(), session.Notice{Text: "Your data is deleted."})
	return a.redirect(c, "/")
}

// download answers with all that is stored about the person, but the secrets.
func (a *app) download(c echo.Context) error {
	account, _, err := a.Sessions.Current(c.Request())
	if err != nil {
		return err
	}
	devices, err := a.Sessions.Devices(c.Request())
	if err != nil {
		return err
	}
	picture, err := a.Sessions.Avatar(c.Request())
	if err != nil && !errors.Is(err, session.ErrNotFound) {
		return err
	}
	type device struct {
		UserAgent  string    `json:"user_agent"`
		SignedInAt time.Time `json:"signed_in_at"`
		SeenAt     time.Time `json:"last_seen_at"`
	}
	data := struct {
		Provider    string    `json:"provider"`
		UserID      string    `json:"user_id"`
		ScreenName  string    `json:"screen_name"`
		Name        string    `json:"name"`
		CreatedAt   time.Time `json:"first_signed_in_at"`
		LastAt      time.Time `json:"last_signed_in_at"`
		ProfileAt   time.Time `json:"profile_asked_at"`
		AvatarType  string    `json:"avatar_type,omitempty"`
		Avatar      []byte    `json:"avatar,omitempty"` // base64
		Devices     []device  `json:"devices"`
		AccessToken string    `json:"access_token"`
	}{
		Provider: a.Sessions.Provider, UserID: account.UserID, ScreenName: account.ScreenName, Name: account.Name,
		CreatedAt: account.CreatedAt.UTC(), LastAt: account.LastAt.UTC(), ProfileAt: account.ProfileAt.UTC(), AvatarType: picture.Type, Avatar: picture.Content,
		AccessToken: "stored encrypted, and not part of this file",
	}
	for _, d := range devices {
		data.Devices = append(data.Devices, device{d.UserAgent, d.SignedInAt.UTC(), d.SeenAt.UTC()})
	}
	text, err := json.MarshalIndent(data, "", "  ")
	if err != nil {
		return err
	}
	h := c.Response().Header()
	personal(h)
	h.Set("Content-Disposition", `attachment; filename="perch-account.json"`)
	return c.Blob(http.StatusOK, "application/json", text)
}

// avatar serves the picture of the person who is signed in, to nobody else.
func (a *app) avatar(c echo.Context) error {
	picture, err := a.Sessions.Avatar(c.Request())
	if errors.Is(err, session.ErrNotFound) || err == nil && picture.Hash != c.Param("name") {
		return echo.ErrNotFound
	}
	if err != nil {
		return err
	}
	tag := `"` + picture.Hash + `"`
	h := c.Response().Header()
	h.Set("Cache-Control", "private, max-age=86400")
	h.Set("Vary", "Cookie")
	h.Set("ETag", tag)
	if strings.Contains(c.Request().Header.Get("If-None-Match"), tag) {
		return c.NoContent(http.StatusNotModified)
	}
	return c.Blob(http.StatusOK, picture.Type, picture.Content)
}

// privacy says what is stored, and why.
func (a *app) privacy(c echo.Context) error {
	header, err := a.headerProps(c)
	if err != nil {
		return err
	}
	return a.render(c, http.StatusOK, documentPolicy, views.Privacy(header, spell(a.Sessions.Idle), spell(a.Sessions.Lifetime)))
}

// spell says a duration as people do, in the largest unit that is true.
func spell(d time.Duration) string {
	for _, unit := range []struct {
		of   time.Duration
		name string
	}{{24 * time.Hour, "day"}, {time.Hour, "hour"}, {time.Minute, "minute"}} {
		switch {
		case d == unit.of:
			return "1 " + unit.name
		case d > unit.of && d%unit.of == 0:
			return fmt.Sprintf("%d %ss", d/unit.of, unit.name)
		}
	}
	return d.String()
}

// profileAge is how long a profile is good: X is asked at most once a day and
// person, unless the person asks.
const profileAge = 24 * time.Hour

// learnLater asks X how it shows the person who has just signed in, beside the
// request: nobody waits for it, and when it fails the old profile stays.
func (a *app) learnLater(c echo.Context, token twitter.Token) {
	account, ok, err := a.Sessions.Current(c.Request())
	if err != nil || !ok || a.Now().Sub(account.ProfileAt) < profileAge {
		return
	}
	ctx := context.WithoutCancel(c.Request().Context())
	a.Beside(func() { _ = a.learn(ctx, account, token) }) // what goes wrong is logged there
}

// askFor bounds how long X is asked for one profile, with its two ways and the
// picture: htmx gives up after ten seconds.
const askFor = 8 * time.Second

// learn asks X how it shows the person and keeps the answer.
func (a *app) learn(ctx context.Context, account session.Account, token twitter.Token) error {
	asking, cancel := context.WithTimeout(ctx, askFor)
	defer cancel()
	profile, err := a.Twitter.Profile(asking, token, account.UserID)
	if err != nil {
		a.Log.Warn("profile_failed", "account", account.UserID, "error", err)
		return errors.Join(err, a.Sessions.SetProfileAsked(ctx, account.ID))
	}
	var picture twitter.Avatar
	if profile.AvatarURL != "" {
		if picture, err = a.Twitter.Avatar(asking, profile.AvatarURL); err != nil {
			a.Log.Warn("profile_failed", "account", account.UserID, "error", err) // the old one stays
		}
	}
	return a.Sessions.SetProfile(ctx, account.ID, profile, picture)
}
