// Package report says whether a deployment does what is claimed of it: each claim
// with the figure that Prometheus or a load test measured, the bound that it is
// held against, and a verdict. Data that is absent is no pass.
package report

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"strconv"
	"strings"
	"time"

	"github.com/prometheus/client_golang/api"
	v1 "github.com/prometheus/client_golang/api/prometheus/v1"
	"github.com/prometheus/common/model"
)

// Config is a report to make.
type Config struct {
	Prometheus string        // address
	Selector   string        // of the pool's series, as in namespace="ml"; empty: all there are
	End        time.Time     // of the time that is looked at
	Window     time.Duration // length of that time
	Load       *LoadRun      // nil: none
	Bounds     Bounds
}

// Bounds are what the claims are held against.
type Bounds struct {
	P95       time.Duration // of the requesters' latency
	PerPod    float64       // answers a second of each worker, at least
	Errors    float64       // share of answers that are errors, at most
	Lag       float64       // records that wait at the end for each worker, at most
	Age       time.Duration // of the oldest record at the end, at most
	Scaled    bool          // the number of workers has to have changed
	NoAlerts  bool          // the alert rules need not be loaded
	LoadP95   time.Duration // of the load run's latency
	LoadFails float64       // share of the load run's requests that failed, at most
}

// Validate names every setting that cannot be worked with, by its flag.
func (c *Config) Validate() error {
	var errs []error
	refuse := func(bad bool, why string) {
		if bad {
			errs = append(errs, errors.New(why))
		}
	}
	refuse(c.Prometheus == "", "--prometheus: must not be empty")
	refuse(c.Window < time.Minute, "--last: must be at least 1m")
	refuse(strings.ContainsAny(c.Selector, "{}"), "--selector: is what stands between the braces, such as namespace=\"ml\"")
	refuse(c.Bounds.P95 <= 0, "--p95: must be above 0")
	refuse(c.Bounds.LoadP95 <= 0, "--load-p95: must be above 0")
	for flag, v := range map[string]float64{"--rate": c.Bounds.PerPod, "--errors": c.Bounds.Errors, "--lag": c.Bounds.Lag, "--load-failures": c.Bounds.LoadFails} {
		refuse(v < 0 || math.IsNaN(v), flag+": must not be below 0")
	}
	return errors.Join(errs...)
}

// Report is the claims with their verdicts.
type Report struct {
	Begin  time.Time `json:"begin"`
	End    time.Time `json:"end"`
	Go     bool      `json:"go"` // every claim holds
	Claims []Claim   `json:"claims"`
}

// Claim is one thing that is said of a deployment.
type Claim struct {
	ID       string   `json:"id"`
	Says     string   `json:"says"`
	Measured *float64 `json:"measured"` // null: there is no data
	Unit     string   `json:"unit,omitempty"`
	Bound    string   `json:"bound"`
	Holds    bool     `json:"holds"`
	Note     string   `json:"note,omitempty"` // why there is no data, or what else is to be said
	Source   string   `json:"source"`         // the query, or the load run

	better int // -1: less is better, 1: more, 0: neither; for comparisons
}

// Make measures every claim. An error says that nothing could be measured;
// otherwise what is missing is in the claims.
func Make(ctx context.Context, cfg Config) (*Report, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	if cfg.Load != nil {
		cfg.End, cfg.Window = cfg.Load.end().Add(settle), cfg.Load.elapsed()+settle
	}
	client, err := api.NewClient(api.Config{Address: cfg.Prometheus})
	if err != nil {
		return nil, fmt.Errorf("--prometheus: %w", err)
	}
	p := &prober{api: v1.NewAPI(client), cfg: cfg}
	if _, err := p.api.Buildinfo(ctx); err != nil {
		return nil, fmt.Errorf("prometheus at %s: %w", cfg.Prometheus, err)
	}
	r := &Report{Begin: cfg.End.Add(-cfg.Window), End: cfg.End, Go: true}
	for _, s := range statements(&cfg) {
		r.add(p.measure(ctx, s))
	}
	if !cfg.Bounds.NoAlerts {
		r.add(p.rules(ctx))
	}
	if cfg.Load != nil {
		for _, c := range cfg.Load.claims(cfg.Bounds) {
			r.add(c)
		}
	}
	return r, nil
}

// settle is how long after a load its traces are looked for: a scrape or two.
const settle = 30 * time.Second

func (r *Report) add(c Claim) {
	r.Claims = append(r.Claims, c)
	r.Go = r.Go && c.Holds
}

// prober asks Prometheus.
type prober struct {
	api v1.API
	cfg Config
}

func (p *prober) measure(ctx context.Context, s statement) Claim {
	c := Claim{ID: s.id, Says: s.says, Unit: s.unit, Bound: s.bound(), Source: s.query, better: s.better()}
	value, note := p.scalar(ctx, s.query)
	c.Measured, c.Note = value, note
	c.Holds = value != nil && s.holds(*value)
	return c
}

// scalar is the one value of a query at the end of the window; nil, and why, when
// there is none. NaN is none: it is what a quantile of nothing is.
func (p *prober) scalar(ctx context.Context, query string) (*float64, string) {
	result, _, err := p.api.Query(ctx, query, p.cfg.End)
	if err != nil {
		return nil, "no data: " + err.Error()
	}
	vector, ok := result.(model.Vector)
	switch {
	case !ok || len(vector) > 1:
		return nil, fmt.Sprintf("no data: the query gives a %s of more than one value", result.Type())
	case len(vector) == 0:
		return nil, "no data: there are no such series in this time"
	}
	v := float64(vector[0].Value)
	if math.IsNaN(v) || math.IsInf(v, 0) {
		return nil, "no data: nothing was counted in this time"
	}
	return &v, ""
}

// rules looks for the alert rules of the pool before it believes that none fires.
func (p *prober) rules(ctx context.Context) Claim {
	c := Claim{ID: "alerts", Says: "no alert of the pool fires", Bound: "= 0", Source: "rules that query our series"}
	result, err := p.api.Rules(ctx)
	if err != nil {
		c.Note = "no data: " + err.Error()
		return c
	}
	loaded, firing := 0, []string{}
	for _, group := range result.Groups {
		for _, rule := range group.Rules {
			alert, ok := rule.(v1.AlertingRule)
			if !ok || !ours(alert.Query) && !strings.HasPrefix(group.Name, "millrace") {
				continue
			}
			loaded++
			for _, a := range alert.Alerts {
				if a.State == v1.AlertStateFiring {
					firing = append(firing, alert.Name)
					break
				}
			}
		}
	}
	if loaded == 0 {
		c.Note = "no data: no alert rule of the pool is loaded"
		return c
	}
	n := float64(len(firing))
	c.Measured, c.Holds, c.Unit = &n, n == 0, "alerts"
	c.Note = strconv.Itoa(loaded) + " rules are loaded"
	if len(firing) > 0 {
		c.Note += "; firing: " + strings.Join(firing, ", ")
	}
	return c
}

// ours says whether a query looks at the pool's series.
func ours(query string) bool {
	return strings.Contains(query, "millrace_") || strings.Contains(query, "inference_")
}

// Read reads a report that was written as JSON.
func Read(r io.Reader) (*Report, error) {
	var out Report
	if err := json.NewDecoder(r).Decode(&out); err != nil {
		return nil, fmt.Errorf("not a report: %w", err)
	}
	if len(out.Claims) == 0 {
		return nil, errors.New("not a report: it holds no claims")
	}
	return &out, nil
}
