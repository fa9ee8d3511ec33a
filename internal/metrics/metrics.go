// Package metrics counts what happens, for Prometheus to ask.
//
// A nil *Metrics counts nowhere, so nobody has to ask whether one is there.
// Labels say what kind of thing happened and never to whom: all but a route,
// which is a pattern of ours, take their words from lists, and "other" is the
// word for the rest. So no visitor can add a series, nor leave a trace in one.
package metrics

import (
	"context"
	"net/http"
	"runtime/debug"
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"
)

// The words that labels have. What is added to the code has to be added here,
// or it is counted as "other".
var (
	methods = []string{
		http.MethodGet, http.MethodPost, http.MethodHead, http.MethodOptions, http.MethodPut,
		http.MethodPatch, http.MethodDelete, http.MethodConnect, http.MethodTrace,
	}
	reasons = []string{
		"callback", "clock", "database", "expired", "garbled", "internal", "keys", "locked", "malformed", "no_credits", "not_planned",
		"rate_limited", "refused", "stripped", "suspended", "unavailable", "unknown", "unreachable", "used",
	}
	calls = []string{
		"request_token", "access_token", "avatar",
		"/2/users/me", "/1.1/account/verify_credentials.json", "/1.1/oauth/invalidate_token.json",
	}
	codes = []int{0, 32, 63, 64, 88, 89, 130, 131, 135, 215, 326, 415, 416, 417, 453} // Twitter's
)

const other = "other"

// Options is what metrics depend on. Both are asked while Prometheus waits,
// for a second together; what fails or takes longer is left out.
type Options struct {
	// Ping returns nil while the database answers.
	Ping func(context.Context) error

	// CountSessions returns how many sessions are stored.
	CountSessions func(context.Context) (int64, error)
}

// Metrics counts. It is safe for use by many goroutines.
type Metrics struct {
	registry *prometheus.Registry

	requests  *prometheus.CounterVec
	durations *prometheus.HistogramVec

	started, ok, denied, signOuts, csrfRefused, rateLimited prometheus.Counter

	failed map[string]prometheus.Counter // by reason

	calls     *prometheus.CounterVec
	callTimes map[string]prometheus.Observer // by call
}

// New returns Metrics that count from zero.
func New(o Options) *Metrics {
	m := &Metrics{registry: prometheus.NewRegistry(), failed: map[string]prometheus.Counter{}, callTimes: map[string]prometheus.Observer{}}

	m.requests = m.counters("perch_http_requests_total", "Requests that were answered, by route, method and status.", "route", "method", "status")
	m.durations = m.histogram("perch_http_request_duration_seconds", "How long requests took until the answer was written, by route.", "route",
		.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 6, 12) // 6 s and 12 s are what a sign-in's two requests may take

	m.started = m.counter("perch_signins_started_total", "Visitors who were sent to Twitter to sign in.")
	ended := m.counters("perch_signins_total", "Sign-ins that ended, by outcome (ok, denied, failed) and, of those that failed, the reason.", "outcome", "reason")
	m.ok, m.denied = ended.WithLabelValues("ok", ""), ended.WithLabelValues("denied", "")
	for _, reason := range append(reasons, other) {
		m.failed[reason] = ended.WithLabelValues("failed", reason)
	}
	m.signOuts = m.counter("perch_signouts_total", "People who signed out.")
	m.csrfRefused = m.counter("perch_csrf_refused_total", "Requests refused because another site made the browser send them.")
	m.rateLimited = m.counter("perch_rate_limited_total", "Sign-ins refused because too many were started from one address.")

	m.calls = m.counters("perch_provider_calls_total",
		"Calls to Twitter, by call, HTTP status (0 without an answer) and Twitter's own code (0 without one).", "call", "status", "code")
	times := m.histogram("perch_provider_call_duration_seconds", "How long calls to Twitter took, by call.", "call",
		.01, .025, .05, .1, .25, .5, 1, 2.5, 5) // at 5 s a call is given up
	for _, call := range append(calls, other) {
		m.callTimes[call] = times.WithLabelValues(call)
	}

	m.registry.MustRegister(
		database{o}, buildInfo(),
		collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}),
	)
	return m
}

func (m *Metrics) counter(name, help string) prometheus.Counter {
	c := prometheus.NewCounter(prometheus.CounterOpts{Name: name, Help: help})
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) counters(name, help string, labels ...string) *prometheus.CounterVec {
	c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
	m.registry.MustRegister(c)
	return c
}

func (m *Metrics) histogram(name, help, label string, buckets ...float64) *prometheus.HistogramVec {
	h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: buckets}, []string{label})
	m.registry.MustRegister(h)
	return h
}

// buildInfo is 1, and says in its labels which program this is. The revision
// is empty when the program was not built from a checkout.
func buildInfo() prometheus.Collector {
	labels := prometheus.Labels{"version": "unknown", "revision": "", "goversion": ""}
	if build, ok := debug.ReadBuildInfo(); ok {
		labels["version"], labels["goversion"] = build.Main.Version, build.GoVersion
		for _, setting := range build.Settings {
			if setting.Key == "vcs.revision" {
				labels["revision"] = setting.Value
			}
		}
	}
	info := prometheus.NewGauge(prometheus.GaugeOpts{Name: "perch_build_info", Help: "1, with the version in the labels.", ConstLabels: labels})
	info.Set(1)
	return info
}

// Request counts a request that was answered. The route is the pattern that it
// matched, empty for none; never what the visitor wrote.
func (m *Metrics) Request(method, route string, status int, took time.Duration) {
	if m == nil {
		return
	}
	if route == "" {
		route = "unmatched"
	}
	m.requests.WithLabelValues(route, word(method, methods), strconv.Itoa(status)).Inc()
	m.durations.WithLabelValues(route).Observe(took.Seconds())
}

// SignInStarted counts a visitor who was sent to Twitter.
func (m *Metrics) SignInStarted() {
	if m != nil {
		m.started.Inc()
	}
}

// SignedIn counts a sign-in that went well.
func (m *Metrics) SignedIn() {
	if m != nil {
		m.ok.Inc()
	}
}

// SignInDenied counts a visitor who said no at Twitter.
func (m *Metrics) SignInDenied() {
	if m != nil {
		m.denied.Inc()
	}
}

// SignInFailed counts a sign-in that did not go well, which may be before it
// was started. The reason is the log's.
func (m *Metrics) SignInFailed(reason string) {
	if m != nil {
		m.failed[word(reason, reasons)].Inc()
	}
}

// SignedOut counts somebody who was signed in and is not any more.
func (m *Metrics) SignedOut() {
	if m != nil {
		m.signOuts.Inc()
	}
}

// CSRFRefused counts a request that another site made a browser send.
func (m *Metrics) CSRFRefused() {
	if m != nil {
		m.csrfRefused.Inc()
	}
}

// RateLimited counts a sign-in that was one too many.
func (m *Metrics) RateLimited() {
	if m != nil {
		m.rateLimited.Inc()
	}
}

// Called counts a call to Twitter, as twitter.Options.Called is told of it.
func (m *Metrics) Called(call string, status, code int, took time.Duration) {
	if m == nil {
		return
	}
	statusWord, codeWord := strconv.Itoa(status), strconv.Itoa(code)
	if status != 0 && http.StatusText(status) == "" {
		statusWord = other
	}
	if !slices.Contains(codes, code) {
		codeWord = other
	}
	call = word(call, calls)
	m.calls.WithLabelValues(call, statusWord, codeWord).Inc()
	m.callTimes[call].Observe(took.Seconds())
}

// word is said when it is one of the words, else "other".
func word(said string, words []string) string {
	if slices.Contains(words, said) {
		return said
	}
	return other
}
