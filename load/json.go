package load

import (
	"encoding/json"
	"time"
)

// MarshalJSON writes the report for machines. Times are in milliseconds, seconds
// where the name says so.
func (p *Report) MarshalJSON() ([]byte, error) {
	inMS := func(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }
	type window struct {
		Second   int      `json:"second"`
		Requests int64    `json:"requests"`
		Failures int64    `json:"failures"`
		P50      float64  `json:"p50_ms"`
		P95      float64  `json:"p95_ms"`
		P99      float64  `json:"p99_ms"`
		Max      float64  `json:"max_ms"`
		Users    int64    `json:"users"`
		InFlight int64    `json:"in_flight"`
		Lag      *float64 `json:"lag,omitempty"`
		Workers  *float64 `json:"workers,omitempty"`
	}
	windows := make([]window, len(p.Windows))
	for i, w := range p.Windows {
		windows[i] = window{
			w.Second, w.Requests, w.Failures, inMS(w.P50), inMS(w.P95), inMS(w.P99), inMS(w.Max),
			w.Users, w.InFlight, w.Lag, w.Workers,
		}
	}
	return json.Marshal(struct {
		Loop      string             `json:"loop"`
		Load      string             `json:"load"`
		Started   time.Time          `json:"started"`
		Elapsed   float64            `json:"elapsed_seconds"`
		Requests  int64              `json:"requests"`
		Failures  int64              `json:"failures"`
		ErrorRate float64            `json:"error_rate"`
		Rate      float64            `json:"rate"`
		Latency   map[string]float64 `json:"latency_ms"`
		Reasons   map[string]int64   `json:"reasons"`
		Versions  []Share            `json:"versions,omitempty"`
		Replicas  []Share            `json:"replicas,omitempty"`
		Verdicts  []Verdict          `json:"verdicts,omitempty"`
		Capacity  *Capacity          `json:"capacity,omitempty"`
		Windows   []window           `json:"windows"`
	}{
		p.Kind, p.Load, p.Started, p.Elapsed.Seconds(), p.Requests, p.Failures, p.ErrorRate(), p.Rate,
		map[string]float64{
			"mean": inMS(p.Mean), "min": inMS(p.Min), "max": inMS(p.Max), "p50": inMS(p.P50), "p90": inMS(p.P90),
			"p95": inMS(p.P95), "p99": inMS(p.P99), "p99.9": inMS(p.P999),
		},
		p.Reasons, p.Versions, p.Replicas, p.Verdicts, p.Capacity, windows,
	})
}
