package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/load"
)

// loadFlags are the flags of `millrace load`.
type loadFlags struct {
	target targetFlags
	bodies bodyFlags

	users       int
	spawnRate   float64
	think       time.Duration
	spread      float64
	rate        string
	maxInFlight int
	duration    time.Duration
	timeout     time.Duration

	expect   []string
	capacity bool
	trial    time.Duration

	json, markdown, html string
}

func (p *program) loadCommand() *cobra.Command {
	var f loadFlags
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Put a service under load and say how it bore it",
		Long: `Put a service under load, over HTTP, gRPC or straight to Kafka, and report what it did.

The load is one of three:
  --users N      a closed loop: each user sends a request, waits for its response,
                 and sends the next. This is Locust's way, and the default.
  --rate R       an open loop: requests are due at a rate, whatever the service
                 does, and a latency counts from when its request was due. Steps
                 are written as 100:30s,200:30s.
  --capacity     a search, by open loops, for the highest rate that holds what
                 --expect says.

Without --body the requests are real windows for the bundled forecaster, another
from request to request; --model makes them of another model's input example, or
of values drawn for its signature.

While it runs, a line shows how it goes; at the end, or at Ctrl-C, a table gives
counts, failures, mean, min, max, p50, p95, p99 and requests a second. Times are
in milliseconds and count failed requests too. A failure is a response outside
200-299, an answer whose status is not ok, a timeout, or a broken connection.
Answers that say which model version and which worker they come from are counted
by these. The gateway's lag and workers are watched, for the plots of --html.

It exits with 0 when there were requests and all that is expected was met: without
--expect, that none failed. It exits with 1 when something was not met or no
request ended, and with 2 when a flag is wrong.`,
		Example: `  millrace load                        # 10 users for 30 s at the gateway of 'millrace up'
  millrace load --users 300 --spawn-rate 20 --duration 60s --html load.html
  millrace load --rate 100:30s,200:30s,400:30s --expect 'p95<250ms' --expect 'failures<=0.1%'
  millrace load --capacity --expect 'p95<100ms'
  millrace load --url grpc://localhost:8081 --model-name forecaster --users 300
  millrace load --kafka --users 50 --model models:/fraud@champion --generate
  echo '{"inputs": [[1, 2]]}' | millrace load --body - --url http://localhost:8000/invocations`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runLoad(cmd.Context(), &f) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVarP(&f.users, "users", "u", 10, "users of a closed loop at the full load")
	flags.Float64VarP(&f.spawnRate, "spawn-rate", "r", 10, "users started a second; 0 starts all at once")
	flags.DurationVar(&f.think, "think", 0, "a user's pause between a response and the next request")
	flags.Float64Var(&f.spread, "think-spread", 0, "share of --think by which each pause is longer or shorter, at random, 0 to 1; users who pause alike fall into step")
	flags.StringVar(&f.rate, "rate", "", "`REQUESTS` a second of an open loop, or steps as in 100:30s,200:30s")
	flags.IntVar(&f.maxInFlight, "max-in-flight", 10_000, "most requests of an open loop under way; what is due meanwhile waits, and its waiting counts")
	flags.DurationVarP(&f.duration, "duration", "d", 30*time.Second, "of the whole test, unless the steps of --rate say; 0 runs until Ctrl-C")
	flags.DurationVar(&f.timeout, "timeout", 30*time.Second, "of one request")
	f.target.add(flags)
	f.bodies.add(flags)
	flags.StringArrayVar(&f.expect, "expect", nil, "`BOUND` that decides the exit code, such as p95<250ms, failures<=0.1%, rate>=100; again for more")
	flags.BoolVar(&f.capacity, "capacity", false, "search the highest rate that holds --expect, from --rate (10) on")
	flags.DurationVar(&f.trial, "trial", 10*time.Second, "how long each rate of --capacity is tried")
	flags.StringVar(&f.json, "json", "", "`FILE` to write the report to as JSON, - for standard output")
	flags.StringVar(&f.markdown, "markdown", "", "`FILE` to write the report to as Markdown")
	flags.StringVar(&f.html, "html", "", "`FILE` to write the report to as a page with plots")
	return cmd
}

func (p *program) runLoad(ctx context.Context, f *loadFlags) error {
	expected, err := f.check()
	if err != nil {
		return usageError(err)
	}
	p.tuneMemory(slog.New(slog.DiscardHandler)) // collecting its own garbage, it would measure itself
	cfg := load.Config{
		Duration: f.duration, Timeout: f.timeout, Users: f.users, SpawnRate: f.spawnRate, Think: f.think, Spread: f.spread,
		MaxInFlight: f.maxInFlight, Terminal: isTerminal(p.out),
	}
	if cfg.Steps, err = parseSteps(f.rate); err != nil {
		return usageError(err)
	}
	if cfg.Body, err = p.loadBodies(ctx, &f.bodies); err != nil {
		return err
	}
	connections := max(f.users, 1)
	if f.open() {
		connections = f.maxInFlight
	}
	target, watch, err := p.loadTarget(ctx, &f.target, connections)
	if err != nil {
		return err
	}
	defer func() { _ = target.Close() }()
	cfg.Target, cfg.Watch = target, watch
	if err := cfg.Validate(); err != nil {
		return usageError(err)
	}
	out := p.out
	if f.json == "-" {
		out = p.err // so that standard output is JSON alone
	}
	report, err := f.put(ctx, cfg, expected, out)
	if err != nil {
		return err
	}
	if report.Requests == 0 {
		return fmt.Errorf("no request ended within %s: is something listening at %s? A longer --duration or a shorter --timeout tells more",
			report.Elapsed.Round(time.Millisecond), f.target.name())
	}
	met := report.Judge(expected)
	if _, err := io.WriteString(out, report.String()); err != nil {
		return fmt.Errorf("write the summary: %w", err)
	}
	if err := f.write(report, p.out); err != nil {
		return err
	}
	if !met || f.capacity && report.Capacity.Rate == 0 {
		return exitError(exitFailed) // the summary has said why
	}
	return nil
}

func (f *loadFlags) open() bool { return f.rate != "" || f.capacity }

// check reads the expectations and refuses flags that contradict each other.
func (f *loadFlags) check() ([]load.Expectation, error) {
	var errs []error
	var list []load.Expectation
	for _, text := range f.expect {
		e, err := load.ParseExpectation(text)
		errs = append(errs, err)
		list = append(list, e)
	}
	if f.capacity && len(list) == 0 {
		errs = append(errs, errors.New("--capacity: needs an objective, as in --expect 'p95<100ms'"))
	}
	if f.capacity && f.trial <= 0 {
		errs = append(errs, errors.New("--trial: must be above 0"))
	}
	if f.capacity && strings.ContainsAny(f.rate, ":,") {
		errs = append(errs, errors.New("--capacity: takes one --rate to begin with, no steps"))
	}
	return list, errors.Join(errs...)
}

// put puts the load on.
func (f *loadFlags) put(ctx context.Context, cfg load.Config, expected []load.Expectation, out io.Writer) (*load.Report, error) {
	if !f.capacity {
		return load.Run(ctx, cfg, out)
	}
	const first = 10
	search := load.SearchConfig{Config: cfg, First: first, Trial: f.trial, Objective: expected}
	if len(cfg.Steps) > 0 {
		search.First = cfg.Steps[0].Rate
	}
	return load.Search(ctx, search, out)
}

// write writes the report in the forms that were asked for.
func (f *loadFlags) write(report *load.Report, out io.Writer) error {
	asJSON := func(w io.Writer) error {
		text, err := report.MarshalJSON()
		if err != nil {
			return err
		}
		_, err = w.Write(append(text, '\n'))
		return err
	}
	asMarkdown := func(w io.Writer) error {
		_, err := io.WriteString(w, report.Markdown())
		return err
	}
	if f.json == "-" {
		return asJSON(out)
	}
	for _, form := range []struct {
		path  string
		write func(io.Writer) error
	}{{f.json, asJSON}, {f.markdown, asMarkdown}, {f.html, report.WriteHTML}} {
		if form.path == "" {
			continue
		}
		if err := writeFile(form.path, form.write); err != nil {
			return fmt.Errorf("write the report: %w", err)
		}
	}
	return nil
}

func writeFile(path string, write func(io.Writer) error) error {
	file, err := os.Create(path) //nolint:gosec // the user's file
	if err != nil {
		return err
	}
	return errors.Join(write(file), file.Close())
}

// parseSteps reads a rate, or steps of rate:duration.
func parseSteps(text string) ([]load.Step, error) {
	if text == "" {
		return nil, nil
	}
	var steps []load.Step
	for part := range strings.SplitSeq(text, ",") {
		number, length, timed := strings.Cut(strings.TrimSpace(part), ":")
		var s load.Step
		var err error
		if s.Rate, err = strconv.ParseFloat(number, 64); err == nil && timed {
			s.For, err = time.ParseDuration(length)
		}
		if err != nil {
			return nil, fmt.Errorf("--rate: %q is neither a rate nor a step such as 100:30s", part)
		}
		steps = append(steps, s)
	}
	return steps, nil
}

// isTerminal says whether what is written there can be written over.
func isTerminal(w io.Writer) bool {
	f, ok := w.(*os.File)
	if !ok {
		return false
	}
	st, err := f.Stat()
	return err == nil && st.Mode()&os.ModeCharDevice != 0
}
