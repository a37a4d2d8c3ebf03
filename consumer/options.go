package consumer

import (
	"slices"

	"github.com/twmb/franz-go/pkg/kgo"
)

func (c *Consumer) options() []kgo.Opt {
	start := kgo.NewOffset().AtStart()
	if c.cfg.OffsetReset == resetLatest {
		start = kgo.NewOffset().AtEnd()
	}
	opts := append(slices.Clone(c.Client),
		kgo.ConsumerGroup(c.cfg.Group),
		kgo.ConsumeTopics(c.Topics...),
		kgo.ConsumeResetOffset(start),
		kgo.DisableAutoCommit(),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		// The watermark has to pass over control records, or an idle
		// transactional topic keeps a lag of one for ever.
		kgo.KeepControlRecords(),
		kgo.FetchMaxBytes(c.cfg.FetchMaxBytes),
		kgo.FetchMaxPartitionBytes(min(1<<20, c.cfg.FetchMaxBytes)),
		// A connection that ends before its first answer is a broker or a proxy
		// that goes away: the client would give up its membership.
		kgo.AlwaysRetryEOF(),
		kgo.SessionTimeout(c.cfg.SessionTimeout),
		kgo.RebalanceTimeout(c.cfg.RebalanceTimeout),
		kgo.HeartbeatInterval(c.cfg.HeartbeatInterval),
		// Only from a poll to the registration of its records: what is
		// polled belongs to a live lease.
		kgo.BlockRebalanceOnPoll(),
		kgo.OnPartitionsAssigned(c.assigned),
		kgo.OnPartitionsRevoked(c.revoked),
		kgo.OnPartitionsLost(c.lost),
		kgo.OnOffsetsFetched(c.fetched),
		kgo.AdjustFetchOffsetsFn(c.starting),
	)
	if c.cfg.InstanceID != "" {
		opts = append(opts, kgo.InstanceID(c.cfg.InstanceID))
	}
	if c.cfg.Protocol == protocolConsumer {
		// The client takes the server's side only beside a balancer that
		// the server has too.
		return append(opts, kgo.ServerSideBalancer(), kgo.Balancers(kgo.StickyBalancer()))
	}
	return append(opts, kgo.Balancers(kgo.CooperativeStickyBalancer()))
}
