package main

import (
	"fmt"
	"io"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/bundled"
	"github.com/millrace/millrace/load"
)

// loadFlags are the flags of `millrace load`.
type loadFlags struct {
	load.Config
	bodies  []string
	headers []string
}

func (p *program) loadCommand() *cobra.Command {
	var f loadFlags
	cmd := &cobra.Command{
		Use:   "load",
		Short: "Put a service under load and print a summary",
		Long: `Put an HTTP service under load from a fixed number of users. Each of them sends a
request, waits for the response, and sends the next. Without --body the requests
are real windows for the bundled forecaster, another from request to request.

While it runs, a line shows how it goes; at the end, or at Ctrl-C, a table gives
counts, failures, mean, min, max, p50, p95, p99 and requests a second. Times are
in milliseconds and count failed requests too. A failure is a response outside
200-299, a timeout, or a broken connection.

It exits with 0 when there were requests and all of them succeeded, with 1 when
one failed or none ended, and with 2 when a flag is wrong.`,
		Example: `  millrace load                        # 10 users for 30 s at the gateway of 'millrace up'
  millrace load --users 300 --spawn-rate 20 --duration 60s --url http://localhost:8000/predict
  millrace load --body a.json --body b.json --header 'X-Request-Timeout: 2s' --think 100ms
  echo '{"inputs": [[1, 2]]}' | millrace load --body - --url http://localhost:8000/invocations`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runLoad(cmd, &f) },
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.IntVarP(&f.Users, "users", "u", 10, "users at the full load")
	flags.Float64VarP(&f.SpawnRate, "spawn-rate", "r", 10, "users started a second; 0 starts all at once")
	flags.DurationVarP(&f.Duration, "duration", "d", 30*time.Second, "of the whole test; 0 runs until Ctrl-C")
	flags.StringVar(&f.URL, "url", "http://localhost:8000/predict", "where to POST to")
	flags.StringArrayVar(&f.bodies, "body", nil, "`FILE` with a body, - for standard input; again for more, sent in turn")
	flags.StringVar(&f.ContentType, "content-type", "application/json", "of the bodies")
	flags.StringArrayVarP(&f.headers, "header", "H", nil, "`NAME:VALUE` to send with each request; again for more")
	flags.DurationVar(&f.Think, "think", 0, "a user's pause between a response and the next request")
	flags.DurationVar(&f.Timeout, "timeout", 30*time.Second, "of one request")
	return cmd
}

func (p *program) runLoad(cmd *cobra.Command, f *loadFlags) error {
	cfg := f.Config
	var err error
	if cfg.Header, err = parseHeaders(f.headers); err != nil {
		return usageError(err)
	}
	if cfg.Body, err = p.loadBodies(f.bodies); err != nil {
		return err
	}
	if err := cfg.Validate(); err != nil {
		return usageError(err)
	}
	cfg.Terminal = isTerminal(p.out)
	report, err := load.Run(cmd.Context(), cfg, p.out)
	if err != nil {
		return err
	}
	if report.Requests == 0 {
		return fmt.Errorf("no request ended within %s: is something listening at %s? A longer --duration or a shorter --timeout tells more",
			report.Elapsed.Round(time.Millisecond), cfg.URL)
	}
	if report.Failures > 0 {
		return exitError(1) // the summary has said why
	}
	return nil
}

// loadBodies returns what request i sends: the files in turn, or the bundled
// model's windows.
func (p *program) loadBodies(files []string) (func(i int) []byte, error) {
	var bodies [][]byte
	for _, name := range files {
		read := func() ([]byte, error) { return os.ReadFile(name) } //nolint:gosec // the user's file
		if name == "-" {
			read = func() ([]byte, error) { return io.ReadAll(p.in) }
		}
		body, err := read()
		if err != nil {
			return nil, fmt.Errorf("--body: %w", err)
		}
		bodies = append(bodies, body)
	}
	if len(files) == 0 {
		for _, e := range bundled.Examples() {
			bodies = append(bodies, e.Body())
		}
	}
	return func(i int) []byte { return bodies[i%len(bodies)] }, nil
}

func parseHeaders(lines []string) (map[string]string, error) {
	headers := make(map[string]string, len(lines))
	for _, line := range lines {
		name, value, found := strings.Cut(line, ":")
		name = strings.TrimSpace(name)
		if !found || name == "" || strings.ContainsAny(name, " \t\r\n") || strings.ContainsAny(value, "\r\n") {
			return nil, fmt.Errorf("--header: %q is not NAME:VALUE", line)
		}
		headers[name] = strings.TrimSpace(value)
	}
	return headers, nil
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
