// Perch signs people in with Twitter (X) and shows it in one header. Without
// keys it brings its own Twitter, the sandbox, so that the whole flow runs
// with no account and no network.
package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"os/signal"
	"syscall"

	"github.com/joho/godotenv"
	"github.com/spf13/cobra"

	"perch/internal/config"
	"perch/internal/metrics"
	"perch/internal/session"
	"perch/internal/store"
	"perch/internal/twitter"
	"perch/routes"
	"perch/sandbox"
)

func main() {
	dotenv := godotenv.Load() // does not override what is set
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends the process at once
	perch := commands()
	perch.PersistentPreRunE = func(*cobra.Command, []string) error {
		if dotenv != nil && !errors.Is(dotenv, fs.ErrNotExist) {
			return errors.New("the file .env cannot be read: every line has to be NAME=value, or a comment that starts with #")
		}
		return nil
	}
	if err := perch.ExecuteContext(ctx); err != nil {
		fmt.Fprintln(os.Stderr, "perch: error:", err)
		os.Exit(1)
	}
}

// serve is `perch serve`: it runs the application until ctx is done, and then
// lets running requests finish.
func serve(ctx context.Context, c config.Config) error {
	collectSeldom()
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

	listener, err := open(ctx, c.Addr)
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
			return fmt.Errorf("SANDBOX_ADDR cannot be listened on: %w", err)
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
	go settle()
	greet(os.Stdout, c)
	return drain(ctx, newServer(handler, log), listener, log)
}

// callback is what has to be registered at X.
func callback(c config.Config) string { return c.BaseURL.String() + "/oauth-authorized" }

func twitterOptions(c config.Config) twitter.Options {
	return twitter.Options{ConsumerKey: c.ConsumerKey, ConsumerSecret: c.ConsumerSecret, APIURL: c.TwitterAPIURL, CallbackURL: callback(c)}
}
