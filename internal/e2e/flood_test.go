package e2e

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"
)

// Not beside other tests: it looks at the clock.
func TestVisitorsAreServedDuringAFlood(t *testing.T) {
	promptly, room := 100*time.Millisecond, 64<<10 // 99 of 100 requests; KiB more than before
	if raced() {
		promptly, room = 5*promptly, 5*room // the race detector takes five times as much, and more
	}
	p := start(t)
	robin := p.visitor()
	script := robin.signIn(account(t, "robin")).Find("script[src*=htmx]").AttrOr("src", "")
	robin.asksForTheHeader(100) // so that all is warm
	calm := robin.asksForTheHeader(400)
	before := p.memory("VmRSS")

	ctx, stop := context.WithCancel(t.Context())
	var all sync.WaitGroup
	counts := map[string]*flooders{}
	for _, f := range floods(p, script) {
		count := &flooders{}
		counts[f.name] = count
		for range f.many {
			all.Go(func() {
				for ctx.Err() == nil {
					count.one(ctx, p.addr, f.abuse)
				}
			})
		}
		await(t, f.name, func() bool { return count.open.Load() > int64(f.many)*9/10 || count.times.Load() > int64(f.many) })
	}
	flooded, most := robin.asksForTheHeader(400), p.memory("VmRSS")
	await(t, "the first of them to be cut off", func() bool { return counts["silence"].times.Load() > 300 })
	flooded, most = append(flooded, robin.asksForTheHeader(400)...), max(most, p.memory("VmRSS"))
	stop()
	all.Wait()

	slices.Sort(calm)
	slices.Sort(flooded)
	was, is := calm[len(calm)*99/100], flooded[len(flooded)*99/100]
	t.Logf("99 of 100 requests took %s at most, and in the flood %s; memory went from %d to %d KiB", was, is, before, most)
	for name, count := range counts {
		t.Logf("%s: %d connections", name, count.times.Load())
	}
	if is > promptly && is > 10*was { // the machine may have more to do, before as well
		t.Errorf("in the flood 99 of 100 requests took %s, want %s, or 10 times %s", is, promptly, was)
	}
	if most-before > room {
		t.Errorf("the flood takes %d KiB, want %d at most", most-before, room)
	}
}

// asksForTheHeader returns how long so many requests took. Each has to be
// answered well, and before a person would give up.
func (v *visitor) asksForTheHeader(times int) (took []time.Duration) {
	v.Helper()
	for range times {
		began := time.Now()
		page := v.get("/header")
		took = append(took, time.Since(began))
		if page.greets() != "robin" || time.Since(began) > 5*time.Second {
			v.Fatalf("after %s the header greets %q (%s)", time.Since(began), page.greets(), page.resp.Status)
		}
	}
	return took
}

// memory returns how many KiB the process has in memory: all (VmRSS), or those
// that are a file's (RssFile).
func (p *perch) memory(which string) (kib int) {
	p.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.Fatal(err)
	}
	_, rest, _ := strings.Cut(string(status), which+":")
	if _, err := fmt.Sscan(rest, &kib); err != nil {
		p.Fatal(err)
	}
	return kib
}

// flood is a number of connections that mean no good.
type flood struct {
	name  string
	many  int
	abuse func(c net.Conn, drop <-chan time.Time)
}

// floods are ways to keep a server waiting, or busy, for little.
func floods(p *perch, script string) []flood {
	head := func(line string) string { return line + " HTTP/1.1\r\nHost: " + p.addr + "\r\n" }
	drip := func(begin, more string) func(net.Conn, <-chan time.Time) {
		return func(c net.Conn, drop <-chan time.Time) {
			for _, err := io.WriteString(c, begin); err == nil; _, err = io.WriteString(c, more) {
				<-drop
			}
		}
	}
	lump := func(request string) func(net.Conn, <-chan time.Time) {
		return func(c net.Conn, drop <-chan time.Time) {
			<-drop
			io.WriteString(c, request)
			io.Copy(io.Discard, c)
		}
	}
	return []flood{
		{"headers that drip", 300, drip(head("GET /"), "X-Slow: x\r\n")},
		{"silence", 300, func(c net.Conn, _ <-chan time.Time) { io.Copy(io.Discard, c) }},
		{"bodies that drip", 100, drip(head("POST /logout")+"Content-Type: application/x-www-form-urlencoded\r\nContent-Length: 65536\r\n\r\n", "x")},
		{"headers too large", 50, lump(head("GET /") + "X-Large: " + strings.Repeat("x", 64<<10) + "\r\n\r\n")},
		{"bodies too large", 50, lump(head("POST /logout") + "Content-Length: 131072\r\n\r\n" + strings.Repeat("x", 128<<10))},
		{"answers that nobody reads", 100, func(c net.Conn, drop <-chan time.Time) {
			c.(*net.TCPConn).SetReadBuffer(4 << 10)
			io.WriteString(c, strings.Repeat(head("GET "+script)+"\r\n", 20))
			for _, err := io.WriteString(c, "\r\n"); err == nil; _, err = io.WriteString(c, "\r\n") {
				<-drop
			}
		}},
	}
}

// flooders counts connections: those that are open, and all there were.
type flooders struct{ open, times atomic.Int64 }

// one is a connection from beginning to end: the server's, or that of ctx.
func (f *flooders) one(ctx context.Context, addr string, abuse func(net.Conn, <-chan time.Time)) {
	c, err := new(net.Dialer).DialContext(ctx, "tcp", addr)
	if err != nil {
		return
	}
	defer c.Close()
	defer context.AfterFunc(ctx, func() { c.Close() })()
	drop := time.NewTicker(500 * time.Millisecond)
	defer drop.Stop()
	f.times.Add(1)
	f.open.Add(1)
	defer f.open.Add(-1)
	abuse(c, drop.C)
}
