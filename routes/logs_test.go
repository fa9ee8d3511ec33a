package routes_test

import (
	"net/http"
	"net/url"
	"slices"
	"strings"
	"testing"
)

// Every event of a sign-in, good and bad, is in the log, and nothing that is
// nobody's business: that the kit makes sure of after every test.
func TestLog(t *testing.T) {
	t.Parallel()
	k := start(t, func(s *setup) { s.loginRate = 4 })
	b := k.browser(t)
	b.signIn("robin")
	b.get("/?next=secret-of-the-query")
	b.signOut("/", "Sec-Fetch-Site", "cross-site")
	b.signOut("/")
	b.get(b.start("next=/account").cancel())
	b.get(k.callback("oauth_token=somebody-elses-token&oauth_verifier=somebody-elses-verifier"))
	k.twitter.fail(requestToken, jsonError(401, 32))
	b.get("/login")
	k.twitter.fail(requestToken, nil)
	back := b.start("next=/").authorize("suzume")
	b.get("/login") // the fifth
	k.loseDatabase()
	b.get(back)

	want := []map[string]any{ // what each event says, besides time and level
		{"msg": "login_started"},
		{"msg": "login_ok", "account": "2244994945"},
		{"msg": "csrf_refused", "route": "/logout"},
		{"msg": "logout", "account": "2244994945"},
		{"msg": "login_started"},
		{"msg": "login_denied"},
		{"msg": "login_failed", "reason": "unknown"},
		{"msg": "provider_error", "call": "request_token", "status": 401., "code": 32., "error": "twitter: request_token: keys (status 401, code 32)"},
		{"msg": "login_failed", "reason": "keys"},
		{"msg": "login_started"},
		{"msg": "rate_limited", "route": "/login"},
		{"msg": "db_error"},
		{"msg": "login_failed", "reason": "database"},
	}
	var events []map[string]any
	for _, event := range k.log.lines() {
		if event["msg"] != "request" {
			events = append(events, event)
		}
	}
	if len(events) != len(want) {
		t.Fatalf("%d events, want %d: %v", len(events), len(want), events)
	}
	for i, event := range events {
		for key, value := range want[i] {
			if event[key] != value {
				t.Errorf("event %d: %s is %v, want %v", i, key, event[key], value)
			}
		}
		if event["id"] == nil {
			t.Errorf("event %d says not of which request: %v", i, event)
		}
	}
}

// One line per request: method, route, status, duration and id.
func TestRequestLog(t *testing.T) {
	t.Parallel()
	k := start(t)
	tests := []struct {
		method, target, route string
		status                float64
	}{
		{"GET", "/", "/", 200},
		{"HEAD", "/account?x=secret", "/account", 303},
		{"GET", "/login?next=secret", "/login", 303},
		{"POST", "/logout", "/logout", 303},
		{"GET", "/logout", "/logout", 405},
		{"GET", "/nowhere", "", 404},
		{"GET", "/assets/nothing.css", "/assets/*", 404},
		{"GET", "/oauth-authorized?oauth_token=secret-of-somebody", "/oauth-authorized", 303},
	}
	for _, tt := range tests {
		t.Run(tt.method+" "+tt.target, func(t *testing.T) {
			before := len(k.log.events("request"))
			a := k.serve(t, k.request(tt.method, tt.target))
			lines := k.log.events("request")
			if len(lines) != before+1 {
				t.Fatalf("%d lines for one request", len(lines)-before)
			}
			got := lines[before]
			if got["method"] != tt.method || got["status"] != tt.status || got["id"] != a.Header.Get("X-Request-Id") || got["duration_ms"] == nil {
				t.Errorf("the log says %v", got)
			}
			if route, _ := got["route"].(string); route != tt.route && tt.route != "" {
				t.Errorf("the log's route is %q, want %q", route, tt.route)
			}
			if len(got) != 8 {
				t.Errorf("the log says more, or less: %v", got)
			}
		})
	}
}

func TestRequestID(t *testing.T) {
	t.Parallel()
	k := start(t)
	for id, kept := range map[string]bool{
		"abcd-1234":              true,
		"12345678":               true,
		strings.Repeat("a", 64):  true,
		"1234567":                false,
		strings.Repeat("a", 65):  false,
		"":                       false,
		"abcd 1234":              false,
		"abcd_1234":              false,
		"abcd-1234\n":            false,
		"abcd-1234\r\nevil: yes": false,
		"<script>alert":          false,
		"ábcdefghi":              false,
		`abcd","msg":"login_ok"`: false,
	} {
		a := k.serve(t, k.request(http.MethodGet, "/healthz", "X-Request-Id", id))
		got := a.Header.Get("X-Request-Id")
		if (got == id) != kept || len(got) < 8 {
			t.Errorf("inbound id %q: the answer's is %q", id, got)
		}
		if logged := k.log.last("request")["id"]; logged != got {
			t.Errorf("inbound id %q: the log's is %q, the answer's %q", id, logged, got)
		}
	}
	// Without one, each request gets its own.
	if first, second := k.browser(t).get("/").Header.Get("X-Request-Id"), k.browser(t).get("/").Header.Get("X-Request-Id"); first == second {
		t.Errorf("two requests have the id %q", first)
	}
}

// What a visitor sends cannot make a line of the log, nor colour a terminal.
func TestLogCannotBeForged(t *testing.T) {
	t.Parallel()
	k := start(t)
	const forged = "\r\n{\"msg\":\"login_ok\",\"account\":\"1\"}\r\n\x1b[31m\u2028\x00"
	targets := []string{"/" + url.PathEscape(forged), "/assets/" + url.PathEscape(forged), "/?a=" + url.QueryEscape(forged),
		"/login?next=" + url.QueryEscape(forged), "/oauth-authorized?denied=" + url.QueryEscape(forged), "/account" + url.PathEscape(forged)}
	for _, target := range targets {
		k.serve(t, k.request(http.MethodGet, target, "User-Agent", forged, "Referer", forged, "X-Request-Id", forged,
			"X-Forwarded-For", forged, "HX-Request", "true", "HX-Current-URL", forged, "Cookie", "perch-session="+forged))
	}
	k.serve(t, k.request(http.MethodPost, "/logout", "Origin", forged))
	if got := len(k.log.events("request")); got != len(targets)+1 {
		t.Errorf("%d lines for %d requests", got, len(targets)+1)
	}
	if got := k.log.events("login_ok"); len(got) > 0 || slices.ContainsFunc(k.log.lines(), func(event map[string]any) bool { return event["msg"] == "not JSON" }) {
		t.Errorf("a forged line: %v", got)
	}
	if i := strings.IndexFunc(k.log.text(), func(r rune) bool { return r < ' ' && r != '\n' || r == 0x7f || r == 0x2028 }); i >= 0 {
		t.Errorf("a control character at %d: %.80q", i, k.log.text()[max(0, i-40):])
	}
}

// The kit itself would see a secret in the log.
func TestKitSeesASecret(t *testing.T) {
	t.Parallel()
	k := start(t)
	b := k.browser(t)
	back := parse(t, b.start("next=/").authorize("robin")).Query()
	b.get(k.callback(back.Encode()))
	cookie := b.cookie(sessionCookie)
	var known []string
	for secret := range k.secrets.values {
		known = append(known, secret)
	}
	for _, secret := range []string{back.Get("oauth_token"), back.Get("oauth_verifier"), back.Encode(), cookie, string(oneKey), k.twitter.sandbox.ConsumerSecret()} {
		if !slices.Contains(known, secret) {
			t.Errorf("the kit does not know the secret %q", secret)
		}
	}
	if len(known) < 12 { // and request and access token's secrets, Authorization headers, more cookies
		t.Errorf("the kit knows %d secrets only", len(known))
	}
}
