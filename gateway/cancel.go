package gateway

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/cancellation"
	"github.com/millrace/millrace/internal/kafka"
)

// cancel tells the workers that nobody waits for a request any more. It is worth
// no wait and no failure: at worst the request is run in vain.
func (g *Gateway) cancel(ctx context.Context, i id, deadline time.Time) {
	if !g.cancels.Load() {
		return
	}
	// Bounded, so that requests find room in the client's buffer.
	if g.cancelling.Add(1) > int64(g.cfg.Admission.MaxWaiting) {
		g.cancelling.Add(-1)
		return
	}
	g.client.TryProduce(context.WithoutCancel(ctx), cancellation.Record(g.cfg.CancelTopic, i[:], deadline), func(*kgo.Record, error) {
		g.cancelling.Add(-1)
	})
}

// seeCancellations notes whether there is a topic to cancel by.
func (g *Gateway) seeCancellations(ctx context.Context, found kadm.TopicDetails) {
	if g.cfg.CancelTopic == "" || g.cfg.CancelTopic == kafka.NoTopic {
		return
	}
	topic, there := found[g.cfg.CancelTopic]
	there = there && topic.Err == nil
	if g.cancels.Swap(there) != there { // that it is missing, the workers tell
		g.log.DebugContext(ctx, "requests whose caller goes away", "cancelled", there, "topic", g.cfg.CancelTopic)
	}
}
