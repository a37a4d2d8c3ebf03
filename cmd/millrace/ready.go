package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/url"
	"time"

	"github.com/spf13/cobra"
)

const workerProbe = "http://127.0.0.1:8001/readyz"

// readyCommand asks a probe from inside of the image, which holds no curl.
func (p *program) readyCommand() *cobra.Command {
	var timeout time.Duration
	cmd := &cobra.Command{
		Use:   "ready [URL]",
		Short: "Ask a probe, for health checks where there is no curl",
		Long: `Ask a probe of a worker or gateway, and exit with 0 when it says yes. Else the
reason is printed and the exit code is 1. URL is ` + workerProbe + `,
a worker's, when it is not given; a gateway's is http://127.0.0.1:8000/readyz.`,
		Example: `  millrace ready
  millrace ready http://127.0.0.1:8000/readyz`,
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				args = []string{workerProbe}
			}
			if u, err := url.Parse(args[0]); len(args) > 1 || err != nil || u.Host == "" || timeout <= 0 {
				return usageError(fmt.Errorf("%s takes one URL, such as %s, and a --timeout above 0s", cmd.CommandPath(), workerProbe))
			}
			ctx, cancel := context.WithTimeout(cmd.Context(), timeout)
			defer cancel()
			return p.askProbe(ctx, args[0])
		},
	}
	cmd.Flags().DurationVar(&timeout, "timeout", 3*time.Second, "longest wait for the answer")
	return cmd
}

// askProbe returns an error unless the probe says yes.
func (p *program) askProbe(ctx context.Context, probe string) error {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, probe, http.NoBody)
	if err != nil {
		return usageError(err)
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	defer func() { _ = resp.Body.Close() }()
	body, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return fmt.Errorf("not ready: %w", err)
	}
	if resp.StatusCode == http.StatusOK {
		return nil
	}
	var told struct{ Reason string }
	if json.Unmarshal(body, &told) != nil || told.Reason == "" {
		told.Reason = resp.Status
	}
	return fmt.Errorf("not ready: %s", told.Reason)
}
