package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"io"
	"log"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perch/internal/config"
	"perch/internal/store"
	"perch/internal/testdb"
	"perch/internal/twitter"
)

const (
	someWords = "the provider's very own words"
	someKey   = "some-consumer-key-3f20"
	back      = "https://perch.example/oauth-authorized"
	granted   = "oauth_token=tttttttt&oauth_token_secret=ssssssss&oauth_callback_confirmed=true"
)

func says(status int, body string, header ...string) http.HandlerFunc {
	return func(w http.ResponseWriter, _ *http.Request) {
		for pair := range slices.Chunk(header, 2) {
			w.Header().Set(pair[0], pair[1])
		}
		w.WriteHeader(status)
		io.WriteString(w, body)
	}
}

func refuses(status, code int) http.HandlerFunc {
	return says(status, fmt.Sprintf(`{"errors":[{"code":%d,"message":%q}]}`, code, someWords))
}

// serveDouble answers with h until the test ends; with TLS it shows a
// certificate that nobody knows. It returns its origin.
func serveDouble(t testing.TB, h http.HandlerFunc, start func(*httptest.Server)) *url.URL {
	t.Helper()
	server := httptest.NewUnstartedServer(h)
	server.Config.ErrorLog = log.New(io.Discard, "", 0) // of handshakes that are to fail
	start(server)
	t.Cleanup(server.Close)
	origin, err := url.Parse(server.URL)
	if err != nil {
		t.Fatal(err)
	}
	return origin
}

var (
	plain  = (*httptest.Server).Start
	secure = (*httptest.Server).StartTLS
	picky  = func(s *httptest.Server) {
		s.TLS = &tls.Config{GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { return nil, errors.New("not with you") }}
		s.StartTLS()
	}
)

// deserted is an origin where nobody listens.
func deserted(t testing.TB) *url.URL {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	return &url.URL{Scheme: "http", Host: l.Addr().String()}
}

func asked(origin *url.URL, now time.Time) *twitter.Provider {
	return twitter.New(twitter.Options{
		ConsumerKey: someKey, ConsumerSecret: "some-consumer-secret-4d1b", APIURL: origin, CallbackURL: back,
		Timeout: 20 * time.Second, Now: func() time.Time { return now },
	})
}

// check fails unless these are the findings, by their verdict and the
// beginning of their sentence; after … comes what else a sentence says.
func check(t *testing.T, got []finding, want ...string) {
	t.Helper()
	for i := range max(len(got), len(want)) {
		if i >= len(got) || i >= len(want) {
			t.Errorf("found %v, want %q", got, want)
			return
		}
		begin, more, _ := strings.Cut(want[i], "…")
		line := got[i].verdict.String() + " " + got[i].text
		if !strings.HasPrefix(line, begin) || !strings.Contains(line, more) {
			t.Errorf("found %q, want %q", line, want[i])
		}
		for _, secret := range []string{someWords, someKey, "some-consumer-secret-4d1b", "tttttttt", "ssssssss", "\n"} {
			if strings.Contains(line, secret) {
				t.Errorf("%q tells %q", line, secret)
			}
		}
	}
}

// TestCheckTwitter goes through what request_token can be answered with.
func TestCheckTwitter(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	at := func(d time.Duration) string { return now.Add(d).Format(http.TimeFormat) }
	dated := func(h http.HandlerFunc, d time.Duration) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.Header().Set("Date", at(d)); h(w, r) }
	}
	undated := func(h http.HandlerFunc) http.HandlerFunc {
		return func(w http.ResponseWriter, r *http.Request) { w.Header()["Date"] = nil; h(w, r) }
	}
	const works = "ok X takes the keys and the callback https://perch.example/oauth-authorized."

	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		start  func(*httptest.Server)
		want   []string
	}{
		{"all is well", says(200, granted), plain, []string{works}},
		{"without a Date", undated(says(200, granted)), plain, []string{works}},
		{"a clock that is a minute off", dated(says(200, granted), time.Minute), plain, []string{works}},
		{"a clock that is ahead", dated(says(200, granted), -61*time.Second), plain, []string{works, "note This machine's clock is 61 s ahead of X's.…(NTP)"}},
		{"a clock that is behind", dated(says(200, granted), 2*time.Minute), plain, []string{works, "note This machine's clock is 120 s behind X's.…(NTP)"}},

		{"32: wrong keys", refuses(401, 32), plain, []string{"bad X does not take the keys:…API Key and Secret"}},
		{"401 in plain text", says(401, someWords), plain, []string{"bad X does not take the keys:…OAuth 2.0 Client ID"}},
		{"401 in old XML", says(401, "<hash><error>"+someWords+"</error></hash>"), plain, []string{"bad X does not take the keys:…TWITTER_CONSUMER_KEY"}},
		{"401 without a body", says(401, ""), plain, []string{"bad X does not take the keys:"}},
		{"wrong keys and a clock", dated(refuses(401, 32), time.Hour), plain, []string{"bad X does not take the keys:", "note This machine's clock is 3600 s behind"}},
		{"215: a proxy takes Authorization away", refuses(400, 215), plain, []string{"bad X sees no proper Authorization header:…proxy"}},
		{"415 in JSON", refuses(403, 415), plain, []string{"bad X does not know the callback. Register exactly " + back + " "}},
		{"415 in XML", says(403, `<?xml version="1.0"?><errors><error code="415">`+someWords+`</error></errors>`), plain, []string{"bad X does not know the callback.…" + back}},
		{"417 in JSON", refuses(401, 417), plain, []string{`bad The application has no callback at X. Choose "Web App"…register exactly ` + back}},
		{"417 in XML without its code", says(401, `<hash><error>Desktop applications only support the oauth_callback value 'oob'</error><request>`+someWords+`</request></hash>`), plain, []string{"bad The application has no callback at X.…" + back}},
		{"417 in plain text", says(401, "Desktop applications only support the oauth_callback value 'oob'"), plain, []string{"bad The application has no callback at X.…" + back}},
		{"135: behind", dated(refuses(401, 135), 7*time.Minute), plain, []string{"bad This machine's clock is 420 s behind X's, and X refuses"}},
		{"135: ahead", dated(refuses(401, 135), -time.Hour), plain, []string{"bad This machine's clock is 3600 s ahead of X's, and X refuses"}},
		{"135 without a Date", undated(refuses(401, 135)), plain, []string{"bad X finds this machine's clock too far off."}},
		{"416: suspended", refuses(401, 416), plain, []string{"bad X has suspended the application."}},
		{"88: too many, until", says(429, `{"errors":[{"code":88}]}`, "X-Rate-Limit-Reset", strconv.FormatInt(now.Add(10*time.Minute).Unix(), 10)), plain, []string{"bad X takes no more calls with these keys until 12:10 UTC."}},
		{"too many", says(429, someWords), plain, []string{"bad X takes no more calls with these keys for now.…15 minutes"}},
		{"402: no credits", says(402, `{"title":"CreditsDepleted","detail":"`+someWords+`"}`), plain, []string{"bad X's plan for the application does not cover the call (status 402).…credits"}},
		{"453: not in this plan", refuses(403, 453), plain, []string{"bad X's plan for the application does not cover the call (status 403)."}},
		{"403: not enrolled", says(403, `{"reason":"client-not-enrolled","detail":"`+someWords+`"}`), plain, []string{"bad X forbids the application to call (status 403, code 0).…Project"}},
		{"a code nobody knows", refuses(400, 9999), plain, []string{"bad X refuses the call (status 400, code 9999)."}},
		{"130: over capacity", refuses(503, 130), plain, []string{"bad X is out of order (status 503)"}},
		{"131: internal error", refuses(500, 131), plain, []string{"bad X is out of order (status 500)"}},
		{"502 in HTML", says(502, "<h1>"+someWords+"</h1>"), plain, []string{"bad X is out of order (status 502)"}},
		{"504 without a body", says(504, ""), plain, []string{"bad X is out of order (status 504)"}},

		{"HTML", says(200, "<html>"+someWords+"</html>"), plain, []string{"bad What answers at http://127.0.0.1:…makes no sense as X"}},
		{"nothing", says(200, ""), plain, []string{"bad What answers at http://127.0.0.1:…makes no sense as X"}},
		{"callback not confirmed", says(200, "oauth_token=tttttttt&oauth_token_secret=ssssssss"), plain, []string{"bad What answers at …oauth_callback_confirmed=true is due"}},
		{"a redirect", says(302, "", "Location", "https://elsewhere.example/"), plain, []string{"bad What answers at http://127.0.0.1:…does not answer as X does (status 302, code 0)"}},
		{"404", says(404, someWords), plain, []string{"bad What answers at http://127.0.0.1:…does not answer as X does (status 404, code 0)"}},

		{"a reset", func(http.ResponseWriter, *http.Request) { panic(http.ErrAbortHandler) }, plain, []string{"bad The connection with 127.0.0.1:…ends without a proper answer"}},
		{"a certificate that nobody knows", says(200, granted), secure, []string{"bad The certificate of 127.0.0.1:…is not valid to this machine"}},
		{"TLS with others only", says(200, granted), picky, []string{"bad There is no TLS connection with 127.0.0.1:"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			answer := test.answer
			origin := serveDouble(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodPost || r.URL.Path != "/oauth/request_token" || !strings.Contains(r.Header.Get("Authorization"), someKey) {
					t.Errorf("asked %s %s with %q", r.Method, r.URL, r.Header.Get("Authorization"))
				}
				if w.Header().Get("Date") == "" {
					w.Header().Set("Date", at(0)) // net/http's own would be today
				}
				answer(w, r)
			}, test.start)
			check(t, checkTwitter(t.Context(), asked(origin, now)), test.want...)
		})
	}
	t.Run("silence", func(t *testing.T) {
		p := asked(serveDouble(t, func(_ http.ResponseWriter, r *http.Request) { <-r.Context().Done() }, plain), now)
		p.Timeout = 50 * time.Millisecond
		check(t, checkTwitter(t.Context(), p), "bad 127.0.0.1:…does not answer within 50ms")
	})
	t.Run("nobody listens", func(t *testing.T) {
		check(t, checkTwitter(t.Context(), asked(deserted(t), now)), "bad 127.0.0.1:…refuses the connection")
	})
	t.Run("a host that is not there", func(t *testing.T) {
		origin := &url.URL{Scheme: "https", Host: "perch.invalid"}
		if got := silence(asked(origin, now), twitter.HostNotFound); !strings.HasPrefix(got, "The host perch.invalid is not found.") {
			t.Errorf("got %q", got)
		}
	})
}

// Each line is a finding, and a bad one makes the whole bad.
func TestDoctor(t *testing.T) {
	var calls atomic.Int32
	x := serveDouble(t, func(w http.ResponseWriter, r *http.Request) { calls.Add(1); says(200, granted)(w, r) }, plain)
	down := serveDouble(t, says(503, ""), plain)
	perch := serveDouble(t, says(200, `<header id="header">`), plain)
	atLocalhost := &url.URL{Scheme: "http", Host: strings.Replace(perch.Host, "127.0.0.1", "localhost", 1)}

	for _, test := range []struct {
		name  string
		c     config.Config
		wrong int
		calls int
		lines []string // how they begin
	}{
		{"with real keys", config.Config{TwitterAPIURL: x, BaseURL: perch}, 0, 1,
			[]string{"ok   X takes the keys", "note The key file", "note The database", "ok   Perch answers"}},
		{"at localhost", config.Config{TwitterAPIURL: x, BaseURL: atLocalhost}, 0, 1,
			[]string{"ok   X takes the keys", "note X wants 127.0.0.1", "note The key file", "note The database", "ok   Perch answers"}},
		{"in the sandbox", config.Config{Sandbox: true, TwitterAPIURL: x, BaseURL: atLocalhost}, 0, 0,
			[]string{"ok   No keys are set, so the sandbox stands in", "note The key file", "note The database", "ok   Perch answers"}},
		{"while X is down", config.Config{TwitterAPIURL: down, BaseURL: perch}, 1, 0,
			[]string{"bad  X is out of order", "note The key file", "note The database", "ok   Perch answers"}},
		{"while another answers", config.Config{Sandbox: true, TwitterAPIURL: x, BaseURL: x}, 1, 1,
			[]string{"ok   No keys are set", "note The key file", "note The database", "bad  Something answers"}},
	} {
		t.Run(test.name, func(t *testing.T) {
			calls.Store(0)
			dir := t.TempDir()
			test.c.DatabaseURL = "sqlite:" + filepath.Join(dir, "data", "perch.db")
			test.c.ConsumerKey, test.c.ConsumerSecret = someKey, "some-consumer-secret-4d1b"
			var out strings.Builder
			if got := examine(t.Context(), &out, test.c); got != test.wrong {
				t.Errorf("wrong: %d, want %d", got, test.wrong)
			}
			lines := strings.Split(strings.TrimSuffix(out.String(), "\n"), "\n")
			for i := range max(len(lines), len(test.lines)) {
				if i >= len(lines) || i >= len(test.lines) || !strings.HasPrefix(lines[i], test.lines[i]) {
					t.Fatalf("printed\n%swant %q", out.String(), test.lines)
				}
			}
			if got := int(calls.Load()); got != test.calls {
				t.Errorf("X was called %d times, want %d", got, test.calls)
			}
			if strings.Contains(out.String(), dir) {
				t.Errorf("it tells where the database is:\n%s", out.String())
			}
			if left, _ := os.ReadDir(dir); len(left) != 0 {
				t.Errorf("it made %v", left)
			}
		})
	}
}

func TestCheckAtStart(t *testing.T) {
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		want   string
	}{
		{"all is well", says(200, granted), `level=INFO msg=provider_checked finding="X takes the keys and the callback ` + back + `."` + "\n"},
		{"the clock", says(200, granted, "Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat)), `level=WARN msg=provider_check problem="This machine's clock is 3600 s ahead`},
		{"X is down", says(503, someWords), `level=WARN msg=provider_check problem="X is out of order (status 503)`},
	} {
		t.Run(test.name, func(t *testing.T) {
			var b strings.Builder
			log := slog.New(slog.NewTextHandler(&b, &slog.HandlerOptions{ReplaceAttr: func(_ []string, a slog.Attr) slog.Attr {
				if a.Key == slog.TimeKey {
					return slog.Attr{}
				}
				return a
			}}))
			now := time.Now()
			checkAtStart(t.Context(), asked(serveDouble(t, test.answer, plain), now), log)
			if got := strings.Replace(b.String(), "3601 s", "3600 s", 1); !strings.HasPrefix(got, test.want) || strings.Count(got, "\n") != 1 {
				t.Errorf("logged %q, want %q", got, test.want)
			}
		})
	}
	t.Run("it ends with the program, and says nothing", func(t *testing.T) {
		ctx, stop := context.WithCancel(t.Context())
		x := serveDouble(t, func(_ http.ResponseWriter, r *http.Request) { stop(); <-r.Context().Done() }, plain)
		var b strings.Builder
		checkAtStart(ctx, asked(x, time.Now()), slog.New(slog.NewTextHandler(&b, nil)))
		if b.String() != "" {
			t.Errorf("logged %q", b.String())
		}
	})
}

func TestCheckSecretKey(t *testing.T) {
	for _, test := range []struct {
		name string
		keys [][]byte
		make func(path string) error
		want string
	}{
		{"set", [][]byte{[]byte("one")}, func(string) error { return nil }, "ok SECRET_KEY is set."},
		{"kept in a file", nil, func(path string) error { return os.WriteFile(path, []byte(strings.Repeat("k", 32)), 0o600) }, "ok The key file secret.key is"},
		{"not there yet", nil, func(string) error { return nil }, "note The key file secret.key is not…the first start makes it"},
		{"damaged", nil, func(path string) error { return os.WriteFile(path, []byte("short"), 0o600) }, "bad The key file secret.key…damaged"},
		{"a folder", nil, func(path string) error { return os.Mkdir(path, 0o700) }, "bad The key file secret.key…cannot be read"},
	} {
		t.Run(test.name, func(t *testing.T) {
			dir := t.TempDir()
			if err := test.make(filepath.Join(dir, "secret.key")); err != nil {
				t.Fatal(err)
			}
			check(t, []finding{checkSecretKey(config.Config{SecretKeys: test.keys, DatabaseURL: "sqlite:" + filepath.Join(dir, "perch.db")})}, test.want)
		})
	}
}

func TestCheckDatabase(t *testing.T) {
	for _, test := range []struct {
		name string
		make func(path string) error
		want string
	}{
		{"Perch's own", func(path string) error {
			db, err := store.Open(context.Background(), "sqlite:"+path)
			return errors.Join(err, db.Close())
		}, "ok The database answers."},
		{"not there yet", func(string) error { return nil }, "note The database is not there yet"},
		{"an empty file", func(path string) error { return os.WriteFile(path, nil, 0o600) }, "note The database answers, and holds nothing"},
		{"a text", func(path string) error {
			return os.WriteFile(path, []byte(strings.Repeat("This is no database. ", 100)), 0o600)
		}, "bad What DATABASE_URL names cannot be used"},
		{"a folder", func(path string) error { return os.Mkdir(path, 0o700) }, "bad What DATABASE_URL names cannot be used"},
		{"below a file", func(path string) error {
			return errors.Join(os.Remove(filepath.Dir(path)), os.WriteFile(filepath.Dir(path), nil, 0o600))
		}, "bad What DATABASE_URL names cannot be used"},
	} {
		t.Run(test.name, func(t *testing.T) {
			path := filepath.Join(t.TempDir(), "data", "perch.db")
			if err := errors.Join(os.Mkdir(filepath.Dir(path), 0o700), test.make(path)); err != nil {
				t.Fatal(err)
			}
			before, _ := os.ReadFile(path)
			files, _ := os.ReadDir(filepath.Dir(path))
			check(t, []finding{checkDatabase(t.Context(), "sqlite:"+path)}, test.want)
			after, _ := os.ReadFile(path)
			if left, _ := os.ReadDir(filepath.Dir(path)); string(after) != string(before) || len(left) != len(files) {
				t.Errorf("the files have changed: %v, then %v", files, left)
			}
		})
	}
	t.Run("PostgreSQL that does not answer", func(t *testing.T) {
		check(t, []finding{checkDatabase(t.Context(), "postgres://perch:"+someKey+"@127.0.0.1:1/perch")}, "bad The database that DATABASE_URL names does not answer…refused")
	})
	t.Run("on whatever the tests run", func(t *testing.T) {
		url := testdb.New(t)
		db, err := store.Open(t.Context(), url)
		if err != nil {
			t.Fatal(err)
		}
		defer db.Close()
		check(t, []finding{checkDatabase(t.Context(), url)}, "ok The database answers.")
		testdb.MakeNewer(t, url)
		check(t, []finding{checkDatabase(t.Context(), url)}, "bad The database is of a newer Perch.")
	})
}

func TestCheckAddress(t *testing.T) {
	header := `<header id="header" class="bar">`
	for _, test := range []struct {
		name   string
		answer http.HandlerFunc
		start  func(*httptest.Server)
		want   string
	}{
		{"Perch", says(200, header), plain, "ok Perch answers at BASE_URL, http://127.0.0.1:"},
		{"a proxy that changes Host", says(421, someWords), plain, "bad Perch is asked for another host…proxy_set_header Host $host;"},
		{"a proxy that redirects to https", says(301, header, "Location", "https://www.perch.example/header?"+someKey), plain, "bad A proxy redirects BASE_URL, http://127.0.0.1:…to https://www.perch.example. If"},
		{"a redirect with a user", says(302, "", "Location", "https://user:"+someKey+"@perch.example/"), plain, "bad A proxy redirects…to https://perch.example. If"},
		{"a redirect on the same host", says(302, "", "Location", "/sign-in?"+someKey), plain, "bad Something answers…not Perch (status 302)"},
		{"a redirect to nowhere", says(302, ""), plain, "bad Something answers…not Perch (status 302)"},
		{"another site", says(200, "<html>"+someWords), plain, "bad Something answers at BASE_URL…not Perch (status 200)"},
		{"an error with our header", says(500, header), plain, "bad Something answers…(status 500)"},
		{"a proxy without Perch", says(502, someWords), plain, "bad Something answers…(status 502)"},
		{"a certificate that nobody knows", says(200, header), secure, "bad The certificate at BASE_URL…is not valid"},
		{"TLS with others only", says(200, header), picky, "bad There is no TLS at BASE_URL"},
		{"no HTTP", func(w http.ResponseWriter, _ *http.Request) { panic(http.ErrAbortHandler) }, plain, "note Nobody answers at BASE_URL"},
	} {
		t.Run(test.name, func(t *testing.T) {
			base := serveDouble(t, func(w http.ResponseWriter, r *http.Request) {
				if r.Method != http.MethodGet || r.URL.String() != "/header" || r.Header.Get("Cookie") != "" {
					t.Errorf("asked %s %s with the cookie %q", r.Method, r.URL, r.Header.Get("Cookie"))
				}
				test.answer(w, r)
			}, test.start)
			check(t, []finding{checkAddress(t.Context(), base)}, test.want)
		})
	}
	t.Run("nobody listens", func(t *testing.T) {
		check(t, []finding{checkAddress(t.Context(), deserted(t))}, "note Nobody answers at BASE_URL…(connection refused)")
	})
	t.Run("https where there is none", func(t *testing.T) {
		base := serveDouble(t, says(200, header), plain)
		base.Scheme = "https"
		check(t, []finding{checkAddress(t.Context(), base)}, "bad There is no TLS at BASE_URL")
	})
}
