// Package alarm rings after parts of a millisecond. On Linux the runtime's own timers are
// late by up to one in a process that has nothing else to do: it waits in epoll_wait(2),
// whose times are whole milliseconds.
package alarm

import (
	"math"
	"time"
)

// Alarm calls its function once for each time that it is set, on a goroutine of its own.
// Setting it again before it has rung moves its time.
type Alarm struct {
	set func(time.Duration)
	end func()
}

// New makes an alarm that is as exact as the system lets it be: by timerfd_create(2) on
// Linux, by the runtime's timers elsewhere. It does not know virtual time.
func New(ring func()) *Alarm {
	if a := exact(ring); a != nil {
		return a
	}
	return Coarse(ring)
}

// Coarse makes an alarm by the runtime's timers, which knows virtual time.
func Coarse(ring func()) *Alarm {
	t := time.AfterFunc(math.MaxInt64, ring)
	t.Stop()
	return &Alarm{set: func(d time.Duration) { t.Reset(d) }, end: func() { t.Stop() }}
}

// Set lets it ring after d, at once when d is not above 0.
func (a *Alarm) Set(d time.Duration) { a.set(d) }

// Close ends it, once. What was set does not ring any more; what is set later rings by the
// runtime's timers. Its own function may not call it.
func (a *Alarm) Close() { a.end() }
