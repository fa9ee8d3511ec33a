package metrics_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"perch/internal/metrics"
)

// healthy is a database that answers.
var healthy = metrics.Options{
	Ping:          func(context.Context) error { return nil },
	CountSessions: func(context.Context) (int64, error) { return 42, nil },
}

// scrape asks as Prometheus does.
func scrape(t testing.TB, m *metrics.Metrics) string {
	t.Helper()
	answer := httptest.NewRecorder()
	m.Handler().ServeHTTP(answer, httptest.NewRequest(http.MethodGet, "/metrics", nil))
	if answer.Code != http.StatusOK {
		t.Fatalf("the scrape got %d: %s", answer.Code, answer.Body)
	}
	return answer.Body.String()
}

// value returns what a scrape says of a series, "" when it has none.
func value(scrape, series string) string {
	for line := range strings.Lines(scrape) {
		if value, ok := strings.CutPrefix(line, series+" "); ok {
			return strings.TrimSpace(value)
		}
	}
	return ""
}

func TestWhatHappenedIsCounted(t *testing.T) {
	const took = 200 * time.Millisecond
	for name, test := range map[string]struct {
		happens func(*metrics.Metrics)
		series  string
	}{
		"a request":                     {func(m *metrics.Metrics) { m.Request("GET", "/account", 200, took) }, `perch_http_requests_total{method="GET",route="/account",status="200"}`},
		"a request for nothing we have": {func(m *metrics.Metrics) { m.Request("GET", "", 404, took) }, `perch_http_requests_total{method="GET",route="unmatched",status="404"}`},
		"a method nobody knows":         {func(m *metrics.Metrics) { m.Request("BREW", "/", 405, took) }, `perch_http_requests_total{method="other",route="/",status="405"}`},
		"how long a request took":       {func(m *metrics.Metrics) { m.Request("GET", "/", 200, took) }, `perch_http_request_duration_seconds_bucket{route="/",le="0.25"}`},
		"a sign-in that starts":         {(*metrics.Metrics).SignInStarted, `perch_signins_started_total`},
		"a sign-in that goes well":      {(*metrics.Metrics).SignedIn, `perch_signins_total{outcome="ok",reason=""}`},
		"a denial":                      {(*metrics.Metrics).SignInDenied, `perch_signins_total{outcome="denied",reason=""}`},
		"a failure":                     {func(m *metrics.Metrics) { m.SignInFailed("keys") }, `perch_signins_total{outcome="failed",reason="keys"}`},
		"a failure nobody knows":        {func(m *metrics.Metrics) { m.SignInFailed("words") }, `perch_signins_total{outcome="failed",reason="other"}`},
		"a sign-out":                    {(*metrics.Metrics).SignedOut, `perch_signouts_total`},
		"a forged request":              {(*metrics.Metrics).CSRFRefused, `perch_csrf_refused_total`},
		"a sign-in too many":            {(*metrics.Metrics).RateLimited, `perch_rate_limited_total`},
		"a call":                        {func(m *metrics.Metrics) { m.Called("request_token", 401, 32, took) }, `perch_provider_calls_total{call="request_token",code="32",status="401"}`},
		"a call without an answer":      {func(m *metrics.Metrics) { m.Called("avatar", 0, 0, took) }, `perch_provider_calls_total{call="avatar",code="0",status="0"}`},
		"a call nobody knows":           {func(m *metrics.Metrics) { m.Called("/2/users/12", 700, 9999, took) }, `perch_provider_calls_total{call="other",code="other",status="other"}`},
		"how long a call took":          {func(m *metrics.Metrics) { m.Called("access_token", 200, 0, took) }, `perch_provider_call_duration_seconds_bucket{call="access_token",le="0.25"}`},
	} {
		t.Run(name, func(t *testing.T) {
			m := metrics.New(healthy)
			if got := value(scrape(t, m), test.series); got != "" && got != "0" {
				t.Errorf("%s is %s before anything happened", test.series, got)
			}
			test.happens(m)
			test.happens(m)
			if got := value(scrape(t, m), test.series); got != "2" {
				t.Errorf("%s is %q after it happened twice, want 2", test.series, got)
			}
		})
	}
}

// A series that is there before anything happens shows the first time, too, as
// an increase.
func TestEventsAreThereFromTheStart(t *testing.T) {
	scrape := scrape(t, metrics.New(healthy))
	for _, series := range []string{
		`perch_signins_started_total`, `perch_signins_total{outcome="ok",reason=""}`, `perch_signins_total{outcome="denied",reason=""}`,
		`perch_signins_total{outcome="failed",reason="keys"}`, `perch_signins_total{outcome="failed",reason="other"}`,
		`perch_signouts_total`, `perch_csrf_refused_total`, `perch_rate_limited_total`, `perch_provider_call_duration_seconds_count{call="avatar"}`,
	} {
		if got := value(scrape, series); got != "0" {
			t.Errorf("%s is %q, want 0", series, got)
		}
	}
}

func TestNilCountsNowhere(t *testing.T) {
	var m *metrics.Metrics
	m.Request("GET", "/", 200, time.Second)
	m.SignInStarted()
	m.SignedIn()
	m.SignInDenied()
	m.SignInFailed("keys")
	m.SignedOut()
	m.CSRFRefused()
	m.RateLimited()
	m.Called("avatar", 200, 0, time.Second)
}

// Names, units and help are as Prometheus wants them.
func TestNothingToLint(t *testing.T) {
	m := metrics.New(healthy)
	m.Request("GET", "/", 200, time.Second)
	m.Called("avatar", 200, 0, time.Second)
	problems, err := promlint.New(strings.NewReader(scrape(t, m))).Lint()
	if err != nil {
		t.Fatal(err)
	}
	for _, problem := range problems {
		t.Errorf("%s: %s", problem.Metric, problem.Text)
	}
}

func TestTheProgramIsKnown(t *testing.T) {
	scrape := scrape(t, metrics.New(healthy))
	for _, begin := range []string{`perch_build_info{goversion="go1.`, "go_goroutines ", "process_resident_memory_bytes ", "process_open_fds "} {
		if !strings.Contains(scrape, "\n"+begin) {
			t.Errorf("the scrape lacks %s", begin)
		}
	}
}

func TestTheDatabaseMayBeDown(t *testing.T) {
	down := errors.New("database unavailable")
	hangs := func(ctx context.Context) error {
		<-ctx.Done()
		return ctx.Err()
	}
	for name, test := range map[string]struct {
		ping, count  func(context.Context) error
		up, sessions string
	}{
		"it answers":                       {up: "1", sessions: "42"},
		"it is down":                       {ping: func(context.Context) error { return down }, up: "0"},
		"it hangs":                         {ping: hangs, up: "0"},
		"it answers, but not how many":     {count: func(context.Context) error { return down }, up: "1"},
		"it answers, but counts for hours": {count: hangs, up: "1"},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			ask := func(ctx context.Context, ask func(context.Context) error) error {
				if ask == nil {
					return nil
				}
				return ask(ctx)
			}
			m := metrics.New(metrics.Options{
				Ping:          func(ctx context.Context) error { return ask(ctx, test.ping) },
				CountSessions: func(ctx context.Context) (int64, error) { return 42, ask(ctx, test.count) },
			})
			began := time.Now()
			scrape := scrape(t, m)
			if took := time.Since(began); took > 5*time.Second {
				t.Errorf("the scrape took %s", took)
			}
			if got := value(scrape, "perch_database_up"); got != test.up {
				t.Errorf("perch_database_up is %q, want %q", got, test.up)
			}
			if got := value(scrape, "perch_sessions"); got != test.sessions {
				t.Errorf("perch_sessions is %q, want %q", got, test.sessions)
			}
			if value(scrape, "perch_signouts_total") == "" {
				t.Error("the scrape lacks the rest")
			}
		})
	}
}

// However many words come, the series stay as few.
func TestLabelsAreBounded(t *testing.T) {
	m := metrics.New(healthy)
	happen := func(i int) {
		m.Request(fmt.Sprint("METHOD", i), "/", 405, 0)
		m.SignInFailed(fmt.Sprint("reason", i))
		m.Called(fmt.Sprint("/2/users/", i), 1000+i, 100_000+i, 0)
	}
	series := func() (n int) {
		for line := range strings.Lines(scrape(t, m)) {
			if strings.HasPrefix(line, "perch_") {
				n++
			}
		}
		return n
	}
	happen(0)
	before := series()
	for i := range 1000 {
		happen(i)
	}
	if after := series(); after != before {
		t.Errorf("%d series became %d", before, after)
	}
}

func TestOnlyMetricsAndProfilesAreServed(t *testing.T) {
	server := httptest.NewServer(metrics.New(healthy).Handler())
	defer server.Close()
	for target, want := range map[string]struct {
		status int
		says   string
	}{
		"/metrics":                       {200, "perch_sessions 42"},
		"/debug/pprof/":                  {200, "goroutine"},
		"/debug/pprof/heap":              {200, ""},
		"/debug/pprof/symbol":            {200, "num_symbols"},
		"/debug/pprof/trace?seconds=.01": {200, ""},
		"/debug/pprof/cmdline":           {404, ""}, // a flag may hold a secret
		"/":                              {404, ""},
		"/healthz":                       {404, ""},
		"/metrics/":                      {404, ""},
		"/metrics/perch":                 {404, ""},
		"/debug/vars":                    {404, ""},
	} {
		t.Run(target, func(t *testing.T) {
			status, body := get(t, server.URL+target)
			if status != want.status || !bytes.Contains(body, []byte(want.says)) {
				t.Errorf("got %d, want %d and %q in %.200s", status, want.status, want.says, body)
			}
		})
	}
}

// A CPU profile of 30 s, which is what one gets unasked, is longer than the
// server lets an answer take.
func TestAProfileMayOutlastTheWriteTimeout(t *testing.T) {
	server := httptest.NewUnstartedServer(metrics.New(healthy).Handler())
	server.Config.WriteTimeout = 100 * time.Millisecond
	server.Start()
	defer server.Close()
	if status, body := get(t, server.URL+"/debug/pprof/profile?seconds=1"); status != http.StatusOK || !bytes.HasPrefix(body, []byte{0x1f, 0x8b}) {
		t.Errorf("got %d and %.200q, want 200 and a gzipped profile", status, body)
	}
}

func get(t *testing.T, address string) (status int, body []byte) {
	t.Helper()
	answer, err := http.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	if body, err = io.ReadAll(answer.Body); err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, body
}

// BenchmarkRequest is what metrics add to each request.
func BenchmarkRequest(b *testing.B) {
	m := metrics.New(healthy)
	b.ReportAllocs()
	for b.Loop() {
		m.Request("GET", "/account", 200, 3*time.Millisecond)
	}
}
