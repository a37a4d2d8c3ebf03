package consumer

import (
	"context"
	"errors"
	"fmt"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

func TestFailureOfThePoolIsTriedAgain(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 10)
		p := &holding{}
		m := b.start(config(), p)
		b.until("in flight", func() bool { return p.held() == 10 })
		p.answer(10, errors.New("client closed"))
		b.until("again", func() bool { return p.held() == 10 })
		p.answer(5, nil)
		b.until("committed", func() bool { return b.committed()[0] == 5 })
		p.answer(5, errors.New("client closed"))
		m.revoked(b.ctx, m.cl, map[string][]int32{in: {0}})
		require.True(t, m.Drained(), "records that wait to be tried again are given back by a revoke")
		m.halt(t)
	})
}

// What the broker never takes is not tried for ever; a broker that is away is
// nobody's failure.
func TestAnswerThatCannotBePublished(t *testing.T) {
	for _, tt := range []struct {
		err     error
		refused bool
	}{
		{kerr.MessageTooLarge, true},
		{fmt.Errorf("publishing: %w", kerr.InvalidRecord), true},
		{kerr.NotEnoughReplicas, false},
		{kerr.TopicAuthorizationFailed, false},
		{kgo.ErrClientClosed, false},
		{context.DeadlineExceeded, false},
		{errors.New("no route to host"), false},
	} {
		t.Run(tt.err.Error(), func(t *testing.T) {
			virtual(t, 1, func(b *bench) {
				b.fill(0, 2)
				p := &holding{}
				m := b.start(config(), p)
				b.until("in flight", func() bool { return p.held() == 2 })
				p.answerIf(func(r *kgo.Record) bool { return r.Offset == 1 })
				for range 20 {
					b.until("again", func() bool { return p.held() == 1 })
					if d := wire.DeliveryOf(p.recs[0]); d.Code != "" {
						require.Equal(t, wire.Internal, d.Code)
						require.Equal(t, 5, d.Attempts)
						require.True(t, tt.refused)
						require.True(t, m.is(t, 1, "millrace_unpublishable_records_total"))
						p.answer(1, nil)
						b.until("committed", b.all)
						m.halt(t)
						return
					}
					p.answer(1, tt.err)
				}
				require.False(t, tt.refused)
				b.until("again", func() bool { return p.held() == 1 })
				p.answer(1, nil)
				b.until("committed", b.all)
				m.halt(t)
			})
		})
	}
}

func TestConfigOfAttempts(t *testing.T) {
	cfg := config()
	cfg.MaxAttempts, cfg.BlockedTimeout = 2, cfg.WatchdogTimeout
	err := cfg.Validate()
	require.ErrorContains(t, err, "MILLRACE_MAX_ATTEMPTS: 2 is below 3")
	require.ErrorContains(t, err, "MILLRACE_BLOCKED_TIMEOUT: 2m0s is not between 0 and WATCHDOG_TIMEOUT (2m0s)")
}
