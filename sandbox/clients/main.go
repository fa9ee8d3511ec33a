// Package main signs in to the sandbox with the clients people use, in five languages, and shows how each of them is told no.
//
// Every client runs the whole way once, and then once for each thing that can go wrong with a signed call. The clients know nothing of that: they are
// quick starts, told by four variables of the environment where Twitter is. What goes wrong does so on the wire between (see wire.go).
//
// Run it with `go tool task clients`. It exits with 1 when one fails.
package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strings"
	"sync"
	"text/tabwriter"
	"time"
)

// client is a library, and the program here that uses it.
type client struct {
	name     string   // also the program's argument
	language string   // which of the programs
	callback string   // the path of its callback, as the library lays it
	mute     []string // what it says, case by case, when it keeps to itself what Twitter said
}

var clients = []client{
	{name: "dghubble-oauth1", language: "go", callback: "/callback"},
	{name: "mrjones-oauth", language: "go", callback: "/callback"},
	{name: "requests-oauthlib", language: "python", callback: "/callback"},
	{name: "tweepy", language: "python", callback: "/callback"},
	{name: "authlib", language: "python", callback: "/callback"},
	{name: "flask-dance", language: "python", callback: "/login/twitter/authorized"},
	{name: "django-allauth", language: "python", callback: "/twitter/login/callback/", mute: []string{
		"", "while obtaining request token", "while obtaining request token", "while obtaining request token", "allauth: unknown", "No access to private resources"}},
	{name: "oauth-1.0a", language: "node", callback: "/callback"},
	{name: "twitter-api-v2", language: "node", callback: "/callback"},
	{name: "passport-twitter", language: "node", callback: "/auth/twitter/callback"},
	{name: "oauth", language: "ruby", callback: "/callback"},
	{name: "omniauth-twitter", language: "ruby", callback: "/auth/twitter/callback"},
	{name: "pecl-oauth", language: "php", callback: "/callback"},
}

// npm is what the Node clients need, each at the version that was tried.
var npm = []string{"oauth-1.0a@2.2.6", "twitter-api-v2@1.29.1", "passport-twitter@1.0.4", "passport@0.7.0", "express@5.1.0", "express-session@1.18.1"}

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt)
	defer stop()
	failed, err := run(ctx)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
	}
	if failed || err != nil {
		os.Exit(1)
	}
}

// run does it all in a folder that is gone afterwards, and tells whether a client failed.
func run(ctx context.Context) (failed bool, err error) {
	dir, err := os.MkdirTemp("", "perch-clients-")
	if err != nil {
		return false, fmt.Errorf("making a folder: %w", err)
	}
	defer os.RemoveAll(dir)
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	programs, err := prepare(ctx, dir)
	if err != nil {
		return false, err
	}
	site, err := freeAddr()
	if err != nil {
		return false, err
	}
	twitter, err := start(ctx, dir, callbacks(site))
	if err != nil {
		return false, err
	}
	defer twitter.stop()
	cases, err := wires(ctx, twitter)
	if err != nil {
		return false, err
	}

	results := make([][]string, len(clients))
	var languages sync.WaitGroup // side by side; clients of one language one after the other, since some listen at the callback
	for _, language := range []string{"go", "python", "node", "ruby", "php"} {
		languages.Go(func() {
			for i, c := range clients {
				if c.language != language {
					continue
				}
				for n, k := range cases {
					results[i] = append(results[i], try(ctx, programs[language], c, n, k, "http://"+site+c.callback))
				}
			}
		})
	}
	languages.Wait()
	return report(cases, results), ctx.Err()
}

// prepare builds and installs what there is to, and returns the command of each language.
func prepare(ctx context.Context, dir string) (map[string][]string, error) {
	const here = "sandbox/clients"
	node := filepath.Join(dir, "node.mjs") // an import looks for packages beside the file
	script, err := os.ReadFile(here + "/node.mjs")
	if err != nil {
		return nil, fmt.Errorf("reading a client (run this at the top of the checkout): %w", err)
	}
	if err := os.WriteFile(node, script, 0o600); err != nil {
		return nil, fmt.Errorf("copying a client: %w", err)
	}
	goClient := filepath.Join(dir, "go-client")
	for _, command := range [][]string{
		{"go", "build", "-o", filepath.Join(dir, "perch"), "."},
		{"go", "build", "-C", here + "/go", "-o", goClient, "."},
		append([]string{"npm", "install", "--silent", "--no-audit", "--no-fund", "--ignore-scripts", "--no-save", "--no-package-lock", "--prefix", dir}, npm...),
	} {
		if said, err := exec.CommandContext(ctx, command[0], command[1:]...).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("%s: %w\n%s", strings.Join(command, " "), err, said)
		}
	}
	python := "python3"
	if _, err := os.Stat("/usr/bin/python3"); err == nil {
		python = "/usr/bin/python3" // the one that Debian's packages are for
	}
	return map[string][]string{
		"go": {goClient}, "python": {python, here + "/python.py"}, "node": {"node", node}, "ruby": {"ruby", here + "/ruby.rb"}, "php": {"php", here + "/php.php"},
	}, nil
}

// callbacks are those of all clients, each once.
func callbacks(site string) []string {
	var all []string
	seen := map[string]bool{}
	for _, c := range clients {
		if !seen[c.callback] {
			seen[c.callback] = true
			all = append(all, "http://"+site+c.callback)
		}
	}
	return all
}

// try runs one client once, and returns "" when it came to the right end, else what it said.
func try(ctx context.Context, program []string, c client, n int, k wireCase, callback string) string {
	ctx, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	command := exec.CommandContext(ctx, program[0], append(program[1:len(program):len(program)], c.name)...)
	command.Env = append(os.Environ(), "TWITTER_API_URL="+k.url, "TWITTER_CONSUMER_KEY="+k.key, "TWITTER_CONSUMER_SECRET="+k.secret, "CALLBACK_URL="+callback,
		"http_proxy=", "PYTHONWARNINGS=ignore", "PYTHONDONTWRITEBYTECODE=1")
	command.WaitDelay = time.Second
	var said bytes.Buffer
	command.Stdout, command.Stderr = &said, &said
	err := command.Run()

	want := k.says
	if n > 0 && c.mute != nil {
		want = c.mute[n]
	}
	var exit *exec.ExitError
	switch {
	case err != nil && !errors.As(err, &exit):
		return err.Error()
	case !strings.Contains(said.String(), want):
		return fmt.Sprintf("said %q, not %q", tail(said.String()), want)
	case (err == nil) != (n == 0):
		return fmt.Sprintf("said %q, and took it for the other end: %v", want, err)
	}
	return ""
}

// tail is how a text ends: what matters in a traceback.
func tail(s string) string {
	s = strings.TrimSpace(s)
	return s[max(0, len(s)-400):]
}

// report prints a table, client × case, with what failed below it.
func report(cases []wireCase, results [][]string) (failed bool) {
	table := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	fmt.Fprint(table, "client")
	for _, k := range cases {
		fmt.Fprint(table, "\t", k.name)
	}
	fmt.Fprintln(table)
	var below strings.Builder
	for i, c := range clients {
		fmt.Fprintf(table, "%s (%s)", c.name, c.language)
		for n, wrong := range results[i] {
			word := "ok"
			switch {
			case wrong != "":
				word, failed = "FAILED", true
				fmt.Fprintf(&below, "\n%s, %s: %s\n", c.name, cases[n].name, wrong)
			case n > 0 && c.mute != nil:
				word = "ok, mute"
			}
			fmt.Fprint(table, "\t", word)
		}
		fmt.Fprintln(table)
	}
	table.Flush()
	fmt.Print(below.String())
	return failed
}

// freeAddr returns an address that nobody listens at.
func freeAddr() (string, error) {
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", fmt.Errorf("looking for a free port: %w", err)
	}
	defer l.Close()
	return l.Addr().String(), nil
}
