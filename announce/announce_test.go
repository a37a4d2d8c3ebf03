package announce

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

var seeded = []string{topic}

func TestOneMemberAsksForAll(t *testing.T) {
	inWorld(t, seeded, func(w *world) {
		for range 5 {
			w.member()
		}
		pause(time.Minute)
		w.elected()
		w.registry.count(champion)
		w.alones()
		pause(20 * time.Minute)
		n := w.registry.count(champion)
		require.LessOrEqual(w.t, n, 50, "40 periods")
		require.GreaterOrEqual(w.t, n, 33)
		require.Zero(w.t, w.alones())

		// A promotion reaches all within a period and a tenth.
		w.registry.set(champion, 2)
		pause(40 * time.Second)
		for _, m := range w.members {
			m.knows("2")
		}
		// Who comes asks nobody.
		w.registry.count(champion)
		late := w.member()
		pause(time.Second)
		late.knows("2")
		require.LessOrEqual(w.t, w.registry.count(champion), 1)
		require.Zero(w.t, w.alones())
	})
}

func TestTheOfficeIsHandedOn(t *testing.T) {
	for name, crash := range map[string]bool{"a stop": false, "a crash": true} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, seeded, func(w *world) {
				for range 3 {
					w.member()
				}
				pause(time.Minute)
				first := w.elected()
				if crash {
					first.still.freeze()
				} else {
					first.stop()
				}
				w.registry.set(champion, 2)
				pause(period + 30*time.Second)
				for _, m := range w.members {
					if m == first {
						continue
					}
					m.knows("2")
					m.mu.Lock()
					require.LessOrEqual(w.t, m.alone, 2, "at the start alone")
					m.mu.Unlock()
				}
				if crash {
					require.InDelta(w.t, 1, testutil.ToFloat64(first.metrics.Elected), 0, "it does not know")
					first.still.thaw()
					pause(time.Minute)
				}
				require.NotEqual(w.t, first, w.elected())
			})
		})
	}
}

// An elected member that stands still over its election, having asked the
// registry before the alias moved, cannot make anybody go back.
func TestWhoStoodStillIsNotHeard(t *testing.T) {
	for name, c := range map[string]struct {
		still time.Duration
		stale bool // its record is written, and not taken
	}{
		"for a moment": {time.Second, true},
		"for long":     {3 * time.Minute, false},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, seeded, func(w *world) {
				for range 3 {
					w.member()
				}
				pause(time.Minute)
				first := w.elected()
				w.registry.hold(first) // its next answer is on its way when it stops
				for !w.registry.holds() {
					pause(100 * time.Millisecond)
				}
				first.still.freeze()
				w.registry.set(champion, 2)
				pause(20*time.Second + c.still)
				for _, m := range w.members {
					if m != first {
						m.knows("2")
					}
				}
				w.registry.release()
				pause(100 * time.Millisecond) // what it writes is in its hands
				first.still.thaw()
				for range 100 {
					pause(100 * time.Millisecond)
					for _, m := range w.members {
						if m != first {
							m.knows("2")
						}
					}
				}
				pause(time.Minute)
				first.knows("2")
				require.NotEqual(w.t, first, w.elected())
				require.JSONEq(w.t, "2", string(w.lastAnswer(champion).Answer))
				stale := 0.0
				for _, m := range w.members {
					stale += testutil.ToFloat64(m.metrics.Records.WithLabelValues(kindAnswer, "stale"))
				}
				require.Equal(w.t, c.stale, stale > 0, "%v stale records", stale)
			})
		})
	}
}

// A record of an earlier epoch that arrives late is not taken by anybody, and is
// soon not the topic's last word any more.
func TestALateRecordIsOverwritten(t *testing.T) {
	inWorld(t, seeded, func(w *world) {
		w.member()
		other := w.member()
		pause(time.Minute)
		w.registry.set(champion, 2)
		pause(time.Minute)
		now := w.lastAnswer(champion)
		w.put(other, kindAnswer, champion, answer{Epoch: now.Epoch - 1, By: "a ghost", At: time.Now(), Period: period, Answer: []byte("1")})
		for range 30 {
			pause(100 * time.Millisecond)
			other.knows("2")
		}
		require.Equal(w.t, now.Epoch, w.lastAnswer(champion).Epoch)
		require.Positive(w.t, testutil.ToFloat64(other.metrics.Records.WithLabelValues(kindAnswer, "stale")))
	})
}

// A member that was elected by a clock far ahead, and went away, is followed by
// one with a later epoch.
func TestEpochsGoOnFromAClockAhead(t *testing.T) {
	inWorld(t, seeded, func(w *world) {
		m := w.member()
		pause(time.Minute)
		ahead := time.Now().Add(24 * time.Hour).UnixMilli()
		w.put(m, kindAnswer, champion, answer{Epoch: ahead, By: "ahead", At: time.Now(), Period: period, Answer: []byte("9")})
		pause(5 * time.Second)
		m.knows("9")
		pause(5 * period)
		m.knows("1")
		require.Greater(w.t, w.lastAnswer(champion).Epoch, ahead)
	})
}

func TestWithoutTheTopicEachAsks(t *testing.T) {
	for name, c := range map[string]struct {
		topic string
		says  int
	}{
		"missing": {topic, 1},
		"none":    {"", 0},
	} {
		t.Run(name, func(t *testing.T) {
			inWorld(t, nil, func(w *world) {
				for range 3 {
					w.member(func(d *Deps) { d.Topic = c.topic })
				}
				pause(100 * time.Millisecond)
				for _, m := range w.members {
					m.knows("1") // at once: there is nothing to wait for
				}
				pause(10 * period)
				n := w.alones()
				require.GreaterOrEqual(w.t, n, 27)
				require.Equal(w.t, n, w.registry.count(champion))
				for _, m := range w.members {
					m.knows("1")
					m.stop()
					require.Equal(w.t, c.says, strings.Count(m.log.String(), "\n"), m.log.String())
				}
			})
		})
	}
}

func TestATopicThatComesLaterIsFound(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		for range 3 {
			w.member()
		}
		pause(2 * period)
		cl, err := kgo.NewClient(w.opts(w.net.DialContext)...)
		require.NoError(w.t, err)
		defer cl.Close()
		_, err = kadm.NewClient(cl).CreateTopic(w.t.Context(), 1, 1, nil, topic)
		require.NoError(w.t, err)
		pause(3 * period)
		w.elected()
		w.alones()
		pause(10 * period)
		require.Zero(w.t, w.alones())
	})
}

// While the broker is away each member asks by itself, and not after.
func TestTheBrokerIsAwayForAWhile(t *testing.T) {
	inWorld(t, seeded, func(w *world) {
		m := w.member()
		w.member()
		pause(2 * period)
		for _, m := range w.members {
			m.still.freeze() // what they send does not arrive
		}
		w.registry.set(champion, 2)
		pause(6 * period)
		m.knows("2")
		require.Positive(w.t, w.alones())
		for _, m := range w.members {
			m.still.thaw()
		}
		pause(4 * period)
		w.elected()
		w.alones()
		pause(10 * period)
		require.Zero(w.t, w.alones())
	})
}

func TestOldWordsAreNotTaken(t *testing.T) {
	inWorld(t, seeded, func(w *world) {
		first := w.member()
		pause(2 * period)
		first.stop()
		w.registry.set(champion, 2)
		pause(10 * period)
		w.alones()
		late := w.member()
		pause(time.Second)
		late.knows("2")
		require.Equal(w.t, 1, w.alones())
	})
}

func TestFailuresAreAnnounced(t *testing.T) {
	inWorld(t, seeded, func(w *world) {
		for range 3 {
			w.member()
		}
		pause(2 * period)
		w.registry.count(champion)
		w.alones()
		w.registry.fail(errDown)
		pause(10 * period)
		require.LessOrEqual(w.t, w.registry.count(champion), 13)
		require.Zero(w.t, w.alones())
		for _, m := range w.members {
			m.knows("1") // the last good one
			require.ErrorContains(w.t, m.failure(), errDown.Error())
		}
		found, ok := w.members[0].Ask(w.t.Context(), champion)
		require.True(w.t, ok)
		require.False(w.t, found.Missing)
		w.registry.fail(errGone)
		pause(2 * period)
		found, ok = w.members[0].Ask(w.t.Context(), champion)
		require.True(w.t, ok)
		require.True(w.t, found.Missing, "who follows may want to know")
		w.registry.fail(nil)
		pause(2 * period)
		for _, m := range w.members {
			require.NoError(w.t, m.failure())
		}
	})
}
