package main

// To be dropped with its one caller, in start, as soon as there is a command `perch sandbox`.

import (
	"context"
	"fmt"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"

	"perch/sandbox"
)

// startOlder starts a sandbox in this process, behind a handler that answers the consent page for robin.
func startOlder(ctx context.Context, callbacks []string) (endpoint, error) {
	s, err := sandbox.New(sandbox.Options{Callbacks: callbacks})
	if err != nil {
		return endpoint{}, err
	}
	h := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/oauth/authenticate" && r.URL.Path != "/oauth/authorize" || r.Method != http.MethodGet || r.Header.Get("X-Consent") != "" {
			s.ServeHTTP(w, r)
			return
		}
		back, err := consent(r)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadGateway)
			return
		}
		http.Redirect(w, r, back, http.StatusFound)
	})
	address, err := serve(ctx, h)
	return endpoint{URL: address, Key: s.ConsumerKey(), Secret: s.ConsumerSecret(), Callbacks: callbacks, stop: func() {}}, err
}

var hidden = regexp.MustCompile(`<input type="hidden" name="([^"]+)" value="([^"]*)"`)

// consent gets the consent page that r asks for, posts its form, and returns where the answer leads.
func consent(r *http.Request) (string, error) {
	jar, err := cookiejar.New(nil)
	if err != nil {
		return "", err
	}
	browser := http.Client{Jar: jar, CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	page := "http://" + r.Host + r.URL.RequestURI()
	ask, err := http.NewRequestWithContext(r.Context(), http.MethodGet, page, nil)
	if err != nil {
		return "", err
	}
	ask.Header.Set("X-Consent", "asked")
	answer, err := browser.Do(ask)
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	var html strings.Builder
	if err := answer.Write(&html); err != nil {
		return "", err
	}
	form := url.Values{"action": {"authorize"}, "account": {"2244994945"}}
	for _, field := range hidden.FindAllStringSubmatch(html.String(), -1) {
		form.Set(field[1], field[2])
	}
	decided, err := browser.PostForm(page, form)
	if err != nil {
		return "", err
	}
	defer decided.Body.Close()
	if decided.Header.Get("Location") == "" {
		return "", fmt.Errorf("the consent page said %s", decided.Status)
	}
	return decided.Header.Get("Location"), nil
}
