package load

import (
	"fmt"
	"strings"
)

// Markdown is the report for a pull request or a page.
func (p *Report) Markdown() string {
	var b strings.Builder
	fmt.Fprintf(&b, "# Load test of %s\n\n", p.Started.UTC().Format("2006-01-02 15:04 MST"))
	fmt.Fprintf(&b, "%s (%s loop), %.0f s.\n\n", p.Load, p.Kind, p.Elapsed.Seconds())
	b.WriteString("| requests | failures | requests/s | mean ms | p50 ms | p95 ms | p99 ms | p99.9 ms | max ms |\n|---|---|---|---|---|---|---|---|---|\n")
	fmt.Fprintf(&b, "| %d | %d (%.3g %%) | %.1f | %s | %s | %s | %s | %s | %s |\n", p.Requests, p.Failures, 100*p.ErrorRate(), p.Rate,
		ms(p.Mean), ms(p.P50), ms(p.P95), ms(p.P99), ms(p.P999), ms(p.Max))
	if len(p.Verdicts) > 0 {
		b.WriteString("\n| expected | measured | |\n|---|---|---|\n")
		for _, v := range p.Verdicts {
			word := "**not met**"
			if v.Met {
				word = "met"
			}
			fmt.Fprintf(&b, "| `%s` | %s | %s |\n", v.Expected, v.Measured, word)
		}
	}
	if c := p.Capacity; c != nil {
		b.WriteString("\n| asked, requests/s | reached | p95 ms | failures | held |\n|---|---|---|---|---|\n")
		for _, t := range c.Trials {
			fmt.Fprintf(&b, "| %.1f | %.1f | %.2f | %d | %v |\n", t.Rate, t.Reached, t.P95, t.Failures, t.Held)
		}
		b.WriteString("\n" + strings.SplitN(c.String(), "\n", 2)[0] + "\n")
	}
	if p.Failures > 0 {
		b.WriteString("\n| failures | reason |\n|---|---|\n")
		for _, reason := range p.reasons() {
			fmt.Fprintf(&b, "| %d | %s |\n", p.Reasons[reason], reason)
		}
	}
	for _, part := range []struct {
		title string
		list  []Share
	}{{"model version", p.Versions}, {"worker", p.Replicas}} {
		if len(part.list) == 0 {
			continue
		}
		fmt.Fprintf(&b, "\n| answers | share | %s |\n|---|---|---|\n", part.title)
		for _, s := range part.list {
			fmt.Fprintf(&b, "| %d | %.1f %% | %s |\n", s.Requests, 100*s.Share, s.name())
		}
	}
	return b.String()
}
