package consumer

import (
	"context"
	"strconv"
	"time"
)

// lagLoop asks the broker for the ends of the held partitions. A fetch tells
// them too, but none comes while the topic is silent or intake is held back.
func (c *Consumer) lagLoop(ctx context.Context) {
	tick := time.NewTicker(c.cfg.LagInterval)
	defer tick.Stop()
	for {
		c.refreshLag(ctx)
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		case <-c.lagNow:
		}
	}
}

func (c *Consumer) askLag() {
	select {
	case c.lagNow <- struct{}{}:
	default:
	}
}

func (c *Consumer) refreshLag(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, max(c.cfg.LagInterval, 5*time.Second))
	defer cancel()
	starts, err := c.admin.ListStartOffsets(ctx, c.Topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		c.reach(ctx, err)
		return
	}
	// The last stable offset: what read_committed can see.
	ends, err := c.admin.ListCommittedOffsets(ctx, c.Topic)
	if err == nil {
		err = ends.Error()
	}
	c.reach(ctx, err)
	if err != nil {
		return
	}
	for _, l := range c.held() {
		start, _ := starts.Lookup(l.topic, l.partition)
		if end, ok := ends.Lookup(l.topic, l.partition); ok {
			l.bounds(start.Offset, end.Offset, c.cfg.OffsetReset == resetLatest)
		}
	}
	c.exportLag()
}

// reach notes whether the broker answers, and logs a change.
func (c *Consumer) reach(ctx context.Context, err error) {
	if c.work.Err() != nil {
		return
	}
	if was := c.reachable.Swap(err == nil); was && err != nil {
		c.Log.WarnContext(ctx, "the ends of the partitions cannot be read", "topic", c.Topic, "error", err)
	}
}

// bounds notes the ends of the log. A watermark with nothing above it moves
// over what retention has deleted.
func (l *lease) bounds(start, end int64, latest bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.end, l.logStart = max(l.end, end), start
	if l.from < 0 {
		l.from = start
		if latest {
			l.from = end
		}
	}
	if l.tracker.watermark >= 0 && l.tracker.skipTo(min(start, end)) {
		l.changes++
	}
	if l.tracker.watermark >= 0 {
		l.acquitIdle(end)
	}
}

// lag is the number of offsets that have no acknowledged answer, and the
// timestamp of the first of them that was taken in.
func (l *lease) lag() (records int64, oldest time.Time, waiting bool) {
	l.mu.Lock()
	defer l.mu.Unlock()
	from := l.tracker.watermark
	if from < 0 {
		from = l.from
	}
	if from = max(from, min(l.logStart, l.end)); from >= 0 {
		records = max(0, l.end-from-int64(l.tracker.done)-l.answeredAhead())
	}
	oldest, waiting = l.tracker.oldest()
	return records, oldest, waiting
}

// exportLag sets the gauges of what is held. It holds mu, so that it cannot
// bring back the series of a lease that is being dropped.
func (c *Consumer) exportLag() {
	c.mu.Lock()
	defer c.mu.Unlock()
	now := time.Now()
	var sum int64
	var oldest float64
	for p, l := range c.leases {
		records, since, waiting := l.lag()
		age := 0.0
		if waiting {
			age = max(0, now.Sub(since).Seconds()) // clocks may differ
		}
		sum += records
		oldest = max(oldest, age)
		id := strconv.Itoa(int(p.id))
		c.Metrics.LagRecords.WithLabelValues(p.topic, id).Set(float64(records))
		c.Metrics.LagSeconds.WithLabelValues(p.topic, id).Set(age)
	}
	c.Metrics.QueueLen.Set(float64(sum))
	c.Metrics.OldestRecord.Set(oldest)
}

// forget is called under mu.
func (c *Consumer) forget(p partition) {
	id := strconv.Itoa(int(p.id))
	c.Metrics.LagRecords.DeleteLabelValues(p.topic, id)
	c.Metrics.LagSeconds.DeleteLabelValues(p.topic, id)
}
