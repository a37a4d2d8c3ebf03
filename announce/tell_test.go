package announce

import (
	"strings"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
)

// References that only some follow are asked for as long as they do.
func TestOthersReferences(t *testing.T) {
	const other = "models:/fraud@shadow"
	inWorld(t, seeded, func(w *world) {
		w.registry.set(other, 7)
		w.member()
		pause(time.Minute)
		late := w.member()
		late.Follow(other)
		_, ok := late.Ask(w.t.Context(), other)
		require.False(w.t, ok)
		pause(2 * time.Second)
		found, ok := late.Ask(w.t.Context(), other)
		require.True(w.t, ok)
		require.Equal(w.t, "7", string(found.Answer))
		for range 40 {
			pause(period)
			_, ok = late.Ask(w.t.Context(), other)
			require.True(w.t, ok)
		}
		wants := 0
		for _, r := range w.records() {
			if strings.Contains(string(r.Key), kindWant) && strings.Contains(string(r.Key), other) {
				wants++
			}
		}
		require.LessOrEqual(w.t, wants, 10, "it is not said at each period")

		late.stop()
		pause(16 * period)
		w.registry.count(other)
		pause(4 * period)
		require.Zero(w.t, w.registry.count(other))
		require.Nil(w.t, w.elected().answers[other])
	})
}

func TestPoolsShareATopic(t *testing.T) {
	inWorld(t, seeded, func(w *world) {
		ours := w.member()
		theirs := w.member(func(d *Deps) { d.Group = "other" })
		elsewhere := w.member(func(d *Deps) { d.Group, d.Scope = "third", []string{"http://mlflow", "team"} })
		pause(2 * period)
		w.alones()
		pause(5 * period)
		require.Zero(w.t, w.alones())
		for _, m := range []*member{ours, theirs, elsewhere} {
			require.InDelta(w.t, 1, testutil.ToFloat64(m.metrics.Elected), 0)
			m.knows("1")
		}
		ours.Withdraw(w.t.Context(), champion, Withdrawal{Identity: "1", Version: "1", At: time.Now(), Instead: []byte("0")})
		pause(time.Second)
		ours.knows("0")
		theirs.knows("1")
	})
}

func TestNudges(t *testing.T) {
	inWorld(t, seeded, func(w *world) {
		for range 3 {
			w.member()
		}
		pause(time.Minute)
		pause(5 * time.Second)
		other := w.members[0]
		if other == w.elected() {
			other = w.members[1]
		}
		w.registry.count(champion)
		w.registry.set(champion, 2)
		other.Nudge()
		pause(5 * time.Second) // a tenth of a period, to be spread
		for _, m := range w.members {
			m.knows("2")
		}
		require.LessOrEqual(w.t, w.registry.count(champion), 2)
		// However many there are.
		for range 100 {
			for _, m := range w.members {
				m.Nudge()
			}
			pause(100 * time.Millisecond)
		}
		require.LessOrEqual(w.t, w.registry.count(champion), 13, "one a second, of ten seconds")
	})
}

func TestNudgeWithoutTheTopic(t *testing.T) {
	inWorld(t, nil, func(w *world) {
		m := w.member(func(d *Deps) { d.Topic = "" })
		pause(time.Minute)
		w.registry.set(champion, 2)
		m.Nudge()
		pause(time.Second)
		m.knows("2")
	})
}

func TestWithdrawals(t *testing.T) {
	inWorld(t, seeded, func(w *world) {
		for range 3 {
			w.member()
		}
		w.registry.set(champion, 2)
		pause(2 * period)
		first := w.members[0]
		first.Withdraw(w.t.Context(), champion, Withdrawal{Identity: "2", Version: "v2", Reason: "failures", At: time.Now(), Instead: []byte("1")})
		pause(time.Second)
		for _, m := range w.members {
			m.knows("1")
			m.mu.Lock()
			require.Equal(w.t, "v2", m.withdrawn)
			m.mu.Unlock()
		}
		// Who comes later knows it too.
		late := w.member()
		pause(time.Second)
		late.knows("1")
		pause(20 * period)
		late.knows("1")

		// That the reference names another version forgives it, for good.
		w.registry.set(champion, 3)
		pause(2 * period)
		late.knows("3")
		w.registry.set(champion, 2)
		pause(2 * period)
		for _, m := range w.members {
			m.knows("2")
		}
		last := w.member()
		pause(time.Second)
		last.knows("2")
	})
}

func TestWithdrawalsForATime(t *testing.T) {
	inWorld(t, seeded, func(w *world) {
		m := w.member()
		pause(2 * period)
		m.Withdraw(w.t.Context(), champion, Withdrawal{Identity: "1", Version: "v1", At: time.Now(), Until: time.Now().Add(10 * period), Instead: []byte("0")})
		pause(8 * period)
		m.knows("0")
		pause(4 * period)
		m.knows("1")
	})
}
