package load

import (
	"context"
	"maps"
	"sync"
	"sync/atomic"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// longest is the longest time told apart; a longer one is counted as this.
const longest = time.Hour

// recorder gathers what is measured.
type recorder struct {
	start    time.Time
	sent     atomic.Int64
	users    atomic.Int64
	inFlight atomic.Int64

	mu       sync.Mutex
	times    *hdrhistogram.Histogram // under mu; in microseconds, to 3 digits
	sum      time.Duration           // under mu
	min      time.Duration           // under mu
	max      time.Duration           // under mu
	reasons  map[string]int64        // under mu
	versions map[Share]int64         // under mu, by Model and Version
	replicas map[Share]int64         // under mu, by Replica

	window  *hdrhistogram.Histogram // under mu; of the second that runs, to 2 digits
	failed  int64                   // under mu; in the window
	windows []Window                // under mu; those that are over
	latest  *Sample                 // under mu; nil when there is none
}

func newRecorder() *recorder {
	return &recorder{
		start:    time.Now(),
		times:    hdrhistogram.New(1, longest.Microseconds(), 3),
		window:   hdrhistogram.New(1, longest.Microseconds(), 2),
		reasons:  make(map[string]int64),
		versions: make(map[Share]int64),
		replicas: make(map[Share]int64),
	}
}

func (r *recorder) next() int { return int(r.sent.Add(1) - 1) }

func (r *recorder) record(took time.Duration, out Outcome) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn()
	if r.times.TotalCount() == 0 || took < r.min {
		r.min = took
	}
	r.max = max(r.max, took)
	r.sum += took
	us := min(took, longest).Microseconds()
	_ = r.times.RecordValue(us) // within the range
	_ = r.window.RecordValue(us)
	if out.Reason != "" {
		r.reasons[out.Reason]++
		r.failed++
	}
	if out.Version != "" || out.Model != "" {
		r.versions[Share{Model: out.Model, Version: out.Version}]++
	}
	if out.Replica != "" {
		r.replicas[Share{Replica: out.Replica}]++
	}
}

// missed counts requests that were due and never sent. They have no time: the
// percentiles are those of the requests that ended.
func (r *recorder) missed(n int64) {
	if n == 0 {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.reasons[notSent] += n
}

// turn ends the windows that are over; mu is held.
func (r *recorder) turn() {
	for time.Since(r.start) >= time.Duration(len(r.windows)+1)*time.Second {
		w := Window{
			Second: len(r.windows), Requests: r.window.TotalCount(), Failures: r.failed,
			P50: micros(r.window.ValueAtQuantile(50)), P95: micros(r.window.ValueAtQuantile(95)),
			P99: micros(r.window.ValueAtQuantile(99)), Max: micros(r.window.Max()),
			Users: r.users.Load(), InFlight: r.inFlight.Load(),
		}
		if r.latest != nil {
			w.Lag, w.Workers = &r.latest.Lag, &r.latest.Workers
		}
		r.windows = append(r.windows, w)
		r.window.Reset()
		r.failed = 0
	}
}

// sample asks the service once a second what it says of itself. One that says
// nothing leaves a gap.
func (r *recorder) sample(ctx context.Context, ask func(context.Context) (Sample, error)) {
	for ctx.Err() == nil {
		if ask != nil {
			s, err := ask(ctx)
			r.mu.Lock()
			r.latest = nil
			if err == nil {
				r.latest = &s
			}
			r.mu.Unlock()
		}
		if !sleep(ctx, time.Second) {
			return
		}
		r.mu.Lock()
		r.turn() // also when no request ends
		r.mu.Unlock()
	}
}

func (r *recorder) report() *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.turn()
	p := &Report{
		Started: r.start, Requests: r.times.TotalCount(), Reasons: maps.Clone(r.reasons), Elapsed: time.Since(r.start),
		Min: r.min, Max: r.max,
		P50: r.percentile(50), P90: r.percentile(90), P95: r.percentile(95), P99: r.percentile(99), P999: r.percentile(99.9),
		Versions: shares(r.versions), Replicas: shares(r.replicas),
		Windows: append([]Window(nil), r.windows...),
	}
	for reason, n := range r.reasons {
		p.Failures += n
		if reason == notSent {
			p.Requests += n
		}
	}
	if n := r.times.TotalCount(); n > 0 {
		p.Mean = r.sum / time.Duration(n)
	}
	if p.Elapsed > 0 {
		p.Rate = float64(r.times.TotalCount()) / p.Elapsed.Seconds()
	}
	return p
}

// percentile is never above the exact maximum, which the histogram rounds up.
func (r *recorder) percentile(p float64) time.Duration {
	return min(micros(r.times.ValueAtQuantile(p)), r.max)
}

func micros(n int64) time.Duration { return time.Duration(n) * time.Microsecond }
