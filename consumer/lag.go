package consumer

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/lag"
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
	ends, err := lag.Read(ctx, c.admin, c.Topics)
	c.reach(ctx, err)
	if err != nil {
		return
	}
	for _, l := range c.held() {
		if start, end, ok := ends.Of(l.topic, l.partition); ok {
			l.bounds(start, end, c.cfg.OffsetReset == resetLatest)
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
		c.Log.WarnContext(ctx, "the ends of the partitions cannot be read", "topics", c.Topics, "error", err)
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

// lag is what the gauges show of the partition.
func (l *lease) lag() lag.Partition {
	l.mu.Lock()
	defer l.mu.Unlock()
	p := lag.Partition{Topic: l.topic, ID: l.partition, Records: lag.Records(l.tracker.watermark, l.from, l.logStart, l.end)}
	if oldest, waiting := l.tracker.oldest(); waiting {
		p.Since = oldest
	}
	if p.Records > 0 { // those above the watermark that are answered
		p.Records = max(0, p.Records-int64(l.tracker.done)-l.answeredAhead())
	}
	return p
}

// exportLag sets the gauges of what is held. It holds mu, so that it cannot
// bring back the series of a lease that is being dropped.
func (c *Consumer) exportLag() {
	c.mu.Lock()
	defer c.mu.Unlock()
	lag.Export(c.Metrics, func(yield func(lag.Partition) bool) {
		for _, l := range c.leases {
			if !yield(l.lag()) {
				return
			}
		}
	})
}

// forget is called under mu.
func (c *Consumer) forget(p partition) { lag.Forget(c.Metrics, p.topic, p.id) }
