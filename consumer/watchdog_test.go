package consumer

import (
	"errors"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

// fillPartition writes n requests to one partition.
func (b *bench) fillPartition(id int32, n int) {
	b.t.Helper()
	cl, err := kgo.NewClient(append(b.opts(), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	require.NoError(b.t, err)
	defer cl.Close()
	recs := make([]*kgo.Record, n)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: in, Partition: id, Value: []byte("x")}
	}
	require.NoError(b.t, cl.ProduceSync(b.ctx, recs...).FirstErr())
}

// With a slow model a partition's records wait for their turn longer than the
// watchdog does.
func TestWatchdogLetsAQueueWait(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		p := &holding{}
		m := b.start(config(), p)
		b.fillPartition(1, 400)
		b.until("the queue", func() bool { return p.held() == 400 })
		b.fillPartition(0, 1)
		b.until("the one behind it", func() bool { return p.held() == 401 })
		for range 400 {
			time.Sleep(time.Second)
			p.answer(1, nil)
		}
		require.True(t, m.Healthy())
		p.answer(1, nil)
		b.until("committed", func() bool { return b.committed()[0] == 1 })
		m.halt(t)
	})
}

// A record that is forgotten is found although others are answered.
func TestWatchdogFindsAForgottenRecord(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		p := &holding{}
		m := b.start(config(), p)
		b.fillPartition(0, 1)
		b.until("in flight", func() bool { return p.held() == 1 })
		p.mu.Lock()
		forgotten, done := p.recs[0], p.done[0]
		p.recs, p.done = nil, nil
		p.mu.Unlock()
		for range 7 { // beyond the 512 that can be in flight
			b.fillPartition(1, 100)
			b.until("in flight", func() bool { return p.held() == 100 })
			require.True(t, m.Healthy())
			time.Sleep(20 * time.Second)
			p.answer(100, nil)
		}
		require.ErrorIs(t, <-m.ended, ErrStalled)
		done(forgotten, nil)
	})
}

// An executor that is stuck in a record whose partition is gone is found.
func TestWatchdogFindsWhatALostPartitionLeft(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		p := &holding{}
		m := b.start(config(), p)
		b.fillPartition(0, 1)
		b.until("in flight", func() bool { return p.held() == 1 })
		m.lost(b.ctx, nil, map[string][]int32{in: {0}})
		b.until("the watchdog", func() bool { return !m.Healthy() })
		p.answer(1, errors.New("stopped"))
		require.ErrorIs(t, <-m.ended, ErrStalled)
	})
}
