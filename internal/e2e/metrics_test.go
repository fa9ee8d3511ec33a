package e2e

import (
	"io"
	"net/http"
	"strings"
	"testing"
)

// fetch asks an address beside Perch's own.
func fetch(t *testing.T, address string) (status int, body string) {
	t.Helper()
	client := http.Client{Timeout: patience, Transport: &http.Transport{DisableKeepAlives: true}}
	answer, err := client.Get(address)
	if err != nil {
		t.Fatal(err)
	}
	defer answer.Body.Close()
	all, err := io.ReadAll(answer.Body)
	if err != nil {
		t.Fatal(err)
	}
	return answer.StatusCode, string(all)
}

func TestMetricsAreOnAnAddressOfTheirOwn(t *testing.T) {
	t.Parallel()
	metrics := "127.0.0.1:" + freePort(t)
	p := start(t, "METRICS_ADDR="+metrics)
	v := p.visitor()
	v.signIn(account(t, "robin"))
	v.get("/account?private=8d1f0c72aa")

	status, scrape := fetch(t, "http://"+metrics+"/metrics")
	if status != http.StatusOK {
		t.Errorf("/metrics answers %d, want 200", status)
	}
	for _, line := range []string{
		`perch_signins_total{outcome="ok",reason=""} 1`,
		`perch_provider_calls_total{call="access_token",code="0",status="200"} 1`,
		`perch_http_requests_total{method="GET",route="/account",status="200"} 1`,
		`perch_sessions 1`,
		`perch_database_up 1`,
	} {
		if !strings.Contains(scrape, "\n"+line+"\n") {
			t.Errorf("the scrape lacks %s", line)
		}
	}
	for secret, what := range p.secrets {
		if strings.Contains(scrape, secret) {
			t.Errorf("the scrape holds a %s", what)
		}
	}
	for path, want := range map[string]int{"/debug/pprof/": 200, "/debug/pprof/profile?seconds=1": 200, "/": 404, "/readyz": 404} {
		if got, _ := fetch(t, "http://"+metrics+path); got != want {
			t.Errorf("%s beside answers %d, want %d", path, got, want)
		}
	}
	for _, path := range []string{"/metrics", "/debug/pprof/"} {
		if got := p.probe(path); got != http.StatusNotFound {
			t.Errorf("%s in public answers %d, want 404", path, got)
		}
	}
	// That SIGTERM still ends it well is looked at after every test.
}
