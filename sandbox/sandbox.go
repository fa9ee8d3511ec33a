// Package sandbox is a faithful Twitter for development and tests: sign-in with no account, no keys and no network.
//
// It speaks OAuth 1.0a as strictly as RFC 5849 words it, asks on a consent page of its own which demo account to be, and refuses in X's own shapes and
// codes. A client in any language that signs in here has its signatures, callbacks and errors right.
//
// It is compiled into the application, and these locks keep it out of production: Listen takes a loopback address only; only requests whose Host is a
// loopback name are answered (421 otherwise); unless given some, it mints its own keys, which X does not know; every answer carries
// "X-Perch-Sandbox: true", and every log line begins with "sandbox".
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
	"regexp"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"
)

// Options says what New needs. Only Callbacks has no default.
type Options struct {
	// ConsumerKey and ConsumerSecret are the application's "API Key and Secret". With neither, both are minted for this run; only one is an error.
	ConsumerKey, ConsumerSecret string
	// Callbacks are the registered callback URLs, at least one: absolute, without fragment. oauth_callback must equal one of them byte for byte, as at X.
	Callbacks []string
	// Accounts are the people one can sign in as; DemoAccounts when empty.
	Accounts []Account
	// Now is the server's clock, also seen in its Date header; time.Now when nil.
	Now func() time.Time
	// Log gets one line per call, for pictures and stylesheet at level Debug: what was asked and the verdict, with the reason X would keep to itself; never a
	// token, secret, verifier or signature. Nil discards.
	Log *slog.Logger
}

// Account is a person at this Twitter.
type Account struct {
	ID         string // user_id: a 64-bit number in decimal; never changes
	ScreenName string // the @handle without "@": [A-Za-z0-9_], at most 15 (X's limit); may change and be re-used
	Name       string // what is displayed: any text of 1 to 50 characters
}

// DemoAccounts returns people who between them try a page's nerves: names that are long, foreign, right to left, or look like markup, and identifiers no
// JavaScript number holds.
func DemoAccounts() []Account {
	return []Account{
		{ID: "2244994945", ScreenName: "robin", Name: "Robin Perch"},
		{ID: "12", ScreenName: "jenny_wren", Name: `Jenny "Wren" & <Co>`},
		{ID: "1700000000000000003", ScreenName: "goldcrest_wings", Name: "Wilhelmina Featherstonehaugh-Goldcrest of Greatham"},
		{ID: "1700000000000000004", ScreenName: "suzume", Name: "雀 すずめ"},
		{ID: "18446744073709551615", ScreenName: "Bulbul", Name: "بلبل"},
	}
}

// Server is one sandbox: an http.Handler with its keys, its accounts and the tokens it gave out, all in memory and bounded. It is safe for concurrent use.
type Server struct {
	opts        Options
	callbacks   map[string]*url.URL // by what the client must send
	routes      map[string][]route  // by path
	crossOrigin *http.CrossOriginProtection

	mu       sync.Mutex
	accounts []Account
	requests expiring[*requestToken]
	pairs    map[string]pair // by account ID
	nonces   expiring[struct{}]
}

// New returns a sandbox as opts describe it, or says which option is wrong.
func New(opts Options) (*Server, error) {
	if (opts.ConsumerKey == "") != (opts.ConsumerSecret == "") {
		return nil, errors.New("a consumer key and its secret go together: give both, or neither and the sandbox mints them")
	}
	if opts.ConsumerKey == "" {
		opts.ConsumerKey, opts.ConsumerSecret = "sandbox-"+rand.Text(), "sandbox-secret-"+rand.Text()
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
		requests:    newExpiring[*requestToken](requestTokenLife, maxRequestTokens),
		pairs:       map[string]pair{},
		nonces:      newExpiring[struct{}](nonceLife, maxNonces),
	}
	if len(opts.Callbacks) == 0 {
		return nil, errors.New("the sandbox needs at least one callback URL")
	}
	for _, callback := range opts.Callbacks {
		u, err := url.Parse(callback)
		if err != nil || u.Scheme == "" || u.Host == "" || u.User != nil || strings.Contains(callback, "#") {
			return nil, fmt.Errorf("callback %q is not an absolute URL without a fragment, such as http://127.0.0.1:8080/oauth-authorized", callback)
		}
		s.callbacks[callback] = u
	}
	for _, a := range opts.Accounts {
		if err := s.add(a); err != nil {
			return nil, err
		}
	}
	s.routes = s.table()
	return s, nil
}

var (
	accountID  = regexp.MustCompile(`^[1-9][0-9]{0,19}$`)
	screenName = regexp.MustCompile(`^[A-Za-z0-9_]{1,15}$`)
)

// add takes in an account that could exist at X, and is not here yet.
func (s *Server) add(a Account) error {
	switch n := len([]rune(a.Name)); {
	case !accountID.MatchString(a.ID):
		return fmt.Errorf("account ID %q is not a number of 1 to 20 digits", a.ID)
	case !screenName.MatchString(a.ScreenName):
		return fmt.Errorf("screen name %q is not 1 to 15 of A-Z, a-z, 0-9 and _", a.ScreenName)
	case n < 1 || n > 50:
		return fmt.Errorf("name %q has %d characters, not 1 to 50", a.Name, n)
	case s.account(a.ID) != nil:
		return fmt.Errorf("there are two accounts with ID %q", a.ID)
	}
	s.accounts = append(s.accounts, a)
	return nil
}

// account finds one by ID; nil when there is none. Call it with mu held.
func (s *Server) account(id string) *Account {
	i := slices.IndexFunc(s.accounts, func(a Account) bool { return a.ID == id })
	if i < 0 {
		return nil
	}
	return &s.accounts[i]
}

// ConsumerKey returns the key a client signs with: the one given, or the one minted for this run ("sandbox-…").
func (s *Server) ConsumerKey() string { return s.opts.ConsumerKey }

// ConsumerSecret returns the secret that belongs to ConsumerKey.
func (s *Server) ConsumerSecret() string { return s.opts.ConsumerSecret }

// Rename gives the account with this ID another screen name, as people at X do; the ID and the tokens stay. The name may be one that another account had.
func (s *Server) Rename(id, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()

	a := s.account(id)
	if a == nil {
		return fmt.Errorf("renaming account %q: there is none", id)
	}
	if !screenName.MatchString(name) {
		return fmt.Errorf("renaming account %q: %q is not 1 to 15 of A-Z, a-z, 0-9 and _", id, name)
	}
	a.ScreenName = name
	return nil
}

// Revoke ends the access token of the account with this ID, as a person does under "Connected apps": it then answers 401 with code 89, and the next sign-in
// brings a new pair. It is fine when there was none.
func (s *Server) Revoke(id string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.pairs, id)
}

// Listen opens addr ("localhost:8081"; port 0 picks one) for a sandbox. The host must be exactly localhost, in 127.0.0.0/8, or ::1, and what the name
// resolves to must be loopback too; anything else is an error that names SANDBOX_ADDR.
func Listen(ctx context.Context, addr string) (net.Listener, error) {
	if !loopback(addr) {
		return nil, fmt.Errorf("SANDBOX_ADDR must be a loopback address such as localhost:8081, not %q", addr)
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", addr)
	if err != nil {
		return nil, fmt.Errorf("opening SANDBOX_ADDR %q: %w", addr, err)
	}
	// The name was right, but a hosts file may send localhost anywhere.
	if a, ok := l.Addr().(*net.TCPAddr); !ok || !a.IP.IsLoopback() {
		l.Close()
		return nil, fmt.Errorf("SANDBOX_ADDR %q leads to %s, which is not loopback", addr, l.Addr())
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

// handler answers one call, or refuses it with an error (a *refusal; anything else is our own fault). The verdict goes to the log.
type handler func(w http.ResponseWriter, r *http.Request) (verdict string, err error)

// route is one line of the table.
type route struct {
	name    string // for the log
	methods string
	path    string
	handle  handler
}

// table is the contract: everything this Twitter answers.
func (s *Server) table() map[string][]route {
	all := []route{
		{"request_token", "GET POST", "/oauth/request_token", s.requestToken},
		{"authenticate", "GET HEAD", "/oauth/authenticate", s.ask},
		{"authenticate", "POST", "/oauth/authenticate", s.decide},
		{"authorize", "GET HEAD", "/oauth/authorize", s.ask},
		{"authorize", "POST", "/oauth/authorize", s.decide},
		{"access_token", "GET POST", "/oauth/access_token", s.accessToken},
		{"verify_credentials", "GET", "/1.1/account/verify_credentials.json", s.verifyCredentials},
		{"users/me", "GET", "/2/users/me", s.usersMe},
		{"invalidate_token", "POST", "/1.1/oauth/invalidate_token.json", s.invalidateToken},
		{"apps", "GET HEAD", "/sandbox/apps", s.apps},
		{"apps", "POST", "/sandbox/apps", s.revoke},
		{"stylesheet", "GET HEAD", "/sandbox/consent.css", stylesheet},
		{"icon", "GET HEAD", "/sandbox/icon.png", avatar("icon", 64)},
	}
	for _, a := range s.accounts {
		for suffix, size := range avatarSizes {
			all = append(all, route{"avatar", "GET HEAD", avatarPath(a.ID, suffix), avatar(a.ID, size)})
		}
	}

	byPath := map[string][]route{}
	for _, rt := range all {
		byPath[rt.path] = append(byPath[rt.path], rt)
	}
	return byPath
}

// ServeHTTP answers one call, and logs one line about it.
func (s *Server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	h := w.Header()
	h.Set("X-Perch-Sandbox", "true")
	h.Set("Date", s.opts.Now().UTC().Format(http.TimeFormat)) // a client whose clock is off can tell by it
	h.Set("Cache-Control", "no-store")
	h.Set("Content-Security-Policy", policy+"'none'")
	h.Set("X-Content-Type-Options", "nosniff")
	h.Set("X-Frame-Options", "DENY")
	// Request tokens ride in the consent page's URL. Not no-referrer: with that, browsers say "Origin: null" when they post the form.
	h.Set("Referrer-Policy", "same-origin")
	r.Body = http.MaxBytesReader(w, r.Body, maxBody)

	name, handle := s.find(r)
	verdict, err := handle(w, r)
	if err != nil {
		verdict = err.Error()
		answerRefusal(w, r, err)
	}
	level := slog.LevelInfo
	if strings.HasPrefix(r.URL.Path, "/sandbox/") && name != "apps" {
		level = slog.LevelDebug // a page's pictures would bury what matters
	}
	s.opts.Log.Log(r.Context(), level, "sandbox "+name, "method", r.Method, "verdict", verdict)
}

// find returns what answers r, and its name for the log.
func (s *Server) find(r *http.Request) (string, handler) {
	host := r.Host
	if strings.LastIndexByte(host, ':') <= strings.LastIndexByte(host, ']') {
		host += ":80" // no port was given; the colons of an IPv6 address stand in brackets
	}
	if !loopback(host) {
		return "refused", refuseWith(errHost)
	}
	routes := s.routes[r.URL.Path]
	if len(routes) == 0 {
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
	return routes[0].name, refuseWith(errMethod(allowed))
}
