package sandbox_test

import (
	"fmt"
	"net/http"
	"testing"

	"github.com/dghubble/oauth1"

	"perch/sandbox"
)

// A test of one's own sign-in: the sandbox says yes at once, so no browser is needed.
func ExampleStart() {
	t := new(testing.T) // yours
	x := sandbox.Start(t, sandbox.Options{Callbacks: []string{"http://127.0.0.1:3000/back"}, AutoApprove: "robin"})
	config := &oauth1.Config{
		ConsumerKey: x.ConsumerKey, ConsumerSecret: x.ConsumerSecret, CallbackURL: "http://127.0.0.1:3000/back", Noncer: oauth1.HexNoncer{},
		Endpoint: oauth1.Endpoint{
			RequestTokenURL: x.URL + "/oauth/request_token", AuthorizeURL: x.URL + "/oauth/authenticate", AccessTokenURL: x.URL + "/oauth/access_token",
		},
	}

	token, secret, err := config.RequestToken()
	if err != nil {
		t.Fatal(err)
	}
	there, err := config.AuthorizationURL(token)
	if err != nil {
		t.Fatal(err)
	}
	browser := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	response, err := browser.Get(there.String())
	if err != nil {
		t.Fatal(err)
	}
	response.Body.Close()
	back, err := response.Location()
	if err != nil {
		t.Fatal(err)
	}
	token, secret, err = config.AccessToken(token, secret, back.Query().Get("oauth_verifier"))
	if err != nil {
		t.Fatal(err)
	}
	me, err := config.Client(oauth1.NoContext, oauth1.NewToken(token, secret)).Get(x.URL + "/2/users/me")
	if err != nil {
		t.Fatal(err)
	}
	me.Body.Close()
	for _, call := range x.Calls() {
		fmt.Println(call.Endpoint, call.Status)
	}
	// Output:
	// request_token 200
	// authenticate 302
	// access_token 200
	// users_me 200
}

// TestStart: it is over when the test is, and wrong options fail the test.
func TestStart(t *testing.T) {
	var url string
	t.Run("a test", func(t *testing.T) {
		x := sandbox.Start(t, sandbox.Options{})
		url = x.URL
		response, err := http.Get(url + "/_sandbox/")
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK {
			t.Errorf("answered %s", response.Status)
		}
	})
	if response, err := http.Get(url + "/_sandbox/"); err == nil {
		response.Body.Close()
		t.Error("it answers when the test is over")
	}
	f := &failing{}
	if sandbox.Start(f, sandbox.Options{AutoApprove: "nobody"}); !f.failed {
		t.Error("wrong options were accepted")
	}
}

type failing struct{ failed bool }

func (*failing) Helper()        {}
func (*failing) Cleanup(func()) {}
func (f *failing) Fatal(...any) { f.failed = true }
