package routes

import (
	"strconv"
	"testing"
	"time"
)

func TestLimiter(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	l := newLimiter(30, func() time.Time { return now })
	ask := func(address string, times int) (allowed int) {
		for range times {
			if ok, err := l.Allow(address); err != nil {
				t.Fatal(err)
			} else if ok {
				allowed++
			}
		}
		return allowed
	}
	steps := []struct {
		name    string
		wait    time.Duration
		address string
		times   int
		allowed int
	}{
		{"all at once", 0, "a", 40, 30},
		{"another address", 0, "b", 1, 1},
		{"after two seconds, one more", 2 * time.Second, "a", 3, 1},
		{"after a minute, all again", time.Minute, "a", 40, 30},
		{"never more than that", time.Hour, "a", 40, 30},
	}
	for _, step := range steps {
		now = now.Add(step.wait)
		if got := ask(step.address, step.times); got != step.allowed {
			t.Errorf("%s: %d of %d were allowed, want %d", step.name, got, step.times, step.allowed)
		}
	}
}

func TestLimiterForgets(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	l := newLimiter(30, func() time.Time { return now })
	for i := range 1000 {
		l.Allow(strconv.Itoa(i))
	}
	for range 30 {
		l.Allow("busy")
	}
	now = now.Add(time.Minute - time.Second)
	for range 10 {
		l.Allow("busy")
	}
	now = now.Add(time.Second)
	l.Allow("new")
	if n := len(l.buckets); n != 2 { // busy and new
		t.Errorf("%d addresses are remembered after a minute, want 2", n)
	}
}

func TestLimiterIsBounded(t *testing.T) {
	now := time.Date(2026, 9, 1, 12, 0, 0, 0, time.UTC)
	l := newLimiter(30, func() time.Time { return now })
	for i := range maxTracked + 10 {
		l.Allow(strconv.Itoa(i))
	}
	if n := len(l.buckets); n > maxTracked {
		t.Errorf("%d addresses are remembered, want at most %d", n, maxTracked)
	}
}

func TestNetwork(t *testing.T) {
	for ip, want := range map[string]string{
		"192.0.2.1":              "192.0.2.1",
		"::ffff:192.0.2.1":       "192.0.2.1",
		"2001:db8:1:2:3:4:5:6":   "2001:db8:1:2::",
		"2001:db8:1:2::":         "2001:db8:1:2::",
		"fe80::1%eth0":           "fe80::",
		"not an address, no IPs": "not an address, no IPs",
	} {
		if got := network(ip); got != want && got != want+"/64" {
			t.Errorf("network(%q) = %q, want %q", ip, got, want)
		}
	}
}
