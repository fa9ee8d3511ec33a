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

	// Medians; the second is bare Echo's with the same body, the third bare
	// Echo's with the same header as well.
	PerSecond [3]float64
	P50, P99  [3]time.Duration

	Ratio, WholeRatio ratio   // requests per second against bare Echo, of one round each
	LoadBusy          float64 // while it asked bare Echo

	rounds [][3]round
}

type ratio struct{ Median, Least, Most float64 }

func (r *readReport) summarize() {
	for i := range r.PerSecond {
		r.PerSecond[i] = r.median(func(seen [3]round) float64 { return seen[i].perSecond })
		r.P50[i] = time.Duration(r.median(func(seen [3]round) float64 { return float64(seen[i].p50) }))
		r.P99[i] = time.Duration(r.median(func(seen [3]round) float64 { return float64(seen[i].p99) }))
	}
	r.LoadBusy = r.median(func(seen [3]round) float64 { return seen[1].busy })
	r.Ratio, r.WholeRatio = r.against(1), r.against(2)
}

func (r *readReport) each(of func([3]round) float64) (all []float64) {
	for _, seen := range r.rounds {
		all = append(all, of(seen))
	}
	return all
}

func (r *readReport) median(of func([3]round) float64) float64 { return median(r.each(of)) }

func (r *readReport) against(other int) ratio {
	all := r.each(func(seen [3]round) float64 { return seen[0].perSecond / seen[other].perSecond })
	return ratio{median(all), slices.Min(all), slices.Max(all)}
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
	row("database\tsessions\tasked for\tbytes\tper second\tbare Echo\tratio\tleast\tmost\twhole answer\tratio\tleast\tmost\tp50\tp99\tp99, bare\tload busy")
	for _, s := range r.Sites {
		for _, d := range s.Reads {
			row("%s\t%d\t%s\t%d\t%.0f\t%.0f\t%.2f\t%.2f\t%.2f\t%.0f\t%.2f\t%.2f\t%.2f\t%s\t%s\t%s\t%.0f %%", s.Database, s.Sessions, d.What, d.Bytes,
				d.PerSecond[0], d.PerSecond[1], d.Ratio.Median, d.Ratio.Least, d.Ratio.Most,
				d.PerSecond[2], d.WholeRatio.Median, d.WholeRatio.Least, d.WholeRatio.Most, short(d.P50[0]), short(d.P99[0]), short(d.P99[1]), 100*d.LoadBusy)
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
