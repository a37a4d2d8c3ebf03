package report

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"time"
)

// LoadRun is what a report needs of a load test, as `millrace load --json` writes it.
type LoadRun struct {
	Started  time.Time          `json:"started"`
	Elapsed  float64            `json:"elapsed_seconds"`
	Requests int64              `json:"requests"`
	Failures int64              `json:"failures"`
	Rate     float64            `json:"rate"`
	Latency  map[string]float64 `json:"latency_ms"`
}

// ReadLoad reads a load test's JSON.
func ReadLoad(r io.Reader) (*LoadRun, error) {
	var l LoadRun
	if err := json.NewDecoder(r).Decode(&l); err != nil {
		return nil, fmt.Errorf("not the JSON of a load test: %w", err)
	}
	if l.Started.IsZero() || l.Elapsed <= 0 {
		return nil, errors.New("not the JSON of a load test: it does not say when it was")
	}
	return &l, nil
}

func (l *LoadRun) elapsed() time.Duration { return time.Duration(l.Elapsed * float64(time.Second)) }

func (l *LoadRun) end() time.Time { return l.Started.Add(l.elapsed()) }

// claims are what the load test itself tells. One without requests tells nothing.
func (l *LoadRun) claims(b Bounds) []Claim {
	list := []statement{
		{"load-p95", "95 of 100 requests of the load test are answered in time", "s", "load test", "<=", b.LoadP95.Seconds()},
		{"load-failures", "few requests of the load test fail", "of all", "load test", "<=", b.LoadFails},
	}
	values := []func() (float64, bool){
		func() (float64, bool) { v, ok := l.Latency["p95"]; return v / 1000, ok },
		func() (float64, bool) { return float64(l.Failures) / float64(l.Requests), true },
	}
	var claims []Claim
	for i, s := range list {
		c := Claim{ID: s.id, Says: s.says, Unit: s.unit, Bound: s.bound(), Source: s.query, better: s.better()}
		v, ok := values[i]()
		switch {
		case l.Requests == 0 || !ok:
			c.Note = "no data: the load test had no requests"
		default:
			c.Measured, c.Holds = &v, s.holds(v)
		}
		claims = append(claims, c)
	}
	return claims
}
