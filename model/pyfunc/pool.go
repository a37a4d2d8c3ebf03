package pyfunc

import (
	"context"
	"sync"
	"time"

	"github.com/millrace/millrace/model"
)

// pool hands out processes that wait for work.
type pool struct {
	mu      sync.Mutex
	changed chan struct{}    // guarded by mu: closed when something does, and then another
	all     map[*child]int64 // guarded by mu: those that serve, and the memory that they held
	idle    []*child         // guarded by mu
	coming  int              // guarded by mu: starts under way
	down    int              // guarded by mu: starts that are not to be waited for
	why     error            // guarded by mu: of the last failure
}

func (p *pool) init() { p.changed, p.all = make(chan struct{}), make(map[*child]int64) }

// wake tells all who wait. p.mu is held.
func (p *pool) wake() {
	close(p.changed)
	p.changed = make(chan struct{})
}

func (p *pool) add(c *child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, there := p.all[c]; there {
		return
	}
	p.all[c] = 0
	p.idle = append(p.idle, c)
	p.wake()
}

// drop forgets a process.
func (p *pool) drop(c *child) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.forget(c)
	p.wake()
}

func (p *pool) forget(c *child) {
	delete(p.all, c)
	for i, other := range p.idle {
		if other == c {
			p.idle = append(p.idle[:i], p.idle[i+1:]...)
			return
		}
	}
}

// retire ends a process once it is idle, in a goroutine of its own.
func (p *pool) retire(c *child, running *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	idle := len(p.idle)
	p.forget(c)
	if len(p.idle) < idle { // else who has it gives it back
		running.Go(func() { c.end(endGrace) })
	}
}

// starting counts starts under way.
func (p *pool) starting(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.coming += n
	p.wake()
}

// resting counts long pauses before a start.
func (p *pool) resting(n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.down += n
	p.wake()
}

func (p *pool) failed(err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.why = err
}

func (p *pool) resident(c *child, bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if _, there := p.all[c]; there {
		p.all[c] = bytes
	}
}

func (p *pool) total() (bytes int64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, held := range p.all {
		bytes += held
	}
	return bytes
}

// take waits for a process that has nothing to do. It fails with
// [model.Unavailable] when there is none, and none on its way that comes within
// the time.
func (p *pool) take(ctx context.Context, within time.Duration) (*child, error) {
	timer := time.NewTimer(within)
	defer timer.Stop()
	for late := false; ; {
		p.mu.Lock()
		for len(p.idle) > 0 {
			c := p.idle[0]
			p.idle = p.idle[1:]
			if c.alive() {
				p.mu.Unlock()
				return c, nil
			}
		}
		changed, err := p.changed, p.why
		gone := len(p.all) == 0 && (late || p.coming == 0 && p.down > 0)
		p.mu.Unlock()
		if gone {
			return nil, &model.Error{Code: model.Unavailable, Message: "the model's process is down and is being started again", Err: err}
		}
		select {
		case <-changed:
		case <-timer.C:
			late = true
		case <-ctx.Done():
			return nil, context.Cause(ctx)
		}
	}
}

// give takes a process back. One that has failed is not used again; who keeps
// it sees its end.
func (p *pool) give(c *child, good bool, running *sync.WaitGroup) {
	p.mu.Lock()
	defer p.mu.Unlock()
	_, there := p.all[c]
	switch {
	case !there: // another has taken its place, or it has ended
		running.Go(func() { c.end(endGrace) })
	case good:
		p.idle = append(p.idle, c)
		p.wake()
	}
}
