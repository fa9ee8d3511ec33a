package main

import (
	"context"
	_ "embed"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"
)

//go:embed flask.py
var flaskApp string

// flask asks for the signed-in header, of Perch and of the same thing in Flask,
// in rounds, and prints how many times faster Perch is. It is on SQLite, and of
// several numbers of sessions takes the first.
func flask(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	program, dir, err := build(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	s := &site{
		perch:  &perch{program: program, dir: dir, database: "sqlite:" + filepath.Join(dir, "perch.db")},
		report: &siteReport{Database: "SQLite", Sessions: o.sessions[0]},
	}
	defer s.stop()
	if err := s.open(ctx); err != nil {
		return err
	}
	ours := s.reads(o)[0]
	page, err := s.fetch(ours)
	if err != nil {
		return err
	}
	addr, stop, err := s.startFlask(string(page.Body))
	if err != nil {
		return err
	}
	defer stop()
	theirs, err := s.enterFlask(ctx, addr, string(page.Body))
	if err != nil {
		return err
	}

	length := time.Duration(o.seconds * float64(time.Second))
	var times, perch, flask []float64
	for n := range o.rounds + 1 {
		a, err := load(s.addr, ours.requests, len(page.Body), o.connections, length, false)
		if err != nil {
			return fmt.Errorf("asking Perch: %w", err)
		}
		b, err := load(addr, theirs, len(page.Body), o.connections, length, false)
		if err := errors.Join(err, ctx.Err()); err != nil {
			return fmt.Errorf("asking Flask: %w", err)
		}
		if n > 0 { // the first is to warm up
			times, perch, flask = append(times, a.perSecond/b.perSecond), append(perch, a.perSecond), append(flask, b.perSecond)
		}
	}
	fmt.Printf("%s, per second: Perch %.0f, Flask %.0f. Perch answers %.0f times as many, at least %.0f, at most %.0f.\n",
		ours.what, median(perch), median(flask), median(times), slices.Min(times), slices.Max(times))
	return nil
}

// startFlask starts Flask on the server's core, with a header that is Perch's
// but for the name.
func (s *site) startFlask(header string) (addr string, stop func(), err error) {
	template := filepath.Join(s.dir, "header.html")
	err = errors.Join(
		os.WriteFile(filepath.Join(s.dir, "flask_header.py"), []byte(flaskApp), 0o600),
		os.WriteFile(template, []byte(strings.ReplaceAll(header, screenName(header), "{{ screen_name }}")), 0o600),
	)
	if err != nil {
		return "", nil, err
	}
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", nil, err
	}
	addr = l.Addr().String()
	l.Close()
	core, _, err := cores()
	if err != nil {
		return "", nil, err
	}
	// One process, for it has one core, and threads, for only they keep
	// connections open; the log on, as ours.
	gunicorn := exec.Command("gunicorn", "--bind", addr, "--chdir", s.dir, "--worker-class", "gthread", "--threads", "4",
		"--keep-alive", "75", "--access-logfile", "/dev/null", "--log-level", "warning", "flask_header:app")
	gunicorn.Stderr = os.Stderr
	gunicorn.Env = append(os.Environ(), "HEADER="+template)
	if err := on(core, gunicorn.Start); err != nil {
		return "", nil, fmt.Errorf("starting gunicorn, which needs the packages gunicorn and python3-flask: %w", err)
	}
	return addr, func() {
		gunicorn.Process.Signal(syscall.SIGTERM)
		gunicorn.Wait()
	}, nil
}

// enterFlask signs in there, and returns the requests of who is signed in.
func (s *site) enterFlask(ctx context.Context, addr, header string) (requests [][]byte, err error) {
	ctx, cancel := context.WithTimeout(ctx, 20*time.Second)
	defer cancel()
	get := func(path, cookie string) (*http.Response, error) {
		r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+addr+path, nil)
		if err != nil {
			return nil, err
		}
		r.Header.Set("Cookie", cookie)
		return http.DefaultClient.Do(r)
	}
	var cookie string
	for ; cookie == ""; time.Sleep(50 * time.Millisecond) {
		answer, err := get("/enter/"+screenName(header), "")
		if err == nil && answer.StatusCode == http.StatusOK && len(answer.Cookies()) == 1 {
			cookie = answer.Cookies()[0].Name + "=" + answer.Cookies()[0].Value
		}
		if err == nil {
			answer.Body.Close()
		}
		if ctx.Err() != nil {
			return nil, errors.Join(errors.New("nobody can sign in to Flask"), err)
		}
	}
	if got, err := whole(get("/header", cookie)); err != nil || got != header {
		return nil, errors.Join(fmt.Errorf("the header of Flask is %q, of Perch %q", got, header), err)
	}
	return [][]byte{s.request("/header", "Cookie: "+cookie)}, nil
}

func screenName(header string) string { return between(header, "@", "<") }

// between returns what stands in text between two others.
func between(text, before, after string) string {
	_, text, _ = strings.Cut(text, before)
	text, _, _ = strings.Cut(text, after)
	return text
}
