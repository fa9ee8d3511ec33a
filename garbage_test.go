package main

import (
	"runtime"
	"runtime/debug"
	"runtime/metrics"
	"testing"
	"time"
)

// A heap that has become large is collected by Go's own rule, and one that has
// become small again is not.
func TestASmallHeapIsCollectedSeldom(t *testing.T) {
	t.Setenv("GOGC", "")
	defer debug.SetGCPercent(100)
	collectSeldom()
	var held []byte
	for _, step := range []struct{ alive, want int }{{0, 300}, {20 << 20, 100}, {0, 300}} {
		held = make([]byte, step.alive)
		for deadline := time.Now().Add(10 * time.Second); percent() != step.want; {
			if time.Now().After(deadline) {
				t.Fatalf("with %d bytes alive GOGC is %d, want %d", step.alive, percent(), step.want)
			}
			runtime.GC()
			time.Sleep(time.Millisecond)
		}
		runtime.KeepAlive(held)
	}
}

func TestGOGCGoesBefore(t *testing.T) {
	t.Setenv("GOGC", "50")
	defer debug.SetGCPercent(debug.SetGCPercent(50))
	collectSeldom()
	runtime.GC()
	if got := percent(); got != 50 {
		t.Errorf("GOGC is %d, want 50", got)
	}
}

func percent() int {
	now := []metrics.Sample{{Name: "/gc/gogc:percent"}}
	metrics.Read(now)
	return int(now[0].Value.Uint64())
}
