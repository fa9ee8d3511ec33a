package sandbox

import (
	"bytes"
	"crypto/hmac"
	"crypto/rand"
	_ "embed"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strings"
	"time"
)

// policy lets a page have its stylesheet and its pictures, and nothing else; what comes last is where its form may lead.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action "

// What people are told when a sign-in cannot go on.
var (
	errStale   = refuseConsent(http.StatusForbidden, "This sign-in was finished, was cancelled, or is more than ten minutes old.", "request token unknown, used or expired")
	errForeign = refuseConsent(http.StatusForbidden, "This form was not sent from the sandbox's own page in this browser.", "the form is not from our page")
	errGarbled = refuseConsent(http.StatusBadRequest, "The form that was sent makes no sense.", "no such form, action or account")
)

func refuseConsent(status int, sentence, reason string) *refusal {
	return refusePage(status, problemPage("This sign-in cannot go on", sentence, "Nobody was signed in by this. Go back to the application and start again."), reason)
}

// ask is step 2 (RFC 5849 §2.2): the consent page. Unlike X's authenticate it asks every time; force_login is accepted and means nothing more, screen_name
// selects an account.
func (s *Server) ask(w http.ResponseWriter, r *http.Request) (string, error) {
	query := r.URL.Query()
	token := query.Get("oauth_token")
	s.mu.Lock()
	t, ok := s.pending(token)
	accounts := slices.Clone(s.accounts)
	s.mu.Unlock()
	if !ok {
		return "", errStale
	}

	p := consentProps{Path: r.URL.Path, App: origin(t.callback), Token: token, CSRF: rand.Text(), Accounts: accounts, Selected: accounts[0].ID}
	for _, a := range accounts {
		if strings.EqualFold(a.ScreenName, query.Get("screen_name")) {
			p.Selected = a.ID
		}
	}
	var b bytes.Buffer
	if err := consentPage(p).Render(r.Context(), &b); err != nil {
		return "", err
	}
	http.SetCookie(w, csrfCookie(token, p.CSRF, requestTokenLife))
	// Browsers hold form-action against every redirect that follows the form, and block in silence: the application must be in it.
	w.Header().Set("Content-Security-Policy", policy+"'self' "+formSource(t.callback))
	answer(w, http.StatusOK, kindHTML, b.String())
	return "asked", nil
}

// pending returns a request token that waits for somebody's decision. Call it with mu held.
func (s *Server) pending(token string) (*requestToken, bool) {
	t, ok := s.requests.get(s.opts.Now(), token)
	return t, ok && t.account == ""
}

// csrfCookie has a name of its own for each sign-in, so that several tabs do not spoil each other's. A life below zero takes it away.
func csrfCookie(token, value string, life time.Duration) *http.Cookie {
	return &http.Cookie{Name: "sandbox_csrf_" + token, Value: value, Path: "/oauth/", MaxAge: int(life.Seconds()), HttpOnly: true,
		SameSite: http.SameSiteStrictMode}
}

// decide is what the consent page's form sends: the browser goes back to the application with a verifier, or with "denied".
func (s *Server) decide(w http.ResponseWriter, r *http.Request) (string, error) {
	if err := r.ParseForm(); err != nil {
		return "", errGarbled
	}
	token := r.PostForm.Get("oauth_token")
	if !s.ownForm(r, token) {
		return "", errForeign
	}
	next, verdict, err := s.settle(token, r.PostForm.Get("action"), r.PostForm.Get("account"))
	if err != nil {
		return "", err
	}
	http.SetCookie(w, csrfCookie(token, "", -time.Second))
	w.Header().Set("Location", next)
	w.WriteHeader(http.StatusSeeOther)
	return verdict, nil
}

// ownForm tells whether the form came from a page we gave to this browser: by what the browser says of its origin, and by a secret in cookie and form.
func (s *Server) ownForm(r *http.Request, token string) bool {
	if s.crossOrigin.Check(r) != nil {
		return false
	}
	cookie, err := r.Cookie(csrfCookie(token, "", 0).Name)
	return err == nil && cookie.Value != "" && hmac.Equal([]byte(cookie.Value), []byte(r.PostForm.Get("csrf")))
}

// settle records the decision, which is final, and returns where the browser goes next.
func (s *Server) settle(token, action, account string) (next, verdict string, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	t, ok := s.pending(token)
	if !ok {
		return "", "", errStale
	}
	switch {
	case action == "cancel":
		s.requests.drop(token)
		return t.back(url.Values{"denied": {token}}), "cancelled", nil
	case action == "authorize" && s.account(account) != nil:
		t.account, t.verifier = account, random(32)
		return t.back(url.Values{"oauth_token": {token}, "oauth_verifier": {t.verifier}}), "authorized", nil
	default:
		return "", "", errGarbled
	}
}

// origin is what people are told about the application: where its callback is.
func origin(callback *url.URL) string { return callback.Scheme + "://" + callback.Host }

// hostSource is a host as a Content-Security-Policy can say it; [::1] is none, and an application's own scheme has none.
var hostSource = regexp.MustCompile(`^[A-Za-z0-9.-]+(:[0-9]+)?$`)

// formSource names the callback in a Content-Security-Policy, as narrowly as that language can.
func formSource(callback *url.URL) string {
	if (callback.Scheme == "http" || callback.Scheme == "https") && hostSource.MatchString(callback.Host) {
		return origin(callback)
	}
	return callback.Scheme + ":"
}

//go:embed consent.css
var css string

// stylesheet answers with the consent page's one stylesheet.
func stylesheet(w http.ResponseWriter, _ *http.Request) (string, error) {
	answer(w, http.StatusOK, "text/css;charset=utf-8", css)
	return "sent", nil
}
