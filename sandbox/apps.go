package sandbox

import (
	"net/http"
	"slices"
	"time"
)

var (
	errAppsForeign = refuseApps(http.StatusForbidden, "This form was not sent from the sandbox's own page in this browser.", "The form is not from the page in this browser.")
	errAppsGarbled = refuseApps(http.StatusBadRequest, "The form that was sent makes no sense.", "There is no such account in the form.")
)

func refuseApps(status int, sentence, reason string) *refusal {
	return refusePage(status, problemPage("No access was taken away", sentence, "Go back to the list of connected apps and try again."), reason)
}

// apps lists who let an application in, as X does under "Connected apps", for a person to take its access away.
func (s *Server) apps(w http.ResponseWriter, r *http.Request) (string, error) {
	p := appsProps{App: s.app(nil), CSRF: csrf(w, r, appsCookie), Connected: s.connected()}
	return "The connected apps were shown.", draw(w, r, http.StatusOK, policy+"'self'", appsPage(p))
}

func appsCookie(value string) *http.Cookie {
	c := csrfCookie("apps", value, time.Hour)
	c.Path = "/sandbox/apps"
	return c
}

// connected returns the accounts that have an access token.
func (s *Server) connected() []Account {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.DeleteFunc(slices.Clone(s.accounts), func(a Account) bool {
		_, ok := s.pairs[a.ID]
		return !ok
	})
}

// revoke is what a button on the apps page sends. It is fine when the access is gone already.
func (s *Server) revoke(w http.ResponseWriter, r *http.Request) (string, error) {
	if err := r.ParseForm(); err != nil {
		return "", errAppsGarbled
	}
	if !s.ownForm(r, "apps") {
		return "", errAppsForeign
	}
	id := r.PostForm.Get("account")
	s.mu.Lock()
	known := s.account(id) != nil
	s.mu.Unlock()
	if !known {
		return "", errAppsGarbled
	}
	s.Revoke(id)
	w.Header().Set("Location", "/sandbox/apps")
	w.WriteHeader(http.StatusSeeOther)
	return "Access was taken away.", nil
}
