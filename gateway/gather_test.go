package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/internal/alarm"
)

func TestRequestsThatComeSoonAfterOneAnotherGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type handed struct {
			j  *journey
			at time.Duration
		}
		start := time.Now()
		var got []handed
		q := &gatherer{publish: func(j *journey) { got = append(got, handed{j, time.Since(start)}) }}
		q.alarm = alarm.Coarse(q.flush)
		defer q.alarm.Close()
		var want []handed
		add := func(wait time.Duration) {
			j := new(journey)
			want = append(want, handed{j, time.Since(start) + wait})
			q.add(j)
		}
		add(0) // the first of all
		add(gatherFor)
		time.Sleep(gatherFor / 2)
		add(gatherFor / 2) // with the one before
		time.Sleep(gatherFor)
		add(gatherFor) // busy still
		time.Sleep(gatherFor + gatherOff - 1)
		add(gatherFor)
		time.Sleep(gatherFor + gatherOff)
		add(0)        // calm
		for range 3 { // the memory of lots is used again
			time.Sleep(time.Second)
			add(0)
			for range 10 {
				add(gatherFor)
			}
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.Equal(t, want, got)
	})
}
