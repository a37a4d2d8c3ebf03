package main

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/onnx"
	"github.com/millrace/millrace/model/remote"
)

// target makes a reference something to follow. fail ends the process when
// waiting cannot help.
func (s *modelSource) target(m modelRef, maxBatch int, fail func(error)) (follow.Target, error) {
	if remote.IsRef(m.text) {
		return s.remoteTarget(m, maxBatch)
	}
	ref, err := s.parse(m.text)
	if err != nil {
		return follow.Target{}, usageError(fmt.Errorf("MILLRACE_MODEL: %w", err))
	}
	if ref.Kind != mlflow.KindFolder && s.cfg.MLflow.TrackingURI == "" {
		return follow.Target{}, usageError(fmt.Errorf("MLFLOW_TRACKING_URI: it is not set, and %s is in a registry", m.text))
	}
	if ref.Kind != mlflow.KindFolder {
		if _, err := s.cache(); err != nil { // waiting would not help
			return follow.Target{}, usageError(fmt.Errorf("MILLRACE_MODEL_CACHE_DIR: %w", err))
		}
	}
	mem := &memory{source: s, ref: ref}
	return follow.Target{
		Reference: m.text, Name: m.name, Alias: ref.Alias, Model: ref.Name,
		Resolve: func(ctx context.Context) (follow.Resolved, error) {
			r, stale, err := mem.resolve(ctx)
			switch {
			case err != nil && m.onDemand: // its name is anybody's, and no label
				return follow.Resolved{}, err
			case err != nil: // named all the same, for its series
				return follow.Resolved{Name: ref.Name}, err
			}
			return follow.Resolved{Name: r.Name, Version: r.Version, Identity: r.Identity, Value: r, Stale: stale}, nil
		},
		Load: func(ctx context.Context, r follow.Resolved) (*model.Snapshot, error) {
			resolved, ok := r.Value.(mlflow.Resolved)
			if !ok {
				return nil, fmt.Errorf("a resolved reference holds %T", r.Value)
			}
			snap, err := s.open(ctx, resolved, maxBatch)
			if errors.Is(err, onnx.ErrNoLibrary) {
				fail(err)
			}
			if err == nil && r.Announced && r.Withdrawn == nil && r.Stale == nil {
				mem.keep(resolved, nil) // the registry said so, if to another
			}
			if err == nil {
				mem.loaded(resolved)
			}
			return snap, err
		},
	}, nil
}

// polled counts that the registry was asked.
func polled(m *metrics.Models, name string, err error) {
	m.Polls.WithLabelValues(name, resultOf(err)).Inc()
	if err == nil {
		m.LastPoll.WithLabelValues(name).SetToCurrentTime()
	}
}

func resultOf(err error) string {
	if err != nil {
		return metrics.ResultError
	}
	return metrics.ResultOK
}

// modelObserver counts what the following of models does.
func modelObserver(m *metrics.Models) follow.Observer {
	served := &servings{n: make(map[[2]string]int)}
	return follow.Observer{
		Polled: func(name string, err error) { polled(m, name, err) },
		Heard: func(name string, at time.Time, err error) {
			if err == nil {
				m.LastPoll.WithLabelValues(name).Set(float64(at.UnixMilli()) / 1e3)
			}
		},
		Loaded: func(name string, took time.Duration, err error) {
			m.Loads.WithLabelValues(name, resultOf(err)).Inc()
			m.LoadSeconds.Observe(took.Seconds())
		},
		Swapped: func(_ string, now, before *model.Snapshot) {
			swaps := m.Swaps.WithLabelValues(now.Name) // there at 0 from the first version on
			m.Unloads.WithLabelValues(now.Name, string(follow.UnloadBudget))
			m.Announce(now.Name, follow.ReasonFailures, follow.ReasonLatency, follow.ReasonPool)
			if before != nil {
				swaps.Inc()
				served.end(m, before)
			}
			served.begin(m, now)
		},
		Unloaded: func(_ string, s *model.Snapshot, why follow.Unload) {
			m.Unloads.WithLabelValues(s.Name, string(why)).Inc()
			served.end(m, s)
		},
		Stepped: func(name string, s follow.Step) {
			m.Steps.WithLabelValues(name, s.Step).Inc()
			if s.Seconds > 0 {
				m.StepSeconds.WithLabelValues(s.Step).Observe(s.Seconds)
			}
		},
		Compared: func(name string, distance float64) { m.Distance.WithLabelValues(name).Set(distance) },
		RolledBack: func(now, _ *model.Snapshot, reason string) {
			m.Rollbacks.WithLabelValues(now.Name, reason).Inc()
		},
		OnProbation: func(name string, on bool) { m.OnProbation.WithLabelValues(name).Set(number(on)) },
		LeftAlone:   func(name string, on bool) { m.LeftAlone.WithLabelValues(name).Set(number(on)) },
	}
}

// servings counts the references by the model version that they serve: several
// may serve the same.
type servings struct {
	mu sync.Mutex
	n  map[[2]string]int // guarded by mu
}

func (v *servings) begin(m *metrics.Models, s *model.Snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	v.n[[2]string{s.Name, s.Version}]++
	m.Serving.WithLabelValues(s.Name, s.Version, s.Flavor).Set(1)
	m.Bytes.WithLabelValues(s.Name, s.Version).Add(float64(s.Bytes))
}

func (v *servings) end(m *metrics.Models, s *model.Snapshot) {
	v.mu.Lock()
	defer v.mu.Unlock()
	key := [2]string{s.Name, s.Version}
	m.Bytes.WithLabelValues(s.Name, s.Version).Sub(float64(s.Bytes))
	if v.n[key]--; v.n[key] > 0 {
		return
	}
	delete(v.n, key)
	m.Serving.DeleteLabelValues(s.Name, s.Version, s.Flavor)
	m.Bytes.DeleteLabelValues(s.Name, s.Version)
}

// number is a gauge's truth.
func number(on bool) float64 {
	if on {
		return 1
	}
	return 0
}
