package load

import (
	"fmt"
	"regexp"
	"strconv"
	"strings"
	"time"
)

// Expectation is a bound that decides whether a test has passed: "p95<250ms",
// "failures<=0.1%", "rate>=100".
type Expectation struct {
	text   string
	metric string
	op     string
	bound  float64 // seconds, a share, a count, or requests a second
	share  bool    // failures are meant as a share
}

// Verdict is an expectation held against what was measured.
type Verdict struct {
	Expected string `json:"expected"`
	Measured string `json:"measured"`
	Met      bool   `json:"met"`
}

// String says it in a line.
func (v Verdict) String() string {
	if v.Met {
		return fmt.Sprintf("met      %s: %s", v.Expected, v.Measured)
	}
	return fmt.Sprintf("NOT met  %s: %s", v.Expected, v.Measured)
}

// ParseExpectation reads one. Metrics are p50, p90, p95, p99, p999, mean, max
// (durations), failures (a count, or a share with %), requests and rate.
func ParseExpectation(text string) (Expectation, error) {
	parts := regexp.MustCompile(`^\s*([a-z0-9]+)\s*(<=|>=|<|>)\s*(\S+)\s*$`).FindStringSubmatch(text)
	if parts == nil {
		return Expectation{}, fmt.Errorf("--expect: %q is not like p95<250ms, failures<=0.1%% or rate>=100", text)
	}
	e := Expectation{text: strings.Join(parts[1:], ""), metric: parts[1], op: parts[2]}
	var err error
	like := "a number"
	switch value := parts[3]; {
	case e.metric == "failures" && strings.HasSuffix(value, "%"):
		e.share = true
		e.bound, err = strconv.ParseFloat(strings.TrimSuffix(value, "%"), 64)
		e.bound /= 100
	case e.metric == "failures" || e.metric == "requests" || e.metric == "rate":
		e.bound, err = strconv.ParseFloat(value, 64)
	default:
		if _, ok := e.duration(&Report{}); !ok {
			return e, fmt.Errorf("--expect: %q: there is no %q; there are p50, p90, p95, p99, p999, mean, max, failures, requests, rate", text, e.metric)
		}
		like = "a duration such as 250ms"
		var d time.Duration
		d, err = time.ParseDuration(value)
		e.bound = d.Seconds()
	}
	if err != nil {
		return e, fmt.Errorf("--expect: %q: %q is not %s", text, parts[3], like)
	}
	return e, nil
}

func (e Expectation) duration(p *Report) (time.Duration, bool) {
	switch e.metric {
	case "p50":
		return p.P50, true
	case "p90":
		return p.P90, true
	case "p95":
		return p.P95, true
	case "p99":
		return p.P99, true
	case "p999":
		return p.P999, true
	case "mean":
		return p.Mean, true
	case "max":
		return p.Max, true
	}
	return 0, false
}

// Of says whether it holds of a report. Without a request nothing holds.
func (e Expectation) Of(p *Report) Verdict {
	v := Verdict{Expected: e.text}
	if p.Requests == 0 {
		v.Measured = "no request ended"
		return v
	}
	var have float64
	switch d, ok := e.duration(p); {
	case ok:
		have, v.Measured = d.Seconds(), ms(d)+" ms"
		if p.answered() == 0 {
			v.Measured = "no request ended"
			return v
		}
	case e.share:
		have, v.Measured = p.ErrorRate(), strconv.FormatFloat(100*p.ErrorRate(), 'g', 3, 64)+" %"
	case e.metric == "failures":
		have, v.Measured = float64(p.Failures), strconv.FormatInt(p.Failures, 10)
	case e.metric == "requests":
		have, v.Measured = float64(p.Requests), strconv.FormatInt(p.Requests, 10)
	default:
		have, v.Measured = p.Rate, fmt.Sprintf("%.1f a second", p.Rate)
	}
	switch e.op {
	case "<":
		v.Met = have < e.bound
	case "<=":
		v.Met = have <= e.bound
	case ">":
		v.Met = have > e.bound
	default:
		v.Met = have >= e.bound
	}
	return v
}

// answered counts the requests that have a time.
func (p *Report) answered() int64 { return p.Requests - p.Reasons[notSent] }

// Judge holds the expectations against the report and notes the verdicts in it.
// Unless one of them is about failures, none is allowed.
func (p *Report) Judge(list []Expectation) (met bool) {
	failures := false
	for _, e := range list {
		failures = failures || e.metric == "failures"
	}
	if !failures {
		list = append([]Expectation{{text: "failures<=0", metric: "failures", op: "<="}}, list...)
	}
	met = true
	p.Verdicts = nil
	for _, e := range list {
		v := e.Of(p)
		p.Verdicts = append(p.Verdicts, v)
		met = met && v.Met
	}
	return met
}
