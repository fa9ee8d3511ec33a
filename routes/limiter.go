package routes

import (
	"sync"
	"time"

	"golang.org/x/time/rate"
)

// maxTracked is how many addresses the limiter remembers. Beyond it the table
// starts anew: whoever fills it wins a fresh start, not the server's memory.
const maxTracked = 100_000

// limiter counts per address, in bounded memory. It implements Echo's
// RateLimiterStore.
type limiter struct {
	now       func() time.Time
	perMinute int

	mu      sync.Mutex
	buckets map[string]*rate.Limiter
	swept   time.Time
}

func newLimiter(perMinute int, now func() time.Time) *limiter {
	return &limiter{now: now, perMinute: perMinute, buckets: map[string]*rate.Limiter{}, swept: now()}
}

// Allow tells whether the address may go on. It never fails.
func (l *limiter) Allow(address string) (bool, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	now := l.now()
	l.sweep(now)
	bucket, ok := l.buckets[address]
	if !ok {
		bucket = rate.NewLimiter(rate.Limit(float64(l.perMinute)/60), l.perMinute)
		l.buckets[address] = bucket
	}
	return bucket.AllowN(now, 1), nil
}

// sweep forgets, once a minute, the addresses whose bucket is full again.
func (l *limiter) sweep(now time.Time) {
	if len(l.buckets) >= maxTracked {
		clear(l.buckets)
	}
	if now.Sub(l.swept) < time.Minute {
		return
	}
	l.swept = now
	for address, bucket := range l.buckets {
		if bucket.TokensAt(now) >= float64(l.perMinute) {
			delete(l.buckets, address)
		}
	}
}
