package main

import (
	"context"
	"fmt"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/model/mlflow"
)

// memory resolves a reference, from what it named last when the registry is out
// of reach and nothing serves yet: a pool restarts with the last good version
// when the registry is away.
type memory struct {
	source  *modelSource
	ref     mlflow.Ref
	serves  atomic.Bool                     // a version was loaded
	current atomic.Pointer[mlflow.Resolved] // what the registry said last, nil when it was not asked
}

// resolve asks the registry. stale says why the answer is from memory.
func (m *memory) resolve(ctx context.Context) (r mlflow.Resolved, stale, err error) {
	last, ok := m.recall()
	if !ok {
		r, err = m.source.client.Resolve(ctx, m.ref)
		m.keep(r, err)
		return r, nil, err
	}
	limit := m.source.cfg.Store.StaleAfter
	ask, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the registry does not answer within %s (MILLRACE_MODEL_STALE_AFTER)", limit))
	defer cancel()
	r, err = m.source.client.Resolve(ask, m.ref)
	if err == nil || ctx.Err() != nil || !mlflow.Away(err) {
		m.keep(r, err)
		return r, nil, err
	}
	m.current.Store(nil)
	stale = fmt.Errorf("the registry is out of reach: this is what the reference named on %s: %w",
		last.At.Format(time.RFC3339), err)
	m.source.log.Warn("the registry is out of reach; starting with the version that the reference named last, which may have moved",
		"reference", m.ref.String(), "version", last.Resolved.Version, "named_on", last.At, "error", err)
	return last.Resolved, stale, nil
}

func (m *memory) keep(r mlflow.Resolved, err error) {
	if err == nil {
		m.current.Store(&r)
	}
}

// recall gives what the reference named last, when that may serve now.
func (m *memory) recall() (mlflow.Remembered, bool) {
	if m.ref.Kind == mlflow.KindFolder || m.source.cfg.Store.StaleAfter == 0 || m.serves.Load() {
		return mlflow.Remembered{}, false
	}
	cache, err := m.source.cache()
	if err != nil {
		return mlflow.Remembered{}, false
	}
	return m.source.client.Recall(cache, m.ref)
}

// loaded remembers a version that has proved to load.
func (m *memory) loaded(r mlflow.Resolved) {
	m.serves.Store(true)
	if now := m.current.Load(); m.ref.Kind == mlflow.KindFolder || now == nil || now.Identity != r.Identity {
		return
	}
	cache, err := m.source.cache()
	if err == nil {
		err = m.source.client.Remember(cache, r)
	}
	if err != nil {
		m.source.log.Warn("a start without the registry will not know this version", "reference", m.ref.String(), "error", err)
	}
}
