package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"sync/atomic"
	"time"

	"github.com/mattn/go-isatty"

	"perch/internal/config"
	"perch/internal/session"
)

// sweep deletes, once an hour, the sessions that are over.
func sweep(ctx context.Context, sessions *session.Sessions, log *slog.Logger) {
	for {
		if n, err := sessions.Sweep(ctx); err != nil {
			log.Warn("db_error", "error", err)
		} else if n > 0 {
			log.Info("swept", "sessions", n)
		}
		select {
		case <-time.After(time.Hour):
		case <-ctx.Done():
			return
		}
	}
}

// newServer bounds what a client can take of time and memory: net/http by
// itself waits for ever.
func newServer(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:                      h,
		ReadHeaderTimeout:            5 * time.Second,
		ReadTimeout:                  10 * time.Second,
		WriteTimeout:                 30 * time.Second,
		IdleTimeout:                  120 * time.Second,
		DisableGeneralOptionsHandler: true,          // "OPTIONS *" gets the same headers as everything
		MaxHeaderBytes:               16<<10 - 4096, // net/http allows 4096 bytes more than it is told
		ErrorLog:                     slog.NewLogLogger(log.Handler(), slog.LevelWarn),
	}
}

// greet tells the person who started Perch where it is. The sandbox's keys are
// no secret: they open nothing but the sandbox, for this run.
func greet(w io.Writer, c config.Config) {
	fmt.Fprintf(w, "\nPerch is at  %s\n", c.BaseURL)
	if c.Sandbox {
		fmt.Fprintf(w, `
No keys are set, so sign-ins go to the sandbox, a pretend Twitter on this machine.
  URL              %s
  consumer key     %s
  consumer secret  %s
  its calls        %[1]s/sandbox/calls
These keys are the sandbox's own%[4]s; they are good for nothing else.
`, c.TwitterAPIURL, c.ConsumerKey, c.ConsumerSecret, map[bool]string{true: ", made for this run"}[c.SandboxConsumerKey == ""])
	}
	fmt.Fprintln(w)
}

// open listens where the application is to be found. Multipath TCP is off: it
// has no filter for letNobodyIn.
func open(ctx context.Context, addr string) (net.Listener, error) {
	var door net.ListenConfig
	door.SetMultipathTCP(false)
	return door.Listen(ctx, "tcp", addr)
}

// How long the door stays open once ctx is done: until nobody has come for
// quiet, or for lameDuck under load, in which a proxy that asks /readyz has
// found out.
const (
	quiet    = 250 * time.Millisecond
	lameDuck = 3 * time.Second
)

// drain serves until ctx is done, and then lets running requests finish, for
// 15 s at the most. The door stays open meanwhile and a little longer: /readyz
// says 503, where a closed door would say nothing. Then nobody new is let in,
// who is in is served, and only then it closes: a proxy loses no request on a
// connection that ends under its hands.
func drain(ctx context.Context, server *http.Server, listener net.Listener, log *slog.Logger) error {
	var running, lastCame atomic.Int64
	handler := server.Handler
	server.Handler = http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if ctx.Err() == nil {
			running.Add(1)
			defer running.Add(-1)
		} else {
			lastCame.Store(time.Now().UnixNano())
			w.Header().Set("Connection", "close") // after this answer, unlike SetKeepAlivesEnabled, which closes at once
		}
		handler.ServeHTTP(w, r)
	})
	failed := make(chan error, 1)
	go func() { failed <- server.Serve(listener) }()
	select {
	case err := <-failed:
		return err
	case <-ctx.Done():
	}
	log.Info("stopping")
	began := time.Now()
	lastCame.Store(began.UnixNano())
	patience, cancel := context.WithTimeout(context.Background(), 15*time.Second)
	defer cancel()
	busy := func() bool {
		return time.Since(began) < lameDuck && time.Since(time.Unix(0, lastCame.Load())) < quiet
	}
	for (running.Load() > 0 || busy()) && patience.Err() == nil {
		time.Sleep(10 * time.Millisecond)
	}
	if letNobodyIn(listener) == nil {
		time.Sleep(quiet) // for those who are in to be accepted, and counted
	}
	if err := server.Shutdown(patience); err != nil {
		log.Warn("stopped with requests still running", "error", err)
	}
	return nil
}

// logger writes to stderr: text for a person at a terminal, else JSON.
func logger(format string) *slog.Logger {
	if format == "text" || format == "" && isatty.IsTerminal(os.Stderr.Fd()) {
		return slog.New(slog.NewTextHandler(os.Stderr, nil))
	}
	return slog.New(slog.NewJSONHandler(os.Stderr, nil))
}
