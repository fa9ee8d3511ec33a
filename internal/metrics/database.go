package metrics

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
)

// patience is how long the database is waited for in one scrape. Prometheus
// gives up after ten seconds, and then has nothing at all.
const patience = time.Second

var (
	databaseUp = prometheus.NewDesc("perch_database_up", "1 while the database answers, else 0.", nil, nil)
	sessions   = prometheus.NewDesc("perch_sessions", "Sessions in the database, with those that are over and not swept yet; absent while it does not answer.", nil, nil)
)

// database asks the database anew at each scrape.
type database struct{ Options }

// Describe implements prometheus.Collector.
func (d database) Describe(to chan<- *prometheus.Desc) {
	to <- databaseUp
	to <- sessions
}

// Collect implements prometheus.Collector. An error would spoil the whole
// scrape, when the rest is needed most.
func (d database) Collect(to chan<- prometheus.Metric) {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if err := d.Ping(ctx); err != nil {
		to <- prometheus.MustNewConstMetric(databaseUp, prometheus.GaugeValue, 0)
		return
	}
	to <- prometheus.MustNewConstMetric(databaseUp, prometheus.GaugeValue, 1)
	if n, err := d.CountSessions(ctx); err == nil {
		to <- prometheus.MustNewConstMetric(sessions, prometheus.GaugeValue, float64(n))
	}
}
