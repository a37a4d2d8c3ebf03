package announce

import (
	"context"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
)

// The pauses between two tries to be elected.
const (
	firstPause = 250 * time.Millisecond
	lastPause  = 10 * time.Second
)

// stand takes part in the election until ctx ends: a group in which whoever has
// the topic's first partition is elected. Nothing is fetched or committed.
func (b *Board) stand(ctx context.Context) {
	said, pause := "", firstPause
	for ctx.Err() == nil {
		if b.writer.Load() == nil { // no election over a topic that is not there
			if !sleep(ctx, firstPause) {
				return
			}
			continue
		}
		err := b.standOnce(ctx)
		b.electedIs(false)
		if reason := fmt.Sprint(err); reason != said && ctx.Err() == nil {
			said = reason
			b.Log.WarnContext(ctx, "this worker cannot be elected to ask the registry for the pool", "group", b.election(), "error", err)
		}
		if !sleep(ctx, pause) {
			return
		}
		pause = min(2*pause, lastPause)
	}
}

func (b *Board) election() string { return b.Group + ".models" }

func (b *Board) standOnce(ctx context.Context) error {
	has := func(m map[string][]int32) bool { return slices.Contains(m[b.Topic], 0) }
	lost := func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
		if has(m) {
			b.electedIs(false)
		}
	}
	cl, err := kgo.NewClient(append(slices.Clip(b.Opts),
		kgo.ConsumerGroup(b.election()), kgo.ConsumeTopics(b.Topic), kgo.DisableAutoCommit(),
		// Sticky, so that the office stays where it is while others come and go.
		kgo.Balancers(kgo.CooperativeStickyBalancer()),
		kgo.SessionTimeout(b.cfg.Session), kgo.HeartbeatInterval(max(b.cfg.Session/4, 100*time.Millisecond)),
		kgo.OnPartitionsAssigned(func(_ context.Context, _ *kgo.Client, m map[string][]int32) {
			if has(m) {
				b.electedIs(true)
			}
		}),
		kgo.OnPartitionsRevoked(lost), kgo.OnPartitionsLost(lost),
	)...)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	cl.PauseFetchTopics(b.Topic)
	var errs kafka.FetchErrors
	for ctx.Err() == nil && b.writer.Load() != nil {
		// Nothing but errors comes; the bound is for the look at the topic.
		poll, cancel := context.WithTimeout(ctx, b.cfg.Session)
		fetches := cl.PollFetches(poll)
		cancel()
		if errs.Note(fetches, b.Log, func() {}) && !sleep(ctx, firstPause) {
			return nil
		}
	}
	return nil
}

// electedIs leaves the newest verdict to serve.
func (b *Board) electedIs(yes bool) {
	select {
	case <-b.elected:
	default:
	}
	select {
	case b.elected <- yes:
	default:
	}
}
