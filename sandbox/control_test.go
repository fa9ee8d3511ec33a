package sandbox

import (
	"context"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"testing/synctest"
	"time"
)

// ordered sends an order to the control API.
func (k *kit) order(method, path, body string, edit func(*http.Request)) answered {
	r := httptest.NewRequest(method, "http://localhost:8081/_sandbox/"+path, strings.NewReader(body))
	if body != "" {
		r.Header.Set("Content-Type", "application/json")
	}
	if edit != nil {
		edit(r)
	}
	return k.do(r)
}

// TestControl: what a test in another language can see and do.
func TestControl(t *testing.T) {
	k := newKitWith(t, Options{Callbacks: []string{callback}, Faults: []Fault{{Kind: "slow", Endpoint: "users_me", Seconds: 9}}})
	pair := k.signIn(t, "12")
	tests := []struct {
		method, path, body string
		status             int
		want               string
	}{
		{"GET", "", "", 200, `"request_token":"http://localhost:8081/oauth/request_token"`},
		{"GET", "faults", "", 200, `[{"kind":"slow","endpoint":"users_me","seconds":9}]`},
		{"POST", "faults", `{"kind":"keys","endpoint":"access_token","times":2}`, 200, `{"kind":"keys","endpoint":"access_token","times":2}`},
		{"POST", "faults", `{"kind":"rain"}`, 400, `{"error":"There is no fault \"rain\"; there are keys,`},
		{"POST", "faults", `{"kind":"keys","when":"now"}`, 400, `{"error":"The body is not the JSON that belongs here: unknown field \"when\"."}`},
		{"POST", "faults", `{"kind":"keys"} {}`, 400, "something follows"},
		{"POST", "faults", `keys`, 400, "The body is not the JSON"},
		{"DELETE", "faults", "", 204, ""},
		{"GET", "faults", "", 200, "[]"},
		{"GET", "calls", "", 200, `"endpoint":"access_token"`},
		{"GET", "accounts", "", 200, `{"id":"2244994945","screen_name":"robin","name":"Robin Perch","email":"robin@perch.example"}`},
		{"POST", "accounts", `{"id":"7","screen_name":"seven","name":"Seven"}`, 200, `{"id":"7","screen_name":"seven","name":"Seven"}`},
		{"POST", "accounts", `{"id":"7","screen_name":"other","name":"Seven"}`, 400, "two accounts"},
		{"PATCH", "accounts/7", `{"state":"locked"}`, 200, `{"id":"7","screen_name":"seven","name":"Seven","state":"locked"}`},
		{"PATCH", "accounts/7", `{"state":""}`, 200, `{"id":"7","screen_name":"seven","name":"Seven"}`},
		{"PATCH", "accounts/7", `{"state":"asleep"}`, 400, "asleep"},
		{"PATCH", "accounts/7", `{"id":"8"}`, 400, "never changes"},
		{"PATCH", "accounts/404", `{}`, 404, `{"error":"There is no account with ID 404."}`},
		{"DELETE", "tokens/404", "", 404, "no account"},
		{"DELETE", "tokens/12", "", 204, ""},
		{"DELETE", "tokens/12", "", 204, ""},
		{"PUT", "faults", "{}", 405, `{"error":"This path takes GET or HEAD or POST or DELETE only."}`},
		{"GET", "nothing", "", 404, `{"error":"Nothing is at this path;`},
		{"GET", "accounts/7/more", "", 404, `{"error":"Nothing is at this path;`},
	}
	for _, tt := range tests {
		if a := k.order(tt.method, tt.path, tt.body, nil); a.status != tt.status || !strings.Contains(strings.ToLower(a.body), strings.ToLower(tt.want)) {
			t.Errorf("%s %s %s answered %d %s, want %d with %s", tt.method, tt.path, tt.body, a.status, a.body, tt.status, tt.want)
		}
	}
	if a := k.me(t, pair, "/2/users/me"); a.code() != "89" {
		t.Errorf("a token that was taken away answered %d %s", a.status, a.body)
	}
	if a := k.order("POST", "reset", "", nil); a.status != http.StatusNoContent {
		t.Errorf("reset answered %d %s", a.status, a.body)
	}
	if len(k.Calls()) != 0 || len(k.Accounts()) != len(DemoAccounts()) || len(k.Faults()) != 1 || len(k.connected()) != 0 {
		t.Errorf("after a reset there are %v, %v, %v, %v", k.Calls(), k.Accounts(), k.Faults(), k.connected())
	}
}

// TestControlLock: no page of another site gives orders, nor any other computer.
func TestControlLock(t *testing.T) {
	edits := map[string]struct {
		edit   func(*http.Request)
		status int
	}{
		"from a program":         {nil, 0},
		"from a page of our own": {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-origin") }, 0},
		"from another site":      {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "cross-site") }, 403},
		"from the other name":    {func(r *http.Request) { r.Header.Set("Sec-Fetch-Site", "same-site") }, 403},
		"from an old browser":    {func(r *http.Request) { r.Header.Set("Origin", "http://evil.example") }, 403},
		"to another name":        {func(r *http.Request) { r.Host = "evil.example" }, 421},
	}
	for name, e := range edits {
		for order, body := range map[string]string{
			"POST faults": `{"kind":"keys"}`, "DELETE faults": "", "POST accounts": `{"id":"7","screen_name":"seven","name":"Seven"}`,
			"PATCH accounts/12": `{"name":"A"}`, "DELETE tokens/12": "", "POST reset": "",
		} {
			k := newKit(t)
			k.signIn(t, "12")
			before := mustJSON(t, []any{k.Faults(), k.Accounts(), k.connected()})
			method, path, _ := strings.Cut(order, " ")
			a := k.order(method, path, body, e.edit)
			if refused := a.status >= 300; refused != (e.status != 0) || refused && a.status != e.status {
				t.Errorf("%s, %s: %d %s", order, name, a.status, a.body)
			}
			if after := mustJSON(t, []any{k.Faults(), k.Accounts(), k.connected()}); e.status != 0 && after != before {
				t.Errorf("%s, %s: changed %s to %s", order, name, before, after)
			}
		}
	}
	k := newKit(t)
	for _, kind := range []string{"text/plain", "application/x-www-form-urlencoded", ""} {
		a := k.order("POST", "faults", `{"kind":"keys"}`, func(r *http.Request) { r.Header.Set("Content-Type", kind) })
		if a.status != http.StatusUnsupportedMediaType || len(k.Faults()) != 0 {
			t.Errorf("as %q: %d %s", kind, a.status, a.body)
		}
	}
}

// TestCalls: what the inspector shows of a sign-in, without a secret in it.
func TestCalls(t *testing.T) {
	k := newKit(t)
	pair := k.signIn(t, "12")
	k.me(t, pair, "/2/users/me?user.fields=name&password=hunter2hunter2hunter2&note="+k.ConsumerSecret())
	calls := k.Calls()
	want := []struct{ method, endpoint, url string }{
		{"POST", "request_token", "/oauth/request_token"}, {"GET", "authenticate", "/oauth/authenticate?oauth_token="}, {"POST", "authenticate", "/oauth/authenticate"},
		{"POST", "access_token", "/oauth/access_token"}, {"GET", "users_me", "/2/users/me?user.fields=name&password="},
	}
	if len(calls) != len(want) {
		t.Fatalf("%d calls, want %d", len(calls), len(want))
	}
	for i, c := range calls {
		if c.ID != int64(i+1) || c.Method != want[i].method || c.Endpoint != want[i].endpoint || !strings.HasPrefix(c.URL, want[i].url) || !c.OK || c.At.IsZero() || c.Took <= 0 {
			t.Errorf("call %d is %+v", i, c)
		}
		if e, _ := endpointOf(c.Endpoint); (c.Expected != "") != e.signed || c.Received != "" {
			t.Errorf("call %d has base strings %q, %q", i, c.Expected, c.Received)
		}
	}
	in := map[string]string{}
	for _, p := range calls[4].Params {
		in[p.Name] = p.In
	}
	if in["oauth_nonce"] != "header" || in["user.fields"] != "query" || calls[2].Params[0].In != "body" {
		t.Errorf("parameters are in %v, %v", in, calls[2].Params)
	}
	shown := mustJSON(t, calls)
	for what, secret := range map[string]string{"token": pair.Get("oauth_token"), "token secret": pair.Get("oauth_token_secret"), "password": "hunter2hunter2", "consumer secret": k.ConsumerSecret()} {
		if strings.Contains(shown, secret) {
			t.Errorf("the calls hold the %s: %s", what, shown)
		}
	}

	for range maxCalls {
		k.begin(t)
	}
	if calls := k.Calls(); len(calls) != maxCalls || calls[maxCalls-1].ID != maxCalls+5 {
		t.Errorf("%d calls are kept, the last is %d", len(calls), calls[len(calls)-1].ID)
	}
	k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_consumer_key": "a-real-secret-in-the-wrong-place"}})
	if c := k.last(t); strings.Contains(mustJSON(t, c), "a-real-secret") || c.Expected == "" {
		t.Errorf("a foreign key is shown: %+v", c)
	}
	long := signed{path: "/oauth/request_token?" + strings.Repeat("a=b&", 200) + strings.Repeat("c", 60_000)}
	k.call(t, long)
	if b, err := json.Marshal(k.last(t)); err != nil || len(b) > 32<<10 || len(k.last(t).Params) != maxCallParams {
		t.Errorf("a long call takes %d bytes, error %v", len(b), err)
	}
}

// TestWatch: each new call is told, until nobody listens; who is slow loses some, and holds nobody up.
func TestWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		k := newKit(t)
		ctx, cancel := context.WithCancel(t.Context())
		calls, slow := k.Watch(ctx), k.Watch(t.Context())
		began := time.Now()
		for i := range 100 {
			k.begin(t)
			if c := <-calls; c.ID != int64(i+1) || c.Endpoint != "request_token" {
				t.Errorf("told was %+v", c)
			}
		}
		if took := time.Since(began); took != 0 {
			t.Errorf("the slow one held calls up for %s", took)
		}
		if len(slow) == 0 || len(slow) == 100 {
			t.Errorf("the slow one has %d waiting", len(slow))
		}
		cancel()
		synctest.Wait()
		if _, open := <-calls; open {
			t.Error("it goes on when nobody listens")
		}
		k.begin(t)
	})
}
