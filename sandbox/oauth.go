package sandbox

import (
	"crypto/hmac"
	"crypto/sha256"
	"fmt"
	"net/http"
	"slices"
	"strconv"
	"strings"
)

// requestToken is step 1 (RFC 5849 §2.1): an application wants to send somebody over.
func (s *Server) requestToken(w http.ResponseWriter, r *http.Request) (string, error) {
	c, err := s.verify(r, func(token string) (string, error) {
		if token != "" {
			return "", errBadData("oauth_token given to request_token")
		}
		return "", nil
	})
	if err != nil {
		return "", err
	}
	callback, ok := s.callbacks[c.oauth["oauth_callback"]]
	if !ok {
		return "", errCallback
	}

	token, t := random(32), &requestToken{secret: random(32), callback: callback}
	s.mu.Lock()
	s.requests.put(s.opts.Now(), token, t)
	s.mu.Unlock()
	answer(w, http.StatusOK, kindHTML, fmt.Sprintf("oauth_token=%s&oauth_token_secret=%s&oauth_callback_confirmed=true", token, t.secret))
	return "given", nil
}

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
	answer(w, http.StatusOK, kindHTML,
		fmt.Sprintf("oauth_token=%s&oauth_token_secret=%s&user_id=%s&screen_name=%s", p.token, p.secret, a.ID, a.ScreenName))
	return "exchanged", nil
}

// requestSecret returns the secret of a request token that is still good.
func (s *Server) requestSecret(token string) (string, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	if token == "" {
		return "", errNoRequestToken
	}
	if t, ok := s.requests.get(s.opts.Now(), token); ok {
		return t.secret, nil
	}
	if _, _, ok := s.holder(token); ok {
		return "", errNotRequestToken
	}
	return "", errToken("request token unknown, used or expired")
}

// exchange turns an approved request token into its account's access token; it works once. A wrong verifier fails and burns nothing.
func (s *Server) exchange(token, verifier string) (Account, pair, error) {
	s.mu.Lock()
	defer s.mu.Unlock()

	t, ok := s.requests.get(s.opts.Now(), token)
	if !ok { // another call with the same token was faster
		return Account{}, pair{}, errToken("request token used")
	}
	if t.account == "" || !hmac.Equal([]byte(verifier), []byte(t.verifier)) {
		return Account{}, pair{}, errVerifier
	}
	s.requests.drop(token)
	return *s.account(t.account), s.pairFor(t.account), nil
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
	from, err := sources(r)
	if err != nil {
		return call{}, err
	}
	oauth, err := protocol(from)
	if err != nil {
		return call{}, err
	}
	sent, err := s.plausible(oauth)
	if err != nil {
		return call{}, err
	}
	secret, err := secretOf(oauth["oauth_token"])
	if err != nil {
		return call{}, err
	}
	c := call{slices.Concat(from...), oauth}
	want := sign(baseString("http", r, c.params), s.opts.ConsumerSecret, secret)
	if !hmac.Equal([]byte(oauth["oauth_signature"]), []byte(want)) {
		return call{}, errUnauthorized("oauth_signature does not match")
	}
	// Last, so that only who holds the keys makes us remember something.
	if !s.fresh(oauth["oauth_token"], oauth["oauth_nonce"], sent) {
		return call{}, errUnauthorized("oauth_nonce used before")
	}
	return c, nil
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
				return nil, errBadData("an oauth_ parameter is repeated")
			}
			oauth[p.name] = p.value
			if p.name == "oauth_callback" || p.name == "oauth_verifier" {
				continue
			}
			if place >= 0 && place != i {
				return nil, errBadData("oauth_ parameters in more than one place")
			}
			place = i
		}
	}
	return oauth, nil
}

// plausible checks all that needs no secret, and returns the time of sending (RFC 5849 §3.1, §3.3).
func (s *Server) plausible(oauth map[string]string) (sent int64, err error) {
	for _, name := range []string{"oauth_consumer_key", "oauth_signature_method", "oauth_signature", "oauth_timestamp", "oauth_nonce"} {
		if oauth[name] == "" {
			return 0, errBadData(name + " is missing")
		}
	}
	if v, ok := oauth["oauth_version"]; ok && v != "1.0" {
		return 0, errBadData("oauth_version is not 1.0")
	}
	if oauth["oauth_signature_method"] != "HMAC-SHA1" {
		return 0, errUnauthorized("oauth_signature_method is not HMAC-SHA1")
	}
	if len(oauth["oauth_nonce"]) > 256 {
		return 0, errBadData("oauth_nonce is longer than 256 bytes")
	}
	unsigned, err := strconv.ParseUint(oauth["oauth_timestamp"], 10, 63) // no sign, and room for the subtraction
	if err != nil {
		return 0, errBadData("oauth_timestamp is not a number")
	}
	sent = int64(unsigned)
	if off := s.opts.Now().Unix() - sent; off > clockWindow || off < -clockWindow {
		return 0, errClock("oauth_timestamp is off by more than 300 s")
	}
	if oauth["oauth_consumer_key"] != s.opts.ConsumerKey {
		return 0, errUnauthorized("oauth_consumer_key is not this sandbox's")
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
