package main

import (
	"context"
	"sync"
	"sync/atomic"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
)

// versions are what several references of one process have loaded. Those that
// name the same version share it: a challenger that becomes the champion is not
// loaded a second time.
type versions struct {
	mu     sync.Mutex
	loaded map[string]*sharedModel // by identity, guarded by mu
}

// sharedModel is a model that is closed with its last user.
type sharedModel struct {
	snapshot *model.Snapshot // what others are made like; its count is not used
	model    model.Model
	users    int // guarded by the versions' mu
}

// follow makes a target share what it loads, and keeps what its reference names
// in last.
func (v *versions) follow(t follow.Target, last *atomic.Pointer[follow.Resolved]) follow.Target {
	resolve, load := t.Resolve, t.Load
	t.Resolve = func(ctx context.Context) (follow.Resolved, error) {
		r, err := resolve(ctx)
		if err == nil && last != nil {
			last.Store(&r)
		}
		return r, err
	}
	t.Load = func(ctx context.Context, r follow.Resolved) (*model.Snapshot, error) {
		if s := v.share(r); s != nil {
			return s, nil
		}
		s, err := load(ctx, r)
		if err != nil {
			return nil, err
		}
		return v.keep(s), nil
	}
	return t
}

// share gives a version that is loaded, nil when it is not.
func (v *versions) share(r follow.Resolved) *model.Snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	m := v.loaded[r.Identity]
	if m == nil {
		return nil
	}
	m.users++
	s := m.snapshot
	return model.Open(&model.Snapshot{
		Name: r.Name, Version: r.Version, Identity: s.Identity, Source: s.Source, Flavor: s.Flavor, Loaded: s.Loaded, Bytes: s.Bytes, Example: s.Example,
		Signature: s.Signature, Codec: s.Codec, Model: &user{Model: m.model, of: v, shared: m},
	})
}

// keep lets others share a snapshot, and returns it. One that was loaded by two
// at the same time is not shared by both.
func (v *versions) keep(s *model.Snapshot) *model.Snapshot {
	v.mu.Lock()
	defer v.mu.Unlock()
	if v.loaded[s.Identity] != nil {
		return s
	}
	if v.loaded == nil {
		v.loaded = make(map[string]*sharedModel)
	}
	like := &model.Snapshot{
		Identity: s.Identity, Source: s.Source, Flavor: s.Flavor, Loaded: s.Loaded, Bytes: s.Bytes, Example: s.Example, Signature: s.Signature, Codec: s.Codec,
	}
	m := &sharedModel{snapshot: like, model: s.Model, users: 1}
	v.loaded[s.Identity] = m
	s.Model = &user{Model: s.Model, of: v, shared: m}
	return s
}

// user is one snapshot's hold of a shared model.
type user struct {
	model.Model
	of     *versions
	shared *sharedModel
}

func (u *user) Close() error {
	u.of.mu.Lock()
	u.shared.users--
	last := u.shared.users == 0
	if last {
		delete(u.of.loaded, u.shared.snapshot.Identity)
	}
	u.of.mu.Unlock()
	if last {
		return u.Model.Close()
	}
	return nil
}
