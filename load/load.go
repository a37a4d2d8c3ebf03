// Package load puts a service under load from a fixed number of users, each of
// whom sends a request, waits for its response, and sends the next: a closed
// loop. It sends to whatever URL it is given and refuses none; point it at what
// is yours. In a closed loop a slow service slows its users, so that the
// percentiles say nothing of requests that would have come meanwhile.
package load

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math"
	"net/http"
	"net/url"
	"sync"
	"time"
)

// Config is one load test.
type Config struct {
	URL         string             // where to POST to
	Users       int                // users at the full load
	SpawnRate   float64            // users started a second; 0 starts all at once
	Duration    time.Duration      // of the whole test, the start of the users included; 0 runs until ctx is done
	Timeout     time.Duration      // of one request; 30 s when 0
	Think       time.Duration      // a user's pause between response and next request
	ContentType string             // application/json when empty
	Header      map[string]string  // sent with each request
	Body        func(i int) []byte // the body of request i, counted over all users from 0; called concurrently
	Client      *http.Client       // nil: one whose connections are sized by Users
	Terminal    bool               // whether out is a terminal: the live line is written over itself
}

// Validate names every setting that cannot be worked with, by its flag.
func (c *Config) Validate() error {
	var errs []error
	refuse := func(bad bool, why string) {
		if bad {
			errs = append(errs, errors.New(why))
		}
	}
	target, err := url.Parse(c.URL)
	refuse(err != nil || target.Host == "" || (target.Scheme != "http" && target.Scheme != "https"),
		fmt.Sprintf("--url: %q is no http or https address", c.URL))
	refuse(c.Users < 1, "--users: must be at least 1")
	refuse(c.SpawnRate < 0 || math.IsNaN(c.SpawnRate), "--spawn-rate: must not be below 0")
	refuse(c.Duration < 0, "--duration: must not be below 0")
	refuse(c.Timeout < 0, "--timeout: must not be below 0")
	refuse(c.Think < 0, "--think: must not be below 0")
	refuse(c.Body == nil, "there are no bodies to send")
	return errors.Join(errs...)
}

// Run puts the load on until the duration is over or ctx is done, and then
// returns what was measured: an early end is no error. Requests under way at the
// end are broken off and not counted. The live lines and the summary go to out.
func Run(ctx context.Context, cfg Config, out io.Writer) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Timeout == 0 {
		cfg.Timeout = 30 * time.Second
	}
	if cfg.ContentType == "" {
		cfg.ContentType = "application/json"
	}
	if cfg.Client == nil {
		transport := transport(cfg.Users)
		defer transport.CloseIdleConnections()
		cfg.Client = &http.Client{Transport: transport, CheckRedirect: func(*http.Request, []*http.Request) error {
			return http.ErrUseLastResponse // a redirect is a result, not a second request
		}}
	}
	ctx, cancel := context.WithCancel(ctx)
	if cfg.Duration > 0 {
		ctx, cancel = context.WithTimeout(ctx, cfg.Duration)
	}
	defer cancel()

	r := newRecorder()
	var watching sync.WaitGroup
	watching.Go(func() { watch(ctx, out, r, cfg.Terminal) })
	spawn(ctx, &cfg, r)
	cancel()
	watching.Wait()
	report := r.report()
	if _, err := io.WriteString(out, report.String()); err != nil {
		return report, fmt.Errorf("write the summary: %w", err)
	}
	return report, nil
}

// transport keeps a connection for each user; the default keeps two a host.
func transport(users int) *http.Transport {
	return &http.Transport{
		Proxy: http.ProxyFromEnvironment, MaxIdleConns: users, MaxIdleConnsPerHost: users, MaxConnsPerHost: users,
		IdleConnTimeout: time.Minute, DisableCompression: true,
	}
}

// spawn starts the users at their rate and waits for all of them.
func spawn(ctx context.Context, cfg *Config, r *recorder) {
	var users sync.WaitGroup
	defer users.Wait()
	start := time.Now()
	for n := range cfg.Users {
		// Counted from the start, so that lateness does not add up.
		if cfg.SpawnRate > 0 && !sleep(ctx, time.Until(start.Add(time.Duration(float64(n)/cfg.SpawnRate*float64(time.Second))))) {
			return
		}
		users.Go(func() {
			r.users.Add(1)
			defer r.users.Add(-1)
			for ctx.Err() == nil {
				request(ctx, cfg, r)
				if !sleep(ctx, cfg.Think) {
					return
				}
			}
		})
	}
}

// request sends one and records it, unless the test ended meanwhile.
func request(ctx context.Context, cfg *Config, r *recorder) {
	body := cfg.Body(r.next())
	start := time.Now()
	reason := send(ctx, cfg, body)
	took := time.Since(start)
	if reason != "" && ctx.Err() != nil {
		return
	}
	r.record(took, reason)
}

func sleep(ctx context.Context, d time.Duration) bool {
	if d <= 0 {
		return ctx.Err() == nil
	}
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
