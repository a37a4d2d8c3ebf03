package follow

import (
	"context"
	"sync"
	"time"
)

// start finds out when requests may be taken in. A single model has to serve.
// Of several one has to, and each other has to serve or to have failed since
// then: a registry that was away makes all fail at once, and is asked again for
// each before that counts. One that neither loads nor fails is waited for
// within a bound.
type start struct {
	begun   sync.Once
	serves  chan struct{} // closed when one serves
	done    sync.Once
	settled chan struct{} // closed when requests may be taken in
}

func newStart() start { return start{serves: make(chan struct{}), settled: make(chan struct{})} }

// Settled is closed when requests may be taken in: every model serves, or those
// that do not have had their time.
func (f *Follower) Settled() <-chan struct{} { return f.start.settled }

// Ready says whether requests may be taken in.
func (f *Follower) Ready() bool {
	select {
	case <-f.start.settled:
		return true
	default:
		return false
	}
}

// look is called when a target's try has ended.
func (f *Follower) look(t *target) {
	f.shrink()
	if f.Ready() {
		return
	}
	if _, serves := t.settled(); serves {
		f.start.begun.Do(func() {
			for _, other := range f.targets {
				if other != t {
					other.tries.Store(0)
					other.look()
				}
			}
			close(f.start.serves)
		})
	}
	select {
	case <-f.start.serves:
	default:
		return
	}
	for _, t := range f.targets {
		if settled, _ := t.settled(); !settled {
			return
		}
	}
	f.settle()
}

func (f *Follower) settle() { f.start.done.Do(func() { close(f.start.settled) }) }

// patience bounds the wait for models that neither load nor fail.
func (f *Follower) patience(ctx context.Context) {
	select {
	case <-f.start.serves:
	case <-ctx.Done():
		return
	}
	timer := time.NewTimer(f.cfg.StartWait)
	defer timer.Stop()
	select {
	case <-timer.C:
		f.settle()
	case <-f.start.settled:
	case <-ctx.Done():
	}
}
