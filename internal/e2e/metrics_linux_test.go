package e2e

import (
	"fmt"
	"os"
	"strings"
	"testing"
)

// Unasked, the program listens nowhere but at its own address and the
// sandbox's.
func TestMetricsAreOffUnlessAskedFor(t *testing.T) {
	t.Parallel()
	for name, test := range map[string]struct {
		settings []string
		want     int
	}{
		"off": {nil, 2},
		"on":  {[]string{"METRICS_ADDR=127.0.0.1:" + freePort(t)}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			p := start(t, test.settings...)
			if got := p.listening(); got != test.want {
				t.Errorf("the program listens at %d addresses, want %d", got, test.want)
			}
		})
	}
}

// listening returns at how many addresses the process listens. The kernel
// knows: its table of sockets has those that listen (0A) with their inodes,
// and the process has the inodes among its files.
func (p *perch) listening() (n int) {
	p.Helper()
	process := fmt.Sprintf("/proc/%d/", p.cmd.Process.Pid)
	files, err := os.ReadDir(process + "fd")
	if err != nil {
		p.Fatal(err)
	}
	mine := map[string]bool{}
	for _, file := range files {
		link, _ := os.Readlink(process + "fd/" + file.Name()) // it may be closed by now
		mine[link] = true
	}
	for _, table := range []string{"tcp", "tcp6"} {
		sockets, _ := os.ReadFile(process + "net/" + table) // there is none without IPv6
		for line := range strings.Lines(string(sockets)) {
			if fields := strings.Fields(line); len(fields) > 9 && fields[3] == "0A" && mine["socket:["+fields[9]+"]"] {
				n++
			}
		}
	}
	return n
}
