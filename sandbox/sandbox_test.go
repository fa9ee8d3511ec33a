package sandbox

import (
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// TestListenLock: loopback, beyond doubt, or nothing.
func TestListenLock(t *testing.T) {
	tests := []struct {
		addr string
		ok   bool
	}{
		{"localhost:0", true},
		{"127.0.0.1:0", true},
		{"127.1.2.3:0", true},
		{"[::1]:0", true},
		{"localhost.evil.example:0", false},
		{"127.0.0.1.nip.io:0", false},
		{"localhost@evil.example:0", false},
		{"0.0.0.0:0", false},
		{"[::]:0", false},
		{"[::ffff:127.0.0.1]:0", false},
		{"[::1%lo]:0", false},
		{"10.0.0.1:0", false},
		{"128.0.0.1:0", false},
		{"127.1:0", false},
		{"localhoſt:0", false},
		{"localhost.:0", false},
		{":0", false},
		{"", false},
		{"localhost", false},
		{"localhost:http", false},
		{"localhost:65536", false},
	}
	for _, tt := range tests {
		t.Run(tt.addr, func(t *testing.T) {
			l, err := Listen(t.Context(), tt.addr)
			if err == nil {
				l.Close()
			}
			// A computer without that address says so only once the lock has let it through.
			passed := err == nil || strings.Contains(err.Error(), "cannot assign requested address")
			if passed != tt.ok {
				t.Errorf("error %v, want accepted: %t", err, tt.ok)
			}
			if err != nil && !strings.Contains(err.Error(), strconv.Quote(tt.addr)) {
				t.Errorf("the error does not name the address: %v", err)
			}
		})
	}
}

// TestHostLock: a name that leads here by a trick of DNS is answered with nothing but a refusal.
func TestHostLock(t *testing.T) {
	k := newKit(t)
	tests := []struct {
		host   string
		status int
	}{
		{"localhost:8081", 200},
		{"localhost", 200},
		{"LocalHost", 200},
		{"127.0.0.1:8081", 200},
		{"127.0.0.1", 200},
		{"[::1]:8081", 200},
		{"[::1]", 200},
		{"::1", 421},
		{"localhoſt:8081", 421},
		{"localhost.evil.example:8081", 421},
		{"127.0.0.1.nip.io", 421},
		{"localhost:8081@evil.example", 421},
		{"localhost@evil.example", 421},
		{"0.0.0.0:8081", 421},
		{"192.168.1.1:8081", 421},
		{"[::ffff:127.0.0.1]:8081", 421},
		{"[localhost]:8081", 200}, // net.SplitHostPort's reading; still this computer
		{"localhost:", 421},
		{"", 421},
	}
	for _, tt := range tests {
		t.Run(tt.host, func(t *testing.T) {
			for _, path := range []string{"/sandbox/sandbox.css", "/nowhere"} {
				r := httptest.NewRequest("GET", "http://localhost"+path, nil)
				r.Host = tt.host
				want := tt.status
				if want == 200 && path == "/nowhere" {
					want = 404
				}
				a := k.do(r)
				if a.status != want {
					t.Errorf("%s answered %d, want %d", path, a.status, want)
				}
				if a.status == 421 && !strings.Contains(a.body, "sandbox") {
					t.Errorf("the refusal says %q", a.body)
				}
			}
		})
	}
}

func TestKeys(t *testing.T) {
	a, b := newKit(t), newKit(t)
	if a.ConsumerKey() == b.ConsumerKey() || a.ConsumerSecret() == b.ConsumerSecret() {
		t.Error("two sandboxes minted the same keys")
	}
	if !strings.HasPrefix(a.ConsumerKey(), "sandbox-") || !strings.HasPrefix(a.ConsumerSecret(), "sandbox-") {
		t.Errorf("the keys %q, %q do not say sandbox", a.ConsumerKey(), a.ConsumerSecret())
	}
	given, err := New(Options{ConsumerKey: "key", ConsumerSecret: "secret", Callbacks: []string{callback}})
	if err != nil {
		t.Fatal(err)
	}
	if given.ConsumerKey() != "key" || given.ConsumerSecret() != "secret" {
		t.Errorf("given keys became %q, %q", given.ConsumerKey(), given.ConsumerSecret())
	}
}

func TestOptionsRefused(t *testing.T) {
	account := func(a Account) Options { return Options{Callbacks: []string{callback}, Accounts: []Account{a}} }
	tests := []struct {
		name string
		opts Options
		want string
	}{
		{"a key without its secret", Options{ConsumerKey: "k", Callbacks: []string{callback}}, "go together"},
		{"a secret without its key", Options{ConsumerSecret: "s", Callbacks: []string{callback}}, "go together"},
		{"a relative callback", Options{Callbacks: []string{"/back"}}, "/back"},
		{"a callback with a fragment", Options{Callbacks: []string{callback + "#"}}, "fragment"},
		{"a callback with a user", Options{Callbacks: []string{"http://a@b/"}}, "http://a@b/"},
		{"out of band, in capitals", Options{Callbacks: []string{"OOB"}}, "OOB"},
		{"an ID that is none", account(Account{ID: "012", ScreenName: "a", Name: "A"}), "account ID"},
		{"a long screen name", account(Account{ID: "1", ScreenName: "a234567890123456", Name: "A"}), "screen name"},
		{"an empty name", account(Account{ID: "1", ScreenName: "a"}), "0 characters"},
		{"a long name", account(Account{ID: "1", ScreenName: "a", Name: strings.Repeat("ä", 51)}), "51 characters"},
		{"an e-mail address that is none", account(Account{ID: "1", ScreenName: "a", Name: "A", Email: "a"}), "e-mail"},
		{"a state that is none", account(Account{ID: "1", ScreenName: "a", Name: "A", State: "asleep"}), "asleep"},
		{"one screen name twice", Options{Accounts: append(DemoAccounts(), Account{ID: "1", ScreenName: "ROBIN", Name: "A"})}, "two accounts"},
		{"somebody unknown who says yes", Options{AutoApprove: "nobody"}, "nobody"},
		{"a fault that is none", Options{Faults: []Fault{{Kind: "rain"}}}, "rain"},
		{"one ID twice", Options{Callbacks: []string{callback}, Accounts: append(DemoAccounts(), DemoAccounts()[1])}, "two accounts"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			if _, err := New(tt.opts); err == nil || !strings.Contains(err.Error(), tt.want) {
				t.Errorf("error %v, want one with %q", err, tt.want)
			}
		})
	}
}

// TestDemoAccounts: they are there to be difficult.
func TestDemoAccounts(t *testing.T) {
	longest, foreign := Account{}, false
	for _, a := range DemoAccounts() {
		if len([]rune(a.Name)) > len([]rune(longest.Name)) {
			longest = a
		}
		foreign = foreign || len(a.Name) > 2*len([]rune(a.Name))
	}
	if len(DemoAccounts()) < 4 || len(longest.Name) != 50 || len(longest.ScreenName) != 15 || !foreign {
		t.Errorf("%d accounts, the longest %q (%d) @%s (%d), a foreign script: %t",
			len(DemoAccounts()), longest.Name, len(longest.Name), longest.ScreenName, len(longest.ScreenName), foreign)
	}
}

// TestEveryAnswer has the sandbox's mark and X's shapes, whatever was asked.
func TestEveryAnswer(t *testing.T) {
	k := newKit(t)
	tests := []struct {
		method, path string
		status       int
		kind, allow  string
		want         string
	}{
		{"GET", "/nowhere", 404, kindJSON, "", `{"errors":[{"code":34,"message":"Sorry, that page does not exist."}]}`},
		{"GET", "/oauth/request_token/", 404, kindJSON, "", `"code":34`},
		{"GET", "//oauth/request_token", 404, kindJSON, "", `"code":34`},
		{"PUT", "/oauth/request_token", 405, kindJSON, "GET, POST", `{"errors":[{"code":86,"message":"This method requires a GET or POST."}]}`},
		{"HEAD", "/oauth/access_token", 405, kindJSON, "GET, POST", `"code":86`},
		{"POST", "/1.1/account/verify_credentials.json", 405, kindJSON, "GET", `{"errors":[{"code":86,"message":"This method requires a GET."}]}`},
		{"POST", "/2/users/me", 405, kindJSON, "GET", `"code":86`},
		{"GET", "/1.1/oauth/invalidate_token.json", 405, kindJSON, "POST", `"code":86`},
		{"DELETE", "/oauth/authorize", 405, kindJSON, "GET, HEAD, POST", `"code":86`},
		{"POST", "/oauth/request_token", 400, kindJSON, "", `{"errors":[{"code":215,"message":"Bad Authentication data."}]}`},
		{"POST", "/oauth/access_token", 400, kindJSON, "", `"code":215`},
		{"GET", "/2/users/me", 400, kindJSON, "", `"code":215`},
		{"GET", "/oauth/authenticate", 403, kindHTML, "", "start again"},
		{"POST", "/oauth/authenticate", 403, kindHTML, "", "start again"},
		{"POST", "/sandbox/apps", 403, kindHTML, "", "No access was taken away"},
		{"PUT", "/sandbox/apps", 405, kindJSON, "GET, HEAD, POST", `"code":86`},
		{"GET", "/sandbox/sandbox.css", 200, "text/css;charset=utf-8", "", "prefers-color-scheme"},
		{"GET", "/sandbox/icon.png", 200, "image/png", "", "PNG"},
		{"GET", "/sandbox/avatars/12_normal.png", 200, "image/png", "", "PNG"},
		{"GET", "/sandbox/avatars/12.png", 200, "image/png", "", "PNG"},
		{"GET", "/sandbox/avatars/13.png", 404, kindJSON, "", `"code":34`},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.path, func(t *testing.T) {
			r := httptest.NewRequest(tt.method, "http://localhost:8081/", nil)
			r.URL.Path = tt.path
			a := k.do(r)
			if a.status != tt.status || !strings.Contains(a.body, tt.want) {
				t.Errorf("answered %d %s, want %d with %s", a.status, a.body, tt.status, tt.want)
			}
			for name, want := range map[string]string{
				"X-Perch-Sandbox":        "true",
				"Content-Type":           tt.kind,
				"Allow":                  tt.allow,
				"Cache-Control":          "no-store",
				"X-Content-Type-Options": "nosniff",
				"X-Frame-Options":        "DENY",
				"Referrer-Policy":        "same-origin",
				"Date":                   k.opts.Now().UTC().Format(http.TimeFormat),
			} {
				if got := a.header.Get(name); got != want {
					t.Errorf("%s: %q, want %q", name, got, want)
				}
			}
			if got := a.header.Get("Content-Security-Policy"); !strings.Contains(got, "default-src 'none'") || !strings.Contains(got, "frame-ancestors 'none'") ||
				!strings.HasSuffix(got, "form-action 'none'") {
				t.Errorf("Content-Security-Policy: %q", got)
			}
		})
	}
}

// TestDateFollowsTheClock, so that a client can tell that its own is off.
func TestDateFollowsTheClock(t *testing.T) {
	k := newKit(t)
	k.turn(-time.Hour)
	b := newBrowser(t, k)
	response, _ := b.get("/")
	if got, want := response.Header.Get("Date"), k.opts.Now().UTC().Format(http.TimeFormat); got != want {
		t.Errorf("Date: %s, want %s", got, want)
	}
}
