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

	"github.com/a-h/templ"
)

// policy lets a page have its stylesheet and its pictures, and nothing else; what comes last is where its form may lead.
const policy = "default-src 'none'; style-src 'self'; img-src 'self'; base-uri 'none'; frame-ancestors 'none'; form-action "

// What people are told when a sign-in cannot go on.
var (
	errStale   = refuseConsent(http.StatusForbidden, "This sign-in was finished, was cancelled, or is more than ten minutes old.", "The request token is unknown here, decided on already, or more than ten minutes old.")
	errForeign = refuseConsent(http.StatusForbidden, "This form was not sent from the sandbox's own page in this browser.", "The form is not from the page in this browser.")
	errGarbled = refuseConsent(http.StatusBadRequest, "The form that was sent makes no sense.", "There is no such action or account in the form.")
)

func refuseConsent(status int, sentence, reason string) *refusal {
	return refusePage(status, problemPage("This sign-in cannot go on", sentence, "Nobody was signed in by this. Go back to the application and start again."), reason)
}

// ask is step 2 (RFC 5849 §2.2): the consent page. authenticate lets a browser that knows who it is through without it, when that person consented before
// to as much; authorize asks always, and so does force_login=true. screen_name selects an account.
func (s *Server) ask(w http.ResponseWriter, r *http.Request) (string, error) {
	query := r.URL.Query()
	token := query.Get("oauth_token")
	s.mu.Lock()
	t, ok := s.pending(token)
	accounts, approver, known := slices.Clone(s.accounts), s.approver, s.browser(r)
	consented := ok && s.consented(known, t.access)
	s.mu.Unlock()
	if !ok {
		return "", errStale
	}

	switch {
	case r.Method == http.MethodHead:
	case approver != "":
		return s.approve(w, r, http.StatusFound, token, approver)
	case consented && traceOf(r).Endpoint == "authenticate" && !yes(query.Get("force_login")):
		return s.approve(w, r, http.StatusFound, token, known)
	}
	p := consentProps{Path: r.URL.Path, App: s.app(t.callback), Access: t.access.String(), Token: token, CSRF: rand.Text(), Accounts: accounts, Selected: accounts[0].ID}
	for _, a := range accounts {
		if a.ID == known {
			p.Selected = a.ID
		}
	}
	for _, a := range accounts {
		if strings.EqualFold(a.ScreenName, query.Get("screen_name")) {
			p.Selected = a.ID
		}
	}
	if r.Method == http.MethodGet { // a HEAD would spoil the form that is open
		http.SetCookie(w, csrfCookie(token, p.CSRF, requestTokenLife))
	}
	leads := "'self'"
	if t.callback != nil {
		// Browsers hold form-action against every redirect that follows the form, and block in silence: the application must be in it.
		leads += " " + formSource(t.callback)
	}
	return "The person was asked.", draw(w, r, http.StatusOK, policy+leads, consentPage(p))
}

// app is what people are told about the application: where its callback is, or for no callback, the first that is registered.
func (s *Server) app(callback *url.URL) string {
	for _, registered := range s.opts.Callbacks {
		if callback == nil {
			callback = s.callbacks[registered]
		}
	}
	if callback == nil {
		return "an application"
	}
	return origin(callback)
}

// consented tells whether this person let the application in before, as far as it asks now. Call it with mu held.
func (s *Server) consented(account string, asked access) bool {
	p, ok := s.pairs[account]
	return ok && (p.access == asked || asked == readOnly)
}

// browserCookie names who is signed in to the sandbox. Lax, because people come from the application, another site.
const browserCookie = "sandbox_browser"

// browser returns the ID of who is signed in here in this browser; empty when nobody is. Call it with mu held.
func (s *Server) browser(r *http.Request) string {
	c, err := r.Cookie(browserCookie)
	if err != nil {
		return ""
	}
	id, _ := s.browsers.get(s.opts.Now(), c.Value)
	return id
}

// remember has the browser know who it is from now on, or with no account, no longer.
func (s *Server) remember(w http.ResponseWriter, account string) {
	c := &http.Cookie{Name: browserCookie, Path: "/", HttpOnly: true, SameSite: http.SameSiteLaxMode, MaxAge: -1}
	if account != "" {
		c.Value, c.MaxAge = rand.Text(), 0 // until the browser is closed
		s.mu.Lock()
		s.browsers.put(s.opts.Now(), c.Value, account)
		s.mu.Unlock()
	}
	http.SetCookie(w, c)
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
	switch account := r.PostForm.Get("account"); r.PostForm.Get("action") {
	case "cancel":
		return s.deny(w, r, token)
	case "authorize":
		if s.knows(account) && r.PostForm.Has("remember") {
			s.remember(w, account)
		} else {
			s.remember(w, "")
		}
		return s.approve(w, r, http.StatusSeeOther, token, account)
	}
	return "", errGarbled
}

// approve records that the account consents, and sends the browser back; without a callback it shows the PIN.
func (s *Server) approve(w http.ResponseWriter, r *http.Request, status int, token, account string) (string, error) {
	t, a, err := s.settle(token, account)
	if err != nil {
		return "", err
	}
	verdict := "@" + a.ScreenName + " consented"
	if status == http.StatusFound {
		verdict += ", without being asked"
	}
	http.SetCookie(w, csrfCookie(token, "", -time.Second))
	if t.callback == nil {
		return verdict + ", and was shown the PIN.", draw(w, r, http.StatusOK, policy+"'none'", pinPage(s.app(nil), t.verifier))
	}
	redirect(w, status, t.back(url.Values{"oauth_token": {token}, "oauth_verifier": {t.verifier}}))
	return verdict + ".", nil
}

// settle records that the account consents, which is final.
func (s *Server) settle(token, account string) (requestToken, Account, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	t, ok := s.pending(token)
	if !ok {
		return requestToken{}, Account{}, errStale
	}
	a := s.account(account)
	if a == nil {
		return requestToken{}, Account{}, errGarbled
	}
	t.account = a.ID
	if t.verifier = s.mint("verifier")[:32]; t.callback == nil {
		t.verifier = s.pin()
	}
	s.consent(a.ID, t.access)
	return *t, *a, nil
}

// deny records that the person does not consent, which is final, and sends the browser back.
func (s *Server) deny(w http.ResponseWriter, r *http.Request, token string) (string, error) {
	s.mu.Lock()
	t, ok := s.pending(token)
	if ok {
		s.end(token, "the person cancelled")
	}
	s.mu.Unlock()
	if !ok {
		return "", errStale
	}
	http.SetCookie(w, csrfCookie(token, "", -time.Second))
	if t.callback == nil {
		return "The person cancelled.", draw(w, r, http.StatusOK, policy+"'none'", problemPage("You denied the request", "The application was not let in.", "You can close this page."))
	}
	redirect(w, http.StatusSeeOther, t.back(url.Values{"denied": {token}}))
	return "The person cancelled.", nil
}

func (s *Server) knows(account string) bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.account(account) != nil
}

// redirect leads the browser on. Not http.Redirect: that one writes a page, with the verifier in it.
func redirect(w http.ResponseWriter, status int, location string) {
	w.Header().Set("Location", location)
	w.WriteHeader(status)
}

// draw answers with a page, which may do what the policy lets it.
func draw(w http.ResponseWriter, r *http.Request, status int, policy string, page templ.Component) error {
	var b bytes.Buffer
	if err := page.Render(r.Context(), &b); err != nil {
		return err
	}
	w.Header().Set("Content-Security-Policy", policy)
	answer(w, status, kindHTML, b.String())
	return nil
}

// ownForm tells whether the form came from a page we gave to this browser: by what the browser says of its origin, and by a secret in cookie and form.
func (s *Server) ownForm(r *http.Request, token string) bool {
	if s.crossOrigin.Check(r) != nil {
		return false
	}
	cookie, err := r.Cookie(csrfCookie(token, "", 0).Name)
	return err == nil && cookie.Value != "" && hmac.Equal([]byte(cookie.Value), []byte(r.PostForm.Get("csrf")))
}

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

//go:embed sandbox.css
var css string

// stylesheet answers with the one stylesheet of all pages.
func stylesheet(w http.ResponseWriter, _ *http.Request) (string, error) {
	answer(w, http.StatusOK, "text/css;charset=utf-8", css)
	return "sent", nil
}
