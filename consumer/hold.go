package consumer

import "github.com/millrace/millrace/internal/checkpoint"

// pollMax bounds a poll, and with it how far a partition may run ahead before
// it is seen to.
const pollMax = 4096

// roomMin is the metadata below which nothing is held back: a broker that
// takes no more could stop a partition for a single record.
const roomMin = 1024

// mayOverflow says that the metadata could not hold which records above the
// watermark are answered, whichever these will be; mu is held.
func (l *lease) mayOverflow() bool {
	last := l.tracker.last()
	if n := len(l.restored); n > 0 {
		last = max(last, l.restored[n-1].Last)
	}
	span := last - l.tracker.watermark + 1
	if l.tracker.watermark < 0 || span <= 0 || l.room < roomMin {
		return false
	}
	if l.held { // let it move well away before it is fetched again
		span *= 2
	}
	return checkpoint.Overflows(l.room, span+pollMax, l.tracker.n+len(l.restored)+1)
}

// wantsHold says that the partition should not be fetched; mu is held.
func (l *lease) wantsHold(most int) bool {
	return !l.closed && (l.mayOverflow() || l.guard.wantsHold(most, l.held))
}

// hold pauses the fetching of one partition, or resumes it, as its lease needs
// it. The others, and the polling, go on.
func (c *Consumer) hold(l *lease) {
	c.holds.Lock()
	defer c.holds.Unlock()
	l.mu.Lock()
	was, want := l.held, l.wantsHold(c.cfg.MaxRecords)
	l.held = want
	watermark, last := l.tracker.watermark, l.tracker.last()
	l.mu.Unlock()
	if was == want {
		return
	}
	which := map[string][]int32{l.topic: {l.partition}}
	if !want {
		c.cl.ResumeFetchPartitions(which)
		c.Metrics.HeldPartitions.Dec()
		return
	}
	c.cl.PauseFetchPartitions(which)
	c.Metrics.HeldPartitions.Inc()
	c.Metrics.Holds.Inc()
	c.Log.Warn("partition is held back until its watermark has moved",
		"topic", l.topic, "partition", l.partition, "watermark", watermark, "last", last)
}
