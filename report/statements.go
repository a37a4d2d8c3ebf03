package report

import (
	"fmt"
	"strconv"
	"strings"
)

// statement is a claim before it is measured.
type statement struct {
	id, says, unit string
	query          string
	op             string // <= or >=
	limit          float64
}

func (s *statement) holds(v float64) bool {
	if s.op == "<=" {
		return v <= s.limit
	}
	return v >= s.limit
}

func (s *statement) bound() string {
	return strings.TrimSpace(s.op + " " + strconv.FormatFloat(s.limit, 'g', 4, 64) + " " + s.unit)
}

func (s *statement) better() int {
	if s.op == "<=" {
		return -1
	}
	return 1
}

// statements are the claims that Prometheus can tell of. Each query gives one value,
// or nothing when its series are absent.
func statements(cfg *Config) []statement {
	b := cfg.Bounds
	w := fmt.Sprintf("%ds", int(cfg.Window.Seconds()))
	busy := cfg.Window // the time in which requests came
	if cfg.Load != nil {
		busy = cfg.Load.elapsed()
	}
	sel := func(series string) string {
		if cfg.Selector == "" {
			return series
		}
		return series + "{" + cfg.Selector + "}"
	}
	over := func(series string) string { return sel(series) + "[" + w + "]" }
	workers := "count(" + sel("inference_queue_len") + ")"
	answers := "sum(increase(" + over("inference_requests_total") + "))"
	list := []statement{
		{
			"histograms", "latency and queueing time are histograms that can be added over pods", "histograms",
			"count(count by (__name__) (" + bucketsOf(cfg.Selector) + "))", ">=", 2,
		},
		{
			"targets", "every worker was scraped the whole time", "",
			"min(min_over_time(" + over("up") + ") and on (instance, job) " + sel("inference_queue_len") + ")", ">=", 1,
		},
		{
			"p95", "95 of 100 requests are answered in time", "s",
			"histogram_quantile(0.95, sum by (le) (increase(" + over("inference_latency_seconds_bucket") + ")))", "<=", b.P95.Seconds(),
		},
		{
			"throughput", "each worker answers what it has to", "a second",
			answers + " / " + strconv.Itoa(max(1, int(busy.Seconds()))) + " / avg_over_time(" + workers + "[" + w + ":15s])", ">=", b.PerPod,
		},
		{
			"errors", "few answers are errors", "of all",
			"sum(increase(" + over("inference_errors_total") + ")) / (" + answers + " > 0)", "<=", b.Errors,
		},
		{
			"lag", "the queue is short at the end", "records a worker",
			"sum(" + sel("inference_queue_len") + ") / " + workers, "<=", b.Lag,
		},
		{
			"age", "no request is left behind at the end", "s",
			"max(" + sel("millrace_oldest_record_age_seconds") + ")", "<=", b.Age.Seconds(),
		},
	}
	if b.Scaled {
		list = append(list, statement{
			"scaling", "the number of workers follows the load", "changes",
			"changes(" + workers + "[" + w + ":15s])", ">=", 1,
		})
	}
	return list
}

func bucketsOf(selector string) string {
	name := `__name__=~"inference_latency_seconds_bucket|inference_queue_latency_bucket"`
	if selector != "" {
		name += "," + selector
	}
	return "{" + name + "}"
}
