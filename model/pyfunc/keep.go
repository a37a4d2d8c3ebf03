package pyfunc

import (
	"context"
	"time"
)

const (
	watchEvery = 2 * time.Second  // how often a process's memory is looked at
	endGrace   = 5 * time.Second  // for a process that is let go
	hopeless   = 10 * time.Minute // before another is tried where the limit is too low to load the model
	backoff    = 250 * time.Millisecond
	maxBackoff = 30 * time.Second
	patience   = 5 * time.Second // a longer pause before a start is told to who waits
)

// keep sees to it that there is a process: first, or one that it starts, and
// another when that ends or holds too much memory. It returns when ctx ends and
// the last one is gone.
func (m *Model) keep(ctx context.Context, first *child) {
	barren := 0 // processes in a row that answered nothing
	for c := first; ctx.Err() == nil; c = nil {
		if c == nil {
			if c = m.restart(ctx, &barren); c == nil {
				return
			}
		}
		m.pool.add(c)
		c = m.watch(ctx, c)
		m.pool.drop(c)
		if ctx.Err() != nil {
			c.end(endGrace)
			return
		}
		why := c.ended()
		m.opts.Logger.Warn("the model's process ended and is started again", "pid", c.pid, "why", string(why), "exit", c.exit)
		m.tell(why)
		m.pool.failed(&callError{why, "it ended: " + c.exit})
		if barren++; c.wasUseful() {
			barren = 0
		}
	}
	if first != nil && ctx.Err() != nil {
		first.end(endGrace)
	}
}

// restart starts a process, again and again, with pauses when there is reason to
// think that it will not help. It returns nil when ctx ends.
func (m *Model) restart(ctx context.Context, barren *int) *child {
	for {
		pause := time.Duration(0)
		if *barren > 0 {
			pause = min(maxBackoff, backoff<<min(*barren-1, 10)) //nolint:mnd // far beyond maxBackoff
		}
		if !m.pause(ctx, pause) {
			return nil
		}
		m.pool.starting(1)
		c, err := m.launch.start(ctx)
		m.pool.starting(-1)
		if err == nil {
			m.opts.Logger.Info("the model's process serves", "pid", c.pid)
			return c
		}
		if ctx.Err() != nil {
			return nil
		}
		*barren++
		m.pool.failed(err)
		m.opts.Logger.Error("the model's process does not start", "err", err, "failures", *barren)
	}
}

// pause waits. Whoever wants a process meanwhile is told so when it takes long.
func (m *Model) pause(ctx context.Context, d time.Duration) bool {
	if d == 0 {
		return ctx.Err() == nil
	}
	count := m.pool.starting
	if d > patience {
		count = m.pool.resting
	}
	count(1)
	defer count(-1)
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// watch returns the process that has taken c's place, or c, when it has ended or
// ctx has.
func (m *Model) watch(ctx context.Context, c *child) *child {
	tick := time.NewTicker(watchEvery)
	defer tick.Stop()
	next := time.Time{} // when a replacement may be tried again
	for now := time.Now(); ; {
		held := m.look(c)
		if limit := m.opts.MemoryLimit; limit > 0 && held > limit && !now.Before(next) {
			next = now.Add(maxBackoff)
			if other, err := m.replace(ctx, c, held); err == nil {
				c = other
				if held := m.look(c); held > limit {
					next = now.Add(hopeless)
					m.opts.Logger.Error("the model holds more memory than it may when it is loaded: raise MILLRACE_PYFUNC_MEMORY_LIMIT", "bytes", held, "limit", limit)
				}
			}
		}
		select {
		case <-c.done:
			return c
		case <-ctx.Done():
			return c
		case now = <-tick.C:
		}
	}
}

// look asks how much memory a process holds, and tells the observer of all.
func (m *Model) look(c *child) int64 {
	held := resident(c.pid)
	m.pool.resident(c, held)
	if m.opts.Observer != nil {
		m.opts.Observer.Resident(m.opts.Name, m.opts.Version, m.pool.total())
	}
	return held
}

// replace starts another process, and lets go of c when it has done what it is
// doing.
func (m *Model) replace(ctx context.Context, c *child, held int64) (*child, error) {
	m.opts.Logger.Warn("the model's process holds more memory than it may: another takes its place",
		"pid", c.pid, "bytes", held, "limit", m.opts.MemoryLimit)
	other, err := m.launch.start(ctx)
	if err != nil {
		if ctx.Err() == nil {
			m.opts.Logger.Error("the process that should take its place does not start", "err", err)
		}
		return nil, err
	}
	m.tell(OverLimit)
	m.pool.add(other)
	m.pool.retire(c, &m.running)
	return other, nil
}

func (m *Model) tell(why Reason) {
	if m.opts.Observer != nil {
		m.opts.Observer.Restarted(m.opts.Name, m.opts.Version, why)
	}
}
