package consumer

import (
	"context"
	"errors"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/metrics"
)

// commitLoop commits and looks for stalls, until ctx ends.
func (c *Consumer) commitLoop(ctx context.Context, stop context.CancelCauseFunc) {
	tick := time.NewTicker(c.cfg.CommitInterval)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		c.commitWithin(ctx, nil)
		c.exportLag()
		if c.watch() {
			stop(ErrStalled)
			return
		}
	}
}

// commitWithin commits what has changed in the leases given, or in all that are
// held, in one request. What the broker refused stays to be committed: the next
// call takes it up again.
func (c *Consumer) commitWithin(ctx context.Context, leases []*lease) bool {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitBound)
	defer cancel()
	select {
	case c.commits <- struct{}{}:
		defer func() { <-c.commits }()
	case <-ctx.Done():
		return false
	}
	if leases == nil {
		leases = c.held()
	}
	asked := make(map[partition]asking)
	for _, l := range leases {
		if d, ok := l.toCommit(); ok {
			asked[partition{l.topic, l.partition}] = asking{l, d}
		}
	}
	if len(asked) == 0 {
		return true
	}
	err := c.send(ctx, asked)
	c.noteCommit(err)
	return err == nil
}

// asking is one partition of a commit.
type asking struct {
	*lease
	due due
}

// commitLast commits leases that are about to end. It tries again within the
// bound: there is no later tick for them, and what stays uncommitted is
// answered twice.
func (c *Consumer) commitLast(ctx context.Context, leases []*lease) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitBound)
	defer cancel()
	for !c.commitWithin(ctx, leases) && ctx.Err() == nil {
		pause(ctx, 100*time.Millisecond)
	}
}

// send commits, and notes in the leases what the broker took.
func (c *Consumer) send(ctx context.Context, asked map[partition]asking) error {
	offsets := make(map[string]map[int32]kgo.EpochOffset)
	for p, a := range asked {
		if offsets[p.topic] == nil {
			offsets[p.topic] = make(map[int32]kgo.EpochOffset)
		}
		offsets[p.topic][p.id] = kgo.EpochOffset{Epoch: a.due.Epoch, Offset: a.due.Offset}
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for _, t := range req.Topics {
			for i, p := range t.Partitions {
				due := asked[partition{t.Topic, p.Partition}].due
				text := due.Encode(due.room)
				t.Partitions[i].Metadata = &text
			}
		}
		return nil
	})
	var failure error
	c.cl.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, req *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			failure = err
			return
		}
		for _, t := range resp.Topics {
			if t.Topic == "" { // by its id, since version 10
				t.Topic = topicOf(req, t.TopicID)
			}
			for _, p := range t.Partitions {
				a, ok := asked[partition{t.Topic, p.Partition}]
				err := kerr.ErrorForCode(p.ErrorCode)
				if err != nil {
					failure = err
				}
				switch {
				case !ok:
				case err == nil:
					a.committed(a.due)
				case errors.Is(err, kerr.OffsetMetadataTooLarge):
					c.shorten(a.lease)
				}
			}
		}
	})
	return failure
}

// topicOf is the name of a topic that a request to commit holds.
func topicOf(req *kmsg.OffsetCommitRequest, id [16]byte) string {
	for _, t := range req.Topics {
		if t.TopicID == id {
			return t.Topic
		}
	}
	return ""
}

// shorten makes do with less metadata: the broker's limit is configuration.
func (c *Consumer) shorten(l *lease) {
	l.mu.Lock()
	l.room /= 2
	room := l.room
	l.mu.Unlock()
	c.Log.Warn("the broker takes less metadata with a commit (offset.metadata.max.bytes); more is answered again after a crash",
		"topic", l.topic, "partition", l.partition, "limit", room)
}

// noteCommit counts, and logs an error when it changes.
func (c *Consumer) noteCommit(err error) {
	if err == nil {
		c.Metrics.Commits.WithLabelValues(metrics.ResultOK).Inc()
		c.commitErrs = ""
		return
	}
	c.Metrics.Commits.WithLabelValues(metrics.ResultError).Inc()
	if c.commitErrs == err.Error() {
		return
	}
	c.commitErrs = err.Error()
	if rebalancing(err) {
		c.Log.Info("commit refused while the group changes; it is tried again", "error", err)
		return
	}
	c.Log.Warn("commit failed; it is tried again", "error", err)
}

// rebalancing says that the broker refused a commit because the member's
// generation is not the group's. The client rejoins by itself; what is still
// held then is committed under the new generation, what is lost is not.
func rebalancing(err error) bool {
	for _, e := range []error{kerr.IllegalGeneration, kerr.UnknownMemberID, kerr.StaleMemberEpoch, kerr.RebalanceInProgress} {
		if errors.Is(err, e) {
			return true
		}
	}
	return false
}
