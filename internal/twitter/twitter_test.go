package twitter

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dghubble/gologin/v2"
	login "github.com/dghubble/gologin/v2/oauth1"
	"github.com/dghubble/oauth1"
)

func TestParseCallback(t *testing.T) {
	long := strings.Repeat("x", 257)
	for _, test := range []struct {
		name, query string
		want        Callback
		ok          bool
	}{
		{"approved", "oauth_token=t&oauth_verifier=v", Callback{Token: "t", Verifier: "v"}, true},
		{"denied", "denied=t", Callback{Denied: "t"}, true},
		{"a denial counts first", "denied=t&oauth_token=t&oauth_verifier=v", Callback{Denied: "t"}, true},
		{"what X may add does not matter", "oauth_token=t&oauth_verifier=v&lang=en", Callback{Token: "t", Verifier: "v"}, true},
		{"as long as may be", "denied=" + long[1:], Callback{Denied: long[1:]}, true},
		{"nothing", "", Callback{}, false},
		{"no verifier", "oauth_token=t", Callback{}, false},
		{"no token", "oauth_verifier=v", Callback{}, false},
		{"an empty verifier", "oauth_token=t&oauth_verifier=", Callback{}, false},
		{"an empty denial", "denied=&oauth_token=t&oauth_verifier=v", Callback{}, false},
		{"a repeated token", "oauth_token=t&oauth_token=u&oauth_verifier=v", Callback{}, false},
		{"a repeated verifier", "oauth_token=t&oauth_verifier=v&oauth_verifier=v", Callback{}, false},
		{"a repeated denial", "denied=t&denied=t", Callback{}, false},
		{"too long a token", "oauth_token=" + long + "&oauth_verifier=v", Callback{}, false},
		{"too long a query", "oauth_token=t&oauth_verifier=v&more=" + strings.Repeat("x", 2048), Callback{}, false},
		{"a space", "oauth_token=t+t&oauth_verifier=v", Callback{}, false},
		{"a control character", "oauth_token=t%00&oauth_verifier=v", Callback{}, false},
		{"not ASCII", "oauth_token=%C3%A9&oauth_verifier=v", Callback{}, false},
		{"half an escape", "oauth_token=%&oauth_verifier=v", Callback{}, false},
		{"a semicolon", "oauth_token=t;oauth_verifier=v", Callback{}, false},
	} {
		t.Run(test.name, func(t *testing.T) {
			r := httptest.NewRequest(http.MethodGet, "/oauth-authorized", nil)
			r.URL.RawQuery = test.query
			got, err := ParseCallback(r)
			if got != test.want || (err == nil) != test.ok {
				t.Errorf("got %+v, %v, want %+v, %v", got, err, test.want, test.ok)
			}
		})
	}
}

func TestParseCallbackReadsTheQueryAlone(t *testing.T) {
	r := httptest.NewRequest(http.MethodPost, "/oauth-authorized", strings.NewReader("oauth_token=t&oauth_verifier=v"))
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	if got, err := ParseCallback(r); err == nil {
		t.Errorf("took %+v out of a body", got)
	}
}

// TestReason goes through the table of errors that X documents.
func TestReason(t *testing.T) {
	json := func(code int) string { return `{"errors":[{"code":` + strconv.Itoa(code) + `,"message":"words"}]}` }
	for _, test := range []struct {
		name, call string
		status     int
		body       string
		want       Reason
		code       int
	}{
		{"wrong keys", "request_token", 401, json(32), Keys, 32},
		{"a signature that fails once the keys were good", "access_token", 401, json(32), Expired, 32},
		{"the clock is off", "request_token", 401, json(135), Clock, 135},
		{"no Authorization", "request_token", 400, json(215), Stripped, 215},
		{"an expired token", "access_token", 401, json(89), Expired, 89},
		{"a used verifier, in plain text", "access_token", 401, "Request token missing", Expired, 0},
		{"an unlisted callback, in XML", "request_token", 403, `<?xml version="1.0" encoding="UTF-8"?><errors><error code="415">Callback URL not approved</error></errors>`, Unlisted, 415},
		{"a suspended application", "request_token", 401, json(416), Suspended, 416},
		{"no callback registered", "request_token", 401, `<?xml version="1.0" encoding="UTF-8"?><hash><error>Desktop applications only support the oauth_callback value 'oob'</error><request>/oauth/request_token</request></hash>`, Unlisted, 417},
		{"no callback registered, with its code", "request_token", 401, json(417), Unlisted, 417},
		{"wrong keys, in old XML", "request_token", 401, `<hash><error>Failed to validate oauth signature and token</error></hash>`, Keys, 0},
		{"a plan without the endpoint", "access_token", 403, json(453), NotPlanned, 453},
		{"a locked account", "access_token", 403, json(326), Locked, 326},
		{"a suspended account", "access_token", 403, json(64), Locked, 64},
		{"a suspended user", "access_token", 403, json(63), Locked, 63},
		{"no credits", "access_token", 402, `{"title":"CreditsDepleted"}`, NoCredits, 0},
		{"too many calls", "request_token", 429, json(88), RateLimited, 88},
		{"too many calls, without a code", "request_token", 429, "", RateLimited, 0},
		{"over capacity", "request_token", 503, json(130), Unavailable, 130},
		{"an internal error", "request_token", 500, json(131), Unavailable, 131},
		{"a gateway's page", "request_token", 502, "<html>Bad gateway</html>", Unavailable, 0},
		{"a redirect", "request_token", 302, "", Refused, 0},
		{"a code that is no number", "request_token", 403, `{"errors":[{"code":"x"}]}`, Refused, 0},
	} {
		t.Run(test.name, func(t *testing.T) {
			got := refusal(test.call, &http.Response{StatusCode: test.status}, []byte(test.body), time.Now())
			if got.Reason != test.want || got.Code != test.code {
				t.Errorf("got %s with code %d, want %s with %d", got.Reason, got.Code, test.want, test.code)
			}
			if strings.Contains(got.Error(), "words") || strings.Contains(got.Error(), "html") {
				t.Errorf("the error quotes the provider: %s", got)
			}
		})
	}
}

func TestRetryAt(t *testing.T) {
	now := time.Unix(1_800_000_000, 0)
	for _, test := range []struct {
		header string
		want   time.Time
	}{
		{"1800000900", now.Add(15 * time.Minute)},
		{"1799999999", time.Time{}},
		{"1800090000", time.Time{}},
		{"soon", time.Time{}},
		{"", time.Time{}},
	} {
		answer := &http.Response{StatusCode: 429, Header: http.Header{"X-Rate-Limit-Reset": {test.header}}}
		if got := refusal("request_token", answer, nil, now).RetryAt; !got.Equal(test.want) {
			t.Errorf("%q: %v, want %v", test.header, got, test.want)
		}
	}
}

// The vectors of RFC 5849 §1.2 and of X's page "Creating a signature". The
// base string is oauth1's own; the key, with its encoding, is ours.
func TestSigner(t *testing.T) {
	for _, test := range []struct{ name, consumerSecret, tokenSecret, base, want string }{
		{
			"RFC 5849, initiate", "kd94hf93k423kf44", "",
			"POST&https%3A%2F%2Fphotos.example.net%2Finitiate&oauth_callback%3Dhttp%253A%252F%252Fprinter.example.com%252Fready%26oauth_consumer_key%3Ddpf43f3p2l4k3l03%26oauth_nonce%3DwIjqoS%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131200",
			"74KNZJeDHnMBp0EMJ9ZHt/XKycU=",
		},
		{
			"RFC 5849, token", "kd94hf93k423kf44", "hdhd0244k9j7ao03",
			"POST&https%3A%2F%2Fphotos.example.net%2Ftoken&oauth_consumer_key%3Ddpf43f3p2l4k3l03%26oauth_nonce%3Dwalatlh%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131201%26oauth_token%3Dhh5s93j4hdidpola%26oauth_verifier%3Dhfdp7dh39dks9884",
			"gKgrFCywp7rO0OXSjdot/IHF7IU=",
		},
		{
			"RFC 5849, photos", "kd94hf93k423kf44", "pfkkdhi9sl3r4s00",
			"GET&http%3A%2F%2Fphotos.example.net%2Fphotos&file%3Dvacation.jpg%26oauth_consumer_key%3Ddpf43f3p2l4k3l03%26oauth_nonce%3DchapoH%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D137131202%26oauth_token%3Dnnch734d00sl2jdk%26size%3Doriginal",
			"MdpQcU8iPSUjWoN/UDMsK2sui9I=",
		},
		{
			"X, Creating a signature", "kAcSOqF21Fu85e7zjz7ZN2U4ZRhfV3WpwPAoE3Z7kBw", "LswwdoUaIvS8ltyTt5jkRh4J50vUPVVHtR2YPi5kE",
			"POST&https%3A%2F%2Fapi.twitter.com%2F1.1%2Fstatuses%2Fupdate.json&include_entities%3Dtrue%26oauth_consumer_key%3Dxvz1evFS4wEEPTGEFPHBog%26oauth_nonce%3DkYjzVBB8Y0ZFabxSWbWovY3uYSQ2pTgmZeNu2VS4cg%26oauth_signature_method%3DHMAC-SHA1%26oauth_timestamp%3D1318622958%26oauth_token%3D370773112-GmHxMAgYyLbNEtIKZeRNFsMKPR9EyMZeS9weJAEb%26oauth_version%3D1.0%26status%3DHello%2520Ladies%2520%252B%2520Gentlemen%252C%2520a%2520signed%2520OAuth%2520request%2521",
			"hCtSmYh+iHYCEqBWrE7C7hYmtUk=",
		},
	} {
		if got, err := (signer{test.consumerSecret}).Sign(test.tokenSecret, test.base); err != nil || got != test.want {
			t.Errorf("%s: got %s, %v, want %s", test.name, got, err, test.want)
		}
	}
}

// RFC 5849 §3.4.2: the secrets are encoded before they make the key. Plain
// ones come out as HMACSigner makes them, others must not.
func TestSignerEncodesTheSecrets(t *testing.T) {
	got, _ := signer{"a&b"}.Sign("c", "base")
	want, _ := (&oauth1.HMACSigner{ConsumerSecret: "a%26b"}).Sign("c", "base")
	if got != want {
		t.Errorf("got %s, want %s", got, want)
	}
}

func provider(t testing.TB, h http.HandlerFunc, timeout time.Duration) *Provider {
	t.Helper()
	server := httptest.NewServer(h)
	t.Cleanup(server.Close)
	origin, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return New(Options{ConsumerKey: "key", ConsumerSecret: "secret", APIURL: origin, CallbackURL: "http://127.0.0.1/back", Timeout: timeout})
}

// loginOnce goes through LoginHandler and returns the request token, or the error.
func loginOnce(ctx context.Context, p *Provider) (token string, err error) {
	success := func(_ http.ResponseWriter, r *http.Request) {
		token, _, err = login.RequestTokenFromContext(r.Context())
	}
	failure := func(_ http.ResponseWriter, r *http.Request) { err = gologin.ErrorFromContext(r.Context()) }
	r := httptest.NewRequestWithContext(ctx, http.MethodGet, "/login", nil)
	p.LoginHandler(http.HandlerFunc(success), http.HandlerFunc(failure)).ServeHTTP(httptest.NewRecorder(), r)
	return token, err
}

func granted(w http.ResponseWriter, _ *http.Request) {
	io.WriteString(w, "oauth_token=token&oauth_token_secret=secret&oauth_callback_confirmed=true")
}

func TestAtMost64CallsAtOnce(t *testing.T) {
	var under, most atomic.Int32
	full := make(chan struct{})
	filled := sync.OnceFunc(func() { close(full) }) // the second half may fill it again
	p := provider(t, func(w http.ResponseWriter, r *http.Request) {
		n := under.Add(1)
		defer under.Add(-1)
		if n > most.Load() {
			most.Store(n)
		}
		if n == maxCalls {
			filled()
		}
		<-full
		granted(w, r)
	}, 30*time.Second)

	var group sync.WaitGroup
	for range 2 * maxCalls {
		group.Go(func() {
			if _, err := loginOnce(t.Context(), p); err != nil {
				t.Error(err)
			}
		})
	}
	group.Wait()
	if got := most.Load(); got != maxCalls {
		t.Errorf("%d calls at once, want %d", got, maxCalls)
	}
}

func TestASignInAsksToReadOnly(t *testing.T) {
	asked := make(chan string, 1)
	p := provider(t, func(w http.ResponseWriter, r *http.Request) {
		asked <- r.URL.RawQuery
		granted(w, r)
	}, 30*time.Second)
	if _, err := loginOnce(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if got := <-asked; got != "x_auth_access_type=read" {
		t.Errorf("asked with %q", got)
	}
}

func TestPicturesTakePlacesToo(t *testing.T) {
	arrived, release := make(chan struct{}, maxCalls), make(chan struct{})
	p := provider(t, func(_ http.ResponseWriter, r *http.Request) {
		if r.URL.Path != "/picture" {
			t.Errorf("%s was called, and there was no place", r.URL.Path)
		}
		arrived <- struct{}{}
		<-release
	}, 30*time.Second)
	var group sync.WaitGroup
	for range maxCalls {
		group.Go(func() { p.Avatar(t.Context(), p.APIURL.JoinPath("/picture").String()) })
	}
	for range maxCalls {
		<-arrived
	}
	impatient, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := loginOnce(impatient, p); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v, want that the wait ended", err)
	}
	close(release)
	group.Wait()
}

func TestACallEndsWhenTheVisitorLeaves(t *testing.T) {
	visitor, leave := context.WithCancel(t.Context())
	p := provider(t, func(_ http.ResponseWriter, r *http.Request) {
		leave()
		<-r.Context().Done()
	}, 30*time.Second)
	_, err := loginOnce(visitor, p)
	var e *Error
	if !errors.As(err, &e) || !errors.Is(err, context.Canceled) {
		t.Errorf("got %v, want an *Error of context.Canceled", err)
	}
}

func TestACallGoesToTheProviderAlone(t *testing.T) {
	p := provider(t, granted, time.Second)
	other := httptest.NewServer(http.HandlerFunc(func(http.ResponseWriter, *http.Request) { t.Error("called") }))
	defer other.Close()
	p.oauth.Endpoint.RequestTokenURL = other.URL + "/oauth/request_token"
	if _, err := loginOnce(t.Context(), p); err == nil {
		t.Error("a call to another host went through")
	}
}

// Of a call that is not made, nobody is told.
func TestEachCallIsToldOf(t *testing.T) {
	login := func(p *Provider) { loginOnce(t.Context(), p) }
	picture := func(p *Provider) { p.Avatar(t.Context(), p.APIURL.String()+"/me.png?size=large") }
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		call   func(*Provider)
		want   string // call, status, code
	}{
		{"a request token", granted, login, "request_token 200 0"},
		{"a refusal", refuses(401, 32), login, "request_token 401 32"},
		{"a refusal without a code", says(503, "<h1>busy</h1>"), login, "request_token 503 0"},
		{"an answer that makes no sense", says(200, "hello"), login, "request_token 200 0"},
		{"no answer", reset, login, "request_token 0 0"},
		{"half an answer", says(200, "oauth_token=t", "Content-Length", "9999"), login, "request_token 0 0"},
		{"no place among the calls", granted, func(p *Provider) { p.calls, p.Timeout = nil, time.Millisecond; login(p) }, ""},
		{"another host", granted, func(p *Provider) { p.oauth.Endpoint.RequestTokenURL = "http://127.0.0.1:1/"; login(p) }, ""},
		{"a call of one's own", says(201, "{}"), func(p *Provider) {
			p.Client(t.Context(), Token{"token", "secret"}).Get(p.APIURL.String() + "/2/users/me?who=robin")
		}, "/2/users/me 201 0"},
		{"a picture", says(200, "\x89PNG\r\n\x1a\n"), picture, "avatar 200 0"},
		{"a text for a picture", says(200, "hello"), picture, "avatar 200 0"},
		{"no such picture", says(404, ""), picture, "avatar 404 0"},
		{"a picture that does not come", reset, picture, "avatar 0 0"},
		{"a picture from elsewhere", granted, func(p *Provider) { p.Avatar(t.Context(), "https://evil.example/me.png") }, ""},
	} {
		t.Run(test.name, func(t *testing.T) {
			var told []string
			p := provider(t, test.answer, 20*time.Second)
			now := time.Unix(1_800_000_000, 0)
			p.Now = func() time.Time { now = now.Add(time.Second); return now }
			p.Called = func(call string, status, code int, took time.Duration) {
				told = append(told, fmt.Sprint(call, " ", status, " ", code))
				if took < time.Second {
					t.Errorf("it took %s, want the time between two looks at the clock", took)
				}
			}
			test.call(p)
			if got := strings.Join(told, ", "); got != test.want {
				t.Errorf("told of %q, want %q", got, test.want)
			}
		})
	}
}

func TestAnErrorSaysWhyThereWasNoAnswer(t *testing.T) {
	free, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	free.Close()
	plain := httptest.NewServer(http.HandlerFunc(granted))
	defer plain.Close()
	secure := httptest.NewUnstartedServer(http.HandlerFunc(granted))
	secure.Config.ErrorLog = log.New(io.Discard, "", 0) // it says what the test is about
	secure.StartTLS()
	defer secure.Close()
	picky := httptest.NewUnstartedServer(http.HandlerFunc(granted))
	picky.Config.ErrorLog = secure.Config.ErrorLog
	picky.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("not with you") }}
	picky.StartTLS()
	defer picky.Close()
	over := make(chan struct{})
	silent := httptest.NewServer(http.HandlerFunc(func(_ http.ResponseWriter, r *http.Request) {
		select {
		case <-r.Context().Done():
		case <-over:
		}
	}))
	defer silent.Close()
	defer close(over)
	cut := httptest.NewServer(http.HandlerFunc(reset))
	defer cut.Close()

	for _, test := range []struct {
		name, origin string
		want         Obstacle
	}{
		{"nobody listens", "http://" + free.Addr().String(), ConnectionRefused},
		{"a host that cannot be", "http://perch.invalid", HostNotFound},
		{"a certificate that nobody knows", secure.URL, BadCertificate},
		{"TLS where there is none", strings.Replace(plain.URL, "http:", "https:", 1), NoTLS},
		{"TLS with others only", picky.URL, NoTLS},
		{"silence", silent.URL, TimedOut},
		{"a reset", cut.URL, NoProperAnswer},
	} {
		t.Run(test.name, func(t *testing.T) {
			origin, err := url.Parse(test.origin)
			if err != nil {
				t.Fatal(err)
			}
			p := New(Options{APIURL: origin, Timeout: 20 * time.Second})
			if test.want == TimedOut {
				p.Timeout = 50 * time.Millisecond
			}
			if test.want == HostNotFound { // no test asks a name server
				p.transport = wrapped(func(*http.Request) (*http.Response, error) {
					return nil, &net.OpError{Op: "dial", Err: &net.DNSError{Err: "no such host", Name: "perch.invalid", IsNotFound: true}}
				})
			}
			_, err = p.Check(t.Context())
			if got := ObstacleOf(err); got != test.want {
				t.Errorf("got %q, want %q", got, test.want)
			}
			if err == nil || !strings.Contains(err.Error(), string(test.want)) {
				t.Errorf("%v does not say %q", err, test.want)
			}
		})
	}
}

// Check is the call that a sign-in makes.
func TestCheckAsksAsASignInDoes(t *testing.T) {
	var asked []string
	p := provider(t, func(w http.ResponseWriter, r *http.Request) {
		signed := regexp.MustCompile(`oauth_(nonce|timestamp|signature)="[^"]*"`).ReplaceAllString(r.Header.Get("Authorization"), "$1")
		asked = append(asked, r.Method+" "+r.URL.String()+" "+signed)
		granted(w, r)
	}, 20*time.Second)
	if _, err := loginOnce(t.Context(), p); err != nil {
		t.Fatal(err)
	}
	if _, err := p.Check(t.Context()); err != nil {
		t.Fatal(err)
	}
	if len(asked) != 2 || asked[0] != asked[1] || !strings.Contains(asked[0], "oauth_callback=") {
		t.Errorf("asked %q, want the same twice", asked)
	}
}

func TestCheckTellsTheClockFromTheDate(t *testing.T) {
	now := time.Unix(1_800_000_000, 900_000_000)
	at := func(d time.Duration) string { return now.Add(d).UTC().Format(http.TimeFormat) }
	for _, test := range []struct {
		name, date string
		want       time.Duration
	}{
		{"right", at(0), 0},
		{"ahead", at(-5 * time.Minute), 5 * time.Minute},
		{"behind", at(7 * time.Second), -7 * time.Second},
		{"no Date", "", 0},
		{"a Date that is none", "noon", 0},
	} {
		for what, refused := range map[string]http.HandlerFunc{"granted": granted, "refused": refuses(401, 135), "garbled": says(200, "")} {
			t.Run(test.name+", "+what, func(t *testing.T) {
				p := provider(t, func(w http.ResponseWriter, r *http.Request) {
					w.Header()["Date"] = nil // or net/http sets its own
					if test.date != "" {
						w.Header().Set("Date", test.date)
					}
					refused(w, r)
				}, 20*time.Second)
				p.Now = func() time.Time { return now }
				got, err := p.Check(t.Context())
				if got != test.want {
					t.Errorf("off by %s, want %s", got, test.want)
				}
				var e *Error
				if errors.As(err, &e) && e.Reason == Clock && e.Skew != test.want {
					t.Errorf("the error says %s, want %s", e.Skew, test.want)
				}
				if (err == nil) != (what == "granted") {
					t.Errorf("got %v", err)
				}
			})
		}
	}
}

func TestAuthenticateURL(t *testing.T) {
	p := New(Options{APIURL: &url.URL{Scheme: "https", Host: "api.x.com"}})
	for force, want := range map[bool]string{
		false: "https://api.x.com/oauth/authenticate?oauth_token=a%26b",
		true:  "https://api.x.com/oauth/authenticate?force_login=true&oauth_token=a%26b",
	} {
		if got, err := p.AuthenticateURL("a&b", force); err != nil || got != want {
			t.Errorf("force=%v: %s, %v, want %s", force, got, err, want)
		}
	}
}
