package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
)

// requestToken is step 1 (RFC 5849 §2.1): an application wants to send somebody over.
func (s *Server) requestToken(w http.ResponseWriter, r *http.Request) (string, error) {
	c, err := s.verify(r, func(token string) (string, error) {
		if token != "" {
			return "", errBadData("oauth_token was given to request_token, which hands one out.")
		}
		return "", nil
	})
	if err != nil {
		return "", err
	}
	callback, err := s.registered(c.oauth["oauth_callback"])
	if err != nil {
		return "", err
	}

	t := &requestToken{callback: callback}
	if c.value("x_auth_access_type") == "read" {
		t.access = readOnly
	}
	s.mu.Lock()
	token := s.mint("request token")[:32]
	t.secret = s.mint("request token secret")[:32]
	s.requests.put(s.opts.Now(), token, t)
	s.mu.Unlock()
	answer(w, http.StatusOK, kindHTML, fmt.Sprintf("oauth_token=%s&oauth_token_secret=%s&oauth_callback_confirmed=true", token, t.secret))
	return "A request token was given, with " + t.access.String() + " access, for " + quoted(c.oauth["oauth_callback"]) + ".", nil
}

// registered returns the URL of a callback that is registered, nil for out of band; or says that it is not.
func (s *Server) registered(callback string) (*url.URL, error) {
	if u, ok := s.callbacks[callback]; ok {
		return u, nil
	}
	if _, oob := s.callbacks[outOfBand]; oob && len(s.callbacks) == 1 && callback != "" {
		return nil, errDesktop
	}
	u, err := url.Parse(callback)
	if len(s.callbacks) == 0 && err == nil && (u.Scheme == "http" || u.Scheme == "https") && u.User == nil && !strings.Contains(callback, "#") &&
		loopbackHost(u.Hostname()) {
		return u, nil
	}

	switch unescaped, _ := url.PathUnescape(callback); {
	case callback == "":
		return nil, errCallback.because("oauth_callback is missing.")
	case len(s.callbacks) == 0:
		return nil, errCallback.because("oauth_callback is " + quoted(callback) + "; as none is registered, any http or https URL on loopback is taken, and no other.")
	case unescaped != callback && slices.Contains(s.opts.Callbacks, unescaped):
		return nil, errCallback.because("oauth_callback is percent-encoded once too often: it came as " + quoted(callback) + ".")
	default:
		return nil, errCallback.because("oauth_callback is " + quoted(callback) + ", which is not registered: " + list(s.opts.Callbacks) + ".")
	}
}

// quoted is something that was sent, fit for a sentence: as it is, unless that would mislead.
func quoted(s string) string {
	s = cut(s, 200)
	if s == "" || strings.ContainsFunc(s, func(r rune) bool { return r <= ' ' || r > '~' && r != '…' || r == '"' }) {
		return strconv.Quote(s)
	}
	return s
}

// list says which callbacks are registered, not all of them when they are many.
func list(callbacks []string) string {
	verb := " is"
	if len(callbacks) > 1 {
		verb = " are"
	}
	names := make([]string, 0, 10)
	for _, callback := range callbacks[:min(len(callbacks), 10)] {
		names = append(names, quoted(callback))
	}
	return strings.Join(names, ", ") + verb
}

// loopbackHost tells whether host, without port or brackets, names this computer; see loopback.
func loopbackHost(host string) bool { return loopback(net.JoinHostPort(host, "80")) }

// accessToken is step 3 (RFC 5849 §2.3): the application is back with a request token that somebody approved, and learns who.
func (s *Server) accessToken(w http.ResponseWriter, r *http.Request) (string, error) {
	c, err := s.verify(r, s.requestSecret)
	if err != nil {
		return "", err
	}
	a, p, err := s.exchange(c.oauth["oauth_token"], c.oauth["oauth_verifier"])
	if err != nil {
		return "", err
	}
	w.Header().Set("X-Access-Level", p.access.String())
	answer(w, http.StatusOK, kindHTML,
		fmt.Sprintf("oauth_token=%s&oauth_token_secret=%s&user_id=%s&screen_name=%s", p.token, p.secret, a.ID, a.ScreenName))
	return "The request token was exchanged for the access token of @" + a.ScreenName + ".", nil
}

// requestSecret returns the secret of a request token that is still good.
func (s *Server) requestSecret(token string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if token == "" {
		return "", errNoRequestToken
	}
	now := s.opts.Now()
	if t, ok := s.requests.get(now, token); ok {
		return t.secret, nil
	}
	if _, _, ok := s.holder(token); ok {
		return "", errNotRequestToken
	}
	if end, ok := s.ended.get(now, token); ok {
		return "", errToken("The request token is over: " + end + ".")
	}
	return "", errToken("The request token is unknown here, or more than ten minutes old.")
}

// exchange turns an approved request token into its account's access token; it works once. A wrong verifier fails and burns nothing.
func (s *Server) exchange(token, verifier string) (Account, pair, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	t, ok := s.requests.get(s.opts.Now(), token)
	switch {
	case !ok: // another call with the same token was faster
		return Account{}, pair{}, errToken("The request token is over: it was exchanged a moment ago.")
	case t.account == "":
		return Account{}, pair{}, errVerifier.because("Nobody has approved this request token yet.")
	case verifier == "":
		return Account{}, pair{}, errVerifier.because("oauth_verifier is missing.")
	case !hmac.Equal([]byte(verifier), []byte(t.verifier)):
		return Account{}, pair{}, errVerifier
	}
	a := *s.account(t.account)
	if err := a.trouble(); err != nil {
		return Account{}, pair{}, err
	}
	s.end(token, "it was exchanged before")
	p, ok := s.pairs[a.ID]
	if !ok {
		return Account{}, pair{}, errToken("The access was taken away again after the request token was approved.")
	}
	return a, p, nil
}

// end lets a request token go, and keeps in mind why. Call it with mu held.
func (s *Server) end(token, why string) {
	s.requests.drop(token)
	s.ended.put(s.opts.Now(), token, why)
}

// trouble is what X says of an account that it does not let on.
func (a Account) trouble() error {
	switch a.State {
	case "locked":
		return errLocked.because("@" + a.ScreenName + " is locked.")
	case "suspended":
		return errSuspended.because("@" + a.ScreenName + " is suspended.")
	}
	return nil
}

// call is a request whose signature was right.
type call struct {
	params []param
	oauth  map[string]string // the oauth_ parameters among them
}

// value returns the first parameter of that name, or "".
func (c call) value(name string) string {
	i := slices.IndexFunc(c.params, func(p param) bool { return p.name == name })
	if i < 0 {
		return ""
	}
	return c.params[i].value
}

// verify proves who signed r (RFC 5849 §3.2): our consumer, and with it the holder of the token whose secret secretOf knows. secretOf gets "" when there is
// no token, and refuses what it does not know.
func (s *Server) verify(r *http.Request, secretOf func(token string) (string, error)) (call, error) {
	t := traceOf(r)
	from, err := sources(r)
	if err != nil {
		return call{}, err
	}
	s.note(t, r, from)
	all := slices.Concat(from...)
	from = withoutRepeats(from)
	oauth, err := protocol(from)
	if err != nil {
		return call{}, err
	}
	sent, err := s.plausible(oauth, s.now(t).Unix())
	if err != nil {
		return call{}, err
	}
	secret, err := secretOf(oauth["oauth_token"])
	if err != nil {
		return call{}, err
	}
	fits := func(params []param) bool {
		want := sign(baseString(scheme(r), r, params), s.opts.ConsumerSecret, secret)
		return hmac.Equal([]byte(oauth["oauth_signature"]), []byte(want))
	}
	c := call{all, oauth} // with the repeats, if the client signed them (RFC 5849 §3.4.1.3.1)
	fit := fits(all)
	if once := slices.Concat(from...); !fit && len(once) < len(all) {
		c.params, fit = once, fits(once)
		s.note(t, r, from)
	}
	if !fit {
		var why string
		why, t.Received = s.diagnose(r, from, oauth, secret)
		return call{}, errUnauthorized("The signature does not match: " + why + ".")
	}
	// Last, so that only who holds the keys makes us remember something.
	if !s.fresh(oauth["oauth_token"], oauth["oauth_nonce"], sent) {
		return call{}, errUnauthorized("oauth_nonce was used before, with this token and in this second.")
	}
	return c, nil
}

// withoutRepeats drops oauth_ parameters that say again, in another place, what one before them says: X's parser takes them, and counts them once. So
// twitter-api-v2 sends oauth_token to access_token.
func withoutRepeats(from [][]param) [][]param {
	said := map[param]int{}
	once := make([][]param, len(from))
	for i, params := range from {
		for _, p := range params {
			if before, again := said[p]; again && before != i && strings.HasPrefix(p.name, "oauth_") {
				continue
			}
			said[p] = i
			once[i] = append(once[i], p)
		}
	}
	return once
}

// protocol collects the oauth_ parameters: each at most once, and all in one place (RFC 5849 §3.5). Callback and verifier may stand elsewhere, because X's
// own examples of access_token put them into body or query beside a signed header.
func protocol(from [][]param) (map[string]string, error) {
	oauth, place := map[string]string{}, -1
	for i, params := range from {
		for _, p := range params {
			if !strings.HasPrefix(p.name, "oauth_") {
				continue
			}
			if _, twice := oauth[p.name]; twice {
				return nil, errBadData("The parameter " + quoted(p.name) + " is there twice.")
			}
			oauth[p.name] = p.value
			if p.name == "oauth_callback" || p.name == "oauth_verifier" {
				continue
			}
			if place >= 0 && place != i {
				return nil, errBadData("There are oauth_ parameters in " + places[place] + " and " + places[i] + "; they belong into one place.")
			}
			place = i
		}
	}
	return oauth, nil
}

// plausible checks all that needs no secret, and returns the time of sending (RFC 5849 §3.1, §3.3).
func (s *Server) plausible(oauth map[string]string, now int64) (sent int64, err error) {
	for _, name := range []string{"oauth_consumer_key", "oauth_signature_method", "oauth_signature", "oauth_timestamp", "oauth_nonce"} {
		if oauth[name] == "" && len(oauth) == 0 {
			return 0, errBadData("Nothing is signed: there is no OAuth in the Authorization header, and no oauth_ parameter in query or form.")
		}
		if oauth[name] == "" {
			return 0, errBadData(name + " is missing.")
		}
	}
	if v, ok := oauth["oauth_version"]; ok && v != "1.0" {
		return 0, errBadData("oauth_version is " + quoted(v) + "; it is 1.0, or left out.")
	}
	if method := oauth["oauth_signature_method"]; method != "HMAC-SHA1" {
		return 0, errUnauthorized("oauth_signature_method is " + quoted(method) + "; X takes HMAC-SHA1 only.")
	}
	if len(oauth["oauth_nonce"]) > 256 {
		return 0, errBadData("oauth_nonce is longer than 256 bytes.")
	}
	unsigned, err := strconv.ParseUint(oauth["oauth_timestamp"], 10, 63) // no sign, and room for the subtraction
	if err != nil {
		return 0, errBadData("oauth_timestamp is not a whole number of seconds since 1970.")
	}
	sent = int64(unsigned)
	switch off := now - sent; {
	case off < -100*now: // a thousand times now
		return 0, errClock("oauth_timestamp counts milliseconds, or less; seconds are wanted.")
	case off > clockWindow:
		return 0, errClock(fmt.Sprintf("The client's clock is %d s behind; X takes 300 s.", off))
	case off < -clockWindow:
		return 0, errClock(fmt.Sprintf("The client's clock is %d s ahead; X takes 300 s.", -off))
	}
	if oauth["oauth_consumer_key"] != s.opts.ConsumerKey {
		return 0, errUnauthorized("oauth_consumer_key is not this sandbox's, which begins with " + quoted(s.opts.ConsumerKey[:min(12, len(s.opts.ConsumerKey))]) + ".")
	}
	return sent, nil
}

// fresh remembers a nonce, and tells whether it was new for this token and second (RFC 5849 §3.3).
func (s *Server) fresh(token, nonce string, sent int64) bool {
	key := sha256.Sum256(fmt.Appendf(nil, "%s %d %s", token, sent, nonce)) // of one size, whatever is sent
	s.mu.Lock()
	defer s.mu.Unlock()

	now := s.opts.Now()
	if _, used := s.nonces.get(now, string(key[:])); used {
		return false
	}
	s.nonces.put(now, string(key[:]), struct{}{})
	return true
}
