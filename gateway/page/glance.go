// Package page shows somebody without Grafana what a pool does, and lets them try a
// model: the pool at a glance, live, and a form made from what the workers say of
// themselves. All of it is in the binary and asks nobody else.
package page

import (
	"math"
	"sync"
	"time"
)

// Glance remembers what the gateway answered in the last minutes. It is safe for
// concurrent use.
type Glance struct {
	began time.Time

	mu       sync.Mutex
	seconds  [kept]second // under mu; a ring, by the second since the epoch
	failures []Failure    // under mu; the newest last
}

// The bounds of what is remembered.
const (
	kept         = 600 // seconds
	mostFailures = 50
	mostMessage  = 300
	recent       = 60 // seconds that shares and percentiles are of
)

// second is what was answered in one second.
type second struct {
	at       int64 // of the epoch; another means that it is of the past
	answered int
	failed   int
	times    [buckets]uint32
	versions map[[2]string]int
	workers  map[string]int
}

// Answer is one HTTP answer.
type Answer struct {
	Status  int
	Code    string // ok, or an error code; "" when none is known
	Message string // of an error
	Request string // its id
	Model   string
	Version string
	Worker  string
	Took    time.Duration
}

// Failure is an answer that was an error.
type Failure struct {
	Time    time.Time `json:"time"`
	Status  int       `json:"status"`
	Code    string    `json:"code,omitempty"`
	Message string    `json:"message,omitempty"`
	Request string    `json:"request,omitempty"`
	Model   string    `json:"model,omitempty"`
	Version string    `json:"version,omitempty"`
}

// NewGlance begins to remember.
func NewGlance() *Glance { return &Glance{began: time.Now()} }

// Observe notes an answer.
func (g *Glance) Observe(a *Answer) {
	now := time.Now()
	g.mu.Lock()
	defer g.mu.Unlock()
	s := &g.seconds[now.Unix()%kept]
	if s.at != now.Unix() {
		*s = second{at: now.Unix(), versions: s.versions, workers: s.workers}
		clear(s.versions)
		clear(s.workers)
	}
	s.answered++
	s.times[bucketOf(a.Took)]++
	if s.versions == nil {
		s.versions, s.workers = make(map[[2]string]int), make(map[string]int)
	}
	if a.Model != "" {
		s.versions[[2]string{a.Model, a.Version}]++
	}
	if a.Worker != "" {
		s.workers[a.Worker]++
	}
	if a.Status < 400 {
		return
	}
	s.failed++
	if len(g.failures) == mostFailures {
		g.failures = append(g.failures[:0], g.failures[1:]...)
	}
	message := a.Message
	if len(message) > mostMessage {
		message = message[:mostMessage] + "…"
	}
	g.failures = append(g.failures, Failure{now.UTC(), a.Status, a.Code, message, a.Request, a.Model, a.Version})
}

// Times are told apart by buckets that grow by a quarter, from a tenth of a
// millisecond to two minutes.
const (
	buckets  = 64
	smallest = 1e-4
	growth   = 1.25
)

func bucketOf(d time.Duration) int {
	if d.Seconds() <= smallest {
		return 0
	}
	return min(buckets-1, int(math.Ceil(math.Log(d.Seconds()/smallest)/math.Log(growth))))
}

// quantile is the upper bound of the bucket that holds it, in milliseconds; nil when
// nothing was counted.
func quantile(times *[buckets]uint32, q float64) *float64 {
	sum := 0.0
	for _, n := range times {
		sum += float64(n)
	}
	if sum == 0 {
		return nil
	}
	seen := 0.0
	for i, n := range times {
		if seen += float64(n); seen >= q*sum {
			v := 1000 * smallest * math.Pow(growth, float64(i))
			return &v
		}
	}
	return nil
}

// Point is one second of the history.
type Point struct {
	At       int64    `json:"at"` // of the epoch
	Answered int      `json:"answered"`
	Failed   int      `json:"failed"`
	P50      *float64 `json:"p50,omitempty"` // milliseconds
	P95      *float64 `json:"p95,omitempty"`
	P99      *float64 `json:"p99,omitempty"`
}

// Share is how many answers of the last minute one version or one worker gave.
type Share struct {
	Name     string `json:"name"`
	Version  string `json:"version,omitempty"`
	Requests int    `json:"requests"`
}

// Past is what is remembered.
type Past struct {
	Began    time.Time `json:"began"`
	Rate     float64   `json:"rate"`   // answers a second in the last minute
	Errors   float64   `json:"errors"` // share of them that failed
	P50      *float64  `json:"p50,omitempty"`
	P95      *float64  `json:"p95,omitempty"`
	P99      *float64  `json:"p99,omitempty"`
	Versions []Share   `json:"versions"`
	Workers  []Share   `json:"workers"`
	History  []Point   `json:"history"` // the oldest first, up to the last whole second
	Failures []Failure `json:"failures"`
}

// Past returns what is remembered.
func (g *Glance) Past() *Past {
	now := time.Now().Unix()
	g.mu.Lock()
	defer g.mu.Unlock()
	p := &Past{Began: g.began.UTC(), Failures: append([]Failure{}, g.failures...)}
	var times [buckets]uint32
	versions, workers := make(map[[2]string]int), make(map[string]int)
	answered, failed := 0, 0
	for at := max(now-kept+1, g.began.Unix()); at < now; at++ {
		s := &g.seconds[at%kept]
		if s.at != at {
			p.History = append(p.History, Point{At: at})
			continue
		}
		p.History = append(p.History, Point{
			at, s.answered, s.failed, quantile(&s.times, 0.5), quantile(&s.times, 0.95), quantile(&s.times, 0.99),
		})
		if at < now-recent {
			continue
		}
		answered, failed = answered+s.answered, failed+s.failed
		for i, n := range s.times {
			times[i] += n
		}
		for k, n := range s.versions {
			versions[k] += n
		}
		for k, n := range s.workers {
			workers[k] += n
		}
	}
	if span := min(recent, now-g.began.Unix()); span > 0 {
		p.Rate = float64(answered) / float64(span)
	}
	if answered > 0 {
		p.Errors = float64(failed) / float64(answered)
	}
	p.P50, p.P95, p.P99 = quantile(&times, 0.5), quantile(&times, 0.95), quantile(&times, 0.99)
	p.Versions, p.Workers = shares(versions, func(k [2]string) Share { return Share{Name: k[0], Version: k[1]} }),
		shares(workers, func(k string) Share { return Share{Name: k} })
	return p
}
