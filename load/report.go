package load

import (
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"text/tabwriter"
	"time"

	"github.com/HdrHistogram/hdrhistogram-go"
)

// Report is what a load test measured. The times are those of all requests
// that ended, failed ones included.
type Report struct {
	Requests       int64
	Failures       int64
	Reasons        map[string]int64 // failures by reason
	Elapsed        time.Duration
	Rate           float64 // requests a second
	Mean, Min, Max time.Duration
	P50, P95, P99  time.Duration
}

// longest is the longest time told apart; a longer one is counted as this.
const longest = time.Hour

// recorder gathers what the users measure.
type recorder struct {
	start time.Time
	sent  atomic.Int64
	users atomic.Int64

	mu      sync.Mutex
	times   *hdrhistogram.Histogram // under mu; in microseconds, to 3 digits
	sum     time.Duration           // under mu
	min     time.Duration           // under mu
	max     time.Duration           // under mu
	reasons map[string]int64        // under mu
}

func newRecorder() *recorder {
	return &recorder{
		start:   time.Now(),
		times:   hdrhistogram.New(1, longest.Microseconds(), 3),
		reasons: make(map[string]int64),
	}
}

func (r *recorder) next() int { return int(r.sent.Add(1) - 1) }

func (r *recorder) record(took time.Duration, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.times.TotalCount() == 0 || took < r.min {
		r.min = took
	}
	r.max = max(r.max, took)
	r.sum += took
	_ = r.times.RecordValue(min(took, longest).Microseconds()) // within the range
	if reason != "" {
		r.reasons[reason]++
	}
}

func (r *recorder) report() *Report {
	r.mu.Lock()
	defer r.mu.Unlock()
	p := &Report{
		Requests: r.times.TotalCount(), Reasons: maps.Clone(r.reasons), Elapsed: time.Since(r.start),
		Min: r.min, Max: r.max,
		P50: r.percentile(50), P95: r.percentile(95), P99: r.percentile(99),
	}
	for _, n := range r.reasons {
		p.Failures += n
	}
	if p.Requests > 0 {
		p.Mean = r.sum / time.Duration(p.Requests)
	}
	if p.Elapsed > 0 {
		p.Rate = float64(p.Requests) / p.Elapsed.Seconds()
	}
	return p
}

// percentile is never above the exact maximum, which the histogram rounds up.
func (r *recorder) percentile(p float64) time.Duration {
	return min(time.Duration(r.times.ValueAtQuantile(p))*time.Microsecond, r.max)
}

// String is the summary as a table, and the failures by reason below it.
func (p *Report) String() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "requests\tfailures\tmean ms\tmin ms\tmax ms\tp50 ms\tp95 ms\tp99 ms\treq/s\t")
	_, _ = fmt.Fprintf(t, "%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%.1f\t\n", p.Requests, p.Failures,
		ms(p.Mean), ms(p.Min), ms(p.Max), ms(p.P50), ms(p.P95), ms(p.P99), p.Rate)
	_ = t.Flush()
	if p.Failures == 0 {
		return b.String()
	}
	b.WriteString("\nfailures by reason\n")
	t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, reason := range slices.SortedFunc(maps.Keys(p.Reasons), func(x, y string) int {
		if d := p.Reasons[y] - p.Reasons[x]; d != 0 {
			return int(d)
		}
		return strings.Compare(x, y)
	}) {
		_, _ = fmt.Fprintf(t, "%d\t  %s\n", p.Reasons[reason], reason)
	}
	_ = t.Flush()
	return b.String()
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
