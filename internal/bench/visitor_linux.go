package main

import (
	"fmt"
	"html"
	"io"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"regexp"
	"strings"
	"time"
)

// A visitor is somebody with a browser that has cookies and no scripts.
type visitor struct {
	http.Client
	base string
}

func newVisitor(base string) *visitor {
	jar, _ := cookiejar.New(nil) // which fails with options alone
	return &visitor{http.Client{Jar: jar, Timeout: 10 * time.Second}, base}
}

// get returns the page that a link leads to.
func (v *visitor) get(link string) (string, error) {
	answer, err := v.Get(link)
	return whole(answer, err)
}

func (v *visitor) post(link string, form url.Values) (string, error) {
	answer, err := v.PostForm(link, form)
	return whole(answer, err)
}

// whole reads an answer whole.
func whole(answer *http.Response, err error) (string, error) {
	if err != nil {
		return "", err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && answer.StatusCode != http.StatusOK {
		err = fmt.Errorf("%s answers %s", answer.Request.URL.Path, answer.Status)
	}
	return string(body), err
}

var (
	consentForm = regexp.MustCompile(`<form id="consent" method="post" action="([^"]*)"`)
	hiddenInput = regexp.MustCompile(`<input type="hidden" name="([^"]*)" value="([^"]*)"`)
	firstPerson = regexp.MustCompile(`name="account" value="([^"]*)"`)
)

// signIn signs in as the first of the sandbox's people, all the way.
func (v *visitor) signIn() error {
	answer, err := v.Get(v.base + "/login")
	page, err := whole(answer, err)
	if err != nil {
		return err
	}
	form, person := consentForm.FindStringSubmatch(page), firstPerson.FindStringSubmatch(page)
	if form == nil || person == nil {
		return fmt.Errorf("%s is not the page that asks whether to sign in", answer.Request.URL.Path)
	}
	values := url.Values{"action": {"authorize"}, "account": {person[1]}}
	for _, input := range hiddenInput.FindAllStringSubmatch(page, -1) {
		values.Set(input[1], html.UnescapeString(input[2]))
	}
	action, err := answer.Request.URL.Parse(html.UnescapeString(form[1]))
	if err != nil {
		return err
	}
	page, err = v.post(action.String(), values)
	return expect(page, "You were signed in as", err)
}

// signOut presses the button in the header.
func (v *visitor) signOut() error {
	page, err := v.post(v.base+"/logout", url.Values{"here": {"/"}})
	return expect(page, "You were signed out", err)
}

func expect(page, words string, err error) error {
	if err == nil && !strings.Contains(page, words) {
		err = fmt.Errorf("the page does not say %q", words)
	}
	return err
}

// firstVisit is what a browser loads that was never here.
type firstVisit struct{ Requests, Bytes int }

var loaded = regexp.MustCompile(`<(?:script [^>]*src|link rel="(?:icon|stylesheet)" href|img [^>]*src)="(/[^"]*)"`)

// firstVisit loads the home page and what it shows, compressed, and counts the
// bytes of the bodies.
func (v *visitor) firstVisit() (seen firstVisit, err error) {
	page, err := v.get(v.base + "/")
	if err != nil {
		return seen, err
	}
	paths := []string{"/"}
	for _, found := range loaded.FindAllStringSubmatch(page, -1) {
		paths = append(paths, found[1])
	}
	for _, path := range paths {
		r, err := http.NewRequest(http.MethodGet, v.base+path, nil)
		if err != nil {
			return seen, err
		}
		r.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd") // so that nobody unpacks it
		body, err := whole(v.Do(r))
		if err != nil {
			return seen, err
		}
		seen.Requests++
		seen.Bytes += len(body)
	}
	return seen, nil
}
