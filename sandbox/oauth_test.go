package sandbox

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"net/url"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/dghubble/oauth1"
)

// TestWholeFlow signs in as a stranger's program would: with dghubble's client and a browser, over the network.
func TestWholeFlow(t *testing.T) {
	k := newKit(t)
	b := newBrowser(t, k)
	config := &oauth1.Config{
		ConsumerKey: k.ConsumerKey(), ConsumerSecret: k.ConsumerSecret(), CallbackURL: callback, Noncer: oauth1.HexNoncer{},
		Endpoint: oauth1.Endpoint{
			RequestTokenURL: b.base + "/oauth/request_token?x_auth_access_type=read",
			AuthorizeURL:    b.base + "/oauth/authenticate",
			AccessTokenURL:  b.base + "/oauth/access_token",
		},
	}

	requestToken, requestSecret, err := config.RequestToken()
	if err != nil {
		t.Fatal(err)
	}
	if len(requestToken) < 27 {
		t.Errorf("request token %q is shorter than X's", requestToken)
	}
	_, page := b.get("/oauth/authenticate?oauth_token=" + requestToken)
	next, err := url.Parse(b.submit(page, "1700000000000000004", "authorize"))
	if err != nil {
		t.Fatal(err)
	}
	if got := next.Scheme + "://" + next.Host + next.Path; got != callback {
		t.Errorf("consent leads to %s, want %s", got, callback)
	}
	if got := next.Query().Get("oauth_token"); got != requestToken {
		t.Errorf("it brings the token %q, want %q", got, requestToken)
	}
	verifier := next.Query().Get("oauth_verifier")
	if len(verifier) != 32 {
		t.Errorf("verifier %q has %d characters, want 32", verifier, len(verifier))
	}
	accessToken, accessSecret, err := config.AccessToken(requestToken, requestSecret, verifier)
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(accessToken, "1700000000000000004-") {
		t.Errorf("access token %q does not begin with the user_id", accessToken)
	}

	client := config.Client(context.Background(), oauth1.NewToken(accessToken, accessSecret))
	ask := func(method, path string) (int, map[string]any) {
		t.Helper()
		r, err := http.NewRequest(method, b.base+path, nil)
		if err != nil {
			t.Fatal(err)
		}
		response, err := client.Do(r)
		if err != nil {
			t.Fatal(err)
		}
		defer response.Body.Close()
		if got := response.Header.Get("Content-Type"); got != "application/json;charset=utf-8" {
			t.Errorf("%s has Content-Type %q", path, got)
		}
		var body map[string]any
		d := json.NewDecoder(response.Body)
		d.UseNumber()
		if err := d.Decode(&body); err != nil {
			t.Fatal(err)
		}
		return response.StatusCode, body
	}
	_, me := ask("GET", "/1.1/account/verify_credentials.json?skip_status=true")
	for field, want := range map[string]any{"id": json.Number("1700000000000000004"), "id_str": "1700000000000000004", "screen_name": "suzume", "name": "雀 すずめ"} {
		if me[field] != want {
			t.Errorf("verify_credentials says %s=%v, want %v", field, me[field], want)
		}
	}
	_, short := ask("GET", "/2/users/me")
	if got, want := len(short["data"].(map[string]any)), 3; got != want {
		t.Errorf("users/me has %d fields, want %d", got, want)
	}
	_, long := ask("GET", "/2/users/me?user.fields=name,profile_image_url")
	data := long["data"].(map[string]any)
	if data["id"] != "1700000000000000004" || data["username"] != "suzume" || data["name"] != "雀 すずめ" {
		t.Errorf("users/me says %v", data)
	}
	for _, image := range []any{data["profile_image_url"], me["profile_image_url_https"]} {
		response, err := http.Get(image.(string))
		if err != nil {
			t.Fatal(err)
		}
		response.Body.Close()
		if response.StatusCode != http.StatusOK || response.Header.Get("Content-Type") != "image/png" {
			t.Errorf("the picture %v is %s, %s", image, response.Status, response.Header.Get("Content-Type"))
		}
	}

	if status, ended := ask("POST", "/1.1/oauth/invalidate_token.json"); status != http.StatusOK || ended["access_token"] != accessToken {
		t.Errorf("invalidate_token answered %d %v", status, ended)
	}
	status, refused := ask("GET", "/2/users/me")
	if got := refused["errors"].([]any)[0].(map[string]any)["code"]; status != http.StatusUnauthorized || got != json.Number("89") {
		t.Errorf("afterwards users/me answers %d with code %v, want 401 with 89", status, got)
	}

	for _, secret := range []string{requestToken, requestSecret, verifier, accessToken, accessSecret, k.ConsumerSecret(), "oauth_signature="} {
		if strings.Contains(k.logs.String(), secret) {
			t.Errorf("the log holds %q", secret)
		}
	}
	if got := k.logs.String(); strings.Count(got, "\n") != strings.Count(got, "msg=\"sandbox ") || strings.Contains(got, "avatar") ||
		!strings.Contains(got, `msg="sandbox access_token" method=POST status=200 code=0 verdict="The request token was exchanged`) {
		t.Errorf("the log reads\n%s", got)
	}
}

// TestWaysToSend: RFC 5849 §3.5 knows three places, X's examples mix them for the verifier, and both methods are fine.
func TestWaysToSend(t *testing.T) {
	tests := []struct {
		name string
		q    signed
	}{
		{"POST, header", signed{}},
		{"GET, header", signed{method: "GET"}},
		{"POST, query", signed{where: "query"}},
		{"GET, query", signed{method: "GET", where: "query"}},
		{"POST, body", signed{where: "body"}},
		{"the scheme in lower case", signed{edit: func(r *http.Request) {
			r.Header.Set("Authorization", strings.Replace(r.Header.Get("Authorization"), "OAuth", "oauth", 1))
		}}},
		{"a form beside the header", signed{form: url.Values{"a b": {"ä+&", ""}}}},
		{"no version", signed{oauth: map[string]string{"oauth_version": "-"}}},
		{"a method in query and in capitals of the host", signed{edit: func(r *http.Request) { r.Host = "LOCALHOST:8081" }}},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			q := tt.q
			q.path, q.oauth = "/oauth/request_token", with(tt.q.oauth, "oauth_callback", otherCallback)
			a := k.call(t, q)
			v, _ := url.ParseQuery(a.body)
			if a.status != http.StatusOK || v.Get("oauth_callback_confirmed") != "true" {
				t.Fatalf("request_token answered %d %s", a.status, a.body)
			}
			if got := a.header.Get("Content-Type"); got != "text/html;charset=utf-8" {
				t.Errorf("Content-Type %q", got)
			}
			q.path, q.tokenSecret = "/oauth/access_token", v.Get("oauth_token_secret")
			q.oauth = with(with(tt.q.oauth, "oauth_token", v.Get("oauth_token")), "oauth_verifier", k.approve(t, v.Get("oauth_token"), "12"))
			if a = k.call(t, q); a.status != http.StatusOK || !strings.HasSuffix(a.body, "&user_id=12&screen_name=jenny_wren") {
				t.Errorf("access_token answered %d %s", a.status, a.body)
			}
		})
	}

	for _, place := range []string{"body", "query"} {
		t.Run("the verifier in the "+place+", the rest in the header", func(t *testing.T) {
			k := newKit(t)
			token, secret := k.begin(t)
			verifier := url.Values{"oauth_verifier": {k.approve(t, token, "12")}}
			q := signed{path: "/oauth/access_token", tokenSecret: secret, oauth: map[string]string{"oauth_token": token}}
			if place == "body" {
				q.form = verifier
			} else {
				q.path += "?" + verifier.Encode()
			}
			if a := k.call(t, q); a.status != http.StatusOK {
				t.Errorf("answered %d %s", a.status, a.body)
			}
		})
	}
}

// with is m and one more.
func with(m map[string]string, name, value string) map[string]string {
	all := map[string]string{name: value}
	for k, v := range m {
		all[k] = v
	}
	return all
}

// TestSigningRefused: everything that can be wrong with the signing of a call, at each endpoint that wants one.
func TestSigningRefused(t *testing.T) {
	oauth := func(pairs ...string) map[string]string {
		m := map[string]string{}
		for i := 0; i < len(pairs); i += 2 {
			m[pairs[i]] = pairs[i+1]
		}
		return m
	}
	header := func(edit func(string) string) func(*http.Request) {
		return func(r *http.Request) { r.Header.Set("Authorization", edit(r.Header.Get("Authorization"))) }
	}
	at := func(k *kit, seconds int64) map[string]string {
		return oauth("oauth_timestamp", strconv.FormatInt(k.opts.Now().Unix()+seconds, 10))
	}
	tests := []struct {
		name   string
		q      func(k *kit) signed
		status int
		code   string
	}{
		{"nothing", func(*kit) signed { return signed{edit: func(r *http.Request) { r.Header.Del("Authorization") }} }, 400, "215"},
		{"a bearer token", func(*kit) signed { return signed{edit: header(func(string) string { return "Bearer AAAA" })} }, 400, "215"},
		{"two headers", func(*kit) signed {
			return signed{edit: func(r *http.Request) { r.Header.Add("Authorization", r.Header.Get("Authorization")) }}
		}, 400, "215"},
		{"a second header without protocol parameters", func(*kit) signed {
			return signed{edit: func(r *http.Request) { r.Header.Add("Authorization", `OAuth a="b"`) }}
		}, 400, "215"},
		{"a header without quotes", func(*kit) signed {
			return signed{edit: header(func(h string) string { return strings.ReplaceAll(h, `"`, "") })}
		}, 400, "215"},
		{"a header badly encoded", func(*kit) signed { return signed{edit: header(func(h string) string { return h + `, a="%zz"` })} }, 400, "215"},
		{"a query badly encoded", func(*kit) signed { return signed{edit: func(r *http.Request) { r.URL.RawQuery = "a=%zz" }} }, 400, "215"},
		{"a parameter twice in the header", func(*kit) signed {
			return signed{edit: header(func(h string) string { return h + `, oauth_version="1.0"` })}
		}, 400, "215"},
		{"a parameter twice, signed so", func(*kit) signed { return signed{form: url.Values{"oauth_callback": {callback, callback}}} }, 400, "215"},
		{"parameters in two places, signed so", func(*kit) signed {
			return signed{oauth: oauth("oauth_version", "-"), form: url.Values{"oauth_version": {"1.0"}}}
		}, 400, "215"},
		{"257 parameters", func(*kit) signed {
			return signed{edit: func(r *http.Request) { r.URL.RawQuery = strings.Repeat("a&", 257) }}
		}, 400, "215"},
		{"a body of more than 64 KiB", func(*kit) signed {
			return signed{edit: func(r *http.Request) { r.Body = io.NopCloser(strings.NewReader(strings.Repeat("a", 64<<10+1))) }}
		}, 413, "215"},
		{"no consumer key", func(*kit) signed { return signed{oauth: oauth("oauth_consumer_key", "-")} }, 400, "215"},
		{"no signature", func(*kit) signed { return signed{oauth: oauth("oauth_signature", "-")} }, 400, "215"},
		{"no signature method", func(*kit) signed { return signed{oauth: oauth("oauth_signature_method", "-")} }, 400, "215"},
		{"no nonce", func(*kit) signed { return signed{oauth: oauth("oauth_nonce", "-")} }, 400, "215"},
		{"no timestamp", func(*kit) signed { return signed{oauth: oauth("oauth_timestamp", "-")} }, 400, "215"},
		{"a timestamp that is none", func(*kit) signed { return signed{oauth: oauth("oauth_timestamp", "+1")} }, 400, "215"},
		{"a nonce of 257 bytes", func(*kit) signed { return signed{oauth: oauth("oauth_nonce", strings.Repeat("n", 257))} }, 400, "215"},
		{"version 2.0", func(*kit) signed { return signed{oauth: oauth("oauth_version", "2.0")} }, 400, "215"},
		{"an empty version", func(*kit) signed { return signed{oauth: oauth("oauth_version", "")} }, 400, "215"},
		{"PLAINTEXT", func(k *kit) signed {
			return signed{oauth: oauth("oauth_signature_method", "PLAINTEXT", "oauth_signature", k.ConsumerSecret()+"&")}
		}, 401, "32"},
		{"HMAC-SHA256", func(*kit) signed { return signed{oauth: oauth("oauth_signature_method", "HMAC-SHA256")} }, 401, "32"},
		{"301 seconds slow", func(k *kit) signed { return signed{oauth: at(k, -301)} }, 401, "135"},
		{"301 seconds fast", func(k *kit) signed { return signed{oauth: at(k, 301)} }, 401, "135"},
		{"the end of time", func(*kit) signed { return signed{oauth: oauth("oauth_timestamp", "9223372036854775807")} }, 401, "135"},
		{"2^64 seconds, which would wrap", func(k *kit) signed {
			return signed{oauth: at(k, 1<<55)} // times a second in nanoseconds, this is zero
		}, 401, "135"},
		{"an unknown consumer", func(*kit) signed { return signed{oauth: oauth("oauth_consumer_key", "nobody")} }, 401, "32"},
		{"the wrong consumer secret", func(*kit) signed { return signed{consumerSecret: "wrong"} }, 401, "32"},
		{"a wrong signature", func(*kit) signed { return signed{oauth: oauth("oauth_signature", "AAAAAAAAAAAAAAAAAAAAAAAAAAA=")} }, 401, "32"},
		{"another method than was signed", func(*kit) signed {
			return signed{where: "query", edit: func(r *http.Request) { r.Method = map[string]string{"GET": "POST", "POST": "GET"}[r.Method] }}
		}, 401, "32"},
		{"another host than was signed", func(*kit) signed { return signed{edit: func(r *http.Request) { r.Host = "127.0.0.1:8081" }} }, 401, "32"},
		{"a parameter added", func(*kit) signed { return signed{edit: func(r *http.Request) { r.URL.RawQuery = "a=b" }} }, 401, "32"},
		{"a parameter altered", func(*kit) signed {
			return signed{edit: header(func(h string) string { return strings.Replace(h, "nonce", "nounce", 2) })}
		}, 400, "215"},
		{"a nonce altered", func(*kit) signed {
			return signed{oauth: oauth("oauth_nonce", "alpha"), edit: header(func(h string) string { return strings.Replace(h, "alpha", "beta", 1) })}
		}, 401, "32"},
	}
	for _, tt := range tests {
		for _, to := range []struct{ method, path string }{
			{"POST", "/oauth/request_token"}, {"GET", "/oauth/access_token"},
		} {
			t.Run(tt.name+", "+to.path, func(t *testing.T) {
				k := newKit(t)
				q := tt.q(k)
				q.method, q.path = to.method, to.path
				if to.path == "/oauth/access_token" {
					token, secret := k.begin(t)
					q.oauth, q.tokenSecret = with(q.oauth, "oauth_token", token), secret
					if q.form != nil {
						q.method = "POST"
					}
				} else if q.form["oauth_callback"] == nil {
					q.oauth = with(q.oauth, "oauth_callback", callback)
				}
				a := k.call(t, q)
				if a.status != tt.status || a.code() != tt.code {
					t.Errorf("answered %d with %s, want %d with %s", a.status, a.code(), tt.status, tt.code)
				}
				if got, want := a.header.Get("WWW-Authenticate") != "", tt.status == http.StatusUnauthorized; got != want {
					t.Errorf("has WWW-Authenticate: %t, want %t", got, want)
				}
			})
		}
	}
}

func TestClockEdges(t *testing.T) {
	for seconds, want := range map[int64]int{-301: 401, -300: 200, 0: 200, 300: 200, 301: 401} {
		k := newKit(t)
		a := k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback,
			"oauth_timestamp": strconv.FormatInt(k.opts.Now().Unix()+seconds, 10)}})
		if a.status != want {
			t.Errorf("a clock off by %d s: %d, want %d", seconds, a.status, want)
		}
	}
}

func TestCallbackRefused(t *testing.T) {
	tests := []struct{ name, callback string }{
		{"another path", "http://127.0.0.1:8080/elsewhere"},
		{"a query added", callback + "?next=/"},
		{"a slash added", callback + "/"},
		{"another spelling", "HTTP://127.0.0.1:8080/oauth-authorized"},
		{"out of band", "oob"},
		{"empty", ""},
		{"missing", "-"},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			a := k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": tt.callback}})
			if a.status != http.StatusForbidden || a.code() != "415" || a.header.Get("Content-Type") != "application/xml;charset=utf-8" {
				t.Errorf("answered %d %s %s", a.status, a.header.Get("Content-Type"), a.body)
			}
		})
	}
}

func TestRequestTokenWithToken(t *testing.T) {
	k := newKit(t)
	a := k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback, "oauth_token": "12-x"}})
	if a.status != http.StatusBadRequest || a.code() != "215" {
		t.Errorf("answered %d %s", a.status, a.body)
	}
}

// TestExchangeRefused: what can be wrong with the way back.
func TestExchangeRefused(t *testing.T) {
	const noVerifier = "Error processing your OAuth request: Invalid oauth_verifier parameter"
	tests := []struct {
		name string
		do   func(t *testing.T, k *kit, token, secret string) answered
		want string // code or body of the 401
	}{
		{"nobody approved", func(t *testing.T, k *kit, token, secret string) answered {
			return k.exchangeCall(t, token, secret, "")
		}, noVerifier},
		{"a wrong verifier", func(t *testing.T, k *kit, token, secret string) answered {
			k.approve(t, token, "12")
			return k.exchangeCall(t, token, secret, strings.Repeat("A", 32))
		}, noVerifier},
		{"no verifier", func(t *testing.T, k *kit, token, secret string) answered {
			k.approve(t, token, "12")
			return k.exchangeCall(t, token, secret, "-")
		}, noVerifier},
		{"without the token's secret", func(t *testing.T, k *kit, token, secret string) answered {
			return k.exchangeCall(t, token, "", k.approve(t, token, "12"))
		}, "32"},
		{"another token's secret", func(t *testing.T, k *kit, token, secret string) answered {
			_, other := k.begin(t)
			return k.exchangeCall(t, token, other, k.approve(t, token, "12"))
		}, "32"},
		{"another token's verifier", func(t *testing.T, k *kit, token, secret string) answered {
			other, _ := k.begin(t)
			k.approve(t, token, "12")
			return k.exchangeCall(t, token, secret, k.approve(t, other, "12"))
		}, noVerifier},
		{"a second time", func(t *testing.T, k *kit, token, secret string) answered {
			verifier := k.approve(t, token, "12")
			if a := k.exchangeCall(t, token, secret, verifier); a.status != http.StatusOK {
				t.Fatalf("the first answered %d %s", a.status, a.body)
			}
			return k.exchangeCall(t, token, secret, verifier)
		}, "89"},
		{"after ten minutes", func(t *testing.T, k *kit, token, secret string) answered {
			verifier := k.approve(t, token, "12")
			k.turn(10*time.Minute + 1)
			return k.exchangeCall(t, token, secret, verifier)
		}, "89"},
		{"after Cancel", func(t *testing.T, k *kit, token, secret string) answered {
			b := newBrowser(t, k)
			_, page := b.get("/oauth/authorize?oauth_token=" + token)
			b.submit(page, "", "cancel")
			return k.exchangeCall(t, token, secret, "x")
		}, "89"},
		{"an unknown token", func(t *testing.T, k *kit, token, secret string) answered {
			return k.exchangeCall(t, "unknown", secret, "x")
		}, "89"},
		{"no token", func(t *testing.T, k *kit, token, secret string) answered {
			return k.exchangeCall(t, "-", secret, "x")
		}, "Request token missing"},
		{"an access token", func(t *testing.T, k *kit, token, secret string) answered {
			v := k.signIn(t, "12")
			return k.exchangeCall(t, v.Get("oauth_token"), v.Get("oauth_token_secret"), "x")
		}, `<?xml version="1.0" encoding="UTF-8"?><hash><error>The access_token method must be called with a request_token</error><request>/oauth/access_token</request></hash>`},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			token, secret := k.begin(t)
			if a := tt.do(t, k, token, secret); a.status != http.StatusUnauthorized || a.code() != tt.want {
				t.Errorf("answered %d %s, want 401 %s", a.status, a.code(), tt.want)
			}
		})
	}

	t.Run("a wrong verifier burns nothing", func(t *testing.T) {
		k := newKit(t)
		token, secret := k.begin(t)
		verifier := k.approve(t, token, "12")
		k.exchangeCall(t, token, secret, "wrong")
		if a := k.exchangeCall(t, token, secret, verifier); a.status != http.StatusOK {
			t.Errorf("then the right one answered %d %s", a.status, a.body)
		}
	})
	t.Run("the last moment", func(t *testing.T) {
		k := newKit(t)
		token, secret := k.begin(t)
		verifier := k.approve(t, token, "12")
		k.turn(10 * time.Minute)
		if a := k.exchangeCall(t, token, secret, verifier); a.status != http.StatusOK {
			t.Errorf("answered %d %s", a.status, a.body)
		}
	})
}

func (k *kit) exchangeCall(t testing.TB, token, secret, verifier string) answered {
	t.Helper()
	return k.call(t, signed{path: "/oauth/access_token", tokenSecret: secret, oauth: map[string]string{"oauth_token": token, "oauth_verifier": verifier}})
}

// TestOneWinner: of many calls with the same approved token at the same time, one gets the pair.
func TestOneWinner(t *testing.T) {
	k := newKit(t)
	token, secret := k.begin(t)
	verifier := k.approve(t, token, "12")
	results := make(chan int)
	for range 8 {
		r := k.request(t, signed{path: "/oauth/access_token", tokenSecret: secret, oauth: map[string]string{"oauth_token": token, "oauth_verifier": verifier}})
		go func() {
			w := httptest.NewRecorder()
			k.ServeHTTP(w, r)
			results <- w.Code
		}()
	}
	won := 0
	for range 8 {
		if <-results == http.StatusOK {
			won++
		}
	}
	if won != 1 {
		t.Errorf("%d calls won, want 1", won)
	}
}

func TestAccessTokens(t *testing.T) {
	me := func(t *testing.T, k *kit, v url.Values) answered {
		t.Helper()
		return k.call(t, signed{method: "GET", path: "/2/users/me", tokenSecret: v.Get("oauth_token_secret"), oauth: map[string]string{"oauth_token": v.Get("oauth_token")}})
	}
	k := newKit(t)
	first, second, other := k.signIn(t, "12"), k.signIn(t, "12"), k.signIn(t, "2244994945")
	if first.Encode() != second.Encode() {
		t.Errorf("signing in again gave %s, before it was %s", second.Encode(), first.Encode())
	}
	if other.Get("oauth_token_secret") == first.Get("oauth_token_secret") {
		t.Error("two accounts share a secret")
	}

	if err := k.Rename("12", "winter_wren"); err != nil {
		t.Fatal(err)
	}
	if got := k.signIn(t, "12"); got.Get("screen_name") != "winter_wren" || got.Get("user_id") != "12" || got.Get("oauth_token") != first.Get("oauth_token") {
		t.Errorf("after renaming: %s", got.Encode())
	}
	if a := me(t, k, first); !strings.Contains(a.body, `"username":"winter_wren"`) {
		t.Errorf("after renaming users/me says %s", a.body)
	}
	for id, name := range map[string]string{"404": "fine", "12": "not fine"} {
		if err := k.Rename(id, name); err == nil {
			t.Errorf("Rename(%q, %q) was accepted", id, name)
		}
	}

	k.Revoke("12")
	k.Revoke("404")
	if a := me(t, k, first); a.status != http.StatusUnauthorized || a.code() != "89" {
		t.Errorf("a revoked token answered %d %s", a.status, a.body)
	}
	if a := me(t, k, other); a.status != http.StatusOK {
		t.Errorf("somebody else's answered %d %s", a.status, a.body)
	}
	if got := k.signIn(t, "12"); got.Get("oauth_token") == first.Get("oauth_token") {
		t.Error("signing in after revoking brought the same token")
	}
	if a := me(t, k, first); a.status != http.StatusUnauthorized || a.code() != "89" {
		t.Errorf("with a new token given, the revoked one answered %d %s", a.status, a.body)
	}
	if a := k.call(t, signed{method: "GET", path: "/2/users/me"}); a.status != http.StatusBadRequest || a.code() != "215" {
		t.Errorf("without a token: %d %s", a.status, a.body)
	}
	other.Set("oauth_token_secret", first.Get("oauth_token_secret"))
	if a := me(t, k, other); a.status != http.StatusUnauthorized || a.code() != "32" {
		t.Errorf("with another's secret: %d %s", a.status, a.body)
	}
}

// TestNonces: used once, remembered as long as its timestamp is good, and never too many.
func TestNonces(t *testing.T) {
	ask := func(t *testing.T, k *kit, nonce string, sent time.Time) answered {
		t.Helper()
		return k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback, "oauth_nonce": nonce,
			"oauth_timestamp": strconv.FormatInt(sent.Unix(), 10)}})
	}

	t.Run("a replay", func(t *testing.T) {
		k := newKit(t)
		now := k.opts.Now()
		for _, step := range []struct {
			nonce  string
			sent   time.Time
			status int
		}{{"a", now, 200}, {"a", now, 401}, {"b", now, 200}, {"a", now.Add(time.Second), 200}, {"a", now.Add(time.Second), 401}} {
			if a := ask(t, k, step.nonce, step.sent); a.status != step.status {
				t.Errorf("nonce %s, sent %s: %d %s, want %d", step.nonce, step.sent, a.status, a.body, step.status)
			}
		}
	})
	t.Run("another token is another nonce", func(t *testing.T) {
		k := newKit(t)
		for _, account := range []string{"12", "2244994945"} {
			v := k.signIn(t, account)
			a := k.call(t, signed{method: "GET", path: "/2/users/me", tokenSecret: v.Get("oauth_token_secret"),
				oauth: map[string]string{"oauth_token": v.Get("oauth_token"), "oauth_nonce": "same"}})
			if a.status != http.StatusOK {
				t.Errorf("%s answered %d %s", account, a.status, a.body)
			}
		}
	})
	t.Run("a bad signature uses up nothing", func(t *testing.T) {
		k := newKit(t)
		k.call(t, signed{path: "/oauth/request_token", consumerSecret: "wrong", oauth: map[string]string{"oauth_nonce": "a"}})
		if n := len(k.nonces.live); n != 0 {
			t.Errorf("%d nonces are remembered", n)
		}
		if a := ask(t, k, "a", k.opts.Now()); a.status != http.StatusOK {
			t.Errorf("answered %d %s", a.status, a.body)
		}
	})
	t.Run("a fast clock's call, as late as it is good", func(t *testing.T) {
		k := newKit(t)
		sent := k.opts.Now().Add(300 * time.Second)
		if a := ask(t, k, "a", sent); a.status != http.StatusOK {
			t.Fatalf("answered %d %s", a.status, a.body)
		}
		k.turn(600*time.Second + 900*time.Millisecond)
		if a := ask(t, k, "a", sent); a.code() != "32" {
			t.Errorf("the replay answered %d %s", a.status, a.body)
		}
		k.turn(100 * time.Millisecond)
		if a := ask(t, k, "a", sent); a.code() != "135" {
			t.Errorf("when over, it answered %d %s", a.status, a.body)
		}
	})
	t.Run("they go with time", func(t *testing.T) {
		k := newKit(t)
		for range 10 {
			k.begin(t)
		}
		k.turn(nonceLife + 1)
		k.begin(t)
		if got := len(k.nonces.live); got != 1 {
			t.Errorf("%d nonces are remembered, want 1", got)
		}
		if got := len(k.requests.live); got != 1 {
			t.Errorf("%d request tokens are remembered, want 1", got)
		}
	})
	t.Run("when full, the oldest goes and the sandbox goes on", func(t *testing.T) {
		k := newKit(t)
		k.nonces.max, k.requests.max = 5, 3
		now := k.opts.Now()
		oldest, _ := k.begin(t)
		for i := range 20 {
			if a := ask(t, k, "n"+strconv.Itoa(i), now); a.status != http.StatusOK {
				t.Fatalf("call %d answered %d %s", i, a.status, a.body)
			}
		}
		if live, queued := len(k.nonces.live), len(k.nonces.queue); live != 5 || queued != 5 {
			t.Errorf("%d nonces are remembered, %d queued, want 5", live, queued)
		}
		if live, queued := len(k.requests.live), len(k.requests.queue); live != 3 || queued != 3 {
			t.Errorf("%d request tokens are remembered, %d queued, want 3", live, queued)
		}
		if a := ask(t, k, "n19", now); a.status != http.StatusUnauthorized {
			t.Errorf("the newest, replayed, answered %d", a.status)
		}
		if a := k.do(httptest.NewRequest("GET", "http://localhost/oauth/authorize?oauth_token="+oldest, nil)); a.status != http.StatusForbidden {
			t.Errorf("the oldest request token still answers %d", a.status)
		}
	})
}

// What the header says may be said once more elsewhere, as long as it is the same.
func TestARepeatInAnotherPlaceCountsOnce(t *testing.T) {
	for query, want := range map[string]int{"oauth_version=1.0": http.StatusOK, "oauth_version=1.1": http.StatusBadRequest, "other=1.0": http.StatusUnauthorized} {
		k := newKit(t)
		a := k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback}, edit: func(r *http.Request) { r.URL.RawQuery = query }})
		if a.status != want {
			t.Errorf("%s: %d %s, want %d", query, a.status, a.body, want)
		}
	}
}

// A query that cannot be decoded is shown without what it holds.
func TestAGarbledQueryIsMasked(t *testing.T) {
	k := newKit(t)
	k.call(t, signed{path: "/2/users/me", method: "GET", edit: func(r *http.Request) { r.URL.RawQuery = "oauth_token=the-secret-itself%zz" }})
	for _, c := range k.Calls() {
		if strings.Contains(fmt.Sprint(c), "the-secret-itself") {
			t.Errorf("the call holds it: %+v", c)
		}
	}
}
