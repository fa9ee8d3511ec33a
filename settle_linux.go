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
	maps, err := os.ReadFile("/proc/self/smaps")
	if err != nil {
		return
	}
	var from, to uintptr // of the mapping that the lines are about
	var clean bool       // it is the program's, as the file has it
	for line := range strings.Lines(string(maps)) {
		var start, end uintptr
		var allowed string
		name, value, _ := strings.Cut(line, ":")
		switch n, _ := fmt.Sscanf(line, "%x-%x %s", &start, &end, &allowed); {
		case n == 3:
			from, to = start, end
			clean = !strings.Contains(allowed, "w") && strings.HasSuffix(line, " "+program+"\n")
		case name == "Anonymous" || name == "Swap": // what was relocated, and then made read-only, is in no file
			clean = clean && strings.TrimSpace(value) == "0 kB"
		case name == "VmFlags" && clean: // the last line
			syscall.Syscall(syscall.SYS_MADVISE, from, to-from, syscall.MADV_DONTNEED)
		}
	}
}
