package e2e

import (
	"fmt"
	"net/http"
	"net/http/httptest"
	"regexp"
	"strings"
	"testing"
	"time"

	"perch/internal/testdb"
)

// doctor returns a perch that is about to look at its set-up, with the keys of
// another's sandbox and the callback that is registered there.
func (x *perch) doctor(t testing.TB) *perch {
	t.Helper()
	p := prepare(t)
	p.args = []string{"doctor"}
	p.env["BASE_URL"] = x.url
	p.env["TWITTER_API_URL"], p.env["TWITTER_CONSUMER_KEY"], p.env["TWITTER_CONSUMER_SECRET"] = x.sandboxURL, x.key, x.secret
	return p
}

// finds runs the doctor and fails unless it exits with the code after having
// printed lines that match the patterns, and nothing else.
func (p *perch) finds(code int, patterns ...string) {
	p.Helper()
	p.launch()
	if got := p.awaitExit(); got != code {
		p.Errorf("exit code %d, want %d", got, code)
	}
	lines := strings.Split(strings.TrimSuffix(p.out.String(), "\n"), "\n")
	for i := range max(len(lines), len(patterns)) {
		if i >= len(lines) || i >= len(patterns) || !regexp.MustCompile("^"+patterns[i]).MatchString(lines[i]) {
			p.Fatalf("printed\n%swant %q", p.out, patterns)
		}
	}
	said := p.out.String() + p.log.String()
	for name := range secretSettings {
		if secret := p.env[name]; secret != "" && strings.Contains(said, secret) {
			p.Errorf("it tells %s:\n%s", name, said)
		}
	}
	want := ""
	if bad := strings.Count("\n"+p.out.String(), "\nbad "); bad > 0 {
		want = fmt.Sprintf("perch: error: findings that are bad: %d\n", bad)
	}
	if p.log.String() != want {
		p.Errorf("it says %q, want %q", p.log, want)
	}
}

func TestDoctor(t *testing.T) {
	t.Parallel()
	x := start(t)
	const noPerch = "note Nobody answers at BASE_URL"
	noKey, noDatabase, key := "note The key file .* the first start makes it", "note The database is not there yet", "ok   The key file"
	if testdb.Postgres() {
		noKey, noDatabase, key = "ok   SECRET_KEY is set", "note The database answers, and holds nothing", "ok   SECRET_KEY is set"
	}
	const perch = "ok   Perch answers at BASE_URL, "

	t.Run("right keys", func(t *testing.T) {
		x.doctor(t).finds(0, "ok   X takes the keys and the callback "+x.url+`/oauth-authorized\.$`, noKey, noDatabase, perch)
	})
	t.Run("right keys, after a first start", func(t *testing.T) {
		p := x.doctor(t)
		p.args, p.env["BASE_URL"] = nil, ""
		p.start()
		p.kill()
		p.out, p.log = &output{}, &output{}
		p.args, p.env["BASE_URL"] = []string{"doctor"}, x.url
		p.finds(0, "ok   X takes the keys", key, "ok   The database answers", perch)
	})
	t.Run("a wrong secret", func(t *testing.T) {
		p := x.doctor(t)
		p.env["TWITTER_CONSUMER_SECRET"] = "a-wrong-secret-5bd0"
		p.finds(1, "bad  X does not take the keys: ", noKey, noDatabase, perch)
	})
	t.Run("a callback that is not registered", func(t *testing.T) {
		p := x.doctor(t)
		p.env["BASE_URL"] = "http://" + p.addr
		p.finds(1, "bad  X does not know the callback. Register exactly http://"+p.addr+"/oauth-authorized ", noKey, noDatabase, noPerch)
	})
	t.Run("a host that refuses", func(t *testing.T) {
		p := x.doctor(t)
		p.env["TWITTER_API_URL"] = "http://" + p.sandboxAddr
		p.finds(1, "bad  "+p.sandboxAddr+" refuses the connection. ", noKey, noDatabase, perch)
	})
	t.Run("a clock that is off", func(t *testing.T) {
		p := x.doctor(t)
		p.env["TWITTER_API_URL"] = twitterDouble(t, func(w http.ResponseWriter, r *http.Request) {
			w.Header().Set("Date", time.Now().Add(-time.Hour).UTC().Format(http.TimeFormat))
			w.WriteHeader(http.StatusUnauthorized)
			w.Write([]byte(`{"errors":[{"code":135,"message":"Timestamp out of bounds."}]}`))
		})
		p.finds(1, "bad  This machine's clock is 360[01] s ahead of X's, and X refuses", noKey, noDatabase, perch)
	})
	t.Run("a public address that redirects", func(t *testing.T) {
		p := x.doctor(t)
		proxy := httptest.NewServer(http.RedirectHandler("https://perch.example/header", http.StatusMovedPermanently))
		defer proxy.Close()
		p.env["BASE_URL"] = proxy.URL
		p.finds(1, "bad  X does not know the callback", noKey, noDatabase, `bad  A proxy redirects BASE_URL, http://\S+, to https://perch\.example\. `)
	})
	t.Run("no keys", func(t *testing.T) {
		p := x.doctor(t)
		delete(p.env, "TWITTER_API_URL")
		delete(p.env, "TWITTER_CONSUMER_KEY")
		delete(p.env, "TWITTER_CONSUMER_SECRET")
		p.finds(0, "ok   No keys are set, so the sandbox stands in for X, and X was not called", noKey, noDatabase, perch)
	})
	t.Run("a setting that is wrong", func(t *testing.T) {
		p := x.doctor(t)
		delete(p.env, "TWITTER_CONSUMER_SECRET")
		p.launch()
		if code := p.awaitExit(); code <= 0 || p.out.String() != "" || !strings.Contains(p.log.String(), "TWITTER_CONSUMER_SECRET must") {
			t.Errorf("exit code %d, printed %q, said %q", code, p.out, p.log)
		}
	})
}

// The same check is made at the start. Nothing waits for it.
func TestTheStartChecksTheKeysInTheBackground(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		answer http.HandlerFunc // nil hangs
		want   string
	}{
		"right keys": {handOut, `"INFO","msg":"provider_checked","finding":"X takes the keys and the callback http://127.0.0.1:`},
		"wrong keys": {func(w http.ResponseWriter, _ *http.Request) { w.WriteHeader(http.StatusUnauthorized) }, `"WARN","msg":"provider_check","problem":"X does not take the keys: `},
		"X hangs":    {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			calls := make(chan struct{}, 16)
			p := prepare(t)
			p.env["TWITTER_CONSUMER_KEY"], p.env["TWITTER_CONSUMER_SECRET"] = secretSettings["TWITTER_CONSUMER_KEY"], secretSettings["TWITTER_CONSUMER_SECRET"]
			p.keep("consumer key", p.env["TWITTER_CONSUMER_KEY"])
			p.keep("consumer secret", p.env["TWITTER_CONSUMER_SECRET"])
			p.env["TWITTER_API_URL"] = twitterDouble(t, func(w http.ResponseWriter, r *http.Request) {
				calls <- struct{}{}
				if test.answer == nil {
					<-r.Context().Done()
					return
				}
				test.answer(w, r)
			})
			p.start()
			<-calls
			if test.answer == nil { // it runs all the same, and ends without a word about it
				p.stop()
			} else {
				await(t, "the finding", func() bool { return strings.Contains(p.log.String(), test.want) })
			}
			if len(calls) != 0 || strings.Count(p.log.String(), `"msg":"provider_check`) != map[bool]int{true: 1}[test.answer != nil] {
				t.Errorf("%d more calls; the log:\n%s", len(calls), p.log)
			}
		})
	}
}
