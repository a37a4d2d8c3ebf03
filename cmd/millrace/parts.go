package main

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"time"

	"github.com/millrace/millrace/tracing/otlp"
)

// parts are what a process that serves is made of. Each runs under a context
// that outlives the process's: they are stopped in the reverse order of their
// start, one after the other, so that what sends stops before what it sends to.
type parts struct {
	log *slog.Logger
	end context.CancelCauseFunc
	// Where the parts' spans go; nil when nobody wants them.
	traces *otlp.Provider
	list   []*part // owned by the goroutine that starts and stops
}

type part struct {
	name  string
	limit time.Duration
	stop  func()
	done  chan struct{}
	err   error // once done is closed
}

// newParts also returns the context in which the process goes on: it ends with
// ctx, or with the cause when a part breaks.
func newParts(ctx context.Context, log *slog.Logger) (*parts, context.Context) {
	ctx, end := context.WithCancelCause(ctx)
	return &parts{log: log, end: end}, ctx
}

// brokenError is the cause when it is a part that ends the process: a signal has a
// cause as well.
type brokenError struct{ error }

func (b brokenError) Unwrap() error { return b.error }

// fail ends the process for a reason.
func (s *parts) fail(err error) { s.end(brokenError{err}) }

// start runs a part until it is stopped. One that ends before has broken, and
// with it the process. limit is the longest wait for its end: past it, the part
// and what was started before it are abandoned to the process's exit.
func (s *parts) start(ctx context.Context, name string, limit time.Duration, run func(context.Context) error) {
	own, cancel := context.WithCancel(context.WithoutCancel(ctx))
	p := &part{name: name, limit: limit, stop: cancel, done: make(chan struct{})}
	s.list = append(s.list, p)
	go func() {
		defer close(p.done)
		p.err = run(own)
		if own.Err() == nil {
			s.fail(fmt.Errorf("%s: %w", name, cmp.Or(p.err, errEnded)))
		}
	}()
}

// onStop adds a part that does nothing until it is stopped. end bounds itself.
func (s *parts) onStop(name string, end func() error) {
	p := &part{name: name, done: make(chan struct{}), limit: time.Minute}
	p.stop = func() {
		go func() {
			defer close(p.done)
			p.err = end()
		}()
	}
	s.list = append(s.list, p)
}

var (
	errEnded = errors.New("ended by itself")
	errStuck = errors.New("does not end")
)

// stop ends all parts and returns why the process failed, nil when it did not.
// ctx is the one of newParts.
func (s *parts) stop(ctx context.Context) error {
	var errs []error
	if why := (brokenError{}); errors.As(context.Cause(ctx), &why) {
		errs = append(errs, why)
	}
	s.end(nil)
	for _, p := range slices.Backward(s.list) {
		begun := time.Now()
		p.stop()
		wait := time.NewTimer(p.limit)
		select {
		case <-p.done:
			wait.Stop()
		case <-wait.C:
			return errors.Join(append(errs, fmt.Errorf("%s: %w within %s", p.name, errStuck, p.limit))...)
		}
		if p.err != nil && !slices.ContainsFunc(errs, func(e error) bool { return errors.Is(e, p.err) }) {
			errs = append(errs, fmt.Errorf("%s: %w", p.name, p.err))
		}
		s.log.Debug("stopped", "part", p.name, "took", time.Since(begun))
	}
	return errors.Join(errs...)
}
