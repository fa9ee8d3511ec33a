package main

import (
	"os"
	"runtime"
	"runtime/debug"
	"runtime/metrics"
)

// collectSeldom lets garbage wait longer while there is little: by Go's own
// rule a heap as small as Perch's is collected sixty times a second under load.
// A heap that is not small, as in a flood, is collected by that rule. GOGC in
// the environment, not in .env, goes before.
func collectSeldom() {
	if os.Getenv("GOGC") != "" {
		return
	}
	percent := gcPercent(0)
	debug.SetGCPercent(percent)
	type canary struct{ _ *byte }
	var collected func(*canary)
	collected = func(c *canary) {
		live := []metrics.Sample{{Name: "/gc/heap/live:bytes"}}
		metrics.Read(live)
		if p := gcPercent(live[0].Value.Uint64()); p != percent { // to set it stops the world
			debug.SetGCPercent(p)
			percent = p
		}
		runtime.SetFinalizer(c, collected) // this has brought it back to life: until the next collection
	}
	runtime.SetFinalizer(new(canary), collected)
}

// gcPercent is the GOGC for a heap with so many bytes alive.
func gcPercent(live uint64) int {
	switch {
	case live < 4<<20:
		return 300 // it grows to four times as much
	case live < 8<<20:
		return 200
	}
	return 100
}
