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
		if p := gcPercent(live[0].Value.Uint64()); p != percent {
			debug.SetGCPercent(p)
			percent = p
		}
		runtime.SetFinalizer(c, collected) // this has brought it back to life: until the next collection
	}
	runtime.SetFinalizer(new(canary), collected)
}

// gcPercent is the GOGC for a heap with so many bytes alive: one that may grow
// to 16 MiB, fourfold at the most, and twofold at the least, which is Go's rule.
// It comes in steps, for to set it stops the world.
func gcPercent(live uint64) int {
	const room = 16 << 20
	return int(min(300, max(100, 100*(room-min(room, live))/max(1, live)/25*25)))
}
