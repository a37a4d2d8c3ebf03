package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
	"github.com/millrace/millrace/model/load"
	"github.com/millrace/millrace/model/remote"
)

// remoteClient reaches the endpoint that a reference names.
func (s *modelSource) remoteClient(text string) (*remote.Client, error) {
	ref, err := remote.ParseRef(text)
	if err != nil {
		return nil, err
	}
	return remote.New(s.cfg.Remote, ref, remoteObserver(s.remote, ref.Name()))
}

// remoteTarget makes a model that is served elsewhere something to follow.
func (s *modelSource) remoteTarget(m modelRef, maxBatch int) (follow.Target, error) {
	c, err := s.remoteClient(m.text)
	if err != nil {
		return follow.Target{}, usageError(fmt.Errorf("MILLRACE_MODEL: %w", err))
	}
	return follow.Target{
		Reference: c.Ref().String(), Name: m.name, Model: c.Ref().Name(), Moved: c.Moved(),
		Endpoint: func() any { return c.Status() },
		Resolve: func(ctx context.Context) (follow.Resolved, error) {
			r, err := c.Resolve(ctx)
			if err != nil { // named all the same, for its series
				return follow.Resolved{Name: c.Ref().Name()}, err
			}
			return follow.Resolved{Name: r.Name, Version: r.Version, Identity: r.Identity, Value: r}, nil
		},
		Load: func(ctx context.Context, r follow.Resolved) (*model.Snapshot, error) {
			resolved, ok := r.Value.(remote.Resolved)
			if !ok {
				return nil, fmt.Errorf("a resolved reference holds %T", r.Value)
			}
			return s.openRemote(ctx, c, resolved, maxBatch)
		},
	}, nil
}

// openRemote makes a snapshot of what an endpoint serves.
func (s *modelSource) openRemote(ctx context.Context, c *remote.Client, r remote.Resolved, maxBatch int) (*model.Snapshot, error) {
	m, err := c.Open(ctx, r)
	if err != nil {
		return nil, err
	}
	signature, err := remote.Signature(m.Info())
	if err == nil {
		var snap *model.Snapshot
		snap, err = load.Ready(ctx, m, signature, string(c.Ref().Protocol), load.Options{
			Name: r.Name, Version: r.Version, Identity: r.Identity, Source: r.Source,
			Limits: s.limits(), MaxBatch: maxBatch,
		})
		if err == nil {
			return snap, nil
		}
	}
	return nil, errors.Join(err, m.Close())
}

// remoteObserver counts what calls of an endpoint do.
func remoteObserver(m *metrics.Remote, name string) remote.Observer {
	if m == nil { // a command that exports nothing
		m = metrics.NewRemote(prometheus.NewRegistry())
	}
	for _, result := range remote.Results() {
		m.Requests.WithLabelValues(name, result)
	}
	retries, took, state := m.Retries.WithLabelValues(name), m.Seconds.WithLabelValues(name), m.Breaker.WithLabelValues(name)
	return remote.Observer{
		Requested: func(result string, d time.Duration) {
			m.Requests.WithLabelValues(name, result).Inc()
			if result != remote.ResultBroken {
				took.Observe(d.Seconds())
			}
		},
		Retried: retries.Inc,
		Breaker: func(s remote.State) {
			switch s {
			case remote.Closed:
				state.Set(metrics.BreakerClosed)
			case remote.HalfOpen:
				state.Set(metrics.BreakerHalfOpen)
			case remote.Open:
				state.Set(metrics.BreakerOpen)
			}
		},
	}
}

// resolveRemote asks an endpoint what it serves, for a command.
func (p *program) resolveRemote(ctx context.Context, cfg sourceConfig, text string) (*modelSource, *remote.Client, remote.Resolved, error) {
	src, err := p.modelSource(cfg, p.toolLogger())
	if err != nil {
		return nil, nil, remote.Resolved{}, err
	}
	c, err := src.remoteClient(text)
	if err != nil {
		return nil, nil, remote.Resolved{}, usageError(err)
	}
	r, err := c.Resolve(ctx)
	return src, c, r, err
}

func remoteFacts(c *remote.Client, r remote.Resolved) []fact {
	return []fact{
		{"reference", c.Ref().String()},
		{"name", r.Name},
		{"version", r.Version},
		{"identity", r.Identity},
		{"source", r.Source},
		{"platform", r.Platform},
	}
}

// inspectRemote tells what an endpoint says of its model, and how it is served
// from here.
func (p *program) inspectRemote(ctx context.Context, cfg sourceConfig, text, url string) (*inspection, error) {
	src, c, r, err := p.resolveRemote(ctx, cfg, text)
	if err != nil {
		return nil, err
	}
	defer c.Close()
	flavor := string(c.Ref().Protocol)
	in := &inspection{
		Reference: c.Ref().String(), Name: r.Name, Version: r.Version, Identity: r.Identity, Source: r.Source,
		Flavor: flavor, Flavors: []string{flavor}, Platform: r.Platform,
	}
	snap, err := src.openRemote(ctx, c, r, 1)
	if ctx.Err() != nil {
		return nil, context.Cause(ctx)
	}
	if err != nil {
		in.Error = err.Error()
		return in, nil
	}
	return in, in.describe(snap, "", url)
}
