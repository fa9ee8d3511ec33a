package sandbox

import (
	"crypto/hmac"
	"crypto/sha1"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"net/http"
	"net/url"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// slip is a client's mistake: in the base string, in the key, or in how the signature is written. Nil is right.
type slip struct {
	base  func(string) string
	key   func(consumerSecret, token, tokenSecret string) string
	write func(digest []byte, base, key string) string
}

// slipped is q with a signature made by mistake.
func (k *kit) slipped(t testing.TB, q signed, m slip) *http.Request {
	t.Helper()
	q.oauth = with(q.oauth, "oauth_signature", "SIGNATURE")
	r := k.request(t, q)
	from, err := sources(r)
	if err != nil {
		t.Fatal(err)
	}
	base := baseString("http", r, slices.Concat(from...))
	if m.base != nil {
		base = m.base(base)
	}
	key := encode(k.ConsumerSecret()) + "&" + encode(q.tokenSecret)
	if m.key != nil {
		key = m.key(k.ConsumerSecret(), q.oauth["oauth_token"], q.tokenSecret)
	}
	mac := hmac.New(sha1.New, []byte(key))
	mac.Write([]byte(base))
	signature := base64.StdEncoding.EncodeToString(mac.Sum(nil))
	if m.write != nil {
		signature = m.write(mac.Sum(nil), base, key)
	}
	r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "SIGNATURE", encode(signature), 1))
	r.URL.RawQuery = strings.Replace(r.URL.RawQuery, "SIGNATURE", encode(signature), 1)
	return r
}

// last is the newest call.
func (k *kit) last(t testing.TB) Call {
	t.Helper()
	calls := k.Calls()
	if len(calls) == 0 {
		t.Fatal("there are no calls")
	}
	return calls[len(calls)-1]
}

// TestDiagnosis: what a client did wrong is found out by its signature, and said; X's answer says nothing of it.
func TestDiagnosis(t *testing.T) {
	replace := func(old, new string) func(string) string {
		return func(base string) string { return strings.ReplaceAll(base, old, new) }
	}
	without := func(pattern string) func(string) string {
		re := regexp.MustCompile(pattern)
		return func(base string) string { return re.ReplaceAllString(base, "") }
	}
	lower := func(base string) string {
		return regexp.MustCompile(`%[0-9A-F]{2}`).ReplaceAllStringFunc(base, strings.ToLower)
	}
	params := func(edit func([]string) []string) func(string) string {
		return func(base string) string {
			parts := strings.SplitN(base, "&", 3)
			parts[2] = strings.Join(edit(strings.Split(parts[2], "%26")), "%26")
			return strings.Join(parts, "&")
		}
	}
	oncemore := func(base string) string { // the last part is not encoded as a whole
		i := strings.LastIndexByte(base, '&')
		plain, err := url.PathUnescape(base[i+1:])
		if err != nil {
			t.Fatal(err)
		}
		return base[:i+1] + plain
	}
	rotate := func(all []string) []string { return append(slices.Clone(all[1:]), all[0]) }
	rotateBack := func(all []string) []string { return append(all[len(all)-1:], all[:len(all)-1]...) }
	sumOf := func(spell func([]byte) string) func([]byte, string, string) string {
		return func(digest []byte, _, _ string) string { return spell(digest) }
	}
	const tricky = "?q=r%20b!*&w=~&e=&d=1&d=2&pct=50%2525&up=%C3%84"
	tests := []struct {
		name string
		q    signed
		m    slip
		want string
	}{
		{"no token secret", signed{}, slip{key: func(cs, _, _ string) string { return encode(cs) + "&" }}, "token secret is missing"},
		{"no &", signed{}, slip{key: func(cs, _, ts string) string { return encode(cs) + encode(ts) }}, "the & is missing"},
		{"secrets as they are", signed{}, slip{key: func(cs, _, ts string) string { return cs + "&" + ts }}, "not percent-encoded in the key"},
		{"secrets the other way round", signed{}, slip{key: func(cs, _, ts string) string { return encode(ts) + "&" + encode(cs) }}, "changed places"},
		{"the token for its secret", signed{}, slip{key: func(cs, token, _ string) string { return encode(cs) + "&" + encode(token) }}, "the token stands in the key"},
		{"the consumer key for its secret", signed{consumerSecret: "x"}, slip{key: func(_, _, ts string) string { return "key-of-ours&" + encode(ts) }}, "the consumer key stands"},
		{"another consumer secret", signed{}, slip{key: func(_, _, ts string) string { return "wrong&" + ts }}, "most likely the consumer secret is another"},
		{"another token secret", signed{}, slip{key: func(cs, _, _ string) string { return encode(cs) + "&wrong" }}, "or the token secret another than this token's"},

		{"https", signed{}, slip{base: replace("http%3A%2F%2Flocalhost", "https%3A%2F%2Flocalhost")}, "begins with https, but"},
		{"https without the port", signed{}, slip{base: replace("http%3A%2F%2Flocalhost%3A8081", "https%3A%2F%2Flocalhost")}, "begins with https and lacks the port"},
		{"no port", signed{}, slip{base: replace("%3A8081", "")}, "the port is missing"},
		{"the default port", signed{edit: func(r *http.Request) { r.Host = "localhost:80" }}, slip{base: replace("localhost", "localhost%3A80")}, "the default port is in the URL"},
		{"the host in capitals", signed{edit: func(r *http.Request) { r.Host = "LocalHost:8081" }}, slip{base: replace("localhost", "LocalHost")}, "not in lower case"},
		{"X's host", signed{}, slip{base: replace("http%3A%2F%2Flocalhost%3A8081", "https%3A%2F%2Fapi.x.com")}, "https://api.x.com, but the call came here"},
		{"the other loopback name", signed{}, slip{base: replace("localhost", "127.0.0.1")}, "the host in it is 127.0.0.1, but"},
		{"an IPv6 host", signed{}, slip{base: replace("localhost", "%5B%3A%3A1%5D")}, "the host in it is [::1], but"},
		{"a slash at the end", signed{}, slip{base: replace("users%2Fme&", "users%2Fme%2F&")}, "ends with a slash"},
		{"no path", signed{}, slip{base: replace("%2F2%2Fusers%2Fme&", "&")}, "the path in it is empty"},
		{"the method in lower case", signed{}, slip{base: replace("GET&", "get&")}, "method is in lower case"},
		{"another method", signed{}, slip{base: replace("GET&", "POST&")}, "the method in it is POST, but GET was sent"},
		{"the query in the URL too", signed{path: "/2/users/me?q=1"}, slip{base: replace("users%2Fme&", "users%2Fme%3Fq%3D1&")}, "as well as among the parameters"},
		{"the query in the URL only", signed{path: "/2/users/me?q=1"}, slip{base: func(base string) string {
			return strings.Replace(strings.Replace(base, "%26q%3D1", "", 1), "users%2Fme&", "users%2Fme%3Fq%3D1&", 1)
		}}, "the query is in the URL; it belongs"},

		{"no query", signed{path: "/2/users/me?q=1&r=2"}, slip{base: without("%26q%3D1%26r%3D2")}, "the query's parameters are left out"},
		{"no form", signed{method: "POST", path: "/1.1/oauth/invalidate_token.json", form: url.Values{"q": {"1"}, "r": {"2"}}}, slip{base: without("%26q%3D1%26r%3D2")}, "the form's parameters are left out"},
		{"neither", signed{method: "POST", path: "/1.1/oauth/invalidate_token.json?r=2", form: url.Values{"q": {"1"}}}, slip{base: without("%26q%3D1%26r%3D2")}, "query and form are left out"},
		{"a body in JSON", signed{method: "POST", path: "/1.1/oauth/invalidate_token.json", form: url.Values{"zq": {"1"}}, edit: func(r *http.Request) {
			r.Header.Set("Content-Type", "application/json")
		}}, slip{base: func(base string) string { return base + "%26zq%3D1" }}, "though it is not a form"},
		{"in order of arrival", signed{method: "POST", path: "/1.1/oauth/invalidate_token.json", where: "query", form: url.Values{"a": {"2"}}},
			slip{base: params(rotate)}, "the parameters are not sorted"},
		{"the form first, and not sorted", signed{method: "POST", path: "/1.1/oauth/invalidate_token.json", where: "query", form: url.Values{"z": {"2"}}},
			slip{base: params(rotateBack)}, "the parameters are not sorted"},
		{"sorted before encoding", signed{path: "/2/users/me?z=1&%C3%A4=2"}, slip{base: params(rotate)}, "sorted before they were encoded"},
		{"its own signature", signed{}, slip{base: params(func(all []string) []string {
			all = append(all, "oauth_signature%3D")
			slices.Sort(all)
			return all
		})}, "oauth_signature itself"},
		{"the realm", signed{}, slip{base: func(base string) string { return base + "%26realm%3Da%252C%2520b" }}, "realm is among"},
		{"nothing empty", signed{path: "/2/users/me?e=&f=&q=1"}, slip{base: without("e%3D%26f%3D%26")}, "empty value are left out"},
		{"the last of a name", signed{path: "/2/users/me?d=1&d=2"}, slip{base: without("d%3D1%26")}, "only the last"},
		{"the first of a name", signed{path: "/2/users/me?d=1&d=2"}, slip{base: without("d%3D2%26")}, "only the first"},
		{"one left out", signed{oauth: map[string]string{"oauth_verifier": "v"}}, slip{base: without(`%26oauth_verifier%3D(v|\.\.\.)`)}, "oauth_verifier was sent, but is not in the base string"},

		{"hexadecimal in lower case", signed{path: "/2/users/me" + tricky}, slip{base: lower}, "percent-encoding is in lower case"},
		{"+ for a space", signed{path: "/2/users/me" + tricky}, slip{base: replace("%2520", "%2B")}, "a space is encoded as +; %20"},
		{"+ for a space, ~ encoded", signed{path: "/2/users/me" + tricky}, slip{base: func(b string) string { return replace("%2520", "%2B")(replace("~", "%257E")(b)) }}, "~ as %7E, as forms have it"},
		{"Java's forms", signed{path: "/2/users/me" + tricky}, slip{base: func(b string) string {
			return replace("%252A", "%2A")(replace("%2520", "%2B")(replace("~", "%257E")(b)))
		}}, "* not at all"},
		{"~ encoded", signed{path: "/2/users/me" + tricky}, slip{base: replace("~", "%257E")}, "~ is encoded, as %7E; it stays"},
		{"encodeURIComponent", signed{path: "/2/users/me" + tricky}, slip{base: func(b string) string { return replace("%252A", "%2A")(replace("%2521", "%21")(b)) }}, "encodeURIComponent"},
		{"/ left", signed{path: "/2/users/me?p=a/b"}, slip{base: replace("a%252Fb", "a%2Fb")}, "/ is not percent-encoded"},
		{"the callback encoded once", signed{method: "POST", path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback, "oauth_token": "-"}},
			slip{base: replace("http%253A%252F%252F127.0.0.1%253A8080%252F", "http%3A%2F%2F127.0.0.1%3A8080%2F")}, "oauth_callback is encoded once"},
		{"the callback encoded thrice", signed{method: "POST", path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback, "oauth_token": "-"}},
			slip{base: replace("http%253A%252F%252F127.0.0.1%253A8080%252F", "http%25253A%25252F%25252F127.0.0.1%25253A8080%25252F")}, "oauth_callback is encoded once too often"},
		{"all encoded once", signed{path: "/2/users/me?q=r%20b&s=%2B"}, slip{base: replace("%25", "%")}, "names and values are encoded once"},
		{"all encoded thrice", signed{path: "/2/users/me?q=r%20b&s=%2B"}, slip{base: replace("%25", "%2525")}, "values are encoded once too often"},
		{"decoded twice", signed{path: "/2/users/me?pct=a%252Bb&q=r%20b"}, slip{base: replace("a%25252Bb", "a%252Bb")}, "values are decoded twice"},
		{"nothing encoded as a whole", signed{path: "/2/users/me?q=1"}, slip{base: func(b string) string {
			return replace("http%3A%2F%2Flocalhost%3A8081%2F2%2Fusers%2Fme", "http://localhost:8081/2/users/me")(oncemore(b))
		}},
			"URL and parameters are not percent-encoded"},
		{"the URL as it is", signed{}, slip{base: replace("http%3A%2F%2Flocalhost%3A8081%2F2%2Fusers%2Fme", "http://localhost:8081/2/users/me")}, "the URL is not percent-encoded"},
		{"the parameters as they are", signed{}, slip{base: oncemore}, "the joined parameters are not"},

		{"encoded twice", signed{}, slip{write: sumOf(func(d []byte) string { return encode(base64.StdEncoding.EncodeToString(d)) })}, "percent-encoded twice"},
		{"in hexadecimal", signed{}, slip{write: sumOf(hex.EncodeToString)}, "in hexadecimal, not in base64"},
		{"base64 of hexadecimal", signed{}, slip{write: sumOf(func(d []byte) string { return base64.StdEncoding.EncodeToString([]byte(hex.EncodeToString(d))) })}, "base64 of the digest in hexadecimal"},
		{"without =", signed{}, slip{write: sumOf(base64.RawStdEncoding.EncodeToString)}, "lacks its ="},
		{"with a line break", signed{}, slip{write: sumOf(func(d []byte) string { return base64.StdEncoding.EncodeToString(d) + "\n" })}, "a line break"},
		{"of SHA-256", signed{}, slip{write: func(_ []byte, base, key string) string {
			mac := hmac.New(sha256.New, []byte(key))
			mac.Write([]byte(base))
			return base64.StdEncoding.EncodeToString(mac.Sum(nil))
		}}, "has 32 bytes"},
		{"no base64", signed{}, slip{write: sumOf(func([]byte) string { return "!" })}, "is not base64 of the 20 bytes"},
		{"two at once", signed{}, slip{base: replace("GET&", "get&"), key: func(cs, _, _ string) string { return encode(cs) + "&" }}, "the method is in lower case, and the token secret is missing"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			k.opts.ConsumerKey, k.opts.ConsumerSecret = "key-of-ours", "a&secret/of+ours"
			pair := k.signIn(t, "12")
			q := tt.q
			if q.path == "" {
				q.path = "/2/users/me"
			}
			if q.method == "" {
				q.method = "GET"
			}
			if q.oauth["oauth_token"] != "-" {
				q.oauth, q.tokenSecret = with(q.oauth, "oauth_token", pair.Get("oauth_token")), pair.Get("oauth_token_secret")
			}
			r := k.slipped(t, q, tt.m)
			a := k.do(r)
			c := k.last(t)
			if a.status != http.StatusUnauthorized || a.body != `{"errors":[{"code":32,"message":"Could not authenticate you."}]}` {
				t.Errorf("answered %d %s", a.status, a.body)
			}
			if c.Status != 401 || c.Code != 32 || c.OK || !strings.Contains(c.Verdict, tt.want) {
				t.Errorf("the call is %d, %d, OK %t, %q, want it to say %q", c.Status, c.Code, c.OK, c.Verdict, tt.want)
			}
			found := !strings.Contains(c.Verdict, "most likely") && !strings.Contains(c.Verdict, " bytes")
			if want := ""; found {
				if want = c.Expected; tt.m.base != nil {
					want = tt.m.base(want)
				}
				if tt.name == "a body in JSON" {
					want = c.Received // masked whole
				}
				if c.Received != want {
					t.Errorf("received\n%s, want\n%s", c.Received, want)
				}
			}
			for _, secret := range []string{pair.Get("oauth_token"), pair.Get("oauth_token_secret"), encode(k.ConsumerSecret())} {
				if strings.Contains(c.Expected+c.Received+c.Verdict, secret) {
					t.Errorf("the call holds a secret: %+v", c)
				}
			}
		})
	}
}

// TestReadSignature: one that went through a form without encoding is still read.
func TestReadSignature(t *testing.T) {
	right := base64.StdEncoding.EncodeToString([]byte("\xfb\xef\xbe3456789012345678~"))
	for signature, want := range map[string]string{
		right:                                  "",
		strings.ReplaceAll(right, "+", " "):    "its + arrived as a space",
		strings.ReplaceAll(right, "+", "-"):    "the URL alphabet",
		strings.TrimRight(right, "="):          "lacks its =",
		" " + right:                            "a line break or a space",
		strings.ReplaceAll(right, "+", "*"):    "is not base64",
		base64.StdEncoding.EncodeToString(nil): "is not base64",
	} {
		digest, wrong := readSignature(signature)
		if (want == "") != (wrong == "") || !strings.Contains(wrong, want) || (len(digest) == sha1.Size) != !strings.Contains(want, "is not base64") {
			t.Errorf("%q: %d bytes, %q, want %q", signature, len(digest), wrong, want)
		}
	}
}

// TestDiagnosisIsBounded: neither a long call nor very many make it work for long.
func TestDiagnosisIsBounded(t *testing.T) {
	k := newKit(t)
	wrong := signed{path: "/oauth/request_token", consumerSecret: "wrong"}
	long := wrong
	long.form = url.Values{"a": {strings.Repeat("a", maxDiagnosed)}}
	if k.call(t, long); !strings.Contains(k.last(t).Verdict, "too long") {
		t.Errorf("a long call: %q", k.last(t).Verdict)
	}
	for range maxDiagnoses {
		k.call(t, wrong)
	}
	if !strings.Contains(k.last(t).Verdict, "most likely") {
		t.Errorf("the last that is looked into: %q", k.last(t).Verdict)
	}
	if k.call(t, wrong); !strings.Contains(k.last(t).Verdict, "too many") {
		t.Errorf("one more: %q", k.last(t).Verdict)
	}
	k.turn(time.Second)
	if k.call(t, wrong); !strings.Contains(k.last(t).Verdict, "most likely") {
		t.Errorf("a second later: %q", k.last(t).Verdict)
	}
}

// TestVerdicts are the sentences for all else that a client does wrong.
func TestVerdicts(t *testing.T) {
	at := func(d time.Duration) func(*kit, *signed) {
		return func(k *kit, q *signed) {
			q.oauth["oauth_timestamp"] = strconv.FormatInt(k.opts.Now().Add(d).Unix(), 10)
		}
	}
	set := func(name, value string) func(*kit, *signed) {
		return func(_ *kit, q *signed) { q.oauth[name] = value }
	}
	tests := []struct {
		name string
		edit func(*kit, *signed)
		code int
		want string
	}{
		{"right", func(*kit, *signed) {}, 0, "A request token was given, with read-write access, for " + callback + "."},
		{"a slow clock", at(-420 * time.Second), 135, "The client's clock is 420 s behind; X takes 300 s."},
		{"a fast clock", at(420 * time.Second), 135, "The client's clock is 420 s ahead; X takes 300 s."},
		{"milliseconds", func(k *kit, q *signed) { q.oauth["oauth_timestamp"] = strconv.FormatInt(k.opts.Now().UnixMilli(), 10) }, 135, "counts milliseconds"},
		{"a replay", func(k *kit, q *signed) {
			q.oauth["oauth_nonce"] = "again"
			k.call(t, *q)
		}, 32, "oauth_nonce was used before"},
		{"another callback", set("oauth_callback", "http://127.0.0.1:8080/else"), 415, "http://127.0.0.1:8080/else, which is not registered: " + callback + ", " + otherCallback + " are."},
		{"a callback encoded too often", set("oauth_callback", encode(callback)), 415, "percent-encoded once too often"},
		{"no callback", set("oauth_callback", ""), 415, "oauth_callback is missing"},
		{"PLAINTEXT", set("oauth_signature_method", "PLAINTEXT"), 32, "oauth_signature_method is PLAINTEXT; X takes HMAC-SHA1 only"},
		{"OAuth 2.0", set("oauth_version", "2.0"), 215, "oauth_version is 2.0"},
		{"a foreign key", set("oauth_consumer_key", "somebody-elses-secret"), 32, "is not this sandbox's, which begins with sandbox-"},
		{"a token", set("oauth_token", "x"), 215, "oauth_token was given to request_token"},
		{"nothing", func(_ *kit, q *signed) { q.edit = func(r *http.Request) { r.Header.Del("Authorization") } }, 215, "Nothing is signed"},
		{"access_token without a token", func(_ *kit, q *signed) { q.path = "/oauth/access_token" }, 0, "oauth_token is missing: the request token"},
		{"access_token with a token that nobody gave", func(_ *kit, q *signed) { q.path, q.oauth["oauth_token"] = "/oauth/access_token", "x" }, 89, "unknown here, or more than ten minutes old"},
		{"access_token before consent", func(k *kit, q *signed) {
			token, secret := k.begin(t)
			q.path, q.tokenSecret, q.oauth["oauth_token"], q.oauth["oauth_verifier"] = "/oauth/access_token", secret, token, "x"
		}, 0, "Nobody has approved"},
		{"access_token without a verifier", func(k *kit, q *signed) {
			token, secret := k.begin(t)
			k.approve(t, token, "12")
			q.path, q.tokenSecret, q.oauth["oauth_token"] = "/oauth/access_token", secret, token
		}, 0, "oauth_verifier is missing"},
		{"access_token with another verifier", func(k *kit, q *signed) {
			token, secret := k.begin(t)
			k.approve(t, token, "12")
			q.path, q.tokenSecret, q.oauth["oauth_token"], q.oauth["oauth_verifier"] = "/oauth/access_token", secret, token, "x"
		}, 0, "oauth_verifier is not the one"},
		{"access_token twice", func(k *kit, q *signed) {
			token, secret := k.begin(t)
			verifier := k.approve(t, token, "12")
			k.exchangeCall(t, token, secret, verifier)
			q.path, q.tokenSecret, q.oauth["oauth_token"], q.oauth["oauth_verifier"] = "/oauth/access_token", secret, token, verifier
		}, 89, "over: it was exchanged before"},
		{"a request token where an access token belongs", func(k *kit, q *signed) {
			token, secret := k.begin(t)
			q.path, q.method, q.tokenSecret, q.oauth["oauth_token"] = "/2/users/me", "GET", secret, token
		}, 89, "oauth_token is a request token"},
		{"an access token where a request token belongs", func(k *kit, q *signed) {
			v := k.signIn(t, "12")
			q.path, q.tokenSecret, q.oauth["oauth_token"] = "/oauth/access_token", v.Get("oauth_token_secret"), v.Get("oauth_token")
		}, 0, "oauth_token is an access token"},
		{"a revoked token", func(k *kit, q *signed) {
			v := k.signIn(t, "12")
			k.Revoke("12")
			q.path, q.method, q.tokenSecret, q.oauth["oauth_token"] = "/2/users/me", "GET", v.Get("oauth_token_secret"), v.Get("oauth_token")
		}, 89, "revoked"},
		{"a path that is none", func(_ *kit, q *signed) { q.path = "/1.1/statuses/update.json" }, 34, "Nothing is at this path"},
		{"a method that is none", func(_ *kit, q *signed) { q.method = "PUT" }, 86, "takes GET or POST only"},
		{"a Host that is foreign", func(_ *kit, q *signed) { q.edit = func(r *http.Request) { r.Host = "evil.example" } }, 0, "not a loopback name"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			q := signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback}}
			tt.edit(k, &q)
			k.call(t, q)
			if c := k.last(t); c.Code != tt.code || !strings.Contains(c.Verdict, tt.want) || !strings.HasSuffix(c.Verdict, ".") || c.OK != (tt.name == "right") {
				t.Errorf("the call is %d, OK %t, %q, want %d and %q", c.Code, c.OK, c.Verdict, tt.code, tt.want)
			}
			if got := k.logs.String(); !strings.Contains(got, "verdict=") {
				t.Errorf("the log reads %s", got)
			}
		})
	}
}
