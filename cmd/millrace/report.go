package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/report"
)

// reportFlags are the flags of `millrace report`.
type reportFlags struct {
	report.Config
	end            string
	load           string
	compare        string
	json, markdown string
}

func (p *program) reportCommand() *cobra.Command {
	var f reportFlags
	cmd := &cobra.Command{
		Use:   "report",
		Short: "Say whether a deployment does what is claimed of it",
		Long: `Ask Prometheus, and a load test when there was one, whether a pool does what is
claimed of it: that its histograms are there, that its latency, errors, throughput
and queue are within their bounds, that it was scaled, that no alert fires. Each
claim is printed with what was measured, its bound and a verdict.

Data that is absent is NO-GO, never a pass: a Prometheus that does not scrape the
workers, a time without requests, alert rules that are not loaded.

With --load the time of the load test is looked at, else the last --last.

It exits with 0 when every claim holds, which is GO; with 1 otherwise, or when
Prometheus does not answer; with 2 when a flag is wrong.`,
		Example: `  millrace load --users 300 --spawn-rate 20 --duration 5m --json load.json
  millrace report --prometheus http://localhost:9090 --load load.json --markdown report.md
  millrace report --prometheus http://prometheus:9090 --selector 'namespace="ml"' --last 1h --compare last-week.json`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runReport(cmd.Context(), &f) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&f.Prometheus, "prometheus", "http://localhost:9090", "address of Prometheus")
	flags.StringVar(&f.Selector, "selector", "", "`LABELS` of the pool's series, such as namespace=\"ml\",job=\"millrace\"; all when empty")
	flags.StringVar(&f.load, "load", "", "`FILE` that 'millrace load --json' wrote; its time is looked at")
	flags.DurationVar(&f.Window, "last", 15*time.Minute, "length of the time that is looked at, without --load")
	flags.StringVar(&f.end, "end", "", "`TIME` at which it ends, in RFC 3339; now when empty")
	flags.DurationVar(&f.Bounds.P95, "p95", 1500*time.Millisecond, "bound of the 95th percentile of the requesters' latency")
	flags.Float64Var(&f.Bounds.Errors, "errors", 0.01, "bound of the share of answers that are errors")
	flags.Float64Var(&f.Bounds.PerPod, "rate", 8, "answers a second that each worker has to reach")
	flags.Float64Var(&f.Bounds.Lag, "lag", 20, "bound of the records that wait for each worker at the end")
	flags.DurationVar(&f.Bounds.Age, "age", 30*time.Second, "bound of the age of the oldest record at the end")
	flags.BoolVar(&f.Bounds.Scaled, "scaled", false, "demand that the number of workers has changed")
	flags.BoolVar(&f.Bounds.NoAlerts, "no-alerts", false, "do not look at alerts, where Prometheus has no rules for the pool")
	flags.DurationVar(&f.Bounds.LoadP95, "load-p95", 1500*time.Millisecond, "bound of the 95th percentile in the load test")
	flags.Float64Var(&f.Bounds.LoadFails, "load-failures", 0.01, "bound of the share of the load test's requests that failed")
	flags.StringVar(&f.compare, "compare", "", "`FILE` of an earlier report in JSON, to compare with")
	flags.StringVar(&f.json, "json", "", "`FILE` to write the report to as JSON")
	flags.StringVar(&f.markdown, "markdown", "", "`FILE` to write the report to as Markdown")
	return cmd
}

func (p *program) runReport(ctx context.Context, f *reportFlags) error {
	cfg := f.Config
	cfg.End = time.Now()
	if f.end != "" {
		var err error
		if cfg.End, err = time.Parse(time.RFC3339, f.end); err != nil {
			return usageError(fmt.Errorf("--end: %q is no time such as 2026-01-31T12:00:00Z", f.end))
		}
	}
	if f.load != "" {
		run, err := fromFile(f.load, report.ReadLoad)
		if err != nil {
			return fmt.Errorf("--load: %w", err)
		}
		cfg.Load = run
	}
	var before *report.Report
	if f.compare != "" {
		var err error
		if before, err = fromFile(f.compare, report.Read); err != nil {
			return fmt.Errorf("--compare: %w", err)
		}
	}
	if err := cfg.Validate(); err != nil {
		return usageError(err)
	}
	r, err := report.Make(ctx, cfg)
	if err != nil {
		return err
	}
	text := r.String()
	if before != nil {
		text += "\n" + report.Compare(before, r)
	}
	if _, err := io.WriteString(p.out, text); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if err := f.write(r); err != nil {
		return fmt.Errorf("write the report: %w", err)
	}
	if !r.Go {
		return exitError(exitFailed)
	}
	return nil
}

func (f *reportFlags) write(r *report.Report) error {
	if f.json != "" {
		if err := writeFile(f.json, func(w io.Writer) error { return json.NewEncoder(w).Encode(r) }); err != nil {
			return err
		}
	}
	if f.markdown == "" {
		return nil
	}
	return writeFile(f.markdown, func(w io.Writer) error {
		_, err := io.WriteString(w, r.Markdown())
		return err
	})
}

// fromFile reads a file by its reader.
func fromFile[T any](path string, read func(io.Reader) (T, error)) (T, error) {
	file, err := os.Open(path) //nolint:gosec // the user's file
	if err != nil {
		var none T
		return none, err
	}
	defer func() { _ = file.Close() }()
	return read(file)
}
