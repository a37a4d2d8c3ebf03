package main

import (
	"context"
	"sync"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
)

// givenNames knows what models are called besides their registered names, so that
// gateways find their cards by either. It is safe for concurrent use.
type givenNames struct {
	mu    sync.Mutex
	given map[*model.Snapshot]string // under mu
}

// watch notes the name of each snapshot that the target loads.
func (g *givenNames) watch(t follow.Target) follow.Target {
	if t.Name == "" {
		return t
	}
	load := t.Load
	t.Load = func(ctx context.Context, r follow.Resolved) (*model.Snapshot, error) {
		snap, err := load(ctx, r)
		if err == nil {
			g.mu.Lock()
			defer g.mu.Unlock()
			if g.given == nil {
				g.given = make(map[*model.Snapshot]string)
			}
			g.given[snap] = t.Name
		}
		return snap, err
	}
	return t
}

// of returns the name, "" when none was given. before is forgotten.
func (g *givenNames) of(now, before *model.Snapshot) string {
	g.mu.Lock()
	defer g.mu.Unlock()
	delete(g.given, before)
	return g.given[now]
}
