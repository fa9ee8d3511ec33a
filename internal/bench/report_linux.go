package main

import (
	"fmt"
	"io"
	"slices"
	"text/tabwriter"
	"time"
)

// A report is what was measured.
type report struct {
	Binary int64 // bytes
	Sites  []*siteReport
}

type siteReport struct {
	Database        string
	Sessions        int
	BytesPerSession int64
	SignIns         float64       // per second, 32 at once, in an empty database
	Start           time.Duration // to the first answer, median
	Idle, Loaded    memory
	FirstVisit      firstVisit
	Reads           []*readReport

	DeleteAccount, DeleteAccountMost time.Duration // median, and the slowest
	Swept                            int64
	Sweep, SweepWait                 time.Duration // whole, and the longest that a sign-in took meanwhile
}

type readReport struct {
	What  string
	Bytes int // of the body

	PerSecond, BarePerSecond float64 // medians, as all that follow
	P50, P99                 time.Duration
	BareP50, BareP99         time.Duration
	Ratio, Least, Most       float64 // requests per second against bare Echo, of one round each
	LoadBusy                 float64 // while it asked bare Echo

	rounds [][2]round // ours and bare Echo's
}

func (r *readReport) summarize() {
	r.PerSecond, r.BarePerSecond = medians(r, func(n round) float64 { return n.perSecond })
	p50, bareP50 := medians(r, func(n round) float64 { return float64(n.p50) })
	p99, bareP99 := medians(r, func(n round) float64 { return float64(n.p99) })
	r.P50, r.BareP50, r.P99, r.BareP99 = time.Duration(p50), time.Duration(bareP50), time.Duration(p99), time.Duration(bareP99)
	_, r.LoadBusy = medians(r, func(n round) float64 { return n.busy })
	var ratios []float64
	for _, pair := range r.rounds {
		ratios = append(ratios, pair[0].perSecond/pair[1].perSecond)
	}
	r.Ratio, r.Least, r.Most = median(ratios), slices.Min(ratios), slices.Max(ratios)
}

func medians(r *readReport, of func(round) float64) (ours, bare float64) {
	var all, theirs []float64
	for _, pair := range r.rounds {
		all, theirs = append(all, of(pair[0])), append(theirs, of(pair[1]))
	}
	return median(all), median(theirs)
}

func median(values []float64) float64 {
	sorted := slices.Sorted(slices.Values(values))
	middle := len(sorted) / 2
	if len(sorted)%2 == 0 {
		return (sorted[middle-1] + sorted[middle]) / 2
	}
	return sorted[middle]
}

// print prints the tables.
func (r report) print(w io.Writer) {
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', tabwriter.AlignRight)
	row := func(format string, args ...any) { fmt.Fprintf(t, format+"\t\n", args...) }
	row("database\tsessions\tasked for\tbytes\tper second\tbare Echo\tratio\tleast\tmost\tp50\tp99\tp99, bare\tload busy")
	for _, s := range r.Sites {
		for _, d := range s.Reads {
			row("%s\t%d\t%s\t%d\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%s\t%s\t%s\t%.0f %%", s.Database, s.Sessions, d.What, d.Bytes,
				d.PerSecond, d.BarePerSecond, d.Ratio, d.Least, d.Most, short(d.P50), short(d.P99), short(d.BareP99), 100*d.LoadBusy)
		}
	}
	t.Flush()
	fmt.Fprintln(w)
	row("database\tsessions\tstart\tRSS idle\twithout files\tunder load\twithout files\tsign-ins/s\tbytes a session\tdelete an account\tat most\tsweep\tsessions\ta sign-in meanwhile, at most")
	for _, s := range r.Sites {
		row("%s\t%d\t%s\t%s\t%s\t%s\t%s\t%.0f\t%d\t%s\t%s\t%s\t%d\t%s", s.Database, s.Sessions, short(s.Start),
			megabytes(s.Idle.RSS), megabytes(s.Idle.Anonymous), megabytes(s.Loaded.RSS), megabytes(s.Loaded.Anonymous),
			s.SignIns, s.BytesPerSession, short(s.DeleteAccount), short(s.DeleteAccountMost), short(s.Sweep), s.Swept, short(s.SweepWait))
	}
	t.Flush()
	visit := r.Sites[0].FirstVisit
	fmt.Fprintf(w, "\nThe program has %s. A first visit takes %d requests and %d bytes of bodies.\n", megabytes(r.Binary), visit.Requests, visit.Bytes)
}

func megabytes(bytes int64) string { return fmt.Sprintf("%.1f MB", float64(bytes)/1e6) }

// short writes a duration with three digits.
func short(d time.Duration) string {
	unit := time.Microsecond
	for d >= 1000*unit {
		unit *= 10
	}
	return d.Round(unit).String()
}
