package torture

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

func shape() Shape {
	return Shape{
		Brokers: 3, Slots: 6, Running: 4, Least: 2, Session: 6 * time.Second, Versions: 4,
		Topics: map[string]int{"a": 12, "b": 4, "c": 1},
	}
}

func TestPlanIsReplayable(t *testing.T) {
	first := Plan(7, 300, shape())
	require.Equal(t, first, Plan(7, 300, shape()))
	require.Equal(t, first[:50], Plan(7, 50, shape()))
	require.NotEqual(t, Plan(7, 300, shape()), Plan(8, 300, shape()))
}

func TestPlanHasAllKinds(t *testing.T) {
	for seed := range uint64(20) {
		seen := make(map[Kind]int)
		for _, f := range Plan(seed, 80, shape()) {
			seen[f.Kind]++
		}
		for _, k := range Kinds() {
			require.Positive(t, seen[k], "%s in seed %d", k, seed)
		}
	}
}

// TestPlanKeepsBounds holds that faults name what there is, and leave enough
// workers.
func TestPlanKeepsBounds(t *testing.T) {
	s := shape()
	running := make([]bool, s.Slots)
	for i := range s.Running {
		running[i] = true
	}
	move := func(f Fault, slot int, join bool) {
		require.NotEqual(t, join, running[slot], "%s", f)
		running[slot] = join
		n := 0
		for _, r := range running {
			if r {
				n++
			}
		}
		require.GreaterOrEqual(t, n, s.Least, "%s", f)
	}
	for _, f := range Plan(3, 1000, s) {
		require.Less(t, f.Worker, s.Slots, "%s", f)
		require.Less(t, f.Broker, s.Brokers, "%s", f)
		require.LessOrEqual(t, f.Version, s.Versions, "%s", f)
		switch f.Kind { //nolint:exhaustive // the others have no more to hold
		case Kill, Term, Freeze, Pause, DiskFull, Hang:
			require.True(t, running[f.Worker], "%s", f)
		case Add, Remove:
			move(f, f.Worker, f.Kind == Add)
		case Storm:
			require.GreaterOrEqual(t, len(f.Steps), 3)
			for _, step := range f.Steps {
				move(f, step.Worker, step.Join)
			}
		case Leader:
			require.Less(t, f.Partition, s.Topics[f.Topic])
			require.Positive(t, f.Count)
		case Cut, Slow, Stall:
			require.False(t, f.Worker < 0 && f.Broker < 0, "%s", f)
		}
		if f.Kind == Freeze {
			require.Greater(t, f.Hold, s.Session)
		}
		require.NotEmpty(t, f.String())
	}
}

// TestPlanIsQuick holds the pace that a thousand faults in forty minutes need.
func TestPlanIsQuick(t *testing.T) {
	var sum time.Duration
	for _, f := range Plan(1, 500, shape()) {
		sum += f.Pause
	}
	require.Less(t, sum/500, 2*time.Second)
}
