package follow_test

import (
	"errors"
	"fmt"
	"slices"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
)

func TestModelsOnDemand(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop("base@x", "fraud-a@x", "fraud-b/7", "secret@x")
		s.takes["fraud-a@x"] = 3 * time.Second
		f, stop := s.serve(t, func(c *follow.Config) { c.OnDemand = []string{"fraud-*"} }, "base@x")
		<-f.Settled()
		for _, name := range []string{"secret@x", "fraud-a", "fraud-a@", "@x", "fraud"} {
			_, _, err := ask(f, name)
			require.Equal(t, model.NotFound, code(t, err), name)
		}
		_, loading, err := ask(f, "fraud-a@x")
		require.Equal(t, model.Unavailable, code(t, err))
		require.NotNil(t, loading)
		_, again, _ := ask(f, "fraud-a@x")
		require.Equal(t, loading.Done, again.Done, "one load for all who ask")
		<-loading.Done
		served, _, err := ask(f, "fraud-a@x")
		require.NoError(t, err)
		require.Equal(t, "fraud-a@x1", served)
		require.Len(t, f.Status(), 2)
		require.True(t, f.Status()[1].OnDemand)

		_, err = get(f, "fraud-b/7")
		require.NoError(t, err)

		s.with(func() { s.versions["fraud-a@x"] = "2" })
		time.Sleep(time.Minute)
		served, _, err = ask(f, "fraud-a@x")
		require.NoError(t, err)
		require.Equal(t, "fraud-a@x2", served, "it is followed as any other")
		stop()
	})
}

// Names that are made up cost the registry little and no model its place.
func TestNamesThatTheRegistryDoesNotKnow(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop("base@x", "fraud-a@x", "fraud-b@x", "fraud-c@x", "fraud-d@x")
		f, stop := s.serve(t, func(c *follow.Config) { c.OnDemand = []string{"fraud-*"} }, "base@x")
		<-f.Settled()
		load := func(name string) error {
			_, err := get(f, name)
			return err
		}
		require.NoError(t, load("fraud-a@x"))
		require.NoError(t, load("fraud-b@x"))
		before := s.asked()
		codes := map[model.Code]int{}
		for i := range 1000 {
			codes[code(t, load(fmt.Sprint("fraud-", i, "@y")))]++
			time.Sleep(10 * time.Millisecond)
		}
		require.Less(t, s.asked()-before, 30, "in ten seconds")
		require.Equal(t, 1000, codes[model.NotFound]+codes[model.Overloaded], codes)
		require.NoError(t, load("fraud-a@x"))
		require.Empty(t, s.gone())

		time.Sleep(time.Minute)
		require.NoError(t, load("fraud-c@x"), "what the registry does not know gives way")
		require.NoError(t, load("fraud-d@x"), "then what was not asked for longest")
		synctest.Wait()
		require.Equal(t, []string{"fraud-b@x1 unused"}, s.gone())
		_, b := s.loads("fraud-b@x")
		require.Zero(t, b)

		s.with(func() { s.broken["fraud-b@x"] = errors.New("broken") })
		require.Equal(t, model.Unavailable, code(t, load("fraud-b@x")))
		time.Sleep(time.Hour)
		require.False(t, slices.ContainsFunc(f.Status(), func(s follow.Status) bool { return s.Reference == "models:/fraud-b@x" }),
			"what does not load is not tried for ever when nobody asks")
		stop()
	})
}

// Nobody waits longer than the bound, from the start of the load.
func TestTheWaitIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s := newShop("base@x", "fraud-a@x")
		s.takes["fraud-a@x"] = time.Minute
		f, stop := s.serve(t, func(c *follow.Config) { c.OnDemand = []string{"fraud-*"} }, "base@x")
		<-f.Settled()
		_, loading, _ := ask(f, "fraud-a@x")
		require.Equal(t, 10*time.Second, time.Until(loading.Until))
		time.Sleep(9 * time.Second)
		_, loading, _ = ask(f, "fraud-a@x")
		require.Equal(t, time.Second, time.Until(loading.Until))
		time.Sleep(time.Second)
		_, loading, err := ask(f, "fraud-a@x")
		require.Nil(t, loading)
		require.Equal(t, model.Unavailable, code(t, err))
		time.Sleep(time.Minute)
		_, _, err = ask(f, "fraud-a@x")
		require.NoError(t, err)
		stop()
	})
}
