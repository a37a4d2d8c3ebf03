package consumer

import (
	"testing"
	"testing/synctest"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

func TestBudgetPollsForAShare(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		b := newBudget(160, 1<<20, func(int, int64) {})
		ctx, rec := t.Context(), &kgo.Record{Value: []byte("x")}
		recs := make([]*kgo.Record, 160)
		for i := range recs {
			recs[i] = rec
		}
		require.Equal(t, 160, b.waitFree(ctx))
		require.Equal(t, 160, b.take(ctx, ctx, recs))
		polled := make(chan int, 1)
		go func() { polled <- b.waitFree(ctx) }()
		for range 9 {
			b.release(rec)
			synctest.Wait()
			require.Empty(t, polled)
		}
		b.release(rec)
		require.Equal(t, 10, <-polled)
	})
}
