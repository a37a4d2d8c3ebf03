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

// commitWithin commits the watermarks of the leases given, or of all that are
// held, in one request. A watermark that the broker refused stays to be
// committed: the next call takes it up again.
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
	offsets := make(map[string]map[int32]kgo.EpochOffset)
	asked := make(map[partition]*lease)
	for _, l := range leases {
		o, ok := l.toCommit()
		if !ok {
			continue
		}
		if offsets[l.topic] == nil {
			offsets[l.topic] = make(map[int32]kgo.EpochOffset)
		}
		offsets[l.topic][l.partition] = o
		asked[partition{l.topic, l.partition}] = l
	}
	if len(asked) == 0 {
		return true
	}
	err := c.send(ctx, offsets, asked)
	c.noteCommit(err)
	return err == nil
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

// send commits offsets and notes in the leases what the broker took.
func (c *Consumer) send(ctx context.Context, offsets map[string]map[int32]kgo.EpochOffset, asked map[partition]*lease) error {
	var failure error
	c.cl.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		if err != nil {
			failure = err
			return
		}
		for _, t := range resp.Topics {
			for _, p := range t.Partitions {
				l := asked[partition{t.Topic, p.Partition}]
				if err := kerr.ErrorForCode(p.ErrorCode); err != nil {
					failure = err
				} else if l != nil {
					l.setCommitted(offsets[t.Topic][p.Partition].Offset)
				}
			}
		}
	})
	return failure
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

// progress is when the number of answered records was last found changed.
type progress struct {
	answered int64
	at       time.Time
}

// watch looks for a lease whose work in flight has stopped. That its watermark
// stands still is not enough: with a slow model its records may wait in the
// pool for those of other partitions. Their turn has come when as many were
// answered as can be in flight, and it never does when none is answered.
func (c *Consumer) watch() bool {
	now, answered := time.Now(), c.answered.Load()
	if answered != c.progress.answered {
		c.progress = progress{answered, now}
	}
	for _, l := range c.held() {
		still, others := l.stalled(now, answered)
		waits := now.Sub(c.progress.at) <= c.cfg.WatchdogTimeout && others <= int64(c.cfg.MaxRecords)
		if still <= c.cfg.WatchdogTimeout || waits {
			continue
		}
		l.mu.Lock()
		watermark, inFlight := l.tracker.watermark, l.inFlight
		l.mu.Unlock()
		c.Log.Error("work in flight makes no progress; leaving the group", "topic", l.topic, "partition", l.partition,
			"watermark", watermark, "in_flight", inFlight, "still", still)
		c.Metrics.WatchdogTrips.Inc()
		c.stalled.Store(true)
		return true
	}
	return false
}
