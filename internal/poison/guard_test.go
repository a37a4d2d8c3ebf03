package poison

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/internal/checkpoint"
	"github.com/millrace/millrace/internal/wire"
)

const unknown = checkpoint.Unknown

func TestResume(t *testing.T) {
	marks := func(open, alone bool, crowd, solo int, until int64) checkpoint.Marks {
		return checkpoint.Marks{Open: open, Alone: alone, Crowd: crowd, Solo: solo, Suspect: 7, Until: until}
	}
	for name, tt := range map[string]struct {
		found       checkpoint.Marks
		stage       Stage
		crowd, solo int
	}{
		"nothing":                     {checkpoint.Unmarked(), Fresh, 0, 0},
		"closed":                      {marks(false, false, 0, 0, unknown), Fresh, 0, 0},
		"the first end":               {marks(true, false, 0, 0, unknown), Probation, 1, 0},
		"closed on probation":         {marks(false, false, 1, 0, 70), Probation, 1, 0},
		"the second, in a window":     {marks(true, false, 1, 0, 70), Suspected, 2, 0},
		"the second, before a window": {marks(true, false, 1, 0, unknown), Probation, 2, 0},
		"more in company":             {marks(true, false, 2, 0, 70), Suspected, 2, 0},
		"alone":                       {marks(true, true, 2, 1, 70), Suspected, 2, 2},
		"closed after that":           {marks(false, false, 2, 1, 70), Suspected, 2, 1},
	} {
		t.Run(name, func(t *testing.T) {
			g := New(CrowdEnds)
			g.Resume(tt.found)
			require.Equal(t, tt.stage, g.Stage())
			require.Equal(t, tt.crowd, g.Crowd)
			require.Equal(t, tt.solo, g.Solo)
			require.False(t, g.Open || g.Alone)
		})
	}
}

func TestProbation(t *testing.T) {
	on := func() Guard {
		g := New(CrowdEnds)
		g.Resume(checkpoint.Marks{Open: true, Suspect: unknown, Until: unknown})
		return g
	}
	g := on()
	require.Equal(t, int64(64), g.Take(1000, 100))
	require.Equal(t, int64(36), g.Take(1000, 100), "it lasts for so many")
	g.Name(99)
	require.True(t, g.Pass(50, unknown), "who gave them out knows that they are answered")
	require.Equal(t, Free, g.Stage())
	require.Equal(t, checkpoint.Marks{Open: true, Suspect: unknown, Until: unknown}, g.Marks)

	g = on()
	g.Ends(20)
	g.Ends(500) // came later
	require.Equal(t, int64(20), g.Take(20, 1000))
	require.False(t, g.Pass(19, unknown))
	require.True(t, g.Pass(20, unknown))

	g = on()
	require.True(t, g.Idle())
	require.False(t, g.Idle())
	require.Equal(t, Fresh, g.Stage(), "it has not said that it is at work")
}

// With one more end in company, the window of the second is searched by narrower
// ones.
func TestNarrowProbation(t *testing.T) {
	g := New(CrowdEnds + 1)
	g.Resume(checkpoint.Marks{Open: true, Crowd: 1, Suspect: unknown, Until: 70})
	require.Equal(t, Probation, g.Stage())
	require.Equal(t, int64(8), g.Window())
	g.Ends(20)
	require.Equal(t, int64(8), g.Take(60, 1000))
	g.Name(17)
	require.False(t, g.Pass(18, unknown))
	again := New(CrowdEnds + 1)
	again.Resume(g.Marks)
	require.Equal(t, Suspected, again.Stage())
	require.Equal(t, int64(17), again.Until)
	require.Equal(t, 3, again.Crowd)
	require.True(t, g.Pass(71, unknown), "all of the window is answered")
}

// A suspect waits, unmarked, for longer each time that it was alone at an end.
func TestSuspect(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := checkpoint.Marks{Open: true, Crowd: 1, Suspect: unknown, Until: 70}
		for solo, wait := range []time.Duration{0, time.Second, 4 * time.Second} {
			g := New(CrowdEnds)
			g.Resume(m)
			require.Equal(t, Suspected, g.Stage())
			require.Equal(t, Verdict{}, g.Try(7, 3, false), "others are at work")
			if wait > 0 {
				require.Equal(t, wait, g.Try(7, 3, true).Wait)
				time.Sleep(wait)
			}
			require.Equal(t, Verdict{Run: true}, g.Try(7, 3, true))
			g.Isolate()
			require.Equal(t, checkpoint.Marks{Open: true, Alone: true, Crowd: 2, Solo: solo, Suspect: 7, Until: 70}, g.Marks)
			m = g.Marks
		}
		g := New(CrowdEnds)
		g.Resume(m)
		require.Equal(t, Verdict{Guilty: true}, g.Try(7, 3, false))
		require.Equal(t, wire.Delivery{
			Attempts: 5, Code: wire.ModelFailed, Message: "workers ended 5 times at this request, 3 of them with no other at work",
		}, g.Condemned())
		require.False(t, g.Pass(7, unknown))
		g.Answered(8)
		require.Zero(t, g.Solo, "the next one is innocent")
		require.Equal(t, Verdict{Run: true}, g.Try(8, 3, true))
		require.True(t, g.Pass(8, 71), "none of those that are left is under suspicion")
		require.Equal(t, Fresh, g.Stage())
	})
}
