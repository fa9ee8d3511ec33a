package routes_test

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"perch/internal/session"
	"perch/internal/store"
	"perch/internal/testdb"
	"perch/internal/twitter"
	"perch/routes"
)

// bench is Perch as main puts it together, with nobody watching, and with a
// provider that answers at once: what is measured is ours.
type bench struct {
	*testing.B
	http.Handler
	base *url.URL
	ctx  context.Context
}

func newBench(b *testing.B) *bench {
	b.Helper()
	db, err := store.Open(b.Context(), testdb.New(b))
	if err != nil {
		b.Fatal(err)
	}
	b.Cleanup(func() { db.Close() })
	base, api := &url.URL{Scheme: "http", Host: "127.0.0.1:8080"}, instantly(b)
	log := slog.New(slog.NewJSONHandler(io.Discard, nil))
	sessions, err := session.New(session.Options{
		Store: db, SecretKeys: [][]byte{oneKey}, Provider: api.String(), Idle: time.Hour, Lifetime: time.Hour, Log: log,
	})
	if err != nil {
		b.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background()) // as a request's is
	b.Cleanup(cancel)
	return &bench{b, routes.New(routes.Options{
		Sessions: sessions,
		Twitter:  twitter.New(twitter.Options{ConsumerKey: "key", ConsumerSecret: "secret", APIURL: api, CallbackURL: base.String() + "/oauth-authorized"}),
		BaseURL:  base, Ready: db.Ping, Log: log, Beside: func(func()) {},
	}), base, ctx}
}

// instantly is a provider that makes nothing of what it is asked: a request
// token that it never gave before, and always another person.
func instantly(b *testing.B) *url.URL {
	var last atomic.Int64
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		n := last.Add(1)
		if r.URL.Path == requestToken {
			fmt.Fprintf(w, "oauth_token=token%d&oauth_token_secret=secret&oauth_callback_confirmed=true", n)
			return
		}
		fmt.Fprintf(w, "oauth_token=access&oauth_token_secret=secret&user_id=%d&screen_name=ada", n)
	}))
	b.Cleanup(server.Close)
	api, err := url.Parse(server.URL)
	if err != nil {
		b.Fatal(err)
	}
	return api
}

// sink takes an answer and keeps its head.
type sink struct {
	header http.Header
	status int
}

func (s *sink) Header() http.Header         { return s.header }
func (s *sink) WriteHeader(status int)      { s.status = status }
func (s *sink) Write(b []byte) (int, error) { return len(b), nil }

// do makes a request, which net/http would have read, and fails unless the
// answer has the status.
func (p *bench) do(r *http.Request, want int, w *sink) {
	clear(w.header)
	fresh := *r // Perch writes into it
	p.ServeHTTP(w, &fresh)
	if w.status != want {
		p.Fatalf("%s %s got %d, want %d", r.Method, r.URL.Path, w.status, want)
	}
}

func (p *bench) request(method, target string, cookies ...*http.Cookie) *http.Request {
	r := httptest.NewRequestWithContext(p.ctx, method, target, http.NoBody)
	r.Host = p.base.Host
	r.Header.Set("Sec-Fetch-Site", "same-origin")
	for _, c := range cookies {
		r.AddCookie(c)
	}
	return r
}

// signIn goes there and back again, and returns the cookie of the session.
func (p *bench) signIn(w *sink) *http.Cookie {
	p.do(p.request("GET", "/login"), http.StatusSeeOther, w)
	to, err := url.Parse(w.header.Get("Location"))
	if err != nil {
		p.Fatal(err)
	}
	token := to.Query().Get("oauth_token")
	p.do(p.request("GET", "/oauth-authorized?oauth_verifier=verifier&oauth_token="+token, w.cookies("perch-pending-")...), http.StatusSeeOther, w)
	set := w.cookies("perch-session")
	if len(set) != 1 {
		p.Fatalf("the sign-in set %q", w.header["Set-Cookie"])
	}
	return set[0]
}

// cookies returns those that the answer sets under names that begin so.
func (s *sink) cookies(name string) (found []*http.Cookie) {
	for _, c := range (&http.Response{Header: s.header}).Cookies() {
		if strings.HasPrefix(c.Name, name) {
			found = append(found, c)
		}
	}
	return found
}

func BenchmarkHeader(b *testing.B) { benchmarkGet(b, "/header") }

func BenchmarkHome(b *testing.B) { benchmarkGet(b, "/") }

func benchmarkGet(b *testing.B, target string) {
	p, w := newBench(b), &sink{header: http.Header{}}
	for _, test := range []struct {
		name    string
		cookies []*http.Cookie
	}{{"signed in", []*http.Cookie{p.signIn(w)}}, {"nobody", nil}} {
		b.Run(test.name, func(b *testing.B) {
			p := &bench{b, p.Handler, p.base, p.ctx} // that fails here
			r := p.request("GET", target, test.cookies...)
			r.Header.Set("Accept-Encoding", "gzip")
			b.ReportAllocs()
			for b.Loop() {
				p.do(r, http.StatusOK, w)
			}
			w.reportBytes(b)
		})
	}
}

// reportBytes reports how long the last answer was.
func (s *sink) reportBytes(b *testing.B) {
	length, err := strconv.Atoi(s.header.Get("Content-Length"))
	if err != nil {
		b.Fatal(err)
	}
	b.ReportMetric(float64(length), "bytes")
}

func BenchmarkLogout(b *testing.B) {
	p, w := newBench(b), &sink{header: http.Header{}}
	forms := make([]*http.Request, b.N)
	for i := range forms {
		forms[i] = p.request("POST", "/logout", p.signIn(w))
		forms[i].Header.Set("HX-Request", "true")
	}
	b.ReportAllocs()
	b.ResetTimer()
	for _, form := range forms {
		p.do(form, http.StatusOK, w)
	}
	w.reportBytes(b)
}

// BenchmarkSignIn is a whole sign-in as Perch sees it: the way to the
// provider, and the way back, with a call to it each.
func BenchmarkSignIn(b *testing.B) {
	p, w := newBench(b), &sink{header: http.Header{}}
	b.ReportAllocs()
	for b.Loop() {
		p.signIn(w)
	}
}
