package consumer

import "time"

// advance is when the number of answered records was last found changed.
type advance struct {
	answered int64
	at       time.Time
}

// watch looks for leases whose watermark stands: it tells of them, and ends
// the consumer over one that stands for too long. That it stands is not
// enough: with a slow model a partition's records may wait in the pool for
// those of other partitions. Their turn has come when as many were answered as
// can be in flight, and it never does when none is answered.
func (c *Consumer) watch() bool {
	now, answered := time.Now(), c.answered.Load()
	if answered != c.advance.answered {
		c.advance = advance{answered, now}
	}
	blocked, tripped := 0, false
	for _, l := range c.held() {
		still, others := l.stalled(now, answered)
		stands := func(limit time.Duration) bool { return c.stands(now, still, others, limit) }
		blocks := stands(c.cfg.blockedAfter()) || still > c.cfg.blockedAfter() && l.answeredAbove()
		if blocks {
			blocked++
		}
		if l.turnsBlocked(blocks) {
			c.tellBlocked(l, still)
		}
		if stands(c.cfg.WatchdogTimeout) {
			c.trip(l, still)
			tripped = true
		}
	}
	for _, l := range c.running() {
		if still, others := l.stalled(now, answered); c.stands(now, still, others, c.cfg.WatchdogTimeout) {
			c.trip(l, still)
			tripped = true
		}
	}
	c.Metrics.BlockedPartitions.Set(float64(blocked))
	if tripped {
		c.Metrics.WatchdogTrips.Inc()
		c.stalled.Store(true)
	}
	return tripped
}

// stands says that a lease whose watermark is still, and beside which others were
// answered meanwhile, has been waited for long enough.
func (c *Consumer) stands(now time.Time, still time.Duration, others int64, limit time.Duration) bool {
	waits := now.Sub(c.advance.at) <= limit && others <= int64(c.cfg.MaxRecords)
	return still > limit && !waits
}

// trip notes that the end of a lease is not a clean one.
func (c *Consumer) trip(l *lease, still time.Duration) {
	l.mu.Lock()
	l.stuck = true
	watermark, inFlight := l.tracker.watermark, l.inFlight
	l.mu.Unlock()
	c.Log.Error("work in flight makes no progress; leaving the group", "topic", l.topic, "partition", l.partition,
		"watermark", watermark, "in_flight", inFlight, "still", still)
}

// answeredAbove says that records behind the first are answered.
func (l *lease) answeredAbove() bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.tracker.done > 0
}

// turnsBlocked notes whether a lease is blocked, and says when it becomes so.
func (l *lease) turnsBlocked(now bool) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.blocked
	l.blocked = now
	return now && !was
}

// tellBlocked names the record at the head of a partition.
func (c *Consumer) tellBlocked(l *lease, still time.Duration) {
	l.mu.Lock()
	head, _ := l.tracker.first()
	since, _ := l.tracker.oldest()
	inFlight, above := l.inFlight, l.tracker.done
	l.mu.Unlock()
	c.Metrics.Blocks.Inc()
	c.Log.Warn("a record blocks its partition", "topic", l.topic, "partition", l.partition, "offset", head,
		"still", still, "age", time.Since(since).Round(time.Millisecond), "in_flight", inFlight, "answered_above", above)
}
