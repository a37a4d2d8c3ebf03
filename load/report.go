package load

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// Report is what a load test measured. The times are those of all requests that
// ended, failed ones included.
type Report struct {
	Kind     string    // "closed" or "open"
	Load     string    // in words
	Started  time.Time // of the test
	Elapsed  time.Duration
	Requests int64
	Failures int64
	Reasons  map[string]int64 // failures by reason
	Rate     float64          // requests a second that ended

	Mean, Min, Max           time.Duration
	P50, P90, P95, P99, P999 time.Duration

	Versions []Share  // of the answers, as far as they say
	Replicas []Share  // likewise
	Windows  []Window // a second each
	Verdicts []Verdict
	Capacity *Capacity // of a search for it
}

// Share is how many answers one model version or one replica gave.
type Share struct {
	Model    string  `json:"model,omitempty"`
	Version  string  `json:"version,omitempty"`
	Replica  string  `json:"replica,omitempty"`
	Requests int64   `json:"requests"`
	Share    float64 `json:"share"` // of the answers that said
}

// Window is a second of the test. Its times are those of the requests that ended
// in it.
type Window struct {
	Second             int
	Requests, Failures int64
	P50, P95, P99, Max time.Duration
	Users, InFlight    int64
	Lag, Workers       *float64 // nil when the service did not say
}

func shares(counts map[Share]int64) []Share {
	sum := int64(0)
	for _, n := range counts {
		sum += n
	}
	var list []Share
	for s, n := range counts {
		s.Requests, s.Share = n, float64(n)/float64(sum)
		list = append(list, s)
	}
	slices.SortFunc(list, func(a, b Share) int {
		return cmp.Or(cmp.Compare(b.Requests, a.Requests), strings.Compare(a.Model, b.Model), strings.Compare(a.Version, b.Version), strings.Compare(a.Replica, b.Replica))
	})
	return list
}

// ErrorRate is the share of requests that failed; 0 when there were none.
func (p *Report) ErrorRate() float64 {
	if p.Requests == 0 {
		return 0
	}
	return float64(p.Failures) / float64(p.Requests)
}

// describe says in words what load it was.
func (p *Report) describe(cfg *Config) {
	if len(cfg.Steps) == 0 {
		p.Kind = "closed"
		p.Load = fmt.Sprintf("%d users", cfg.Users)
		if cfg.SpawnRate > 0 {
			p.Load += fmt.Sprintf(", started %g a second", cfg.SpawnRate)
		}
		if cfg.Think > 0 {
			p.Load += fmt.Sprintf(", who think %s", cfg.Think)
		}
		if cfg.Think > 0 && cfg.Spread > 0 {
			p.Load += fmt.Sprintf(", %g %% more or less", 100*cfg.Spread)
		}
		return
	}
	p.Kind = "open"
	var parts []string
	for _, s := range cfg.Steps {
		part := fmt.Sprintf("%g a second", s.Rate)
		if s.For > 0 {
			part += " for " + s.For.String()
		}
		parts = append(parts, part)
	}
	p.Load = strings.Join(parts, ", then ")
}

// String is the summary as a table, and what is to be said below it.
func (p *Report) String() string {
	var b strings.Builder
	t := tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
	_, _ = fmt.Fprintln(t, "requests\tfailures\tmean ms\tmin ms\tmax ms\tp50 ms\tp95 ms\tp99 ms\treq/s\t")
	_, _ = fmt.Fprintf(t, "%d\t%d\t%s\t%s\t%s\t%s\t%s\t%s\t%.1f\t\n", p.Requests, p.Failures,
		ms(p.Mean), ms(p.Min), ms(p.Max), ms(p.P50), ms(p.P95), ms(p.P99), p.Rate)
	_ = t.Flush()
	if p.Failures > 0 {
		b.WriteString("\nfailures by reason\n")
		t = tabwriter.NewWriter(&b, 0, 0, 2, ' ', tabwriter.AlignRight)
		for _, reason := range p.reasons() {
			_, _ = fmt.Fprintf(t, "  %d\t  %s\n", p.Reasons[reason], reason)
		}
		_ = t.Flush()
	}
	p.writeShares(&b, "answers by model version", p.Versions)
	p.writeShares(&b, "answers by worker", p.Replicas)
	if p.Capacity != nil {
		b.WriteString("\n" + p.Capacity.String())
	}
	for i, v := range p.Verdicts {
		if i == 0 {
			b.WriteString("\nexpected\n")
		}
		b.WriteString("  " + v.String() + "\n")
	}
	return b.String()
}

// reasons lists the reasons of failures, the most frequent first.
func (p *Report) reasons() []string {
	return slices.SortedFunc(maps.Keys(p.Reasons), func(x, y string) int {
		return cmp.Or(cmp.Compare(p.Reasons[y], p.Reasons[x]), strings.Compare(x, y))
	})
}

func (p *Report) writeShares(b *strings.Builder, title string, list []Share) {
	if len(list) == 0 {
		return
	}
	b.WriteString("\n" + title + "\n")
	t := tabwriter.NewWriter(b, 0, 0, 2, ' ', tabwriter.AlignRight)
	for _, s := range list {
		_, _ = fmt.Fprintf(t, "  %d\t  %.1f %%\t  %s\n", s.Requests, 100*s.Share, s.name())
	}
	_ = t.Flush()
}

func (s Share) name() string {
	if s.Replica != "" {
		return s.Replica
	}
	return s.Model + " " + s.Version
}

func ms(d time.Duration) string { return fmt.Sprintf("%.2f", float64(d)/float64(time.Millisecond)) }
