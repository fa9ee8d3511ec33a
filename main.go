// Perch signs people in with Twitter (X) and shows it in one header. Without
// keys it brings its own Twitter, the sandbox, so that the whole flow runs
// with no account and no network.
package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"runtime/debug"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/alecthomas/kong"
	"github.com/joho/godotenv"
	"github.com/mattn/go-isatty"

	"perch/internal/config"
	"perch/internal/metrics"
	"perch/internal/session"
	"perch/internal/store"
	"perch/internal/twitter"
	"perch/routes"
	"perch/sandbox"
)

type commands struct {
	config.Settings `embed:""`

	Serve    serve  `cmd:"" default:"1" help:"Serve the application, with the sandbox beside it while no keys are set (the default)."`
	Doctor   doctor `cmd:"" help:"Check the keys with one call to X, and the rest of the set-up; say what is wrong and what to do. Exits with 1 when something is."`
	Sessions struct {
		End endSessions `cmd:"" help:"End sessions, of one person or of everybody: their browsers are signed out at once."`
	} `cmd:"" help:"End sessions."`
	Version printVersion `cmd:"" help:"Show the version."`

	VersionFlag kong.VersionFlag `name:"version" help:"Show the version."`
}

func main() {
	dotenv := godotenv.Load() // does not override what is set
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	var c commands
	k := kong.Parse(&c, kong.Name("perch"), kong.Vars{"version": version()}, kong.Description(
		"Sign in with Twitter (X), done right. Every setting is a flag, a variable of the environment, or a line of the file .env."),
		kong.BindTo(ctx, (*context.Context)(nil)),
		kong.BindToProvider(func() (config.Config, error) { return c.Check(os.ReadFile) }))
	if dotenv != nil && !errors.Is(dotenv, fs.ErrNotExist) {
		k.Fatalf("The file .env cannot be read: every line has to be NAME=value, or a comment that starts with #.")
	}
	k.FatalIfErrorf(k.Run())
}

// printVersion is `perch version`.
type printVersion struct{}

// Run prints what --version prints.
func (printVersion) Run() error {
	_, err := fmt.Println(version())
	return err
}

// serve is `perch serve`.
type serve struct{}

// Run runs the application until ctx is done, and then lets running requests
// finish.
func (serve) Run(ctx context.Context, c config.Config) error {
	log := logger(c.LogFormat)
	db, err := store.Open(ctx, c.DatabaseURL)
	if err != nil {
		return fmt.Errorf("the database that DATABASE_URL names cannot be used: %w", err)
	}
	defer db.Close()
	if len(c.SecretKeys) == 0 {
		key, err := session.KeyFile(c.KeyFile())
		if err != nil {
			return err
		}
		c.SecretKeys = [][]byte{key}
	}

	listener, err := net.Listen("tcp", c.Addr)
	if err != nil {
		return fmt.Errorf("ADDR cannot be listened on: %w", err)
	}
	defer listener.Close()

	var counted *metrics.Metrics
	if c.MetricsAddr != "" {
		counted = metrics.New(metrics.Options{Ping: db.Ping, CountSessions: db.CountSessions})
		beside, err := net.Listen("tcp", c.MetricsAddr)
		if err != nil {
			return fmt.Errorf("METRICS_ADDR cannot be listened on: %w", err)
		}
		server := newServer(counted.Handler(), log)
		defer server.Close() // after the application has drained: until then it is worth a look
		go server.Serve(beside)
	}

	if c.Sandbox {
		pretend, err := sandbox.New(sandbox.Options{
			ConsumerKey: c.SandboxConsumerKey, ConsumerSecret: c.SandboxConsumerSecret, Callbacks: []string{callback(c)}, Log: log,
		})
		if err != nil {
			return err
		}
		beside, err := sandbox.Listen(ctx, c.SandboxAddr)
		if err != nil {
			return err
		}
		server := newServer(pretend, log)
		defer server.Close() // after the application has drained: a sign-in under way still needs it
		go server.Serve(beside)
		c.ConsumerKey, c.ConsumerSecret = pretend.ConsumerKey(), pretend.ConsumerSecret()
	}

	sessions, err := session.New(session.Options{
		Store: db, SecretKeys: c.SecretKeys, Provider: c.TwitterAPIURL.String(), Secure: c.BaseURL.Scheme == "https",
		Idle: c.SessionIdle, Lifetime: c.SessionLifetime, Log: log,
	})
	if err != nil {
		return err
	}

	o := twitterOptions(c)
	o.Called = counted.Called
	provider := twitter.New(o)
	handler := routes.New(routes.Options{
		Sessions: sessions, Twitter: provider,
		BaseURL: c.BaseURL, Sandbox: c.Sandbox, LoginRate: c.LoginRate, TrustedProxies: c.TrustedProxies, Metrics: counted, Log: log,
		Ready: func(asked context.Context) error { return errors.Join(ctx.Err(), db.Ping(asked)) },
	})
	go sweep(ctx, sessions, log)
	if !c.Sandbox {
		go checkAtStart(ctx, provider, log)
	}
	greet(os.Stdout, c)
	return drain(ctx, newServer(handler, log), listener, log)
}

// callback is what has to be registered at X.
func callback(c config.Config) string { return c.BaseURL.String() + "/oauth-authorized" }

func twitterOptions(c config.Config) twitter.Options {
	return twitter.Options{ConsumerKey: c.ConsumerKey, ConsumerSecret: c.ConsumerSecret, APIURL: c.TwitterAPIURL, CallbackURL: callback(c)}
}

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
These keys are the sandbox's own%s; they are good for nothing else.
`, c.TwitterAPIURL, c.ConsumerKey, c.ConsumerSecret, map[bool]string{true: ", made for this run"}[c.SandboxConsumerKey == ""])
	}
	fmt.Fprintln(w)
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
// says 503, where a closed door would say nothing, and a proxy loses no request
// on a connection that ends under its hands.
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

func version() string {
	build, ok := debug.ReadBuildInfo()
	if !ok {
		return "perch (unknown version)"
	}
	return "perch " + build.Main.Version + " " + build.GoVersion
}
