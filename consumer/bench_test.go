package consumer

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// BenchmarkIntake is what the intake does for a record beside polling: track
// it in its lease, count it in the budget, and take both back when it is
// answered. Batches answer out of order.
func BenchmarkIntake(b *testing.B) {
	const chunk = 512
	l := newLease(b.Context(), "t", 0, 1)
	budget := newBudget(4096, 64<<20, func(int, int64) {})
	recs := make([]*kgo.Record, chunk)
	for i := range recs {
		recs[i] = &kgo.Record{Value: make([]byte, 200), Timestamp: time.Now(), Headers: []kgo.RecordHeader{{Key: "content-type", Value: []byte("application/json")}}}
	}
	b.ReportAllocs()
	next, ctx := int64(0), context.Background()
	for done := 0; b.Loop(); done++ {
		if done%chunk != 0 {
			continue
		}
		for i := range recs {
			recs[i].Offset = next
			next++
		}
		submit, _ := l.register(recs, next)
		require.Equal(b, chunk, budget.take(ctx, ctx, submit))
		l.begin(chunk, 0)
		for _, half := range [][]*kgo.Record{submit[chunk/2:], submit[:chunk/2]} {
			for _, r := range half {
				l.finish(r.Offset, true)
				budget.release(r)
			}
		}
	}
}
