package load

import (
	"context"
	"fmt"
	"io"
	"math"
	"strings"
	"text/tabwriter"
	"time"
)

// SearchConfig is a search for the highest rate that holds an objective.
type SearchConfig struct {
	Config            // the steps are the search's own
	First     float64 // requests a second of the first trial
	Trial     time.Duration
	Objective []Expectation
	Precision float64       // the search ends when the bounds are this share apart; 0.05 when 0
	Rest      time.Duration // longest wait between two trials for the lag to go; 30 s when 0
}

// Capacity is what a search found.
type Capacity struct {
	Rate   float64 `json:"rate"` // highest that held, requests a second; 0 when none did
	Trials []Trial `json:"trials"`
	Bound  bool    `json:"bound"` // a higher rate was tried and did not hold
}

// Trial is one rate that was tried.
type Trial struct {
	Rate     float64   `json:"rate"` // asked for
	Reached  float64   `json:"reached"`
	P95      float64   `json:"p95_ms"`
	Failures int64     `json:"failures"`
	Held     bool      `json:"held"`
	Verdicts []Verdict `json:"verdicts"`
}

// reachedShare is how much of the asked rate must be answered within the trial: a
// queue that grows is not held, whatever its percentiles say by then.
const reachedShare = 0.95

// Search doubles the rate until the objective fails, then halves the distance
// between what held and what did not. The report is that of the best trial.
func Search(ctx context.Context, cfg SearchConfig, out io.Writer) (*Report, error) {
	if cfg.Precision == 0 {
		cfg.Precision = 0.05
	}
	if cfg.Rest == 0 {
		cfg.Rest = 30 * time.Second
	}
	found := &Capacity{}
	var best, last *Report
	low, high := 0.0, math.Inf(1)
	for rate := cfg.First; ctx.Err() == nil; {
		p, trial, err := try(ctx, cfg, rate)
		if err != nil {
			return nil, err
		}
		if ctx.Err() != nil {
			break // broken off: it says nothing
		}
		last = p
		found.Trials = append(found.Trials, trial)
		_, _ = fmt.Fprintln(out, trial.String())
		if trial.Held {
			low, best, found.Rate = rate, p, rate
		} else {
			high, found.Bound = rate, true
		}
		switch {
		case math.IsInf(high, 1):
			rate = 2 * low
		case low == 0 && high <= 1:
			low = high // not even one a second
		case low == 0:
			rate = high / 2
		default:
			rate = (low + high) / 2
		}
		if !math.IsInf(high, 1) && high-low <= cfg.Precision*high {
			break
		}
		cfg.rest(ctx)
	}
	if best == nil {
		best = last
	}
	if best == nil {
		best = newRecorder().report()
	}
	best.Capacity = found
	return best, nil
}

func try(ctx context.Context, cfg SearchConfig, rate float64) (*Report, Trial, error) {
	one := cfg.Config
	one.Steps, one.Duration = []Step{{Rate: rate, For: cfg.Trial}}, 0
	p, err := Run(ctx, one, io.Discard)
	if err != nil {
		return nil, Trial{}, err
	}
	t := Trial{Rate: rate, Reached: p.Rate, P95: p.P95.Seconds() * 1000, Failures: p.Failures}
	t.Held = p.Judge(cfg.Objective) && p.Rate >= reachedShare*rate
	t.Verdicts = p.Verdicts
	return p, t, nil
}

// rest waits until the service has worked off what the last trial left.
func (c *SearchConfig) rest(ctx context.Context) {
	if !sleep(ctx, min(time.Second, c.Rest)) || c.Watch == nil {
		return
	}
	for end := time.Now().Add(c.Rest); time.Now().Before(end); {
		if s, err := c.Watch(ctx); err != nil || s.Lag == 0 {
			return
		}
		if !sleep(ctx, time.Second) {
			return
		}
	}
}

// String says it in a line.
func (t Trial) String() string {
	word := "held"
	if !t.Held {
		word = "not held"
	}
	return fmt.Sprintf("%8.1f a second: %8.1f reached, p95 %.2f ms, %d failures: %s", t.Rate, t.Reached, t.P95, t.Failures, word)
}

// String is the finding, and the trials as a table.
func (c *Capacity) String() string {
	var b strings.Builder
	switch {
	case c.Rate == 0:
		b.WriteString("capacity: no rate that was tried held\n")
	case !c.Bound:
		fmt.Fprintf(&b, "capacity: at least %.1f requests a second; the search was ended\n", c.Rate)
	default:
		fmt.Fprintf(&b, "capacity: %.1f requests a second\n", c.Rate)
	}
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "  asked/s\treached/s\tp95 ms\tfailures\theld\t")
	for _, trial := range c.Trials {
		_, _ = fmt.Fprintf(t, "  %.1f\t%.1f\t%.2f\t%d\t%v\t\n", trial.Rate, trial.Reached, trial.P95, trial.Failures, trial.Held)
	}
	_ = t.Flush()
	return b.String()
}
