package consumer

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/checkpoint"
)

// fetched takes over what the commits of earlier leases say beside their
// offsets. The client calls it before starting.
func (c *Consumer) fetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	checkpoint.Fetched(resp, func(topic string, id int32, cp checkpoint.Checkpoint) {
		if l := c.lease(partition{topic, id}); l != nil {
			c.resume(l, cp)
		}
	})
	return nil
}

// resume takes over one commit.
func (c *Consumer) resume(l *lease, cp checkpoint.Checkpoint) {
	own := c.left.Own(l.topic, l.partition, cp)
	records, took := l.restore(cp, own)
	if !took {
		return
	}
	if records > 0 {
		c.Log.Info("answered records above the committed offset are not answered again",
			"topic", l.topic, "partition", l.partition, "offset", cp.Offset, "records", records)
	}
	if cp.Open && !own {
		c.Metrics.UncleanEnds.Inc()
		c.Log.Warn("a worker ended while it had the partition; its records start again under guard",
			"topic", l.topic, "partition", l.partition, "offset", cp.Offset, "alone", cp.Alone)
	}
}

// restore takes over a commit, before anything is fetched. own is that this
// process made it and lives. It returns the number of offsets that need no answer.
func (l *lease) restore(cp checkpoint.Checkpoint, own bool) (records int64, took bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tracker.watermark >= 0 {
		return 0, false
	}
	l.restored = cp.Done
	if own {
		l.said, cp.Marks = cp, cp.Ended()
		l.changes++ // that it is not at work is to be said
	}
	l.guard.Resume(cp.Marks)
	return cp.Done.Records(cp.Offset), true
}

// leave tells what the next lease of this process has to know.
func (l *lease) leave(left *checkpoint.Leftovers) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if !l.stuck {
		left.Leave(l.topic, l.partition, l.said)
	}
}

// answered says whether an earlier lease has answered a record. Records come
// in offset order: what is passed is forgotten. mu is held.
func (l *lease) answered(r *kgo.Record) bool {
	l.restored = l.restored.From(r.Offset)
	return l.restored.StartsWith(r.Offset, r.LeaderEpoch)
}

// answeredAhead is the number of offsets that are not fetched and need no
// answer; mu is held.
func (l *lease) answeredAhead() int64 {
	return l.restored.Records(l.tracker.last() + 1)
}
