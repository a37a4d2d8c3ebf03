package consumer

import (
	"context"
	"slices"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// slow answers some records at once; the others when it is told to go on, or
// not, when their lease ends before.
type slow struct {
	quick func(offset int64) bool

	mu   sync.Mutex // guards what follows
	goes bool
	ran  []int64 // answered
}

func (p *slow) Submit(ctx context.Context, recs []*kgo.Record, done func(*kgo.Record, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range recs {
		if p.goes || p.quick(r.Offset) {
			p.ran = append(p.ran, r.Offset)
			go done(r, nil)
			continue
		}
		context.AfterFunc(ctx, func() { done(r, context.Cause(ctx)) })
	}
}

// A leader that does not have the end of the log has the client go back. What
// is in flight below that is given back by the old lease, and is run under the
// new one; what is answered there is not.
func TestAnUncleanElectionPassesOverNothing(t *testing.T) {
	virtualBrokers(t, 1, nil, func(b *bench) {
		b.fill(0, 20)
		p := &slow{quick: func(offset int64) bool { return offset < 10 || offset == 12 }}
		m := b.start(config(), p)
		b.until("committed", func() bool { return b.committed()[0] == 10 })
		b.until("all is in flight", func() bool { return m.is(t, 9, "millrace_in_flight_records") })
		p.mu.Lock()
		p.goes = true
		p.mu.Unlock()
		b.cluster.ControlKey(int16(kmsg.OffsetForLeaderEpoch), func(req kmsg.Request) (kmsg.Response, error, bool) {
			asked := req.(*kmsg.OffsetForLeaderEpochRequest)
			resp := asked.ResponseKind().(*kmsg.OffsetForLeaderEpochResponse)
			resp.Topics = []kmsg.OffsetForLeaderEpochResponseTopic{{Topic: in, Partitions: []kmsg.OffsetForLeaderEpochResponseTopicPartition{
				{Partition: 0, LeaderEpoch: asked.Topics[0].Partitions[0].LeaderEpoch, EndOffset: 15},
			}}}
			return resp, nil, true
		})
		require.NoError(t, b.cluster.MoveTopicPartition(in, 0, 1-b.cluster.LeaderFor(in, 0)))
		b.until("committed", func() bool { return b.committed()[0] == 20 })
		p.mu.Lock()
		slices.Sort(p.ran)
		require.Equal(t, []int64{0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19}, p.ran)
		p.mu.Unlock()
		m.halt(t)
	}, kfake.NumBrokers(2), kfake.Ports(9092, 9093))
}
