package routes_test

import (
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
)

// FuzzCallback shows that no query signs anybody in who did not start: always
// a 303 to a clean URL, no call to Twitter, no session.
func FuzzCallback(f *testing.F) {
	for _, seed := range []string{"", "oauth_token=a&oauth_verifier=b", "denied=a", "denied", "oauth_token=a", "oauth_token=a&oauth_token=b&oauth_verifier=c",
		"oauth_token=%00&oauth_verifier=%zz", "a;b", "denied=a&oauth_token=b&oauth_verifier=c", "&&&", "=", "%", "oauth_token[]=a&oauth_verifier[]=b", "next=//evil.example",
		"oauth_token=\xff&oauth_verifier=\xfe", "oauth_token=" + strings.Repeat("a", 300) + "&oauth_verifier=b"} {
		f.Add(seed)
	}
	k := start(f)
	robin := k.browser(f)
	robin.signIn("robin")
	robin.get("/")
	session := robin.cookies()
	calls := k.twitter.calls(accessToken)
	handler := *k.handler.Load() // not watched: what is made up here may well be in the log
	f.Fuzz(func(t *testing.T, query string) {
		r := httptest.NewRequest(http.MethodGet, "/oauth-authorized", nil)
		r.Host, r.URL.RawQuery = k.base.Host, query
		for _, c := range session {
			r.AddCookie(c)
		}
		recorder := httptest.NewRecorder()
		handler.ServeHTTP(recorder, r)
		a := &answer{Response: recorder.Result(), t: t, body: recorder.Body.String()}
		a.leads("/")
		if slices.ContainsFunc(a.Cookies(), func(c *http.Cookie) bool { return c.Name != "perch-notices" }) {
			t.Errorf("cookies are set: %v", a.Cookies())
		}
		if n := k.twitter.calls(accessToken) - calls; n != 0 {
			t.Fatalf("access_token was called")
		}
	})
}

// FuzzCookies shows that no Cookie header is a fault of the server.
func FuzzCookies(f *testing.F) {
	k := start(f)
	robin := k.browser(f)
	robin.signIn("robin")
	robin.start("next=/account")
	var whole []string
	for _, c := range robin.cookies() {
		whole = append(whole, c.Name+"="+c.Value)
		f.Add(c.Name + "=" + c.Value[:len(c.Value)/2])
		f.Add(c.Name + "=" + c.Value + "; " + c.Name + "=x")
	}
	for _, seed := range []string{"", "=", ";", "a", "perch-session", "perch-session=", "perch-session=AAAA", "perch-notices=AAAA", "perch-pending-=AAAA; perch-pending-x=\"",
		"perch-session=\x00\xff; perch-notices=\r\n", "__Host-perch-session=AAAA", strings.Repeat("perch-pending-0=AAAA; ", 100), strings.Join(whole, "; "), strings.Join(whole, ",")} {
		f.Add(seed)
	}
	handler := *k.handler.Load()
	f.Fuzz(func(t *testing.T, cookie string) {
		for _, ask := range [][2]string{{http.MethodGet, "/"}, {http.MethodPost, "/logout"}, {http.MethodGet, "/oauth-authorized?denied=x"}} {
			r := k.request(ask[0], ask[1])
			r.Header["Cookie"] = []string{cookie}
			recorder := httptest.NewRecorder()
			handler.ServeHTTP(recorder, r)
			if recorder.Code != http.StatusOK && recorder.Code != http.StatusSeeOther {
				t.Errorf("%s %s: status %d", ask[0], ask[1], recorder.Code)
			}
		}
	})
}
