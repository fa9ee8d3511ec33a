// Bench measures Perch as it is built and run, beside the least that Echo can
// do: a server that writes the very same bytes. Both have one core to
// themselves and the load has another; they are asked in short rounds, in turn,
// so that what else the machine does falls on both. Only the ratios of one run
// mean anything: the machine is part of every other number.
//
//	go run ./internal/bench        the table
//	go run ./internal/bench flask  how many times faster than Flask it is
//	go run ./internal/bench soak   a steady load for half an hour: does anything grow?
package main

import (
	"context"
	"encoding/json"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"

	"perch/internal/testdb"
)

func main() {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second signal ends it at once
	run, args := bench, os.Args[1:]
	if len(args) > 0 {
		if other := map[string]func(context.Context, []string) error{"flask": flask, "soak": soak, "echo": bare}[args[0]]; other != nil {
			run, args = other, args[1:]
		}
	}
	if err := run(ctx, args); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

// options are the flags of the table.
type options struct {
	rounds, connections, visitors int
	seconds                       float64
	sessions                      []int
	postgres                      string
	json                          bool
}

// bench makes the table.
func bench(ctx context.Context, args []string) error {
	o, err := parse(args)
	if err != nil {
		return err
	}
	program, dir, err := build(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	var all report
	if all.Binary, err = size(program); err != nil {
		return err
	}

	var sites []*site
	var drops []func() error
	defer func() {
		for _, s := range sites {
			s.stop()
		}
		for _, drop := range drops {
			drop()
		}
	}()
	for _, kind := range o.kinds() {
		link, drop, err := kind.empty(dir)
		if err != nil {
			return err
		}
		drops = append(drops, drop)
		rate, err := signIns(ctx, link, time.Duration(3*o.seconds*float64(time.Second)))
		if err != nil {
			return err
		}
		for _, sessions := range o.sessions {
			link, drop, err := kind.empty(dir)
			if err != nil {
				return err
			}
			drops = append(drops, drop)
			s := &site{perch: &perch{program: program, dir: dir, database: link}, report: &siteReport{Database: kind.name, Sessions: sessions, SignIns: rate}}
			sites, all.Sites = append(sites, s), append(all.Sites, s.report)
			if err := s.open(ctx); err != nil {
				return err
			}
		}
	}
	if err := compare(ctx, sites, o); err != nil {
		return err
	}
	for _, s := range sites {
		s.stop()
		if err := s.tidy(ctx); err != nil {
			return err
		}
	}

	if o.json {
		out := json.NewEncoder(os.Stdout)
		out.SetIndent("", "  ")
		return out.Encode(all)
	}
	all.print(os.Stdout)
	return nil
}

func parse(args []string) (o options, err error) {
	flags := flag.NewFlagSet("bench", flag.ExitOnError)
	flags.IntVar(&o.rounds, "rounds", 12, "ask each in `N` rounds")
	flags.Float64Var(&o.seconds, "seconds", 1, "how long a round takes, in `seconds`")
	flags.IntVar(&o.connections, "connections", 32, "ask over `N` connections at once")
	flags.IntVar(&o.visitors, "visitors", 10_000, "let `N` different sessions ask, if there are so many")
	flags.StringVar(&o.postgres, "postgres", os.Getenv("TEST_DATABASE_URL"), "measure PostgreSQL as well, at this `URL`, in schemas of its own")
	flags.BoolVar(&o.json, "json", false, "print JSON")
	sessions := flags.String("sessions", "1000", "measure with `N` sessions in the database; several numbers with commas for several databases")
	flags.Parse(args)
	if min(o.rounds, o.connections, o.visitors) < 1 || o.seconds <= 0 {
		return o, errors.New("-rounds, -connections and -visitors have to be at least 1, and -seconds more than 0")
	}
	for text := range strings.SplitSeq(*sessions, ",") {
		n, err := strconv.Atoi(text)
		if err != nil || n < 10 || n%10 != 0 {
			return o, fmt.Errorf("-sessions: %q is no multiple of 10", text)
		}
		o.sessions = append(o.sessions, n)
	}
	return o, nil
}

// build builds Perch as it is deployed, in a folder for all that is measured,
// which the caller removes.
func build(ctx context.Context) (program, dir string, err error) {
	dir, err = os.MkdirTemp("", "perch-bench-")
	if err != nil {
		return "", "", err
	}
	program = filepath.Join(dir, "perch")
	cmd := exec.CommandContext(ctx, "go", "build", "-trimpath", "-ldflags=-s -w", "-o", program, "perch")
	cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := cmd.CombinedOutput(); err != nil {
		os.RemoveAll(dir)
		return "", "", fmt.Errorf("building Perch: %w\n%s", err, out)
	}
	return program, dir, nil
}

func size(program string) (int64, error) {
	info, err := os.Stat(program)
	if err != nil {
		return 0, err
	}
	return info.Size(), nil
}

// A kind is a kind of database.
type kind struct {
	name   string
	server string // of PostgreSQL
}

func (o options) kinds() []kind {
	all := []kind{{name: "SQLite"}}
	if o.postgres != "" {
		all = append(all, kind{"PostgreSQL", o.postgres})
	}
	return all
}

// empty makes a database without tables.
func (k kind) empty(dir string) (link string, drop func() error, err error) {
	if k.server != "" {
		return testdb.Schema(k.server)
	}
	dir, err = os.MkdirTemp(dir, "database-")
	return "sqlite:" + filepath.Join(dir, "perch.db"), func() error { return os.RemoveAll(dir) }, err
}
