// Package sandbox is a faithful Twitter for development and tests: sign-in with no account, no keys and no network.
//
// It speaks OAuth 1.0a as strictly as RFC 5849 words it, asks on a consent page of its own which demo account to be, and refuses in X's own shapes and
// codes. A client in any language that signs in here has its signatures, callbacks and errors right. What X keeps to itself, it tells: Calls says in a
// sentence what was wrong with each call, down to the mistake in a signature. Faults go wrong on purpose. Under /_sandbox/ a program has all that in JSON.
//
// It is compiled into the application, and these locks keep it out of production: Listen takes a loopback address only; only requests whose Host is a
// loopback name are answered (421 otherwise, unless Options.AllowRemote says so); unless given some, it mints its own keys, which X does not know; every
// answer carries "X-Perch-Sandbox: true", and every log line begins with "sandbox".
package sandbox

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/netip"
	"net/url"
	"path"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options says what New needs. The zero value is a sandbox that works.
type Options struct {
	// ConsumerKey and ConsumerSecret are the application's "API Key and Secret". With neither, both are minted for this run; only one is an error.
	ConsumerKey, ConsumerSecret string
	// Callbacks are the registered callback URLs, absolute and without fragment; oauth_callback must equal one of them byte for byte, as at X. "oob" is
	// registered like any other, and shows a PIN instead of going anywhere. With none, any http or https URL on loopback is taken, which X does not do.
	Callbacks []string
	// Accounts are the people one can sign in as; DemoAccounts when empty.
	Accounts []Account
	// Now is the server's clock, also seen in its Date header; time.Now when nil.
	Now func() time.Time
	// Log gets one line per call, for pictures and stylesheet at level Debug: what was asked and the verdict, with the reason X would keep to itself; never a
	// token, secret, verifier or signature. Nil discards.
	Log *slog.Logger

	// Seed, when not 0, makes keys, tokens and verifiers the same in every run, for tests that record what they see. Never use it for anything else: who
	// knows the seed knows the secrets.
	Seed int64
	// AutoApprove is the screen name of the account that says yes at once, without a page: for machines without a browser. Empty asks.
	AutoApprove string
	// AllowRemote answers whatever the Host is, not only loopback names. Then anybody who reaches the sandbox can be anybody.
	AllowRemote bool
	// RateLimits refuses, with 429 and code 88, more calls in 15 minutes than X takes for a token. The x-rate-limit headers are there in any case.
	RateLimits bool
	// Faults go wrong from the start, and again after a reset.
	Faults []Fault
}

// Server is one sandbox: an http.Handler with its keys, its accounts and the tokens it gave out, all in memory and bounded. It is safe for concurrent use.
type Server struct {
	opts        Options
	callbacks   map[string]*url.URL // by what the client must send; nil for "oob"
	routes      map[string][]route  // by path
	crossOrigin *http.CrossOriginProtection

	mu sync.Mutex
	state
	watchers map[chan Call]struct{}
}

// state is all that a reset puts back to how it was at the start.
type state struct {
	accounts []Account
	approver string // the ID of the account that says yes at once; empty asks
	requests expiring[*requestToken]
	ended    expiring[string] // why a request token is over, in words
	pairs    map[string]pair  // by account ID; who has one gave consent
	nonces   expiring[struct{}]
	browsers expiring[string] // the account ID of who is signed in there, by the cookie's value
	limits   map[limited]window
	minted   map[string]int // how many secrets of each purpose
	faults   []Fault
	calls    []Call
	lastCall int64
	wrong    diagnoses
}

// New returns a sandbox as opts describe it, or says which option is wrong.
func New(opts Options) (*Server, error) {
	if (opts.ConsumerKey == "") != (opts.ConsumerSecret == "") {
		return nil, errors.New("a consumer key and its secret go together: give both, or neither and the sandbox mints them")
	}
	if len(opts.Accounts) == 0 {
		opts.Accounts = DemoAccounts()
	}
	if opts.Now == nil {
		opts.Now = time.Now
	}
	if opts.Log == nil {
		opts.Log = slog.New(slog.DiscardHandler)
	}

	s := &Server{
		opts:        opts,
		callbacks:   map[string]*url.URL{},
		crossOrigin: http.NewCrossOriginProtection(),
		watchers:    map[chan Call]struct{}{},
	}
	for _, callback := range opts.Callbacks {
		if callback == outOfBand {
			s.callbacks[callback] = nil
			continue
		}
		u, err := url.Parse(callback)
		if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || strings.Contains(callback, "#") {
			return nil, fmt.Errorf("callback %q is neither an absolute URL without a fragment, such as http://127.0.0.1:8080/oauth-authorized, nor oob", callback)
		}
		s.callbacks[callback] = u
	}
	if err := s.Reset(); err != nil {
		return nil, err
	}
	if opts.ConsumerKey == "" {
		s.opts.ConsumerKey, s.opts.ConsumerSecret = "sandbox-"+s.mint("consumer key")[:26], "sandbox-secret-"+s.mint("consumer secret")[:26]
	}
	s.routes = s.table()
	return s, nil
}

// Reset puts everything back to how it was at the start: accounts and faults as they were given, and no token, consent, nonce or call remembered. The keys
// stay, and so do those who watch. The error says which option is wrong, so after New there is none.
func (s *Server) Reset() error {
	s.mu.Lock()
	defer s.mu.Unlock()

	s.state = state{
		requests: newExpiring[*requestToken](requestTokenLife, maxRequestTokens),
		ended:    newExpiring[string](time.Hour, maxEnded),
		pairs:    map[string]pair{},
		nonces:   newExpiring[struct{}](nonceLife, maxNonces),
		browsers: newExpiring[string](browserLife, maxBrowsers),
		limits:   map[limited]window{},
		minted:   map[string]int{},
		lastCall: s.lastCall, // so that nobody who watches takes a new call for an old one
	}
	for _, a := range s.opts.Accounts {
		if err := s.add(a); err != nil {
			return err
		}
	}
	if s.opts.AutoApprove != "" {
		a := s.named(s.opts.AutoApprove)
		if a == nil {
			return fmt.Errorf("nobody here is called %q, who should say yes at once", s.opts.AutoApprove)
		}
		s.approver = a.ID
	}
	for _, f := range s.opts.Faults {
		if err := s.addFault(f); err != nil {
			return err
		}
	}
	return nil
}

// ConsumerKey returns the key a client signs with: the one given, or the one minted for this run ("sandbox-…").
func (s *Server) ConsumerKey() string { return s.opts.ConsumerKey }

// ConsumerSecret returns the secret that belongs to ConsumerKey.
func (s *Server) ConsumerSecret() string { return s.opts.ConsumerSecret }

// Listen opens addr ("localhost:8081"; port 0 picks one) for a sandbox. The host must be exactly localhost, in 127.0.0.0/8, or ::1, and what the name
// resolves to must be loopback too; anything else is an error.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	if !loopback(addr) {
		return nil, fmt.Errorf("%q is not a loopback address such as localhost:8081", addr)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("opening %q: %w", addr, err)
	}
	// The name was right, but a hosts file may send localhost anywhere.
	if a, ok := l.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		l.Close()
		return nil, fmt.Errorf("%q leads to %s, which is not loopback", addr, l.Addr())
	}
	return l, nil
}

// loopback tells whether hostport ("localhost:8081", "[::1]:80") names this computer beyond doubt: look-alikes such as localhost.evil.example,
// 127.0.0.1.nip.io, 0.0.0.0, an empty host or an IPv4 address dressed as IPv6 do not.
func loopback(hostport string) bool {
	host, port, err := net.SplitHostPort(hostport)
	if err != nil {
		return false
	}
	if _, err := strconv.ParseUint(port, 10, 16); err != nil {
		return false
	}
	// Not EqualFold: that one takes "localhoſt" for localhost.
	if strings.ToLower(host) == "localhost" {
		return true
	}
	ip, err := netip.ParseAddr(host)
	return err == nil && ip.IsLoopback() && !ip.Is4In6() && ip.Zone() == ""
}

// handler answers one call, or refuses it with an error (a *refusal; anything else is our own fault). The verdict, a sentence, goes to log and inspector.
type handler func(w http.ResponseWriter, r *http.Request) (verdict string, err error)

// route is one line of the table.
type route struct {
	name    string // for the log; for calls it is the endpoint's
	methods string
	path    string // "*" stands for any one last segment
	handle  handler
}

// isControl tells whether a path is the control API's, which has errors of its own shape.
func isControl(path string) bool { return strings.HasPrefix(path, "/_sandbox/") }

// endpoint is what an application calls, or sends a browser to.
type endpoint struct {
	name, methods, path, says string
	signed                    bool
}

// endpoints are those of X, by the names that calls and faults have for them: what the inspector shows, and what faults befall.
var endpoints = []endpoint{
	{"request_token", "GET, POST", "/oauth/request_token", "step 1: a request token", true},
	{"authenticate", "GET", "/oauth/authenticate", "step 2: the person is asked", false},
	{"authorize", "GET", "/oauth/authorize", "step 2, as well", false},
	{"access_token", "GET, POST", "/oauth/access_token", "step 3: an access token, and who it is", true},
	{"verify_credentials", "GET", "/1.1/account/verify_credentials.json", "the profile", true},
	{"users_me", "GET", "/2/users/me", "the profile, newer", true},
	{"invalidate_token", "POST", "/1.1/oauth/invalidate_token.json", "the end of the access", true},
}

// endpointOf returns the endpoint of that name; false when there is none.
func endpointOf(name string) (endpoint, bool) {
	i := slices.IndexFunc(endpoints, func(e endpoint) bool { return e.name == name })
	if i < 0 {
		return endpoint{}, false
	}
	return endpoints[i], true
}

// Endpoints are the URLs of the sandbox that is at origin, by the names that a Fault knows them by.
func Endpoints(origin string) map[string]string {
	urls := map[string]string{}
	for _, e := range endpoints {
		urls[e.name] = origin + e.path
	}
	return urls
}

// table is the contract: everything this Twitter answers.
func (s *Server) table() map[string][]route {
	byPath := map[string][]route{}
	for _, rt := range append(s.pages(), []route{
		{"request_token", "GET POST", "/oauth/request_token", s.requestToken},
		{"authenticate", "GET HEAD", "/oauth/authenticate", s.ask},
		{"authenticate", "POST", "/oauth/authenticate", s.decide},
		{"authorize", "GET HEAD", "/oauth/authorize", s.ask},
		{"authorize", "POST", "/oauth/authorize", s.decide},
		{"access_token", "GET POST", "/oauth/access_token", s.accessToken},
		{"verify_credentials", "GET", "/1.1/account/verify_credentials.json", s.verifyCredentials},
		{"users_me", "GET", "/2/users/me", s.usersMe},
		{"invalidate_token", "POST", "/1.1/oauth/invalidate_token.json", s.invalidateToken},

		{"apps", "GET HEAD", "/sandbox/apps", s.apps},
		{"apps", "POST", "/sandbox/apps", s.revoke},
		{"stylesheet", "GET HEAD", "/sandbox/sandbox.css", stylesheet},
		{"icon", "GET HEAD", "/sandbox/icon.png", avatar("icon", 64)},
		{"avatar", "GET HEAD", "/sandbox/avatars/*", s.avatar},

		{"control", "GET HEAD", "/_sandbox/", s.controlIndex},
		{"control", "GET HEAD", "/_sandbox/faults", s.controlFaults},
		{"control", "POST", "/_sandbox/faults", s.controlAddFault},
		{"control", "DELETE", "/_sandbox/faults", s.controlClearFaults},
		{"control", "GET HEAD", "/_sandbox/calls", s.controlCalls},
		{"control", "GET HEAD", "/_sandbox/accounts", s.controlAccounts},
		{"control", "POST", "/_sandbox/accounts", s.controlAddAccount},
		{"control", "PATCH", "/_sandbox/accounts/*", s.controlChangeAccount},
		{"control", "DELETE", "/_sandbox/tokens/*", s.controlRevoke},
		{"control", "POST", "/_sandbox/reset", s.controlReset},
	}...) {
		byPath[rt.path] = append(byPath[rt.path], rt)
	}
	return byPath
}

// ServeHTTP answers one request, and logs one line about it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	name, handle := s.find(r)
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)
	if r.URL.Path == "/" || strings.HasPrefix(r.URL.Path, "/sandbox/") || isControl(r.URL.Path) {
		s.servePage(w, r, name, handle)
	} else {
		s.serveCall(w, r, name, handle)
	}
}

// servePage answers what X does not have: pages, pictures, the control API.
func (s *Server) servePage(w http.ResponseWriter, r *http.Request, name string, handle handler) {
	setHeaders(w.Header(), s.opts.Now())
	verdict, err := handle(w, r)
	if err != nil {
		verdict = err.Error()
		answerRefusal(w, r, err)
	}
	level := slog.LevelInfo
	if r.Method == http.MethodGet || r.Method == http.MethodHead {
		level = slog.LevelDebug // pictures, and who only looks, would bury what matters
	}
	s.opts.Log.Log(r.Context(), level, "sandbox "+name, "method", r.Method, "verdict", verdict)
}

// serveCall answers as X does, or as a fault has it, and shows the inspector.
func (s *Server) serveCall(w http.ResponseWriter, r *http.Request, name string, handle handler) {
	began := time.Now()
	t := &trace{Call: Call{At: s.opts.Now(), Method: r.Method}}
	e, known := endpointOf(name)
	if known {
		t.Endpoint, t.faults = name, s.fire(name)
	}
	setHeaders(w.Header(), s.now(t))
	if e.signed {
		w.Header().Set("X-Transaction-Id", strings.ToLower(rand.Text()[:16]))
	}
	r = r.WithContext(context.WithValue(r.Context(), traceKey{}, t))
	seen := &watchedWriter{ResponseWriter: w}

	defer func() { // a fault may break the connection off, by a panic
		t.Status, t.Took = seen.status, time.Since(began)
		t.OK = t.Status >= 200 && t.Status < 400 && t.Fault == ""
		s.complete(t, r)
		s.opts.Log.Info("sandbox "+name, "method", r.Method, "status", t.Status, "code", t.Code, "verdict", t.Verdict)
		s.publish(t.Call)
	}()
	s.serveWithFaults(seen, r, t, func(w http.ResponseWriter) {
		verdict, err := handle(w, r)
		if err != nil {
			verdict = err.Error()
			t.Code = answerRefusal(w, r, err)
		}
		t.Verdict = verdict
	})
}

// setHeaders says what every answer says.
func setHeaders(h http.Header, now time.Time) {
	h.Set("X-Perch-Sandbox", "true")
	h.Set("Date", now.UTC().Format(http.TimeFormat)) // a client whose clock is off can tell by it
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy+"'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	// Request tokens ride in the consent page's URL. Not no-referrer: with that, browsers say "Origin: null" when they post the form.
	h.Set("Referrer-Policy", "same-origin")
}

// find returns what answers r, and its name for the log.
func (s *Server) find(r *http.Request) (string, handler) {
	host := r.Host
	if strings.LastIndexByte(host, ':') <= strings.LastIndexByte(host, ']') {
		host += ":80" // no port was given; the colons of an IPv6 address stand in brackets
	}
	if !s.opts.AllowRemote && !loopback(host) {
		return "refused", refuseWith(errHost)
	}
	routes := s.routes[r.URL.Path]
	if len(routes) == 0 {
		routes = s.routes[path.Dir(r.URL.Path)+"/*"]
	}
	switch {
	case len(routes) == 0 && isControl(r.URL.Path):
		return "refused", refuseWith(refuseOrder(http.StatusNotFound, "nothing is at this path; GET /_sandbox/ says what there is"))
	case len(routes) == 0:
		return "refused", refuseWith(errPage)
	}
	var allowed []string
	for _, rt := range routes {
		methods := strings.Fields(rt.methods)
		if slices.Contains(methods, r.Method) {
			return rt.name, rt.handle
		}
		allowed = append(allowed, methods...)
	}
	err := errMethod(allowed)
	if isControl(r.URL.Path) {
		err = refuseOrder(err.status, "this path takes "+strings.Join(allowed, " or ")+" only")
		err.allow = strings.Join(allowed, ", ")
	}
	return routes[0].name, refuseWith(err)
}

// now is the time as the client of this request is told it: a fault may have it wrong.
func (s *Server) now(t *trace) time.Time { return s.opts.Now().Add(t.skew()) }
