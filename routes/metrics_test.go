package routes_test

import (
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strconv"
	"strings"
	"testing"
	"time"
)

// scrape asks for the metrics as Prometheus does.
func (k *kit) scrape() string {
	answer := httptest.NewRecorder()
	k.metrics.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		k.Errorf("the scrape got %d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// counts returns what Perch's series say, but for those that measure time.
func (k *kit) counts() map[string]float64 {
	k.Helper()
	counts := map[string]float64{}
	for line := range strings.Lines(k.scrape()) {
		end := strings.LastIndexByte(line, ' ')
		if !strings.HasPrefix(line, "perch_") || strings.Contains(line, "_seconds_") {
			continue
		}
		n, err := strconv.ParseFloat(strings.TrimSpace(line[end:]), 64)
		if err != nil {
			k.Errorf("the scrape says %q", line)
		}
		counts[line[:end]] = n
	}
	return counts
}

// count returns what one series says, 0 when there is none.
func (k *kit) count(series string) float64 {
	k.Helper()
	return k.counts()[series]
}

// Every event of a sign-in, good and bad, is counted, once and as what it is.
func TestMetrics(t *testing.T) {
	t.Parallel()
	k := start(t, func(s *setup) { s.loginRate = 5 })
	b := k.browser(t)
	request := func(method, route string, status int) string {
		return fmt.Sprintf("perch_http_requests_total{method=%q,route=%q,status=%q}", method, route, strconv.Itoa(status))
	}
	call := func(call string, status, code int) string {
		return fmt.Sprintf("perch_provider_calls_total{call=%q,code=%q,status=%q}", call, strconv.Itoa(code), strconv.Itoa(status))
	}
	const (
		started = "perch_signins_started_total"
		ok      = `perch_signins_total{outcome="ok",reason=""}`
		denied  = `perch_signins_total{outcome="denied",reason=""}`
		failed  = `perch_signins_total{outcome="failed",reason=%q}`
	)
	var back string
	for _, step := range []struct {
		story string
		does  func()
		want  map[string]float64 // what is more than before
	}{
		{"a page", func() { b.get("/") }, map[string]float64{request("GET", "/", 200): 1}},
		{"a page that is not there", func() { b.get("/robin?x=1") }, map[string]float64{request("GET", "unmatched", 404): 1}},
		{"a method that does not work", func() { b.get("/logout") }, map[string]float64{request("GET", "/logout", 405): 1}},
		{"a sign-in", func() { b.signIn("robin") }, map[string]float64{
			request("GET", "/login", 303): 1, request("GET", "/oauth-authorized", 303): 1, started: 1, ok: 1, "perch_sessions": 1,
			call("request_token", 200, 0): 1, call("access_token", 200, 0): 1, call("/2/users/me", 200, 0): 1, call("avatar", 200, 0): 1,
		}},
		{"a profile from the second way, a day later", func() {
			k.twitter.fail(usersMe, jsonError(403, 453))
			k.clock.advance(24 * time.Hour)
			b.refresh()
		}, map[string]float64{
			request("POST", "/account/refresh", 303): 1, call("/2/users/me", 403, 453): 1,
			call("/1.1/account/verify_credentials.json", 200, 0): 1, call("avatar", 200, 0): 1,
		}},
		{"a forged sign-out", func() { b.signOut("/", "Sec-Fetch-Site", "cross-site") }, map[string]float64{
			request("POST", "/logout", 403): 1, "perch_csrf_refused_total": 1,
		}},
		{"a sign-out", func() { b.signOut("/") }, map[string]float64{
			request("POST", "/logout", 303): 1, "perch_signouts_total": 1, "perch_sessions": -1,
		}},
		{"a sign-out of nobody", func() { b.signOut("/") }, map[string]float64{request("POST", "/logout", 303): 1}},
		{"a denial", func() { b.get(b.start("").cancel()) }, map[string]float64{
			request("GET", "/login", 303): 1, request("GET", "/oauth-authorized", 303): 1, started: 1, denied: 1, call("request_token", 200, 0): 1,
		}},
		{"a callback nobody asked for", func() { b.get(k.callback("oauth_token=somebody-elses-token&oauth_verifier=somebody-elses-verifier")) }, map[string]float64{
			request("GET", "/oauth-authorized", 303): 1, fmt.Sprintf(failed, "unknown"): 1,
		}},
		{"half a callback", func() { b.get(k.callback("oauth_token=t")) }, map[string]float64{
			request("GET", "/oauth-authorized", 303): 1, fmt.Sprintf(failed, "malformed"): 1,
		}},
		{"wrong keys", func() { k.twitter.fail(requestToken, jsonError(401, 32)); b.get("/login") }, map[string]float64{
			request("GET", "/login", 303): 1, fmt.Sprintf(failed, "keys"): 1, call("request_token", 401, 32): 1,
		}},
		{"no answer", func() { k.twitter.fail(requestToken, reset); b.get("/login") }, map[string]float64{
			request("GET", "/login", 303): 1, fmt.Sprintf(failed, "unreachable"): 1, call("request_token", 0, 0): 1,
		}},
		{"a code nobody knows", func() { k.twitter.fail(requestToken, jsonError(403, 9999)); b.get("/login") }, map[string]float64{
			request("GET", "/login", 303): 1, fmt.Sprintf(failed, "refused"): 1,
			`perch_provider_calls_total{call="request_token",code="other",status="403"}`: 1,
		}},
		{"a last sign-in, half of it", func() { k.twitter.fail(requestToken, nil); back = b.start("").authorize("suzume") }, map[string]float64{
			request("GET", "/login", 303): 1, started: 1, call("request_token", 200, 0): 1,
		}},
		{"a sign-in too many", func() { b.get("/login") }, map[string]float64{request("GET", "/login", 429): 1, "perch_rate_limited_total": 1}},
		{"its other half, without a database", func() { k.loseDatabase(); b.get(back) }, map[string]float64{
			request("GET", "/oauth-authorized", 303): 1, fmt.Sprintf(failed, "database"): 1, call("access_token", 200, 0): 1, "perch_database_up": -1,
		}},
		{"the same again", func() { b.get(back) }, map[string]float64{
			request("GET", "/oauth-authorized", 303): 1, fmt.Sprintf(failed, "used"): 1,
		}},
	} {
		t.Run(step.story, func(t *testing.T) {
			before := k.counts()
			step.does()
			got := k.counts()
			for series, n := range before {
				if got[series] -= n; got[series] == 0 {
					delete(got, series)
				}
			}
			if !maps.Equal(got, step.want) {
				t.Errorf("counted %v, want %v", got, step.want)
			}
		})
	}
}

// Whatever visitors write, no series is added for it, and nothing of it is in
// one.
func TestVisitorsAddNoSeries(t *testing.T) {
	t.Parallel()
	k := start(t)
	hostile := func(i int) {
		mark := fmt.Sprint("xyzzy", i)
		for _, r := range []*http.Request{
			k.request("GET", "/"+mark),
			k.request("GET", "/account/"+mark+"?"+mark),
			k.request("GET", "/avatar/"+mark),
			k.request("GET", "/assets/"+mark),
			k.request("GET", "/oauth-authorized?oauth_token="+mark+"&oauth_verifier="+mark),
			k.request(mark, "/"),
			k.request(mark, "/"+mark),
			k.request("GET", "/", "Host", mark),
			k.request("GET", "/header", "User-Agent", mark, "Cookie", mark+"="+mark),
		} {
			(*k.handler.Load()).ServeHTTP(httptest.NewRecorder(), r)
		}
	}
	hostile(0)
	before := k.counts()
	for i := range 1000 {
		hostile(i)
	}
	if after := k.counts(); len(after) != len(before) {
		t.Errorf("%d series became %d: %v", len(before), len(after), after)
	}
	if strings.Contains(strings.ToLower(k.scrape()), "xyzzy") {
		t.Error("a visitor has left a trace in the metrics")
	}
}

// What cannot be known is left out; the rest is told all the same.
func TestMetricsWithoutADatabase(t *testing.T) {
	t.Parallel()
	k := start(t)
	k.browser(t).signIn("robin")
	if counts := k.counts(); counts["perch_database_up"] != 1 || counts["perch_sessions"] != 1 {
		t.Errorf("with a database and one session: %v", counts)
	}
	k.loseDatabase()
	counts := k.counts()
	if up, ok := counts["perch_database_up"]; up != 0 || !ok {
		t.Errorf("without a database perch_database_up is %v", up)
	}
	if n, ok := counts["perch_sessions"]; ok {
		t.Errorf("without a database there are %v sessions", n)
	}
	if counts[`perch_signins_total{outcome="ok",reason=""}`] != 1 {
		t.Error("the rest is missing")
	}
}
