// Package twitter signs people in with Twitter (X), by OAuth 1.0a (RFC 5849).
//
// It is shaped like one of gologin's provider packages and built on gologin's
// oauth1 chain. What it adds is what that chain leaves open: calls that are
// bounded in time and size, errors that say whose turn it is without the
// provider's words, and the identity out of the answer that carries it. To
// bind a sign-in to the browser that asked is left to the handlers between.
package twitter

import (
	"context"
	"crypto/hmac"
	"crypto/sha1"
	"encoding/base64"
	"errors"
	"net/http"
	"net/url"
	"regexp"
	"time"

	"github.com/dghubble/gologin/v2"
	login "github.com/dghubble/gologin/v2/oauth1"
	"github.com/dghubble/oauth1"
)

// Options is what a Provider depends on.
type Options struct {
	ConsumerKey, ConsumerSecret string

	// APIURL is the provider's origin, without a path: https://api.x.com.
	APIURL *url.URL

	// CallbackURL is where the provider sends people back, exactly as it is
	// registered there.
	CallbackURL string

	// Timeout bounds one call to the provider, its body included: 5 s when 0.
	Timeout time.Duration

	// Called is told of each call that was made, when it is over: its name (as
	// in Error, never with a query), the HTTP status (0 without an answer) and
	// Twitter's own code (0 without one). Nobody is told when it is nil.
	Called func(call string, status, code int, took time.Duration)

	Now func() time.Time // time.Now when nil
}

// Provider is Twitter, as seen by one application. It is safe for use by many
// goroutines.
type Provider struct {
	Options
	oauth     oauth1.Config
	transport http.RoundTripper
	calls     chan struct{} // a place for each call under way
	resting   resting
	breaker   breaker // of sign-ins
}

// New returns the Provider for o.
func New(o Options) *Provider {
	if o.Timeout == 0 {
		o.Timeout = 5 * time.Second
	}
	if o.Now == nil {
		o.Now = time.Now
	}
	if o.Called == nil {
		o.Called = func(string, int, int, time.Duration) {}
	}
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.MaxIdleConnsPerHost = maxCalls
	transport.MaxResponseHeaderBytes = maxAnswer
	endpoint := func(path string) string { return o.APIURL.JoinPath(path).String() }
	return &Provider{
		Options: o,
		oauth: oauth1.Config{
			ConsumerKey:    o.ConsumerKey,
			ConsumerSecret: o.ConsumerSecret,
			CallbackURL:    o.CallbackURL,
			Endpoint: oauth1.Endpoint{
				RequestTokenURL: endpoint("/oauth/request_token") + "?x_auth_access_type=read", // all that we need
				AuthorizeURL:    endpoint("/oauth/authenticate"),
				AccessTokenURL:  endpoint("/oauth/access_token"),
			},
			Signer: signer{o.ConsumerSecret},
			Noncer: oauth1.HexNoncer{}, // left nil, every call would set it: a data race
		},
		transport: transport,
		calls:     make(chan struct{}, maxCalls),
	}
}

// signer signs with HMAC-SHA1 (RFC 5849 §3.4.2). Unlike oauth1.HMACSigner it
// encodes the secrets in the key, as the RFC demands.
type signer struct{ consumerSecret string }

func (s signer) Name() string { return "HMAC-SHA1" }

func (s signer) Sign(tokenSecret, message string) (string, error) {
	mac := hmac.New(sha1.New, []byte(oauth1.PercentEncode(s.consumerSecret)+"&"+oauth1.PercentEncode(tokenSecret)))
	mac.Write([]byte(message))
	return base64.StdEncoding.EncodeToString(mac.Sum(nil)), nil
}

// LoginHandler asks the provider for a request token and hands over to
// success, which finds it with oauth1.RequestTokenFromContext. Otherwise
// failure finds an *Error with gologin.ErrorFromContext.
func (p *Provider) LoginHandler(success, failure http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		config := p.config(&guard{Provider: p, visitor: r.Context(), call: "request_token"})
		login.LoginHandler(config, success, typed("request_token", failure)).ServeHTTP(w, r)
	})
}

// Check asks for a request token, exactly as a sign-in does, and lets it lapse.
// The error is an *Error. skew is how far the clock of this machine is ahead of
// the provider's (below 0: behind), in whole seconds and with the time that the
// answer was on its way; 0 when there was no answer, or none with a Date.
func (p *Provider) Check(ctx context.Context) (skew time.Duration, err error) {
	g := &guard{Provider: p, visitor: ctx, call: "request_token"}
	if _, _, err := p.config(g).RequestToken(); err != nil {
		return g.skew, typedError(g.call, err)
	}
	return g.skew, nil
}

// CallbackHandler exchanges the request token that came back for an access
// token. The handler before it must have put the token and its secret into the
// context with oauth1.WithRequestToken, after it made sure that this browser
// asked for it. success finds who signed in with IdentityFromContext, and the
// pair with oauth1.AccessTokenFromContext; failure finds an *Error with
// gologin.ErrorFromContext.
func (p *Provider) CallbackHandler(success, failure http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		g := &guard{Provider: p, visitor: r.Context(), call: "access_token"}
		identified := http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			success.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), identityKey{}, g.identity)))
		})
		login.CallbackHandler(p.config(g), identified, typed("access_token", failure)).ServeHTTP(w, r)
	})
}

// config returns the configuration for one request of one visitor, whose
// calls all go through g.
func (p *Provider) config(g *guard) *oauth1.Config {
	config := p.oauth
	config.HTTPClient = &http.Client{Transport: g}
	return &config
}

// typed makes sure that failure finds an *Error. What else the chain may say
// could quote the provider.
func typed(call string, failure http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		var e *Error
		if !errors.As(gologin.ErrorFromContext(r.Context()), &e) {
			e = &Error{Call: call, Reason: Garbled}
		}
		failure.ServeHTTP(w, r.WithContext(gologin.WithError(r.Context(), e)))
	})
}

type identityKey struct{}

// IdentityFromContext returns who signed in, for the success handler of
// CallbackHandler.
func IdentityFromContext(ctx context.Context) (Identity, error) {
	identity, ok := ctx.Value(identityKey{}).(Identity)
	if !ok || identity == (Identity{}) {
		return Identity{}, errors.New("twitter: context holds no identity")
	}
	return identity, nil
}

// AuthenticateURL returns where to send the visitor to say yes or no to the
// request token. With forceLogin they can choose another account there.
func (p *Provider) AuthenticateURL(requestToken string, forceLogin bool) (string, error) {
	to, err := p.oauth.AuthorizationURL(requestToken)
	if err != nil {
		return "", err
	}
	if forceLogin {
		query := to.Query()
		query.Set("force_login", "true")
		to.RawQuery = query.Encode()
	}
	return to.String(), nil
}

// Callback is what the provider sends the visitor back with: a Token with its
// Verifier, or the request token that was Denied.
type Callback struct {
	Token, Verifier string
	Denied          string
}

// ErrCallback says that a callback is not one that the provider makes.
var ErrCallback = errors.New("twitter: not a callback of the provider")

// maxCallback is how long a callback's query may be, in bytes.
const maxCallback = 2048

// ParseCallback reads a callback strictly: from the query alone, every
// parameter once, 1 to 256 printable ASCII bytes. A denial counts first. The
// error is ErrCallback.
func ParseCallback(r *http.Request) (Callback, error) {
	if r.Method != http.MethodGet || len(r.URL.RawQuery) > maxCallback {
		return Callback{}, ErrCallback
	}
	query, err := url.ParseQuery(r.URL.RawQuery)
	if err != nil {
		return Callback{}, ErrCallback
	}
	one := func(name string) (value string, ok bool) {
		return query.Get(name), len(query[name]) == 1 && opaque.MatchString(query.Get(name))
	}
	if query.Has("denied") {
		token, ok := one("denied")
		if !ok {
			return Callback{}, ErrCallback
		}
		return Callback{Denied: token}, nil
	}
	token, ok := one("oauth_token")
	verifier, okVerifier := one("oauth_verifier")
	if !ok || !okVerifier {
		return Callback{}, ErrCallback
	}
	return Callback{Token: token, Verifier: verifier}, nil
}

// What the provider's values look like; anything else is not from it.
var (
	opaque     = regexp.MustCompile(`^[\x21-\x7e]{1,256}$`)
	userID     = regexp.MustCompile(`^[0-9]{1,20}$`)
	screenName = regexp.MustCompile(`^[A-Za-z0-9_]{1,50}$`)
)
