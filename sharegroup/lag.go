package sharegroup

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/millrace/millrace/internal/kafka"
)

// lagLoop exports this worker's share of the group's lag until ctx ends.
func (q *Queue) lagLoop(ctx context.Context) {
	tick := time.NewTicker(q.member.LagInterval)
	defer tick.Stop()
	for {
		bounded, cancel := context.WithTimeout(ctx, max(q.member.LagInterval, 5*time.Second))
		err := q.refreshLag(bounded)
		cancel()
		if ctx.Err() != nil {
			return
		}
		if was := q.reachable.Swap(err == nil); was && err != nil {
			q.Log.WarnContext(ctx, "the group's lag cannot be read", "group", q.member.Group, "topics", q.Topics, "error", err)
		}
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
	}
}

func (q *Queue) refreshLag(ctx context.Context) error {
	behind := make(map[partition]int64)
	for _, topic := range q.Topics {
		lag, err := kafka.ShareLag(ctx, q.admin, q.member.Group, topic, q.member.OffsetReset == resetLatest)
		if err != nil {
			return err
		}
		for id, records := range lag {
			behind[partition{topic, id}] = records
		}
	}
	groups, err := q.admin.DescribeShareGroups(ctx, q.member.Group)
	if err == nil {
		err = groups.Error()
	}
	if err != nil {
		return fmt.Errorf("members of share group %s: %w", q.member.Group, err)
	}
	q.exportLag(behind, share(q.joined(), len(groups[q.member.Group].Members)))
	return nil
}

// share is the part of the lag that a worker with so many of the group's
// members reports: over all workers it adds up to the whole.
func share(own, members int) float64 {
	if own == 0 {
		return 0
	}
	return float64(own) / float64(max(own, members))
}

func (q *Queue) exportLag(lag map[partition]int64, share float64) {
	oldest := q.oldest()
	now := time.Now()
	sum, age := 0.0, 0.0
	for p, records := range lag {
		part := float64(records) * share
		sum += part
		name, since := strconv.Itoa(int(p.id)), 0.0
		if at, ok := oldest[p]; ok {
			since = max(0, now.Sub(at).Seconds()) // clocks may differ
		}
		age = max(age, since)
		q.Metrics.LagRecords.WithLabelValues(p.topic, name).Set(part)
		q.Metrics.LagSeconds.WithLabelValues(p.topic, name).Set(since)
		q.shown[p] = true
	}
	q.Metrics.QueueLen.Set(sum)
	q.Metrics.OldestRecord.Set(age)
}

// oldest finds, by partition, the timestamp of the first record that this
// worker holds. What nobody has fetched has no age that is known.
func (q *Queue) oldest() map[partition]time.Time {
	oldest := make(map[partition]time.Time)
	for _, l := range q.lanes {
		l.mu.Lock()
		b := l.batch
		l.mu.Unlock()
		if b == nil {
			continue
		}
		b.mu.Lock()
		for _, s := range b.slots {
			p := partition{s.rec.Topic, s.rec.Partition}
			at, ok := oldest[p]
			if !s.told && (!ok || s.rec.Timestamp.Before(at)) {
				oldest[p] = s.rec.Timestamp
			}
		}
		b.mu.Unlock()
	}
	return oldest
}

// forgetLag removes what a worker that has left the group no longer knows.
func (q *Queue) forgetLag() {
	for p := range q.shown {
		name := strconv.Itoa(int(p.id))
		q.Metrics.LagRecords.DeleteLabelValues(p.topic, name)
		q.Metrics.LagSeconds.DeleteLabelValues(p.topic, name)
	}
	q.Metrics.QueueLen.Set(0)
	q.Metrics.OldestRecord.Set(0)
}
