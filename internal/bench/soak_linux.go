package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// The steady load: so many who look at the header, and so many who sign in and
// out again, each that often.
const (
	readers, readEvery  = 8, 40 * time.Millisecond
	signers, visitEvery = 2, time.Second
)

// soak keeps the built program busy for a while, and fails when memory, open
// files or goroutines grow.
func soak(ctx context.Context, args []string) error {
	flags := flag.NewFlagSet("soak", flag.ExitOnError)
	minutes := flags.Float64("minutes", 30, "how many `minutes` it takes")
	flags.Parse(args)
	length := time.Duration(*minutes * float64(time.Minute))
	if length < time.Second {
		return errors.New("-minutes: at least a second")
	}

	program, dir, err := build(ctx)
	if err != nil {
		return err
	}
	defer os.RemoveAll(dir)
	p := &perch{program: program, dir: dir, database: "sqlite:" + filepath.Join(dir, "perch.db")}
	if err := p.ports(); err != nil {
		return err
	}
	core, _, err := cores()
	if err != nil {
		return err
	}
	if _, err := p.start(ctx, core); err != nil {
		return err
	}
	defer p.stop()

	busy, stop := context.WithTimeout(ctx, length)
	defer stop()
	var done work
	done.begin(busy, "http://"+p.addr)
	samples, err := p.watch(busy, length, &done)
	if err != nil {
		return err
	}
	done.people.Wait()
	if ctx.Err() != nil { // Perch was, too
		return errors.New("interrupted")
	}
	if done.failed.Load() > 0 {
		return fmt.Errorf("%d requests failed, the first: %w", done.failed.Load(), done.first)
	}
	return verdict(samples)
}

// work is what the people do.
type work struct {
	people                 sync.WaitGroup
	reads, signIns, failed atomic.Int64
	once                   sync.Once
	first                  error
}

func (w *work) begin(ctx context.Context, base string) {
	for range readers {
		w.people.Go(func() {
			v := newVisitor(base)
			w.did(nil, v.signIn())
			w.every(ctx, readEvery, func() {
				page, err := v.get(base + "/header")
				w.did(&w.reads, expect(page, "Sign out", err))
			})
		})
	}
	for range signers {
		w.people.Go(func() {
			w.every(ctx, visitEvery, func() {
				v := newVisitor(base)
				w.did(&w.signIns, errors.Join(v.signIn(), v.signOut()))
			})
		})
	}
}

// every does something again and again until ctx is done.
func (w *work) every(ctx context.Context, pause time.Duration, do func()) {
	tick := time.NewTicker(pause)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			do()
		case <-ctx.Done():
			return
		}
	}
}

func (w *work) did(count *atomic.Int64, err error) {
	if err != nil {
		w.failed.Add(1)
		w.once.Do(func() { w.first = err })
	} else if count != nil {
		count.Add(1)
	}
}

// A sample is what Perch held at one time.
type sample struct {
	memory
	descriptors, goroutines int
}

// watch takes a sample every ten seconds, or forty in all when that is sooner,
// and prints it.
func (p *perch) watch(ctx context.Context, length time.Duration, done *work) (all []sample, err error) {
	began := time.Now()
	tick := time.NewTicker(min(10*time.Second, length/41))
	defer tick.Stop()
	fmt.Printf("%8s %10s %14s %12s %11s %8s %9s\n", "after", "RSS", "without files", "descriptors", "goroutines", "reads", "sign-ins")
	for {
		select {
		case <-ctx.Done():
			return all, nil
		case <-tick.C:
		}
		var s sample
		var errs [3]error
		s.memory, errs[0] = memoryOf(p.cmd.Process.Pid)
		s.descriptors, errs[1] = descriptors(p.cmd.Process.Pid)
		s.goroutines, errs[2] = p.goroutines()
		if err := errors.Join(errs[:]...); err != nil {
			return nil, err
		}
		all = append(all, s)
		fmt.Printf("%8s %10s %14s %12d %11d %8d %9d\n", time.Since(began).Round(time.Second), megabytes(s.RSS), megabytes(s.Anonymous),
			s.descriptors, s.goroutines, done.reads.Load(), done.signIns.Load())
	}
}

// verdict compares the second quarter with the last: in the first one Perch
// warms up. What grows by more than a tenth, and by more than comes and goes,
// is a leak.
func verdict(all []sample) error {
	if len(all) < 8 {
		return fmt.Errorf("%d samples are too few to say anything", len(all))
	}
	quarter := len(all) / 4
	var grown []string
	for _, of := range []struct {
		what  string
		value func(sample) float64
		noise float64
		unit  string
	}{
		{"RSS", func(s sample) float64 { return float64(s.RSS) / 1e6 }, 4, " MB"},
		{"memory without files", func(s sample) float64 { return float64(s.Anonymous) / 1e6 }, 4, " MB"},
		{"descriptors", func(s sample) float64 { return float64(s.descriptors) }, 10, ""},
		{"goroutines", func(s sample) float64 { return float64(s.goroutines) }, 10, ""},
	} {
		var early, late []float64
		for i := range quarter {
			early, late = append(early, of.value(all[quarter+i])), append(late, of.value(all[len(all)-1-i]))
		}
		from, to := median(early), median(late)
		if to > from*1.1 && to > from+of.noise {
			grown = append(grown, fmt.Sprintf("%s, from %.1f%s to %.1f%s", of.what, from, of.unit, to, of.unit))
		}
	}
	if grown != nil {
		return fmt.Errorf("not flat: between the second quarter and the last there grew %s", strings.Join(grown, "; "))
	}
	fmt.Println("Flat: between the second quarter and the last, memory, descriptors and goroutines did not grow.")
	return nil
}
