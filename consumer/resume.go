package consumer

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// fetched takes over what the commits of earlier leases say beside their
// offsets. The client calls it before starting.
func (c *Consumer) fetched(_ context.Context, _ *kgo.Client, resp *kmsg.OffsetFetchResponse) error {
	for _, g := range resp.Groups {
		for _, t := range g.Topics {
			// The client has found the names of topics that come by their ids.
			for _, p := range t.Partitions {
				l := c.lease(partition{t.Topic, p.Partition})
				if l == nil || p.ErrorCode != 0 || p.Metadata == nil {
					continue
				}
				if cp, ok := decode(*p.Metadata, p.Offset, p.LeaderEpoch); ok {
					c.resume(l, cp)
				}
			}
		}
	}
	return nil
}

// resume takes over one commit.
func (c *Consumer) resume(l *lease, cp checkpoint) {
	records, took := l.restore(cp)
	if !took {
		return
	}
	if records > 0 {
		c.Log.Info("answered records above the committed offset are not answered again",
			"topic", l.topic, "partition", l.partition, "offset", cp.offset, "records", records)
	}
	if cp.open {
		c.Metrics.UncleanEnds.Inc()
		c.Log.Warn("a worker ended while it had the partition; its records start again under guard",
			"topic", l.topic, "partition", l.partition, "offset", cp.offset, "alone", cp.alone)
	}
}

// restore takes over a commit, before anything is fetched. It returns the
// number of offsets that need no answer.
func (l *lease) restore(cp checkpoint) (records int64, took bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.tracker.watermark >= 0 {
		return 0, false
	}
	l.restored = cp.done
	l.guard.resume(cp.marks)
	for _, s := range cp.done {
		records += s.last - s.first + 1
	}
	return records, true
}

// answered says whether an earlier lease has answered a record. Records come
// in offset order: what is passed is forgotten. mu is held.
func (l *lease) answered(r *kgo.Record) bool {
	for len(l.restored) > 0 && l.restored[0].last < r.Offset {
		l.restored = l.restored[1:]
	}
	if len(l.restored) == 0 {
		return false
	}
	s := l.restored[0]
	return s.first <= r.Offset && s.epoch == r.LeaderEpoch
}

// answeredAhead is the number of offsets that are not fetched and need no
// answer; mu is held.
func (l *lease) answeredAhead() int64 {
	var n int64
	for _, s := range l.restored {
		n += max(0, s.last-max(s.first, l.tracker.last()+1)+1)
	}
	return n
}
