package sandbox

import (
	"compress/gzip"
	"context"
	"errors"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"
)

// TestRefusals: every refusal of X's at any signed endpoint, in its own shape, once.
func TestRefusals(t *testing.T) {
	tests := map[string]struct {
		status int
		kind   string
		code   string // or the whole body
	}{
		"keys": {401, kindJSON, "32"}, "timestamp": {401, kindJSON, "135"}, "bad-data": {400, kindJSON, "215"}, "token": {401, kindJSON, "89"},
		"no-token":          {401, kindHTML, "Request token missing"},
		"verifier":          {401, kindHTML, "Error processing your OAuth request: Invalid oauth_verifier parameter"},
		"not-request-token": {401, kindXML, errNotRequestToken.body},
		"callback":          {403, kindXML, "415"},
		"app-suspended":     {401, kindJSON, "416"},
		"desktop":           {401, kindJSON, "417"},
		"desktop-xml": {401, kindXML, `<?xml version="1.0" encoding="UTF-8"?><hash><error>Desktop applications only support the oauth_callback value 'oob'</error>` +
			`<request>/oauth/request_token</request></hash>`},
		"plan": {403, kindJSON, "453"}, "locked": {403, kindJSON, "326"}, "suspended": {403, kindJSON, "64"}, "user-suspended": {403, kindJSON, "63"},
		"no-credits":       {402, "application/problem+json", `"title":"CreditsDepleted"`},
		"not-enrolled":     {403, "application/problem+json", `"reason":"client-not-enrolled"`},
		"client-forbidden": {403, "application/problem+json", `"reason":"client-forbidden"`},
		"rate-limit":       {429, kindJSON, "88"},
		"internal":         {500, kindJSON, "131"},
		"bad-gateway":      {502, "text/html; charset=utf-8", "<h1>Bad Gateway</h1>"},
		"over-capacity":    {503, kindJSON, "130"},
		"unavailable":      {503, "text/html; charset=utf-8", "<h1>Service Unavailable</h1>"},
		"gateway-timeout":  {504, "text/html; charset=utf-8", "<h1>Gateway Timeout</h1>"},
	}
	for _, k := range faultKinds {
		if _, tested := tests[k.Name]; tested != (k.refusal != nil) {
			t.Errorf("%s is tested as a refusal: %t", k.Name, tested)
		}
	}
	for kind, want := range tests {
		t.Run(kind, func(t *testing.T) {
			k := newKit(t)
			pair := k.signIn(t, "12")
			for endpoint, path := range map[string]string{"request_token": "/oauth/request_token", "users_me": "/2/users/me"} {
				if err := k.AddFault(Fault{Kind: kind, Endpoint: endpoint, Times: 1}); err != nil {
					t.Fatal(err)
				}
				ask := func() answered {
					if endpoint == "users_me" {
						return k.me(t, pair, path)
					}
					return k.call(t, signed{path: path, oauth: map[string]string{"oauth_callback": callback}})
				}
				a := ask()
				if a.status != want.status || a.header.Get("Content-Type") != want.kind || !strings.Contains(a.code(), want.code) {
					t.Errorf("%s answered %d %s %s", endpoint, a.status, a.header.Get("Content-Type"), a.body)
				}
				if c := k.last(t); c.Fault != kind || c.OK || c.Status != want.status || !strings.HasPrefix(c.Verdict, "By the fault "+kind+": ") || len(c.Params) < 5 {
					t.Errorf("the call is %+v", c)
				}
				if kind == "rate-limit" && a.header.Get("x-rate-limit-reset") == "" {
					t.Error("it does not say when the limit ends")
				}
				if a := ask(); a.status != http.StatusOK || k.last(t).Fault != "" {
					t.Errorf("%s, afterwards: %d %s", endpoint, a.status, a.body)
				}
			}
		})
	}
}

// TestMissing: each field that can be missing is, and all else is there.
func TestMissing(t *testing.T) {
	for _, kind := range faultKinds {
		if kind.drop == "" {
			continue
		}
		for _, endpoint := range kind.on {
			t.Run(kind.Name+" at "+endpoint, func(t *testing.T) {
				k := newKitWith(t, Options{Callbacks: []string{callback}, AutoApprove: "robin"})
				if err := k.AddFault(Fault{Kind: kind.Name, Endpoint: endpoint}); err != nil {
					t.Fatal(err)
				}
				got := func(at, answer string, fields ...string) url.Values {
					v, err := url.ParseQuery(answer)
					if err != nil {
						t.Fatal(err)
					}
					for _, field := range fields {
						if want := at != endpoint || field != kind.drop; v.Has(field) != want {
							t.Errorf("%s has %s: %t, want %t", at, field, !want, want)
						}
					}
					return v
				}
				a := k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback}})
				v := got("request_token", a.body, "oauth_token", "oauth_token_secret", "oauth_callback_confirmed")
				token := v.Get("oauth_token")
				if token == "" {
					return
				}
				page := endpoint
				if endings := k.do(httptest.NewRequest("GET", "http://localhost:8081/oauth/authorize?oauth_token="+token, nil)); page == "authorize" {
					_, query, _ := strings.Cut(endings.header.Get("Location"), "?")
					got("authorize", query, "oauth_token", "oauth_verifier")
				} else {
					_, query, _ := strings.Cut(endings.header.Get("Location"), "?")
					verifier := got("authorize", query, "oauth_token", "oauth_verifier").Get("oauth_verifier")
					if secret := v.Get("oauth_token_secret"); secret != "" {
						got("access_token", k.exchangeCall(t, token, secret, verifier).body, "oauth_token", "oauth_token_secret", "user_id", "screen_name")
					}
				}
			})
		}
	}
}

// TestBrokenAnswers: what networks and broken servers do, over a network.
func TestBrokenAnswers(t *testing.T) {
	tests := map[string]func(t *testing.T, response *http.Response, body []byte, err error){
		"reset": func(t *testing.T, _ *http.Response, _ []byte, err error) {
			if !errors.Is(err, syscall.ECONNRESET) {
				t.Errorf("error %v, want a reset", err)
			}
		},
		"truncated": func(t *testing.T, response *http.Response, body []byte, err error) {
			if response == nil || !errors.Is(err, io.ErrUnexpectedEOF) || !strings.HasPrefix(string(body), "oauth_token=") || strings.Contains(string(body), "confirmed") {
				t.Errorf("%v, %q, error %v", response, body, err)
			}
		},
		"redirect": func(t *testing.T, response *http.Response, _ []byte, _ error) {
			if response.StatusCode != 302 || response.Header.Get("Location") != "https://elsewhere.invalid/" {
				t.Errorf("answered %s", response.Status)
			}
		},
		"garbage": func(t *testing.T, response *http.Response, body []byte, _ error) {
			if v, err := url.ParseQuery(string(body)); response.StatusCode != 200 || err == nil && v.Has("oauth_token") {
				t.Errorf("answered %s %q", response.Status, body)
			}
		},
		"html": func(t *testing.T, response *http.Response, body []byte, _ error) {
			if response.StatusCode != 200 || !strings.HasPrefix(string(body), "<!DOCTYPE html>") {
				t.Errorf("answered %s %q", response.Status, body)
			}
		},
		"empty": func(t *testing.T, response *http.Response, body []byte, _ error) {
			if response.StatusCode != 200 || len(body) != 0 {
				t.Errorf("answered %s %q", response.Status, body)
			}
		},
		"huge": func(t *testing.T, response *http.Response, body []byte, err error) {
			if response.StatusCode != 200 || len(body) != 16<<20 || err != nil {
				t.Errorf("answered %s, %d bytes, error %v", response.Status, len(body), err)
			}
		},
		"gzip-bomb": func(t *testing.T, response *http.Response, body []byte, _ error) {
			if response.Header.Get("Content-Encoding") != "gzip" || len(body) > 128<<10 {
				t.Errorf("answered %d bytes, %v", len(body), response.Header)
			}
			z, err := gzip.NewReader(strings.NewReader(string(body)))
			if err != nil {
				t.Fatal(err)
			}
			if n, err := io.Copy(io.Discard, z); n != 64<<20 || err != nil {
				t.Errorf("it unpacks to %d bytes, error %v", n, err)
			}
		},
		"drip": func(t *testing.T, response *http.Response, body []byte, err error) {
			if response.StatusCode != 200 || !strings.HasSuffix(string(body), "oauth_callback_confirmed=true") || err != nil {
				t.Errorf("answered %s %q, error %v", response.Status, body, err)
			}
		},
		"hang": func(t *testing.T, response *http.Response, _ []byte, err error) {
			if response != nil || err == nil {
				t.Errorf("answered %v", response)
			}
		},
	}
	for _, k := range faultKinds {
		if _, tested := tests[k.Name]; k.do != nil && !tested {
			t.Errorf("%s is not tested", k.Name)
		}
	}
	for kind, check := range tests {
		t.Run(kind, func(t *testing.T) {
			t.Parallel()
			k := newKit(t)
			server := httptest.NewUnstartedServer(k)
			server.Config.ErrorLog = nil
			server.Start()
			defer server.Close()
			f := Fault{Kind: kind, Endpoint: "request_token", Times: 1}
			if kind == "drip" || kind == "hang" {
				f.Seconds = 1
			}
			if err := k.AddFault(f); err != nil {
				t.Fatal(err)
			}
			conn, err := net.Dial("tcp", server.Listener.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			client := &http.Client{Transport: &http.Transport{DisableCompression: true, DialContext: func(context.Context, string, string) (net.Conn, error) { return conn, nil }},
				CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
			r := k.request(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback}})
			r.RequestURI = ""
			response, err := client.Do(r)
			var body []byte
			if err == nil {
				body, err = io.ReadAll(response.Body)
				response.Body.Close()
			}
			check(t, response, body, err)
			server.Close() // and so the call is over, or nearly: a connection that was reset is not the server's any more
			for deadline := time.Now().Add(10 * time.Second); len(k.Calls()) == 0 && time.Now().Before(deadline); {
				time.Sleep(time.Millisecond)
			}
			if c := k.last(t); c.Fault != kind || c.OK || c.Verdict == "" {
				t.Errorf("the call is %+v", c)
			}
		})
	}
}

// TestSlow: the right answer comes, late; a client that leaves meanwhile is not waited for.
func TestSlow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		for seconds, want := range map[int]time.Duration{0: 10 * time.Second, 3: 3 * time.Second} {
			if err := k.AddFault(Fault{Kind: "slow", Times: 1, Seconds: seconds}); err != nil {
				t.Fatal(err)
			}
			began := time.Now()
			k.begin(t)
			if got := time.Since(began); got != want {
				t.Errorf("it took %s, want %s", got, want)
			}
		}

		if err := k.AddFault(Fault{Kind: "slow", Times: 1}); err != nil {
			t.Fatal(err)
		}
		ctx, leave := context.WithTimeout(t.Context(), time.Second)
		defer leave()
		func() {
			defer func() { recover() }() // as net/http does
			k.do(k.request(t, signed{path: "/oauth/request_token"}).WithContext(ctx))
		}()
		if c := k.last(t); c.Status != 0 || c.OK || c.Fault != "slow" || !strings.Contains(c.Verdict, "did not wait") {
			t.Errorf("the call that was left is %+v", c)
		}
	})
}

// TestClock: the sandbox's clock is off, as its Date says, and as clients feel that are not.
func TestClock(t *testing.T) {
	for seconds, sentence := range map[int]string{420: "420 s behind", -420: "420 s ahead"} {
		k := newKit(t)
		if err := k.AddFault(Fault{Kind: "clock", Seconds: seconds}); err != nil {
			t.Fatal(err)
		}
		a := k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback}})
		date, err := http.ParseTime(a.header.Get("Date"))
		if got := date.Sub(k.opts.Now()); err != nil || got != time.Duration(seconds)*time.Second || a.code() != "135" {
			t.Errorf("Date is off by %s, answered %d %s", got, a.status, a.body)
		}
		if c := k.last(t); !strings.Contains(c.Verdict, sentence) {
			t.Errorf("the call is %+v", c)
		}
	}
	k := newKit(t)
	if err := k.AddFault(Fault{Kind: "clock", Seconds: 299}); err != nil {
		t.Fatal(err)
	}
	k.begin(t)
}

// TestRevoked: the access is taken away in the middle.
func TestRevoked(t *testing.T) {
	k := newKit(t)
	pair := k.signIn(t, "12")
	if err := k.AddFault(Fault{Kind: "revoked", Times: 1}); err != nil {
		t.Fatal(err)
	}
	k.begin(t) // which it does not fit
	for range 2 {
		if a := k.me(t, pair, "/2/users/me"); a.status != http.StatusUnauthorized || a.code() != "89" {
			t.Errorf("answered %d %s", a.status, a.body)
		}
	}
	if len(k.Faults()) != 0 {
		t.Errorf("left are %v", k.Faults())
	}
}

// TestFaultsInTurn: the oldest that fits befalls a call, as often as it is to, and slow and clock beside it.
func TestFaultsInTurn(t *testing.T) {
	k := newKitWith(t, Options{Callbacks: []string{callback}, Faults: []Fault{
		{Kind: "keys", Endpoint: "request_token", Times: 2}, {Kind: "clock", Seconds: 1}, {Kind: "token", Times: 1},
	}})
	ask := func() string {
		k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback}})
		return k.last(t).Fault
	}
	for i, want := range []string{"keys clock", "keys clock", "clock token", "clock", "clock"} {
		if got := ask(); got != want {
			t.Errorf("call %d had %q, want %q", i, got, want)
		}
	}
	if a := k.do(httptest.NewRequest("GET", "http://localhost/oauth/authorize", nil)); k.last(t).Fault != "" {
		t.Errorf("a page that is not signed had %q and answered %d", k.last(t).Fault, a.status)
	}
	if got, want := k.Faults(), []Fault{{Kind: "clock", Seconds: 1}}; !slices.Equal(got, want) {
		t.Errorf("left are %v, want %v", got, want)
	}
	k.ClearFaults()
	if got := ask(); got != "" || len(k.Faults()) != 0 {
		t.Errorf("when cleared there is %q", got)
	}
	if err := k.Reset(); err != nil || len(k.Faults()) != 3 {
		t.Errorf("after a reset there are %v, error %v", k.Faults(), err)
	}
}

func TestParseFault(t *testing.T) {
	for text, want := range map[string]Fault{
		"keys":                     {Kind: "keys"},
		"slow@access_token*1:5":    {Kind: "slow", Endpoint: "access_token", Times: 1, Seconds: 5},
		"clock:-420":               {Kind: "clock", Seconds: -420},
		"no-verifier@authenticate": {Kind: "no-verifier", Endpoint: "authenticate"},
		"rate-limit@users_me*3":    {Kind: "rate-limit", Endpoint: "users_me", Times: 3},
	} {
		if got, err := ParseFault(text); got != want || err != nil {
			t.Errorf("%s: %+v, error %v, want %+v", text, got, err, want)
		}
	}
	for text, want := range map[string]string{
		"":                         "there is no fault",
		"rain":                     "there are keys, timestamp,",
		"keys@nowhere":             "there is no endpoint",
		"keys*many":                "kind[@endpoint]",
		"keys*-1":                  "requests",
		"slow:soon":                "kind[@endpoint]",
		"slow:":                    "kind[@endpoint]",
		"slow:-1":                  "1 to 3600",
		"slow:3601":                "1 to 3600",
		"keys:5":                   "takes no seconds",
		"clock":                    "needs the seconds",
		"no-user-id@request_token": "only at access_token",
	} {
		if _, err := ParseFault(text); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: error %v, want one with %q", text, err, want)
		}
	}
}

// TestFaultKinds: each has a name of its own that a command line can hold, and a sentence.
func TestFaultKinds(t *testing.T) {
	k := newKit(t)
	seen := map[string]bool{}
	for _, kind := range k.FaultKinds() {
		if seen[kind.Name] || strings.ContainsAny(kind.Name, "@*: ") || !strings.HasSuffix(kind.Says, ".") {
			t.Errorf("%+v", kind)
		}
		seen[kind.Name] = true
	}
	for range maxFaults {
		if err := k.AddFault(Fault{Kind: "keys"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := k.AddFault(Fault{Kind: "keys"}); err == nil {
		t.Error("there is no end to faults")
	}
}
