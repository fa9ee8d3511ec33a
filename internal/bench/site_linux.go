package main

import (
	"context"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"regexp"
	"slices"
	"strings"
	"time"

	"perch/internal/testdb"
)

// A site is Perch over one database.
type site struct {
	*perch
	report *siteReport
	bare   *bareServer
}

// starts is how often the start is timed.
const starts = 20

// open fills the database, times the start, signs in over the wire, and leaves
// Perch running and the bare server beside it.
func (s *site) open(ctx context.Context) error {
	if err := s.ports(); err != nil {
		return err
	}
	var err error
	if s.report.BytesPerSession, err = s.fill(ctx); err != nil {
		return err
	}
	core, _, err := cores()
	if err != nil {
		return err
	}
	var took []time.Duration
	for range starts {
		if err := s.stop(); err != nil {
			return err
		}
		one, err := s.start(ctx, core)
		if err != nil {
			return err
		}
		took = append(took, one)
	}
	slices.Sort(took)
	s.report.Start = took[len(took)/2]

	v := newVisitor("http://" + s.addr)
	if s.report.FirstVisit, err = v.firstVisit(); err != nil {
		return err
	}
	if err := errors.Join(v.signIn(), v.signOut()); err != nil {
		return fmt.Errorf("signing in and out over the wire: %w", err)
	}
	time.Sleep(time.Second) // for it to come to rest
	if s.report.Idle, err = memoryOf(s.cmd.Process.Pid); err != nil {
		return err
	}
	return s.openBare(ctx, core)
}

// The sessions that ask look as if used in an hour: then none of them is noted
// as used while the reads are measured. One in ten is for the sweep, and asks
// nothing.
var (
	used  = time.Now().Add(time.Hour)
	stale = time.Now().Add(-time.Hour)
)

func seenAt(i int) time.Time {
	if i%10 == 0 {
		return stale
	}
	return used
}

// requests returns one request for each session that asks.
func (s *site) requests(path string, o options) (all [][]byte) {
	for i := range min(o.visitors, s.report.Sessions) {
		i := i * (s.report.Sessions / min(o.visitors, s.report.Sessions)) // all over the table
		if i%10 == 0 {
			i++
		}
		id, _ := testdb.Filled(i)
		all = append(all, s.request(path, "Cookie: perch-session="+base64.RawURLEncoding.EncodeToString(id[:])))
	}
	return all
}

// request is a GET as a browser sends it, but for what nobody reads.
func (s *site) request(path string, more ...string) []byte {
	lines := append([]string{"GET " + path + " HTTP/1.1", "Host: " + s.addr, "Accept-Encoding: gzip, deflate, br, zstd"}, more...)
	return []byte(strings.Join(lines, "\r\n") + "\r\n\r\n")
}

// A read is a page and who asks for it.
type read struct {
	what     string
	path     string
	requests [][]byte
	whole    [][]byte // to the bare server, for the whole answer
}

func (s *site) reads(o options) []read {
	return []read{
		{"GET /header, signed in", "/header", s.requests("/header", o), s.requests(allOfIt+"/header", o)},
		{"GET /, nobody signed in", "/", [][]byte{s.request("/")}, [][]byte{s.request(allOfIt + "/")}},
	}
}

// bareServer is the bare Echo server, in a process of its own.
type bareServer struct {
	cmd  *exec.Cmd
	addr string
}

// openBare starts it with the pages that Perch shows.
func (s *site) openBare(ctx context.Context, core int) error {
	var pages []page
	for _, r := range s.reads(options{visitors: 1}) {
		p, err := s.fetch(r)
		if err != nil {
			return err
		}
		pages = append(pages, p)
		s.report.Reads = append(s.report.Reads, &readReport{What: r.what, Bytes: len(p.Body)})
	}
	input, err := json.Marshal(pages)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	s.bare = &bareServer{cmd: exec.CommandContext(ctx, self, "echo")}
	s.bare.cmd.Stdin = strings.NewReader(string(input))
	out, err := s.bare.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := on(core, s.bare.cmd.Start); err != nil {
		return err
	}
	_, err = fmt.Fscanln(out, &s.bare.addr)
	return err
}

var cookieLine = regexp.MustCompile(`Cookie: (.*)\r\n`)

// fetch asks Perch once, as the load will.
func (s *site) fetch(r read) (page, error) {
	request, err := http.NewRequest(http.MethodGet, "http://"+s.addr+r.path, nil)
	if err != nil {
		return page{}, err
	}
	request.Header.Set("Accept-Encoding", "gzip, deflate, br, zstd")
	if cookie := cookieLine.FindSubmatch(r.requests[0]); cookie != nil {
		request.Header.Set("Cookie", string(cookie[1]))
	}
	answer, err := http.DefaultClient.Do(request)
	if err != nil {
		return page{}, err
	}
	defer answer.Body.Close()
	body, err := io.ReadAll(answer.Body)
	if err == nil && strings.Contains(r.what, ", signed in") && !strings.Contains(string(body), "@filled_") {
		err = fmt.Errorf("%s: nobody is signed in", r.what)
	}
	answer.Header.Del("Date") // net/http's own
	return page{r.path, answer.Header, body}, err
}

// stop stops Perch and the bare server.
func (s *site) stop() error {
	if s.bare != nil && s.bare.cmd.Process != nil && s.bare.cmd.ProcessState == nil {
		s.bare.cmd.Process.Kill()
		s.bare.cmd.Wait()
	}
	return s.perch.stop()
}

// compare asks all sites and the bare servers beside them in rounds, each time
// in another order, and a bare server always next to its site: for the body
// alone, and for the whole answer.
func compare(ctx context.Context, sites []*site, o options) error {
	type pair struct {
		s    *site
		read read
		to   *readReport
	}
	var pairs []pair
	for _, s := range sites {
		for i, r := range s.reads(o) {
			pairs = append(pairs, pair{s, r, s.report.Reads[i]})
		}
	}
	length := time.Duration(o.seconds * float64(time.Second))
	for n := range o.rounds + 1 {
		rand.Shuffle(len(pairs), func(i, j int) { pairs[i], pairs[j] = pairs[j], pairs[i] })
		for _, p := range pairs {
			length := length
			if n == 0 {
				length /= 5 // to warm up, and forgotten
			}
			asked := [3]struct {
				addr     string
				requests [][]byte
			}{{p.s.addr, p.read.requests}, {p.s.bare.addr, p.read.requests}, {p.s.bare.addr, p.read.whole}}
			var seen [3]round
			for i := range asked {
				i := (i + n) % len(asked)
				var err error
				seen[i], err = load(asked[i].addr, asked[i].requests, p.to.Bytes, o.connections, length, p.s.report.Database != "SQLite")
				if err := errors.Join(err, ctx.Err()); err != nil {
					return fmt.Errorf("%s: %w", p.read.what, err)
				}
			}
			if n > 0 {
				p.to.rounds = append(p.to.rounds, seen)
			}
			m, err := memoryOf(p.s.cmd.Process.Pid)
			if err != nil {
				return err
			}
			if m.RSS > p.s.report.Loaded.RSS {
				p.s.report.Loaded = m
			}
		}
	}
	for _, p := range pairs {
		p.to.summarize()
	}
	return nil
}
