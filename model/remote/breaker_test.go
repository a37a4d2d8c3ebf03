package remote

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestBreaker(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		var states []State
		b := newBreaker(3, time.Minute, func(s State) { states = append(states, s) })
		passes := func() bool {
			ok, _ := b.allow()
			return ok
		}
		for range 10 { // an answer in between: it stays closed
			b.done(dead, "reset")
			b.done(dead, "reset")
			b.done(alive, "")
		}
		require.Equal(t, Closed, b.status().Breaker)

		for range 3 {
			require.True(t, passes())
			b.done(dead, "reset")
		}
		ok, wait := b.allow()
		require.False(t, ok)
		require.Equal(t, time.Minute, wait)
		require.Equal(t, Status{Breaker: Open, Since: time.Now(), Failures: 3, LastError: "reset"}, b.status())

		time.Sleep(time.Minute - time.Nanosecond)
		require.False(t, passes())
		time.Sleep(time.Nanosecond)
		require.True(t, passes()) // one alone
		require.False(t, passes())
		b.done(dead, "again") // and it fails
		require.False(t, passes())

		time.Sleep(time.Minute)
		require.True(t, passes())
		b.done(unknown, "") // cancelled: the next one may try at once
		require.True(t, passes())
		require.False(t, passes())
		b.done(alive, "")
		require.True(t, passes())
		require.True(t, passes())
		require.Equal(t, Status{Breaker: Closed, Since: time.Now()}, b.status())
		require.Equal(t, []State{Closed, Open, HalfOpen, Open, HalfOpen, Open, HalfOpen, Closed}, states)
	})
}

// A failure of what was sent before it opened says nothing new.
func TestBreakerLateOutcomes(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBreaker(1, time.Minute, func(State) {})
		b.done(dead, "first")
		time.Sleep(30 * time.Second)
		b.done(dead, "late")
		_, wait := b.allow()
		require.Equal(t, 30*time.Second, wait)
		b.done(unknown, "")
		_, wait = b.allow()
		require.Equal(t, 30*time.Second, wait)
	})
}
