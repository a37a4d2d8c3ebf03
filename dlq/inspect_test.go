package dlq

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

func TestBucketsFitTheSpan(t *testing.T) {
	for name, c := range map[string]struct {
		span  time.Duration
		width time.Duration
	}{
		"two minutes": {time.Minute, time.Minute},
		"20 minutes":  {20 * time.Minute, time.Minute},
		"an hour":     {time.Hour, 5 * time.Minute},
		"5 hours":     {5 * time.Hour, 15 * time.Minute},
		"20 hours":    {20 * time.Hour, time.Hour},
		"5 days":      {5 * 24 * time.Hour, 6 * time.Hour},
		"three weeks": {21 * 24 * time.Hour, 24 * time.Hour},
		"ten years":   {3650 * 24 * time.Hour, 28 * 24 * time.Hour},
	} {
		t.Run(name, func(t *testing.T) {
			first := time.Date(2026, 5, 6, 7, 8, 0, 0, time.UTC)
			s := &Summary{}
			s.buckets(map[time.Time]Count{first: {Letters: 2, Replayed: 1}, first.Add(c.span): {Letters: 3}})
			require.Equal(t, c.width, s.Bucket)
			if c.width < 28*24*time.Hour {
				require.LessOrEqual(t, len(s.Times), mostBuckets)
			}
			letters, replayed := 0, 0
			for i, b := range s.Times {
				letters, replayed = letters+b.Letters, replayed+b.Replayed
				require.Equal(t, s.Times[0].Start.Add(time.Duration(i)*c.width), b.Start)
			}
			require.Positive(t, s.Times[0].Letters)
			require.Positive(t, s.Times[len(s.Times)-1].Letters)
			require.Equal(t, []int{2 + 3, 1}, []int{letters, replayed})
		})
	}
}

func (b *bench) inspect(newest int, change func(*Filter)) *Summary {
	b.t.Helper()
	f := Everything()
	if change != nil {
		change(&f)
	}
	sum, err := Inspect(b.ctx, b.source(), f, newest)
	require.NoError(b.t, err)
	return sum
}

func TestInspectCounts(t *testing.T) {
	virtual(t, func(b *bench) {
		require.Zero(t, b.inspect(5, nil).Letters, "an empty topic")
		start := time.Now()
		b.fill(9)
		time.Sleep(2 * time.Hour)
		middle := time.Now()
		b.write(b.letter(0, "INVALID_INPUT"), b.letter(1, "INVALID_INPUT", header(wire.DeadPayloadOmitted, "large")),
			without(b.letter(2, "MODEL_NOT_FOUND", header(wire.Model, "n")), wire.DeadModel, wire.DeadModelVersion),
			&kgo.Record{Topic: dead, Partition: 1, Value: []byte("something else")})
		res, err := b.replay(func(r *Replay) { r.Limit, r.Filter.Codes = 4, []string{"MODEL_NOT_FOUND"} })
		require.NoError(t, err)
		require.Equal(t, 4, res.Sent)

		sum := b.inspect(5, nil)
		require.Equal(t, []int{12, 4, 1, 1}, []int{sum.Letters, sum.Replayed, sum.Missing, sum.Other})
		require.Equal(t, []Count{{Name: "MODEL_NOT_FOUND", Letters: 10, Replayed: 4}, {Name: "INVALID_INPUT", Letters: 2}}, sum.Codes)
		require.Equal(t, []Count{{Name: "m/3", Letters: 11, Replayed: 4}, {Name: "n (not reached)", Letters: 1}}, sum.Models)
		require.Equal(t, 15*time.Minute, sum.Bucket)
		require.Len(t, sum.Times, 9)
		require.Equal(t, []int{9, 3}, []int{sum.Times[0].Letters, sum.Times[8].Letters})
		require.WithinRange(t, sum.First, start.Add(-time.Second), middle)
		require.WithinRange(t, sum.Last, middle.Add(-time.Second), time.Now())
		require.Len(t, sum.Newest, 5)
		for i, l := range sum.Newest[1:] {
			require.False(t, l.Time.After(sum.Newest[i].Time))
		}

		for name, c := range map[string]struct {
			change func(*Filter)
			want   int
		}{
			"code":      {func(f *Filter) { f.Codes = []string{"INVALID_INPUT"} }, 2},
			"since":     {func(f *Filter) { f.Since = middle.Add(-time.Minute) }, 3},
			"until":     {func(f *Filter) { f.Until = middle.Add(-time.Minute) }, 9},
			"partition": {func(f *Filter) { f.Partition = 0 }, 4},
			"offset":    {func(f *Filter) { f.Partition, f.Offset = 0, 1 }, 1},
			"letter":    {func(f *Filter) { f.ID = Position{dead, 2, 2} }, 1},
			"request":   {func(f *Filter) { f.ID = Position{requests, 0, 1} }, 1},
			"none":      {func(f *Filter) { f.Since = time.Now().Add(time.Hour) }, 0},
		} {
			require.Equal(t, c.want, b.inspect(0, c.change).Letters, name)
		}
		one := b.inspect(1, func(f *Filter) { f.ID = Position{requests, 0, 1} }).Newest[0]
		require.JSONEq(t, `{"inputs": [1]}`, string(one.Record.Value))
		require.NotEmpty(t, one.Replayed)

		f := Everything()
		f.Partition = 9
		_, err = Inspect(b.ctx, b.source(), f, 0)
		require.ErrorContains(t, err, "dead has no partition 9")
		_, err = Inspect(b.ctx, Source{Topic: "nowhere", Opts: b.opts()}, Everything(), 0)
		require.ErrorIs(t, err, ErrNoTopic)
	})
}

// A note may stand beyond what a transaction of somebody else holds back: the
// reading waits for that, and says so.
func TestTheEndIsWaitedForBehindAnOpenTransaction(t *testing.T) {
	for name, commit := range map[string]bool{"committed": true, "aborted": false} {
		t.Run(name, func(t *testing.T) {
			virtual(t, func(b *bench) {
				other, err := kgo.NewClient(append(b.opts(), kgo.TransactionalID("x"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
				require.NoError(t, err)
				defer other.Close()
				b.fill(3)
				require.NoError(t, other.BeginTransaction())
				require.NoError(t, other.ProduceSync(b.ctx, b.letter(1, "INTERNAL")).FirstErr())
				b.fill(3)

				waits := make(chan struct{}, 100)
				var sum *Summary
				ended := make(chan error, 1)
				go func() {
					s := b.source()
					s.Tell = func(p Progress) {
						if p.Waiting {
							waits <- struct{}{}
						}
					}
					var err error
					sum, err = Inspect(b.ctx, s, Everything(), 0)
					ended <- err
				}()
				<-waits
				synctest.Wait()
				require.NoError(t, other.EndTransaction(b.ctx, kgo.TransactionEndTry(commit)))
				require.NoError(t, <-ended)
				want := 6
				if commit {
					want++
				}
				require.Equal(t, want, sum.Letters)
			})
		})
	}
}

func TestAStopEndsTheReading(t *testing.T) {
	virtual(t, func(b *bench) {
		other, err := kgo.NewClient(append(b.opts(), kgo.TransactionalID("x"), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		require.NoError(t, err)
		defer other.Close()
		require.NoError(t, other.BeginTransaction())
		require.NoError(t, other.ProduceSync(b.ctx, b.letter(1, "INTERNAL")).FirstErr())
		s := b.source()
		ctx, cancel := context.WithCancel(b.ctx)
		s.Tell = func(Progress) { cancel() }
		_, err = Inspect(ctx, s, Everything(), 0)
		require.ErrorIs(t, err, ctx.Err())
		require.NoError(t, other.EndTransaction(b.ctx, kgo.TryAbort))
	})
}
