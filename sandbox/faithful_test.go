package sandbox

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"regexp"
	"runtime"
	"runtime/debug"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"
)

// with more options than a kit has.
func newKitWith(t testing.TB, opts Options) *kit {
	t.Helper()
	k := &kit{now: time.Now().Truncate(time.Second)}
	opts.Now = func() time.Time {
		k.mu.Lock()
		defer k.mu.Unlock()
		return k.now
	}
	s, err := New(opts)
	if err != nil {
		t.Fatal(err)
	}
	k.Server = s
	return k
}

// beginWith gets a request token for this callback, with more parameters in the query.
func (k *kit) beginWith(t testing.TB, callback, query string) (token, secret string) {
	t.Helper()
	a := k.call(t, signed{path: "/oauth/request_token" + query, oauth: map[string]string{"oauth_callback": callback}})
	v, err := url.ParseQuery(a.body)
	if err != nil || a.status != http.StatusOK {
		t.Fatalf("request_token answered %d %s", a.status, a.body)
	}
	return v.Get("oauth_token"), v.Get("oauth_token_secret")
}

// TestSilence: who consented before and is signed in at the sandbox is not asked again, where X does not ask.
func TestSilence(t *testing.T) {
	const asks, silent = http.StatusOK, http.StatusFound
	tests := []struct {
		name, access string // access at the first time
		remember     bool
		between      func(k *kit)
		path         string
		want         int
	}{
		{"the second time", "", true, nil, "/oauth/authenticate?oauth_token=", silent},
		{"authorize asks always", "", true, nil, "/oauth/authorize?oauth_token=", asks},
		{"force_login", "", true, nil, "/oauth/authenticate?force_login=true&oauth_token=", asks},
		{"a browser that was told to forget", "", false, nil, "/oauth/authenticate?oauth_token=", asks},
		{"access was taken away", "", true, func(k *kit) { k.Revoke("12") }, "/oauth/authenticate?oauth_token=", asks},
		{"less access was given", "?x_auth_access_type=read", true, nil, "/oauth/authenticate?oauth_token=", asks},
		{"after a reset", "", true, func(k *kit) { _ = k.Reset() }, "/oauth/authenticate?oauth_token=", asks},
		{"after a month", "", true, func(k *kit) { k.turn(31 * 24 * time.Hour) }, "/oauth/authenticate?oauth_token=", asks},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			k := newKit(t)
			b := newBrowser(t, k)
			token, _ := k.beginWith(t, callback, tt.access)
			_, page := b.get("/oauth/authenticate?oauth_token=" + token)
			if !tt.remember {
				page.Find("#remember").RemoveAttr("checked")
			}
			b.submit(page, "12", "authorize")
			if tt.between != nil {
				tt.between(k)
			}

			token, secret := k.begin(t)
			response, page := b.get(tt.path + token)
			if response.StatusCode != tt.want {
				t.Fatalf("answered %s, want %d", response.Status, tt.want)
			}
			if tt.want == asks {
				want := "12"
				if !tt.remember || strings.HasPrefix(tt.name, "after a") {
					want = DemoAccounts()[0].ID
				}
				if got := page.Find("input[type=radio][checked]").AttrOr("value", ""); got != want {
					t.Errorf("selected is %s, want %s", got, want)
				}
				return
			}
			to, err := url.Parse(response.Header.Get("Location"))
			if err != nil || !strings.HasPrefix(to.String(), callback+"?oauth_token="+token+"&oauth_verifier=") {
				t.Fatalf("it leads to %s", to)
			}
			if a := k.exchangeCall(t, token, secret, to.Query().Get("oauth_verifier")); a.status != http.StatusOK || !strings.Contains(a.body, "user_id=12&") {
				t.Errorf("access_token answered %d %s", a.status, a.body)
			}
			if other, _ := k.begin(t); true {
				if response, _ := newBrowser(t, k).get(tt.path + other); response.StatusCode != asks {
					t.Errorf("another browser is not asked: %s", response.Status)
				}
			}
		})
	}
}

// TestAccess: what is asked for is said to the person, and to the application.
func TestAccess(t *testing.T) {
	for query, want := range map[string]string{"": "read-write", "?x_auth_access_type=read": "read", "?x_auth_access_type=write": "read-write"} {
		k := newKit(t)
		token, secret := k.beginWith(t, callback, query)
		_, page := newBrowser(t, k).get("/oauth/authorize?oauth_token=" + token)
		if got := page.Find("#access strong").Text() == "read"; got != (want == "read") {
			t.Errorf("%s: the page says read only: %t", query, got)
		}
		a := k.exchangeCall(t, token, secret, k.approve(t, token, "12"))
		v, _ := url.ParseQuery(a.body)
		for _, got := range []string{a.header.Get("X-Access-Level"), k.me(t, v, "/2/users/me").header.Get("X-Access-Level")} {
			if got != want {
				t.Errorf("%s: x-access-level %q, want %q", query, got, want)
			}
		}
	}
}

// me makes a signed GET.
func (k *kit) me(t testing.TB, pair url.Values, path string) answered {
	t.Helper()
	return k.call(t, signed{method: "GET", path: path, tokenSecret: pair.Get("oauth_token_secret"), oauth: map[string]string{"oauth_token": pair.Get("oauth_token")}})
}

// TestPIN: a program without a page of its own, when oob is registered.
func TestPIN(t *testing.T) {
	k := newKitWith(t, Options{Callbacks: []string{callback, "oob"}})
	token, secret := k.beginWith(t, "oob", "")
	b := newBrowser(t, k)
	response, page := b.get("/oauth/authorize?oauth_token=" + token)
	if got := response.Header.Get("Content-Security-Policy"); !strings.HasSuffix(got, "form-action 'self'") {
		t.Errorf("Content-Security-Policy %q", got)
	}
	csrf := page.Find("[name=csrf]").AttrOr("value", "")
	r, err := http.NewRequest("POST", b.base+"/oauth/authorize", strings.NewReader(fields(csrf, token).Encode()))
	if err != nil {
		t.Fatal(err)
	}
	r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
	response, err = b.client.Do(r)
	if err != nil {
		t.Fatal(err)
	}
	defer response.Body.Close()
	shown := readAll(t, response)
	pin := regexp.MustCompile(`<code>([0-9]{7})</code>`).FindStringSubmatch(shown)
	if response.StatusCode != http.StatusOK || response.Header.Get("Location") != "" || pin == nil {
		t.Fatalf("answered %s %s", response.Status, shown)
	}
	if a := k.exchangeCall(t, token, secret, "0000000"); a.status != http.StatusUnauthorized {
		t.Errorf("another PIN answered %d %s", a.status, a.body)
	}
	if a := k.exchangeCall(t, token, secret, pin[1]); a.status != http.StatusOK {
		t.Errorf("the PIN answered %d %s", a.status, a.body)
	}
	if strings.Contains(mustJSON(t, k.Calls()), pin[1]) {
		t.Error("the calls hold the PIN")
	}

	t.Run("cancelled", func(t *testing.T) {
		token, secret := k.beginWith(t, "oob", "")
		_, page := b.get("/oauth/authorize?oauth_token=" + token)
		form := fields(page.Find("[name=csrf]").AttrOr("value", ""), token)
		form.Set("action", "cancel")
		if status := b.post(form, nil); status != http.StatusOK {
			t.Errorf("answered %d", status)
		}
		if a := k.exchangeCall(t, token, secret, "0000000"); a.code() != "89" || !strings.Contains(k.last(t).Verdict, "the person cancelled") {
			t.Errorf("access_token answered %d %s, %q", a.status, a.body, k.last(t).Verdict)
		}
	})
	t.Run("by a desktop application, a callback is refused", func(t *testing.T) {
		k := newKitWith(t, Options{Callbacks: []string{"oob"}})
		a := k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback}})
		if a.status != http.StatusUnauthorized || a.code() != "417" {
			t.Errorf("answered %d %s", a.status, a.body)
		}
	})
}

// TestAnyCallback: with none registered, those on loopback are taken.
func TestAnyCallback(t *testing.T) {
	for callback, want := range map[string]int{
		"http://127.0.0.1:3000/back?a=b": 200, "https://localhost/": 200, "http://[::1]:1/x": 200,
		"oob": 403, "http://perch.example/": 403, "http://localhost.evil.example/": 403, "http://a@localhost/": 403, "http://localhost/#": 403,
		"myapp://localhost/": 403, "/back": 403, "": 403, "http://0.0.0.0/": 403,
	} {
		k := newKitWith(t, Options{})
		if a := k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback}}); a.status != want {
			t.Errorf("%q: %d %s, want %d", callback, a.status, a.body, want)
		}
	}
}

// TestProfileFields: what can be asked for, and what comes.
func TestProfileFields(t *testing.T) {
	k := newKit(t)
	robin, wren := k.signIn(t, "2244994945"), k.signIn(t, "12")
	const verify = "/1.1/account/verify_credentials.json"
	tests := []struct {
		name   string
		pair   url.Values
		path   string
		has    string // in the JSON, by its own spelling
		hasNot string
	}{
		{"plain", robin, verify, `"status":`, `"email"`},
		{"with e-mail", robin, verify + "?include_email=true", `"email":"robin@perch.example"`, ""},
		{"without an address", wren, verify + "?include_email=true", `"email":null`, ""},
		{"without status", robin, verify + "?skip_status=true", `"id_str":"2244994945"`, `"status":`},
		{"with entities", robin, verify, `"entities":`, ""},
		{"without entities", robin, verify + "?include_entities=false", `"screen_name":"robin"`, `"entities"`},
		{"three fields", robin, "/2/users/me", `{"data":{"id":"2244994945","name":"Robin Perch","username":"robin"}}`, ""},
		{"more fields", robin, "/2/users/me?user.fields=profile_image_url,created_at,verified,pinned_tweet_id", `"verified":false`, "pinned"},
		{"an address", robin, "/2/users/me?user.fields=confirmed_email", `"confirmed_email":"robin@perch.example"`, ""},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			a := k.me(t, tt.pair, tt.path)
			if a.status != http.StatusOK || !strings.Contains(a.body, tt.has) || tt.hasNot != "" && strings.Contains(a.body, tt.hasNot) {
				t.Errorf("answered %d %s, want %s and not %s", a.status, a.body, tt.has, tt.hasNot)
			}
		})
	}
	if a := k.me(t, robin, "/2/users/me?user.fields=name,shoe_size"); a.status != http.StatusBadRequest || !strings.Contains(a.body, `"Invalid Request"`) {
		t.Errorf("a field that is none: %d %s", a.status, a.body)
	}
}

// TestRateLimits: the headers are always there, the refusal only when it is asked for, per token and endpoint, for 15 minutes.
func TestRateLimits(t *testing.T) {
	for _, on := range []bool{false, true} {
		k := newKitWith(t, Options{Callbacks: []string{callback}, RateLimits: on})
		wren, robin := k.signIn(t, "12"), k.signIn(t, "2244994945")
		want := func(a answered, status int, remaining string) {
			t.Helper()
			h := a.header
			if on == false {
				status = http.StatusOK
			}
			if a.status != status || h.Get("x-rate-limit-limit") != "75" || h.Get("x-rate-limit-remaining") != remaining ||
				h.Get("x-rate-limit-reset") == "" || !regexp.MustCompile(`^[a-z0-9]{16}$`).MatchString(h.Get("x-transaction-id")) {
				t.Errorf("limits %t: answered %d %s %v, want %d with %s left", on, a.status, a.body, h, status, remaining)
			}
		}
		reset := strconv.FormatInt(k.opts.Now().Add(15*time.Minute).Unix(), 10)
		for i := range 75 {
			want(k.me(t, wren, "/2/users/me"), 200, strconv.Itoa(74-i))
		}
		over := k.me(t, wren, "/2/users/me")
		want(over, 429, "0")
		if got := over.header.Get("x-rate-limit-reset"); got != reset {
			t.Errorf("reset at %s, want %s", got, reset)
		}
		if on && over.code() != "88" {
			t.Errorf("the body is %s", over.body)
		}
		want(k.me(t, wren, "/1.1/account/verify_credentials.json"), 200, "74")
		want(k.me(t, robin, "/2/users/me"), 200, "74")
		k.turn(15*time.Minute - time.Second)
		want(k.me(t, wren, "/2/users/me"), 429, "0")
		k.turn(time.Second)
		want(k.me(t, wren, "/2/users/me"), 200, "74")
	}
}

// TestTrouble: people whom X does not let on.
func TestTrouble(t *testing.T) {
	for state, code := range map[string]string{"locked": "326", "suspended": "64"} {
		k := newKit(t)
		pair := k.signIn(t, "12")
		token, secret := k.begin(t)
		verifier := k.approve(t, token, "12")
		if err := k.ChangeAccount(Account{ID: "12", ScreenName: "jenny_wren", Name: "Jenny", State: state}); err != nil {
			t.Fatal(err)
		}
		for what, a := range map[string]answered{"access_token": k.exchangeCall(t, token, secret, verifier), "users/me": k.me(t, pair, "/2/users/me")} {
			if a.status != http.StatusForbidden || a.code() != code {
				t.Errorf("%s, %s: %d %s, want 403 with %s", state, what, a.status, a.body, code)
			}
		}
		if err := k.ChangeAccount(Account{ID: "12", ScreenName: "jenny_wren", Name: "Jenny"}); err != nil {
			t.Fatal(err)
		}
		if a := k.exchangeCall(t, token, secret, verifier); a.status != http.StatusOK {
			t.Errorf("when it is over: %d %s", a.status, a.body)
		}
	}
}

// TestAccounts: people come, change, and take each other's names.
func TestAccounts(t *testing.T) {
	k := newKit(t)
	if err := k.AddAccount(Account{ID: "7", ScreenName: "newcomer", Name: "New"}); err != nil {
		t.Fatal(err)
	}
	if got := k.signIn(t, "7"); got.Get("screen_name") != "newcomer" {
		t.Errorf("the newcomer is %s", got.Encode())
	}
	if a := k.do(httptest.NewRequest("GET", "http://localhost/sandbox/avatars/7_normal.png", nil)); a.status != http.StatusOK {
		t.Errorf("the newcomer's picture answers %d", a.status)
	}
	for name, a := range map[string]Account{
		"an ID that is taken":     {ID: "7", ScreenName: "a", Name: "A"},
		"a name that is taken":    {ID: "8", ScreenName: "Newcomer", Name: "A"},
		"a name that is too long": {ID: "8", ScreenName: "a234567890123456", Name: "A"},
	} {
		if err := k.AddAccount(a); err == nil {
			t.Errorf("%s was accepted", name)
		}
	}
	if err := k.ChangeAccount(Account{ID: "404", ScreenName: "a", Name: "A"}); err == nil {
		t.Error("somebody who is not there was changed")
	}

	if err := k.ChangeAccount(Account{ID: "7", ScreenName: "goldcrest_wings", Name: "New"}); err != nil {
		t.Fatal(err)
	}
	names := map[string]string{}
	for _, a := range k.Accounts() {
		names[a.ID] = a.ScreenName
	}
	if names["7"] != "goldcrest_wings" || names["1700000000000000003"] != "goldcrest_win_2" {
		t.Errorf("after taking a name over they are %v", names)
	}
}

// TestAutoApprove: a whole sign-in without a browser, even where X would ask.
func TestAutoApprove(t *testing.T) {
	for _, path := range []string{"/oauth/authenticate?oauth_token=", "/oauth/authorize?force_login=true&oauth_token="} {
		k := newKitWith(t, Options{Callbacks: []string{callback}, AutoApprove: "SUZUME"})
		if err := k.Rename("1700000000000000004", "tree_sparrow"); err != nil { // it is the person who says yes, not the name
			t.Fatal(err)
		}
		token, secret := k.begin(t)
		a := k.do(httptest.NewRequest("GET", "http://localhost:8081"+path+token, nil))
		to, _ := url.Parse(a.header.Get("Location"))
		if a.status != http.StatusFound || to.Query().Get("oauth_token") != token {
			t.Fatalf("answered %d to %s", a.status, to)
		}
		if a := k.exchangeCall(t, token, secret, to.Query().Get("oauth_verifier")); !strings.HasSuffix(a.body, "&user_id=1700000000000000004&screen_name=tree_sparrow") {
			t.Errorf("access_token answered %d %s", a.status, a.body)
		}
	}
}

// TestSeed: the same keys, tokens and verifiers in every run, and after every reset; others with another seed.
func TestSeed(t *testing.T) {
	run := func(k *kit) string {
		var all strings.Builder
		for _, account := range []string{"12", "2244994945", "12"} {
			token, secret := k.begin(t)
			verifier := k.approve(t, token, account)
			all.WriteString(strings.Join([]string{k.ConsumerKey(), k.ConsumerSecret(), token, secret, verifier, k.exchangeCall(t, token, secret, verifier).body, "\n"}, " "))
		}
		return all.String()
	}
	one := newKitWith(t, Options{Callbacks: []string{callback}, Seed: 1})
	first := run(one)
	if again := run(newKitWith(t, Options{Callbacks: []string{callback}, Seed: 1})); again != first {
		t.Errorf("the first run had\n%s, the second\n%s", first, again)
	}
	if err := one.Reset(); err != nil {
		t.Fatal(err)
	}
	if again := run(one); again != first {
		t.Errorf("the first run had\n%s, after the reset\n%s", first, again)
	}
	for _, seed := range []int64{0, 2, -1} {
		if other := run(newKitWith(t, Options{Callbacks: []string{callback}, Seed: seed})); other == first {
			t.Errorf("seed %d is like seed 1", seed)
		}
	}
}

// TestAllowRemote answers to every name, and only then.
func TestAllowRemote(t *testing.T) {
	for allowed, want := range map[bool]int{true: 200, false: 421} {
		k := newKitWith(t, Options{AllowRemote: allowed})
		r := httptest.NewRequest("GET", "http://twitter.test/_sandbox/", nil)
		if a := k.do(r); a.status != want {
			t.Errorf("allowed %t: %d, want %d", allowed, a.status, want)
		}
	}
}

// TestForgedNonces: a flood of nonces, forged or not, costs little memory, and everybody else is served.
func TestForgedNonces(t *testing.T) {
	k := newKitWith(t, Options{Callbacks: []string{callback}})
	memory := func() uint64 {
		runtime.GC()
		var m runtime.MemStats
		runtime.ReadMemStats(&m)
		return m.HeapAlloc
	}
	before := memory()
	r := k.request(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback,
		"oauth_nonce": strings.Repeat("n", 240), "oauth_signature": "AAAAAAAAAAAAAAAAAAAAAAAAAAA="}})
	header := r.Header.Get("Authorization")
	flood := 100_000
	if build, ok := debug.ReadBuildInfo(); ok && slices.Contains(build.Settings, debug.BuildSetting{Key: "-race", Value: "true"}) {
		flood = 10_000 // its watch makes a minute of it
	}
	for i := range flood {
		r.Header.Set("Authorization", strings.Replace(header, "nnnnn", strconv.Itoa(i), 1))
		w := httptest.NewRecorder()
		if k.ServeHTTP(w, r); w.Code != http.StatusUnauthorized {
			t.Fatalf("a forged call answered %d", w.Code)
		}
	}
	for i := range 5_000 { // somebody who has the keys
		k.call(t, signed{path: "/oauth/request_token", oauth: map[string]string{"oauth_callback": callback, "oauth_nonce": strings.Repeat("m", 240) + strconv.Itoa(i)}})
	}
	if grown := (int64(memory()) - int64(before)) >> 20; grown >= 64 {
		t.Errorf("it grew by %d MiB, want less than 64", grown)
	}
	k.begin(t)
}

func readAll(t testing.TB, response *http.Response) string {
	t.Helper()
	var b strings.Builder
	if err := response.Write(&b); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

func mustJSON(t testing.TB, v any) string {
	t.Helper()
	b, err := json.Marshal(v)
	if err != nil {
		t.Fatal(err)
	}
	return string(b)
}
