package follow_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
)

func TestModelsUnusedForLongestAreUnloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop("a@x", "b@x", "c@x")
		f, stop := s.serve(t, func(c *follow.Config) { c.MemoryBudget = 250 }, "a@x", "b@x", "c@x")
		time.Sleep(time.Minute)
		require.True(t, f.Ready())
		require.Len(t, s.gone(), 1, "three take more than the budget")

		use := func(name string) string {
			served, err := get(f, name)
			require.NoError(t, err, name)
			time.Sleep(2 * time.Second)
			return served
		}
		for _, name := range []string{"a", "b"} {
			use(name)
		}
		require.Equal(t, follow.StateUnloaded, state(f, "models:/c@x"))
		all, open := s.loads("c@x")
		require.Zero(t, open, all)

		s.with(func() { s.versions["c@x"] = "2" }) // followed while it is unloaded, and not loaded
		time.Sleep(2 * time.Minute)
		require.Equal(t, follow.StateUnloaded, state(f, "models:/c@x"))
		use("a")
		require.Equal(t, "c@x2", use("c@x"), "the next request has it loaded, as it is now")
		require.Equal(t, follow.StateUnloaded, state(f, "models:/b@x"), "unused for longest")
		require.Equal(t, follow.StateServing, state(f, "models:/a@x"))

		held, err := f.Acquire("a") // in use, so that it is the other's turn
		require.NoError(t, err)
		time.Sleep(time.Second)
		use("c")
		use("b")
		require.Equal(t, follow.StateServing, state(f, "models:/a@x"))
		require.Equal(t, follow.StateUnloaded, state(f, "models:/c@x"))
		require.NoError(t, held.Release())
		stop()
	})
}

// A registry that is away takes no model that was there.
func TestWhatWasUnloadedComesBackWithoutTheRegistry(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop("a@x", "b@x")
		f, stop := s.serve(t, func(c *follow.Config) { c.MemoryBudget = 150 }, "a@x", "b@x")
		time.Sleep(time.Minute)
		require.Len(t, s.gone(), 1)
		s.with(func() { s.away = true })
		for range 3 {
			for _, name := range []string{"a", "b"} {
				served, err := get(f, name)
				require.NoError(t, err)
				require.Equal(t, name+"@x1", served)
				time.Sleep(time.Minute)
			}
		}
		stop()
	})
}

func TestTheLastModelIsNeverUnloaded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop("a@x", "b@x")
		f, stop := s.serve(t, func(c *follow.Config) { c.MemoryBudget = 1 }, "a@x", "b@x")
		time.Sleep(time.Minute)
		require.Len(t, s.gone(), 1)
		for range 20 { // by turns: one at a time, and every request is answered
			for _, name := range []string{"a", "b"} {
				served, err := get(f, name)
				require.NoError(t, err)
				require.Equal(t, name+"@x1", served)
				time.Sleep(5 * time.Second)
				_, a := s.loads("a@x")
				_, b := s.loads("b@x")
				require.Equal(t, 1, a+b)
			}
		}
		stop()
	})
}

// While everything is in use the budget is exceeded, and made up for when it is
// not.
func TestWhatIsInUseStays(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop("a@x", "b@x", "c@x")
		s.takes["b@x"] = time.Minute
		f, stop := s.serve(t, func(c *follow.Config) { c.MemoryBudget = 150 }, "a@x", "b@x")
		time.Sleep(time.Second)
		a, err := f.Acquire("a")
		require.NoError(t, err)
		_, _, err = ask(f, "b")
		require.Equal(t, model.Unavailable, code(t, err))
		time.Sleep(time.Minute + shy) // it has not had its turn yet
		b, err := f.Acquire("b")
		require.NoError(t, err)
		time.Sleep(time.Minute)
		require.Empty(t, s.gone())
		require.NoError(t, a.Release())
		require.NoError(t, b.Release())
		time.Sleep(2 * time.Second)
		require.Equal(t, []string{"a@x1 budget"}, s.gone())
		stop()
	})
}
