package e2e

import (
	"bytes"
	"encoding/json"
	"net/http"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/dghubble/oauth1"

	"perch/sandbox"
)

// sandboxAlone runs `perch sandbox` with these flags, without any setting, and
// returns what it printed, once it did. It is stopped when the test ends, and
// has to end well.
func sandboxAlone(t *testing.T, flags ...string) *perch {
	t.Helper()
	p := prepare(t)
	p.env, p.args = map[string]string{}, append([]string{"sandbox"}, flags...)
	p.launch()
	t.Cleanup(func() {
		if !p.hasExited() {
			p.stop()
		}
	})
	await(t, "the sandbox to say where it is", func() bool { return p.hasExited() || strings.HasSuffix(p.out.String(), "\n") })
	return p
}

// described is what --print json tells.
type described struct {
	URL            string            `json:"url"`
	ConsumerKey    string            `json:"consumer_key"`
	ConsumerSecret string            `json:"consumer_secret"`
	Callbacks      []string          `json:"callbacks"`
	Accounts       []sandbox.Account `json:"accounts"`
	Endpoints      map[string]string `json:"endpoints"`
	Control        string            `json:"control"`
}

func (p *perch) described() (d described) {
	p.Helper()
	if strings.Count(p.out.String(), "\n") != 1 {
		p.Fatalf("printed %q, want one line; said %s", p.out, p.log)
	}
	decoder := json.NewDecoder(strings.NewReader(p.out.String()))
	decoder.DisallowUnknownFields()
	if err := decoder.Decode(&d); err != nil {
		p.Fatalf("printed %q: %v", p.out, err)
	}
	return d
}

// A test in any language starts the sandbox, reads one line, and signs in.
func TestTheSandboxAlone(t *testing.T) {
	t.Parallel()
	const callback = "http://127.0.0.1:3000/back?a=b,c"
	p := sandboxAlone(t, "--addr=127.0.0.1:0", "--print=json", "--callback", callback, "--callback=oob", "--auto-approve=suzume", "--fault=token@access_token*1", "--rate-limits")
	x := p.described()
	if !strings.HasPrefix(x.URL, "http://127.0.0.1:") || strings.HasSuffix(x.URL, ":0") || len(x.Callbacks) != 2 || x.Callbacks[0] != callback || len(x.Accounts) != 5 || len(x.Endpoints) != 7 {
		t.Errorf("it tells of %+v", x)
	}
	config := &oauth1.Config{ConsumerKey: x.ConsumerKey, ConsumerSecret: x.ConsumerSecret, CallbackURL: callback, Noncer: oauth1.HexNoncer{},
		Endpoint: oauth1.Endpoint{RequestTokenURL: x.Endpoints["request_token"], AuthorizeURL: x.Endpoints["authenticate"], AccessTokenURL: x.Endpoints["access_token"]}}

	token, secret, err := config.RequestToken()
	if err != nil {
		t.Fatal(err)
	}
	client := &http.Client{CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }}
	resp, err := client.Get(x.Endpoints["authenticate"] + "?oauth_token=" + token)
	if err != nil {
		t.Fatal(err)
	}
	resp.Body.Close()
	back, err := resp.Location()
	if err != nil {
		t.Fatalf("authenticate answered %s: %v", resp.Status, err)
	}
	if _, _, err := config.AccessToken(token, secret, back.Query().Get("oauth_verifier")); err == nil {
		t.Error("the fault did not befall access_token")
	}
	access, accessSecret, err := config.AccessToken(token, secret, back.Query().Get("oauth_verifier"))
	if err != nil {
		t.Fatal(err)
	}
	me, err := config.Client(t.Context(), oauth1.NewToken(access, accessSecret)).Get(x.Endpoints["users_me"])
	if err != nil {
		t.Fatal(err)
	}
	defer me.Body.Close()
	var body bytes.Buffer
	if _, err := body.ReadFrom(me.Body); err != nil || !strings.Contains(body.String(), `"username":"suzume"`) {
		t.Errorf("users/me answered %s %s", me.Status, body.String())
	}
	calls, err := client.Get(x.Control + "calls")
	if err != nil {
		t.Fatal(err)
	}
	defer calls.Body.Close()
	var seen []sandbox.Call
	if err := json.NewDecoder(calls.Body).Decode(&seen); err != nil || len(seen) != 5 || seen[2].Fault != "token" {
		t.Errorf("it saw %+v, error %v", seen, err)
	}
	for what, secret := range map[string]string{"consumer secret": x.ConsumerSecret, "token": access, "token secret": accessSecret} {
		if strings.Contains(p.log.String(), secret) {
			t.Errorf("the log holds the %s", what)
		}
	}
}

// What belongs to the application does not reach the sandbox: a folder with a
// wrong .env, an ADDR of another.
func TestTheSandboxAloneNeedsNoSettings(t *testing.T) {
	t.Parallel()
	p := prepare(t)
	p.write(".env", "TWITTER_CONSUMER_KEY=alone\nBASE_URL=nonsense\nADDR=192.0.2.1:80\n")
	p.write("people.json", `[{"id":"7","screen_name":"seven","name":"Seven","email":"seven@perch.example","state":"locked"}]`)
	p.env, p.args = map[string]string{"SANDBOX_ADDR": "nonsense"}, []string{"sandbox", "--print=json", "--seed=7", "--accounts=people.json", "--addr=" + p.sandboxAddr}
	began := time.Now()
	p.launch()
	await(t, "the line", func() bool { return p.hasExited() || strings.HasSuffix(p.out.String(), "\n") })
	t.Logf("ready after %s", time.Since(began))
	first := p.described()
	if first.URL != "http://"+p.sandboxAddr || len(first.Accounts) != 1 || first.Accounts[0].State != "locked" || first.Callbacks == nil {
		t.Errorf("it tells of %+v", first)
	}
	if !listens(p.sandboxAddr) {
		t.Error("it said where it is before it was there")
	}
	p.stop()
	if again := sandboxAlone(t, "--addr=localhost:0", "--print=json", "--seed=7").described(); again.ConsumerKey != first.ConsumerKey || again.ConsumerSecret != first.ConsumerSecret {
		t.Errorf("with the same seed the keys were %q and %q", first.ConsumerKey, again.ConsumerKey)
	}
}

func TestTheSandboxAloneForPeople(t *testing.T) {
	t.Parallel()
	p := sandboxAlone(t, "--addr=127.0.0.1:0", "--consumer-key=key", "--consumer-secret=secret", "--allow-remote")
	await(t, "all of it", func() bool { return strings.HasSuffix(p.out.String(), "\n\n") })
	for _, want := range []string{`is at +http://127\.0\.0\.1:\d+\n`, `consumer key +key\n`, `consumer secret +secret\n`, `callback +any`, `IT ANSWERS TO OTHER COMPUTERS`} {
		if !regexp.MustCompile(want).MatchString(p.out.String()) {
			t.Errorf("it printed %q, want %s", p.out, want)
		}
	}
	await(t, "the warning", func() bool { return strings.Contains(p.log.String(), "toy Twitter") })
}

func TestAWrongSandboxIsRefusedInOneSentence(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct{ flag, names string }{
		"another computer":            {"--addr=0.0.0.0:8081", "--addr"},
		"a look-alike":                {"--addr=localhost.evil.example:8081", "--addr"},
		"no port":                     {"--addr=localhost", "--addr"},
		"a key without its secret":    {"--consumer-key=k", "secret go together"},
		"a callback that is none":     {"--callback=/back", "/back"},
		"a fault that is none":        {"--fault=rain", "there are keys"},
		"a file that is not there":    {"--accounts=nowhere.json", "nowhere.json"},
		"a file of something else":    {"--accounts=text.json", "JSON array"},
		"somebody unknown who agrees": {"--auto-approve=nobody", "nobody"},
		"a seed that is no number":    {"--seed=abc", "--seed"},
		"a format of its own":         {"--print=xml", "--print"},
		"a log format of its own":     {"--log-format=xml", "LOG_FORMAT"},
		"a flag that is not there":    {"--everything", "--everything"},
	} {
		t.Run(name, func(t *testing.T) {
			p := prepare(t)
			p.write("text.json", "This is no JSON.")
			p.env, p.args = map[string]string{}, []string{"sandbox", test.flag}
			p.launch()
			if code := p.awaitExit(); code <= 0 {
				t.Errorf("exit code %d, want one that says no", code)
			}
			said := p.log.String()
			if p.out.String() != "" || !strings.HasPrefix(said, "perch: error: ") || strings.Count(said, "\n") != 1 || !strings.Contains(said, test.names) {
				t.Errorf("printed %q, said %q, want one sentence about %s", p.out, said, test.names)
			}
		})
	}
}

func TestTheSandboxesHelpShowsItsFlags(t *testing.T) {
	t.Parallel()
	got := prepare(t).run("sandbox", "--help")
	for _, flag := range []string{"--addr", "--consumer-key", "--consumer-secret", "--callback", "--accounts", "--fault", "--auto-approve", "--seed", "--rate-limits", "--allow-remote", "--print", "--log-format"} {
		if !strings.Contains(got.out.String(), flag) {
			t.Errorf("--help does not show %s", flag)
		}
	}
	if strings.Contains(got.out.String(), "--database-url") {
		t.Error("--help shows settings that are not the sandbox's")
	}
}
