package alarm_test

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/internal/alarm"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

func TestAnAlarmRingsOnceEachTimeItIsSet(t *testing.T) {
	for name, build := range map[string]func(func()) *alarm.Alarm{"exact": alarm.New, "coarse": alarm.Coarse} {
		t.Run(name, func(t *testing.T) {
			rang := make(chan time.Time, 10)
			a := build(func() { rang <- time.Now() })
			for _, d := range []time.Duration{-1, 0, 1, 50 * time.Microsecond, 3 * time.Millisecond} {
				set := time.Now()
				a.Set(d)
				require.GreaterOrEqual(t, (<-rang).Sub(set), d)
			}
			a.Set(time.Hour)
			a.Set(time.Millisecond) // moves it
			<-rang
			a.Set(time.Hour)
			a.Close()
			require.Empty(t, rang)
			a.Set(1) // by who comes late: still rings
			<-rang
		})
	}
}

func TestACoarseAlarmKnowsVirtualTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		start, rang := time.Now(), []time.Duration{}
		a := alarm.Coarse(func() { rang = append(rang, time.Since(start)) })
		a.Set(time.Hour)
		time.Sleep(2 * time.Hour)
		a.Set(time.Hour)
		a.Close()
		time.Sleep(2 * time.Hour)
		synctest.Wait()
		require.Equal(t, []time.Duration{time.Hour}, rang)
	})
}

// BenchmarkLateness shows how late each is after 300 µs in a process that does nothing
// else.
func BenchmarkLateness(b *testing.B) {
	const wait = 300 * time.Microsecond
	for name, build := range map[string]func(func()) *alarm.Alarm{"exact": alarm.New, "coarse": alarm.Coarse} {
		b.Run(name, func(b *testing.B) {
			rang := make(chan time.Time)
			a := build(func() { rang <- time.Now() })
			defer a.Close()
			late := time.Duration(0)
			for b.Loop() {
				set := time.Now()
				a.Set(wait)
				late += (<-rang).Sub(set) - wait
			}
			b.ReportMetric(float64(late.Microseconds())/float64(b.N), "µs-late")
		})
	}
}
