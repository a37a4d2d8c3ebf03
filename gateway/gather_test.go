package gateway

import (
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

func TestRequestsThatComeSoonAfterAnotherGoTogether(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		type handed struct {
			j  *journey
			at time.Duration
		}
		start := time.Now()
		var got []handed
		q := &gatherer{publish: func(j *journey) { got = append(got, handed{j, time.Since(start)}) }}
		var want []handed
		add := func(due time.Duration) {
			j := new(journey)
			want = append(want, handed{j, due})
			q.add(j)
		}
		add(0)
		add(gatherFor)
		time.Sleep(gatherFor / 2)
		add(gatherFor)
		time.Sleep(gatherFor)
		add(2 * gatherFor)
		time.Sleep(2 * gatherFor)
		add(3*gatherFor + gatherFor/2) // alone
		time.Sleep(gatherFor)
		for range 3 { // the memory of lots is used again
			add(time.Since(start))
			for range 10 {
				add(time.Since(start) + gatherFor)
			}
			time.Sleep(2 * gatherFor)
		}
		synctest.Wait()
		require.Equal(t, want, got)
	})
}
