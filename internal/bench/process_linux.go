package main

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"runtime"
	"strconv"
	"strings"
	"syscall"
	"time"

	"golang.org/x/sys/unix"
)

// cores are the two that are used: one for the server, one for the load. With
// one core both are the same, and the numbers are of little use.
func cores() (server, load int, err error) {
	var set unix.CPUSet
	if err := unix.SchedGetaffinity(0, &set); err != nil {
		return 0, 0, err
	}
	var ours []int
	for core := range 1024 {
		if set.IsSet(core) {
			ours = append(ours, core)
		}
	}
	return ours[0], ours[min(1, len(ours)-1)], nil
}

// on runs do on a thread that is bound to a core. A process that it starts is
// bound to it as well, all its threads.
func on(core int, do func() error) error {
	done := make(chan error)
	go func() {
		runtime.LockOSThread() // and never unlocked: the thread ends with this
		var set unix.CPUSet
		set.Set(core)
		if err := unix.SchedSetaffinity(0, &set); err != nil {
			done <- err
			return
		}
		done <- do()
	}()
	return <-done
}

// perch is the built program, with its sandbox.
type perch struct {
	program, dir, database string
	addr, sandbox, metrics string

	cmd *exec.Cmd
}

// start starts it on a core and waits for its first answer, which it times.
func (p *perch) start(ctx context.Context, core int) (took time.Duration, err error) {
	p.cmd = exec.Command(p.program)
	p.cmd.Dir = p.dir
	p.cmd.Env = []string{ // what it prints and logs goes to /dev/null
		"ADDR=" + p.addr, "SANDBOX_ADDR=" + p.sandbox, "METRICS_ADDR=" + p.metrics, "DATABASE_URL=" + p.database,
		"SECRET_KEY=a secret key for measuring alone", "LOGIN_RATE=0", "LOG_FORMAT=json",
	}
	began := time.Now()
	if err := on(core, p.cmd.Start); err != nil {
		return 0, err
	}
	for time.Since(began) < 20*time.Second && ctx.Err() == nil {
		if p.answers() {
			return time.Since(began), nil
		}
		time.Sleep(200 * time.Microsecond)
	}
	return 0, errors.Join(fmt.Errorf("%s with DATABASE_URL=%s does not answer", p.program, p.database), ctx.Err(), p.stop())
}

func (p *perch) answers() bool {
	conn, err := net.Dial("tcp", p.addr)
	if err != nil {
		return false
	}
	defer conn.Close()
	fmt.Fprintf(conn, "GET / HTTP/1.1\r\nHost: %s\r\n\r\n", p.addr)
	answer := make([]byte, len("HTTP/1.1 200"))
	_, err = conn.Read(answer)
	return err == nil && string(answer) == "HTTP/1.1 200"
}

// stop stops it, if it runs.
func (p *perch) stop() error {
	if p.cmd == nil || p.cmd.Process == nil || p.cmd.ProcessState != nil {
		return nil
	}
	return errors.Join(p.cmd.Process.Signal(syscall.SIGTERM), p.cmd.Wait())
}

// ports reserves addresses for Perch, its sandbox and its metrics.
func (p *perch) ports() error {
	for _, to := range []struct {
		addr *string
		host string
	}{{&p.addr, "127.0.0.1"}, {&p.sandbox, "localhost"}, {&p.metrics, "127.0.0.1"}} {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			return err
		}
		defer l.Close() // when all are different
		*to.addr = fmt.Sprintf("%s:%d", to.host, l.Addr().(*net.TCPAddr).Port)
	}
	return nil
}

// memory is what a process holds, in bytes: all of it, and without the pages of
// files (the program itself above all), which the kernel may drop.
type memory struct{ RSS, Anonymous int64 }

func memoryOf(pid int) (m memory, err error) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		return memory{}, err
	}
	for line := range strings.Lines(string(status)) {
		name, value, _ := strings.Cut(line, ":")
		kilobytes, err := strconv.ParseInt(strings.TrimSuffix(strings.TrimSpace(value), " kB"), 10, 64)
		switch {
		case err != nil:
		case name == "VmRSS":
			m.RSS = kilobytes << 10
		case name == "RssAnon":
			m.Anonymous = kilobytes << 10
		}
	}
	return m, nil
}

// descriptors is how many files and sockets a process has open.
func descriptors(pid int) (int, error) {
	open, err := os.ReadDir(fmt.Sprintf("/proc/%d/fd", pid))
	return len(open), err
}

// goroutines asks Perch's metrics.
func (p *perch) goroutines() (int, error) {
	answer, err := http.Get("http://" + p.metrics + "/metrics")
	if err != nil {
		return 0, err
	}
	defer answer.Body.Close()
	lines := bufio.NewScanner(answer.Body)
	for lines.Scan() {
		if value, ok := strings.CutPrefix(lines.Text(), "go_goroutines "); ok {
			return strconv.Atoi(value)
		}
	}
	return 0, errors.Join(errors.New("no go_goroutines in the metrics"), lines.Err())
}
