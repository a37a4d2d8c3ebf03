package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync/atomic"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
	"github.com/millrace/millrace/model/mlflow"
)

// candidate follows a version that runs beside a model's own. It serves what its
// reference names now, or nothing: a version that does not load, and one that
// the reference has left, take no requests.
type candidate struct {
	ref      shareRef
	follower *follow.Follower
	own      *atomic.Pointer[follow.Resolved] // what the model itself is
	changed  func()

	wanted atomic.Pointer[wanted]
}

// wanted is what a reference names.
type wanted struct {
	identity, version string
	absent            bool // nothing: an alias that was deleted
}

// newCandidate makes what keeps a reference's version loaded, once the model
// itself is.
func (w *runningWorker) newCandidate(ref shareRef, log *slog.Logger, fail func(error), o follow.Observer, changed func()) (*candidate, error) {
	index, names := w.cfg.Pool.own(ref)
	c := &candidate{ref: ref, own: w.names[index], changed: changed}
	t, err := w.source.target(ref.modelRef, w.cfg.Worker.MaxBatch, fail)
	if err != nil {
		return nil, err
	}
	t = w.versions.follow(w.announced(t), nil)
	resolve, load := t.Resolve, t.Load
	t.Resolve = func(ctx context.Context) (follow.Resolved, error) { return c.resolve(ctx, resolve) }
	t.Load = func(ctx context.Context, r follow.Resolved) (*model.Snapshot, error) {
		s, err := load(ctx, r)
		if err != nil {
			return nil, err
		}
		if err := w.fits(names[0], s); err != nil {
			return nil, errors.Join(err, s.Release())
		}
		return s, nil
	}
	c.follower, err = follow.New(w.cfg.Follow, follow.Deps{Targets: []follow.Target{t}, Log: log, Observer: o})
	return c, err
}

// fits refuses a version that breaks requests which the model itself answers.
func (w *runningWorker) fits(name string, s *model.Snapshot) error {
	if w.cfg.Follow.AllowBreaking {
		return nil
	}
	own, err := w.follower.Acquire(name)
	if err != nil {
		return fmt.Errorf("the model itself is not there: %w", err)
	}
	defer func() { _ = own.Release() }() // its follower closes it
	if err := model.Compatible(own.Signature, s.Signature); err != nil {
		return fmt.Errorf("its signature breaks that of the model itself (MILLRACE_MODEL_ALLOW_BREAKING=true takes it): %w", err)
	}
	return nil
}

// resolve asks what the reference names. Where there is no such thing any more,
// the model's own version stands in for it, which shares its memory.
func (c *candidate) resolve(ctx context.Context, ask func(context.Context) (follow.Resolved, error)) (follow.Resolved, error) {
	r, err := ask(ctx)
	own := c.own.Load()
	switch {
	case err == nil:
		c.want(wanted{identity: r.Identity, version: r.Version})
	case errors.Is(err, mlflow.ErrNotFound):
		c.want(wanted{absent: true})
		if own != nil {
			return *own, nil
		}
	}
	return r, err
}

func (c *candidate) want(next wanted) {
	if was := c.wanted.Swap(&next); was == nil || *was != next {
		c.changed()
	}
}

// Acquire gives the version that the reference names, held, when name is "" or
// asks for it.
func (c *candidate) Acquire(name string) (*model.Snapshot, error) {
	want := c.wanted.Load()
	switch {
	case want == nil:
		return nil, model.Errorf(model.Unavailable, "%s", c.trouble("it is not known yet which version it is"))
	case want.absent:
		return nil, model.Errorf(model.Unavailable, "the registry does not have it")
	}
	s, err := c.follower.Acquire(name)
	if err == nil && s.Identity == want.identity {
		return s, nil
	}
	if err == nil {
		_ = s.Release() // its follower closes it
	} else if model.AsError(err).Code == model.NotFound {
		return nil, err
	}
	return nil, model.Errorf(model.Unavailable, "%s", c.trouble(fmt.Sprintf("version %s is not loaded yet", want.version)))
}

// trouble is what the follower fails with, else what is said.
func (c *candidate) trouble(otherwise string) string {
	if last := c.follower.Status()[0].LastError; last != "" {
		return maskURLs(last)
	}
	return otherwise
}
