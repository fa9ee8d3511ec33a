// Package routes_test walks through Perch the way browsers do: it signs in by
// really signing in, at a real sandbox, over a real database. This file is the
// kit; the stories stand in the files beside it.
package routes_test

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"net/netip"
	"net/url"
	"reflect"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/PuerkitoBio/goquery"

	"perch/internal/metrics"
	"perch/internal/session"
	"perch/internal/store"
	"perch/internal/testdb"
	"perch/internal/twitter"
	"perch/routes"
	"perch/sandbox"
)

// setup is what a test may want otherwise.
type setup struct {
	origin         string // an https origin, which is then answered without a network; "" for http on 127.0.0.1
	keys           [][]byte
	timeout        time.Duration // of one call to Twitter
	idle, lifetime time.Duration
	loginRate      int
	proxies        []netip.Prefix
	aside          bool // what no visitor waits for is done in the background
}

var (
	oneKey     = []byte("the first secret key of this test")
	anotherKey = []byte("and the second one, as long again")
	thirdKey   = []byte("and a third one, which is as long")
)

// kit is Perch with its sandbox beside it: two servers on two host names, as
// in production. Whatever a test is about, the kit watches every answer for
// what every answer must have, and the log for what no log may have.
type kit struct {
	testing.TB
	setup
	base     *url.URL
	clock    *clock
	log      *journal
	twitter  *wire
	secrets  *secrets
	database string
	db       *store.Store
	sessions *session.Sessions
	metrics  *metrics.Metrics // of all runs

	handler atomic.Pointer[http.Handler]
	working sync.WaitGroup // on what no visitor waits for
	down    atomic.Bool    // the database is: a 503 is right
	wrong   findings
}

// start starts Perch and a sandbox that knows its callback.
func start(t testing.TB, changes ...func(*setup)) *kit {
	t.Helper()
	k := &kit{
		TB:       t,
		setup:    setup{keys: [][]byte{oneKey}, timeout: 20 * time.Second, idle: 168 * time.Hour, lifetime: 720 * time.Hour},
		clock:    &clock{now: time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)},
		log:      &journal{},
		secrets:  &secrets{values: map[string]bool{}},
		database: testdb.New(t),
	}
	for _, change := range changes {
		change(&k.setup)
	}
	t.Cleanup(k.reckon) // the last: cleanups run in reverse

	k.metrics = metrics.New(metrics.Options{
		Ping:          func(ctx context.Context) error { return k.db.Ping(ctx) },
		CountSessions: func(ctx context.Context) (int64, error) { return k.db.CountSessions(ctx) },
	})
	k.base = k.listen()
	k.twitter = newWire(t, k.secrets, k.callback(""))
	k.boot()
	return k
}

// beside does at once what no visitor waits for, so that a test can look at
// it; with aside it is done in the background, as it really is.
func (k *kit) beside(work func()) {
	if k.aside {
		k.working.Go(work)
		return
	}
	work()
}

// listen opens Perch's address and returns its origin.
func (k *kit) listen() *url.URL {
	origin := k.origin
	if origin == "" {
		server := httptest.NewServer(k)
		k.Cleanup(server.Close)
		origin = server.URL
	}
	base, err := url.Parse(origin)
	if err != nil {
		k.Fatal(err)
	}
	return base
}

// boot does what main does.
func (k *kit) boot() {
	k.Helper()
	var err error
	if k.db, err = store.Open(context.Background(), k.database); err != nil {
		k.Fatal(err)
	}
	log := k.logger()
	k.sessions, err = session.New(session.Options{
		Store: k.db, SecretKeys: k.keys, Provider: k.twitter.base.String(), Secure: k.base.Scheme == "https",
		Idle: k.idle, Lifetime: k.lifetime, Now: k.clock.Now, Log: log,
	})
	if err != nil {
		k.Fatal(err)
	}
	for _, key := range k.keys {
		k.secrets.add(string(key))
	}
	handler := routes.New(routes.Options{
		Sessions: k.sessions,
		Twitter: twitter.New(twitter.Options{
			ConsumerKey: k.twitter.sandbox.ConsumerKey(), ConsumerSecret: k.twitter.sandbox.ConsumerSecret(), APIURL: k.twitter.base,
			CallbackURL: k.callback(""), Timeout: k.timeout, Called: k.metrics.Called, Now: k.clock.Now,
		}),
		BaseURL: k.base, Sandbox: true, LoginRate: k.loginRate, TrustedProxies: k.proxies,
		Ready: k.db.Ping, Metrics: k.metrics, Log: log, Now: k.clock.Now, Beside: k.beside,
	})
	k.handler.Store(&handler)
}

func (k *kit) logger() *slog.Logger { return slog.New(slog.NewJSONHandler(k.log, nil)) }

// restart stops Perch and starts it anew at the same address, over the same
// database: what it had in memory is gone.
func (k *kit) restart(changes ...func(*setup)) {
	k.Helper()
	if err := k.db.Close(); err != nil {
		k.Fatal(err)
	}
	for _, change := range changes {
		change(&k.setup)
	}
	k.boot()
}

// loseDatabase makes every query fail from now on.
func (k *kit) loseDatabase() {
	k.down.Store(true)
	k.db.Close()
}

// callback is the way back from Twitter, with a query.
func (k *kit) callback(query string) string {
	back := k.base.String() + "/oauth-authorized"
	if query != "" {
		back += "?" + query
	}
	return back
}

// row reads the session of a cookie from the database.
func (k *kit) row(cookie string) (store.Session, error) {
	id, err := base64.RawURLEncoding.DecodeString(cookie)
	if err != nil {
		k.Fatal(err)
	}
	hash := sha256.Sum256(id)
	return k.db.Session(context.Background(), hash[:])
}

// ServeHTTP is Perch, watched.
func (k *kit) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	k.secrets.add(r.URL.RawQuery)
	for _, c := range r.Cookies() {
		k.secrets.add(c.Value)
	}
	sent := &watched{ResponseWriter: w}
	(*k.handler.Load()).ServeHTTP(sent, r)
	for _, c := range sent.cookies() {
		k.secrets.add(c.Value)
	}
	k.inspect(r, sent)
}

// request makes a request by hand, as it arrives at Perch. Headers come in
// pairs; "Host" and "RemoteAddr" are taken for what they are.
func (k *kit) request(method, target string, header ...string) *http.Request {
	r := httptest.NewRequest(method, target, nil)
	r.Host = k.base.Host
	for pair := range slices.Chunk(header, 2) {
		switch name, value := pair[0], pair[1]; name {
		case "Host":
			r.Host = value
		case "RemoteAddr":
			r.RemoteAddr = value
		default:
			r.Header.Set(name, value)
		}
	}
	return r
}

// serve lets Perch answer a request that was made by hand.
func (k *kit) serve(t testing.TB, r *http.Request) *answer {
	recorder := httptest.NewRecorder()
	k.ServeHTTP(recorder, r)
	response := recorder.Result()
	response.Request = r
	return &answer{Response: response, t: t, body: recorder.Body.String()}
}

// What REQUIREMENTS.md demands of a Content-Security-Policy: one for
// documents, one for everything else.
const (
	documentPolicy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; " +
		"form-action 'self'; base-uri 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types htmx"
	answerPolicy = "default-src 'none'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'"
)

// inspect holds an answer against what every answer must have.
func (k *kit) inspect(r *http.Request, sent *watched) {
	wrong := func(format string, args ...any) {
		k.wrong.add("%s %s %d: %s", r.Method, r.URL.Path, sent.status, fmt.Sprintf(format, args...))
	}
	if sent.status >= 500 && !k.down.Load() {
		wrong("a fault of the server")
	}
	policy := answerPolicy
	if bytes.HasPrefix(sent.begin, []byte("<!doctype html>")) {
		policy = documentPolicy
	}
	for name, want := range map[string]string{
		"Content-Security-Policy":      policy,
		"X-Content-Type-Options":       "nosniff",
		"X-Frame-Options":              "DENY",
		"Referrer-Policy":              "same-origin",
		"Cross-Origin-Opener-Policy":   "same-origin",
		"Cross-Origin-Resource-Policy": "same-origin",
		"Origin-Agent-Cluster":         "?1",
		"Strict-Transport-Security":    map[string]string{"https": "max-age=63072000; includeSubDomains"}[k.base.Scheme],
	} {
		if got := sent.header.Values(name); strings.Join(got, "|") != want {
			wrong("%s is %q, want %q", name, got, want)
		}
	}
	if sent.header.Get("Permissions-Policy") == "" {
		wrong("no Permissions-Policy")
	}
	caching, kept := sent.header.Get("Cache-Control"), "immutable"
	if strings.HasPrefix(r.URL.Path, "/avatar/") {
		kept = "private"
	}
	if r.Method != http.MethodOptions && sent.status != 499 && // which nobody caches, and nobody gets
		caching != "no-store" && !strings.Contains(caching, kept) {
		wrong("Cache-Control is %q", caching)
	}
	for name, values := range sent.header {
		if name == "Server" || name == "X-Powered-By" || strings.HasPrefix(name, "Access-Control-") || strings.Contains(strings.Join(values, " "), "Echo/") {
			wrong("a header that tells or allows too much: %s: %q", name, values)
		}
	}
	if sent.header.Get("Location") != "" && sent.header.Get("Hx-Redirect") != "" {
		wrong("both Location and HX-Redirect")
	}
	names := map[string]bool{}
	for _, c := range sent.cookies() {
		prefix, secure := "perch-", k.base.Scheme == "https"
		if secure {
			prefix = "__Host-perch-"
		}
		if !strings.HasPrefix(c.Name, prefix) || names[c.Name] {
			wrong("cookie %s: of another name, or twice", c.Name)
		}
		names[c.Name] = true
		if !c.HttpOnly || c.SameSite != http.SameSiteLaxMode || c.Path != "/" || c.Domain != "" || c.Secure != secure {
			wrong("attributes of the cookie: %s", c.Raw)
		}
	}
}

// watched is what the kit sees of an answer.
type watched struct {
	http.ResponseWriter
	status int
	header http.Header
	begin  []byte
}

func (w *watched) WriteHeader(status int) {
	w.status, w.header = status, w.Header().Clone()
	w.ResponseWriter.WriteHeader(status)
}

func (w *watched) Write(b []byte) (int, error) {
	if w.status == 0 {
		w.WriteHeader(http.StatusOK)
	}
	if w.begin == nil {
		w.begin = bytes.ToLower(beginning(b, w.header.Get("Content-Encoding")))
	}
	return w.ResponseWriter.Write(b)
}

// beginning returns up to 64 bytes of a body, as they were before they were
// compressed.
func beginning(body []byte, encoding string) []byte {
	plain := io.Reader(bytes.NewReader(body))
	if encoding == "gzip" {
		plain, _ = gzip.NewReader(plain)
	}
	begin, _ := io.ReadAll(io.LimitReader(plain, 64))
	return begin
}

func (w *watched) cookies() []*http.Cookie {
	return (&http.Response{Header: w.header}).Cookies()
}

// findings is what inspect found wrong; the test fails for it at its end.
type findings struct {
	mu  sync.Mutex
	all []string
}

func (f *findings) add(format string, args ...any) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.all) < 20 {
		f.all = append(f.all, fmt.Sprintf(format, args...))
	}
}

// reckon ends a test: nothing wrong was seen, and log and metrics are clean.
func (k *kit) reckon() {
	k.working.Wait()
	k.db.Close()
	for _, finding := range k.wrong.all {
		k.Error(finding)
	}
	for _, event := range k.log.events("internal_error") {
		if !k.down.Load() {
			k.Errorf("the log holds a fault of the server: %v", event)
		}
	}
	text := k.log.text()
	for _, line := range k.log.lines() {
		text += fmt.Sprintln(line) // once more without JSON's escapes
	}
	scrape := k.scrape()
	for secret := range k.secrets.values {
		if strings.Contains(text, secret) {
			k.Errorf("the log holds what it must not: %q", secret)
		}
		if strings.Contains(scrape, secret) {
			k.Errorf("the metrics hold what they must not: %q", secret)
		}
	}
}

// secrets collects what must never be in a log: tokens, verifiers, cookies,
// keys, queries and the provider's words.
type secrets struct {
	mu     sync.Mutex
	values map[string]bool
}

func (s *secrets) add(values ...string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, value := range values {
		if len(value) >= 8 { // less says nothing
			s.values[value] = true
		}
	}
}

// journal keeps the log.
type journal struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (j *journal) Write(b []byte) (int, error) {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.Write(b)
}

func (j *journal) text() string {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.b.String()
}

// lines returns the log's lines, decoded.
func (j *journal) lines() []map[string]any { return j.search("") }

// events returns the lines of one event.
func (j *journal) events(name string) []map[string]any {
	return slices.DeleteFunc(j.search(`"`+name+`"`), func(event map[string]any) bool { return event["msg"] != name })
}

// search decodes the lines that hold a word. A line that is not JSON comes
// back as an event of that name.
func (j *journal) search(word string) []map[string]any {
	var found []map[string]any
	for line := range strings.Lines(j.text()) {
		if !strings.Contains(line, word) {
			continue
		}
		var event map[string]any
		if err := json.Unmarshal([]byte(line), &event); err != nil {
			event = map[string]any{"msg": "not JSON", "line": line}
		}
		found = append(found, event)
	}
	return found
}

// last returns the newest line of an event, nil when there is none.
func (j *journal) last(name string) map[string]any {
	all := j.events(name)
	if len(all) == 0 {
		return nil
	}
	return all[len(all)-1]
}

// clock is a clock that a test can move.
type clock struct {
	mu  sync.Mutex
	now time.Time
}

func (c *clock) Now() time.Time {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.now
}

func (c *clock) advance(d time.Duration) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.now = c.now.Add(d)
}

// wire is the sandbox at the end of a wire that counts the calls, and can be
// cut.
type wire struct {
	base    *url.URL // http://localhost:…: another host name than Perch's
	sandbox *sandbox.Server
	secrets *secrets

	mu     sync.Mutex
	counts map[string]int
	faults map[string]http.HandlerFunc
	over   chan struct{}
}

const (
	requestToken = "/oauth/request_token"
	accessToken  = "/oauth/access_token"
	usersMe      = "/2/users/me"
	verify       = "/1.1/account/verify_credentials.json"
	endToken     = "/1.1/oauth/invalidate_token.json"
)

func newWire(t testing.TB, s *secrets, callback string) *wire {
	server, err := sandbox.New(sandbox.Options{Callbacks: []string{callback}})
	if err != nil {
		t.Fatal(err)
	}
	s.add(server.ConsumerKey(), server.ConsumerSecret())
	w := &wire{sandbox: server, secrets: s, counts: map[string]int{}, faults: map[string]http.HandlerFunc{}, over: make(chan struct{})}
	listening := httptest.NewServer(w)
	t.Cleanup(listening.Close)
	t.Cleanup(func() { close(w.over) })
	if w.base, err = url.Parse(strings.Replace(listening.URL, "127.0.0.1", "localhost", 1)); err != nil {
		t.Fatal(err)
	}
	return w
}

func (w *wire) ServeHTTP(rw http.ResponseWriter, r *http.Request) {
	w.mu.Lock()
	w.counts[r.URL.Path]++
	fault := w.faults[r.URL.Path]
	w.mu.Unlock()
	w.secrets.add(r.Header.Get("Authorization"))
	if fault != nil {
		fault(rw, r)
		return
	}
	w.pass(rw, r)
}

// pass lets the sandbox answer, and notes its secrets.
func (w *wire) pass(rw http.ResponseWriter, r *http.Request) {
	recorder := httptest.NewRecorder()
	w.sandbox.ServeHTTP(recorder, r)
	said, _ := url.ParseQuery(recorder.Body.String())
	sent, _ := url.Parse(recorder.Header().Get("Location"))
	for _, values := range []url.Values{said, sent.Query()} {
		for _, name := range []string{"oauth_token", "oauth_token_secret", "oauth_verifier", "denied"} {
			w.secrets.add(values.Get(name))
		}
	}
	maps.Copy(rw.Header(), recorder.Header())
	rw.WriteHeader(recorder.Code)
	rw.Write(recorder.Body.Bytes())
}

// calls returns how often a path was asked for.
func (w *wire) calls(path string) int {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.counts[path]
}

// fail makes a path answer with a fault from now on; nil mends it.
func (w *wire) fail(path string, fault http.HandlerFunc) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.faults[path] = fault
}

// hang answers nothing until the caller leaves, or the test is over.
func (w *wire) hang(_ http.ResponseWriter, r *http.Request) {
	select {
	case <-r.Context().Done():
	case <-w.over:
	}
}

// hold keeps calls of a path waiting. arrived tells of each; release lets
// them go on, to then.
func (w *wire) hold(path string, then http.HandlerFunc) (arrived <-chan struct{}, release func()) {
	in, out := make(chan struct{}, 16), make(chan struct{})
	w.fail(path, func(rw http.ResponseWriter, r *http.Request) {
		in <- struct{}{}
		select {
		case <-out:
			then(rw, r)
		case <-w.over:
		}
	})
	return in, func() { w.fail(path, nil); close(out) }
}

// browser keeps cookies and follows nothing by itself.
type browser struct {
	http.Client
	k *kit
	t testing.TB
}

func (k *kit) browser(t testing.TB) *browser {
	t.Helper()
	jar, err := cookiejar.New(nil)
	if err != nil {
		t.Fatal(err)
	}
	b := &browser{k: k, t: t}
	b.Jar, b.Timeout = jar, 30*time.Second
	b.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	if k.base.Scheme == "https" {
		b.Transport = withoutNetwork{k}
	}
	return b
}

// withoutNetwork brings requests for Perch straight to it, as a proxy that
// ends TLS would, and all others to the network.
type withoutNetwork struct{ k *kit }

func (w withoutNetwork) RoundTrip(r *http.Request) (*http.Response, error) {
	if r.URL.Host != w.k.base.Host {
		return http.DefaultTransport.RoundTrip(r)
	}
	var body io.Reader
	if r.Body != nil {
		body = r.Body
	}
	arrived := httptest.NewRequest(r.Method, r.URL.String(), body)
	arrived.TLS, arrived.Header, arrived.ContentLength = nil, r.Header, r.ContentLength
	return w.k.serve(w.k, arrived).Response, nil
}

// copied is another browser with the same cookies, on another computer.
func (b *browser) copied() *browser {
	other := b.k.browser(b.t)
	for _, u := range []*url.URL{b.k.base, b.k.twitter.base} {
		for _, c := range b.Jar.Cookies(u) {
			other.Jar.SetCookies(u, []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/"}})
		}
	}
	return other
}

// cookies returns Perch's cookies.
func (b *browser) cookies() []*http.Cookie { return b.Jar.Cookies(b.k.base) }

// cookie returns the value of one of them, "" when there is none.
func (b *browser) cookie(name string) string {
	for _, c := range b.cookies() {
		if strings.TrimPrefix(c.Name, "__Host-") == name {
			return c.Value
		}
	}
	return ""
}

// putBack sets cookies that the browser had before.
func (b *browser) putBack(cookies []*http.Cookie) {
	for _, c := range cookies {
		b.Jar.SetCookies(b.k.base, []*http.Cookie{{Name: c.Name, Value: c.Value, Path: "/"}})
	}
}

// pending returns the cookies of sign-ins on their way.
func (b *browser) pending() []*http.Cookie {
	return slices.DeleteFunc(b.cookies(), func(c *http.Cookie) bool { return !strings.Contains(c.Name, "perch-pending-") })
}

// do makes a request. The target is a path of Perch or a whole URL; headers
// come in pairs.
func (b *browser) do(method, target string, body io.Reader, header ...string) *answer {
	b.t.Helper()
	if strings.HasPrefix(target, "/") {
		target = b.k.base.String() + target
	}
	none := &answer{Response: &http.Response{Header: http.Header{}}, t: b.t}
	r, err := http.NewRequest(method, target, body)
	if err != nil {
		b.t.Errorf("%s %s: %v", method, target, err)
		return none
	}
	for pair := range slices.Chunk(header, 2) {
		r.Header.Set(pair[0], pair[1])
	}
	response, err := b.Do(r)
	if err != nil {
		b.t.Errorf("%s %s: %v", method, target, err)
		return none
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	if err != nil {
		b.t.Errorf("%s %s: %v", method, target, err)
	}
	if bytes.Contains(text, []byte(providersWords)) {
		b.t.Errorf("%s %s: the provider's own words reach the visitor", method, target)
	}
	return &answer{Response: response, t: b.t, body: string(text)}
}

// get goes to a page, as when somebody types or follows a link.
func (b *browser) get(target string, header ...string) *answer {
	b.t.Helper()
	navigation := []string{"Sec-Fetch-Site", "none", "Sec-Fetch-Mode", "navigate", "Sec-Fetch-Dest", "document"}
	return b.do(http.MethodGet, target, nil, append(navigation, header...)...)
}

// submit sends a form of the page.
func (b *browser) submit(target string, form url.Values, header ...string) *answer {
	b.t.Helper()
	sent := []string{"Content-Type", "application/x-www-form-urlencoded", "Sec-Fetch-Site", "same-origin"}
	return b.do(http.MethodPost, target, strings.NewReader(form.Encode()), append(sent, header...)...)
}

// htmx returns the headers that htmx adds on a page.
func (b *browser) htmx(page string) []string {
	return []string{"HX-Request", "true", "HX-Current-URL", b.k.base.String() + page,
		"Sec-Fetch-Site", "same-origin", "Sec-Fetch-Mode", "cors", "Sec-Fetch-Dest", "empty"}
}

// follow goes where an answer sends the browser.
func (b *browser) follow(a *answer) *answer {
	b.t.Helper()
	if a.to() == "" {
		b.t.Errorf("the answer (%d) leads nowhere", a.StatusCode)
	}
	return b.get(a.to())
}

// who tells who is signed in, "@robin" or nobody, and leaves notices alone.
func (b *browser) who() string {
	b.t.Helper()
	return b.get("/header?quiet=1").who()
}

const nobody = ""

// signOut presses the button on a page.
func (b *browser) signOut(page string, header ...string) *answer {
	b.t.Helper()
	return b.submit("/logout", url.Values{"here": {page}}, header...)
}

// signIn does all that it takes, and returns Perch's last word.
func (b *browser) signIn(name string) *answer {
	b.t.Helper()
	return b.get(b.start("next=/").authorize(name))
}

// visit is a sign-in on its way: the browser is at the consent page.
type visit struct {
	b        *browser
	token    string
	action   string
	form     url.Values
	accounts map[string]string // user id, by screen name
}

// start goes to /login, and on to the consent page.
func (b *browser) start(query string) *visit {
	b.t.Helper()
	return b.consent(b.get("/login?" + query))
}

// consent goes from Perch's answer to the consent page, and reads it.
func (b *browser) consent(a *answer) *visit {
	b.t.Helper()
	if !strings.HasPrefix(a.to(), b.k.twitter.base.String()+"/oauth/authenticate?") {
		b.t.Fatalf("the sign-in (%d) does not lead to the consent page: %q", a.StatusCode, a.to())
	}
	page := b.follow(a)
	form := page.document().Find("form#consent")
	v := &visit{b: b, form: url.Values{}, accounts: map[string]string{}}
	form.Find("input[type=hidden]").Each(func(_ int, input *goquery.Selection) {
		v.form.Set(input.AttrOr("name", ""), input.AttrOr("value", ""))
	})
	form.Find("label").Each(func(_ int, label *goquery.Selection) {
		v.accounts[strings.TrimPrefix(label.Find(".handle").Text(), "@")] = label.Find("input").AttrOr("value", "")
	})
	v.token = v.form.Get("oauth_token")
	v.action = b.k.twitter.base.String() + form.AttrOr("action", "")
	return v
}

// authorize chooses an account and says yes. It returns the way back, for the
// test to go.
func (v *visit) authorize(name string) string {
	v.b.t.Helper()
	if v.accounts[name] == "" {
		v.b.t.Fatalf("no account %q on the consent page: %v", name, v.accounts)
	}
	return v.decide("authorize", v.accounts[name])
}

// cancel says no.
func (v *visit) cancel() string {
	v.b.t.Helper()
	return v.decide("cancel", "")
}

func (v *visit) decide(action, account string) string {
	v.b.t.Helper()
	v.form.Set("action", action)
	v.form.Set("account", account)
	a := v.b.submit(v.action, v.form)
	if !strings.HasPrefix(a.to(), v.b.k.callback("")+"?") {
		v.b.t.Fatalf("the consent page (%d) does not lead back: %q", a.StatusCode, a.to())
	}
	return a.to()
}

// answer is an answer, read whole.
type answer struct {
	*http.Response
	t    testing.TB
	body string
}

// to returns where the answer sends the browser.
func (a *answer) to() string {
	return a.Header.Get("Location") + a.Header.Get("HX-Redirect")
}

func (a *answer) document() *goquery.Document {
	a.t.Helper()
	document, err := goquery.NewDocumentFromReader(strings.NewReader(a.body))
	if err != nil {
		a.t.Fatal(err)
	}
	return document
}

// who tells whom the header greets: "@robin", or nobody.
func (a *answer) who() string {
	a.t.Helper()
	hello := strings.Join(strings.Fields(a.document().Find("#header .hello").Text()), " ")
	offered := a.document().Find("#header #sign-in").Length() == 1
	if a.StatusCode != http.StatusOK || offered == (hello != "") {
		a.t.Errorf("no proper header: status %d, greeting %q, sign-in link %v", a.StatusCode, hello, offered)
	}
	return strings.TrimPrefix(hello, "Hello ")
}

// notices returns the notices' sentences.
func (a *answer) notices() []string {
	var all []string
	a.document().Find("#notices .notice > span").Each(func(_ int, span *goquery.Selection) {
		span.Find("a").Remove()
		all = append(all, strings.Join(strings.Fields(span.Text()), " "))
	})
	return all
}

// shows fails unless the header greets who, and says exactly these notices.
func (a *answer) shows(who string, notices ...string) *answer {
	a.t.Helper()
	if got := a.who(); got != who {
		a.t.Errorf("the header greets %q, want %q", got, who)
	}
	if got := a.notices(); !slices.Equal(got, notices) {
		a.t.Errorf("notices are %q, want %q", got, notices)
	}
	return a
}

// leads fails unless the answer is a 303 that leads exactly there, and that
// nobody keeps.
func (a *answer) leads(to string) *answer {
	a.t.Helper()
	got := []string{a.Status, a.Header.Get("Location"), a.Header.Get("Cache-Control")}
	if want := []string{"303 See Other", to, "no-store"}; !reflect.DeepEqual(got, want) {
		a.t.Errorf("answer is %q, want %q", got, want)
	}
	return a
}
