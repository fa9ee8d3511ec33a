package main

import (
	"fmt"
	"os"
	"strings"
	"syscall"
)

// settle gives back the pages of the program's file that only the start
// needed, several megabytes. What is needed again comes back by itself, from
// where the kernel keeps files. It is fine when that fails.
func settle() {
	program, err := os.Executable()
	if err != nil {
		return
	}
	maps, err := os.ReadFile("/proc/self/maps")
	if err != nil {
		return
	}
	for line := range strings.Lines(string(maps)) {
		var from, to uintptr
		var allowed string
		if _, err := fmt.Sscanf(line, "%x-%x %s", &from, &to, &allowed); err != nil || !strings.HasSuffix(line, " "+program+"\n") {
			continue
		}
		if !strings.Contains(allowed, "w") { // what was written there would be lost
			syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED)
		}
	}
}
