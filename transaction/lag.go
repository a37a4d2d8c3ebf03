package transaction

import (
	"context"
	"time"

	"github.com/millrace/millrace/internal/lag"
)

// lagLoop asks the broker for the ends of the held partitions.
func (t *Intake) lagLoop(ctx context.Context) {
	tick, export := time.NewTicker(t.member.LagInterval), time.NewTicker(exportInterval)
	defer tick.Stop()
	defer export.Stop()
	for {
		t.refreshLag(ctx)
		for refresh := false; !refresh; {
			select {
			case <-ctx.Done():
				return
			case <-export.C:
				t.exportLag()
			case <-tick.C:
				refresh = true
			case <-t.lagNow:
				refresh = true
			}
		}
	}
}

// exportInterval is the time between two looks at what was committed.
const exportInterval = 500 * time.Millisecond

func (t *Intake) askLag() {
	select {
	case t.lagNow <- struct{}{}:
	default:
	}
}

func (t *Intake) refreshLag(ctx context.Context) {
	ctx, cancel := context.WithTimeout(ctx, max(t.member.LagInterval, 5*time.Second))
	defer cancel()
	ends, err := lag.Read(ctx, t.admin, t.Topics)
	if !t.stopping.Load() {
		if was := t.reachable.Swap(err == nil); was && err != nil {
			t.Log.WarnContext(ctx, "the ends of the partitions cannot be read", "topics", t.Topics, "error", err)
		}
	}
	if err != nil {
		return
	}
	for _, l := range t.lanes {
		l.mu.Lock()
		for p, held := range l.parts {
			if start, end, ok := ends.Of(p.topic, p.id); ok {
				held.start, held.end = start, max(held.end, end)
				if held.committed >= held.end && held.polled == held.committed && held.guard.Idle() {
					held.stale = true
				}
			}
		}
		l.mu.Unlock()
	}
	t.exportLag()
}

// exportLag sets the gauges of what all lanes hold. It holds their locks, so
// that it cannot bring back the series of a partition that is being dropped.
func (t *Intake) exportLag() {
	for _, l := range t.lanes {
		l.mu.Lock()
		defer l.mu.Unlock()
	}
	lag.Export(t.Metrics, func(yield func(lag.Partition) bool) {
		for _, l := range t.lanes {
			for p, held := range l.parts {
				from := held.start
				if t.member.OffsetReset == resetLatest {
					from = held.end
				}
				if !yield(lag.Partition{
					Topic: p.topic, ID: p.id, Since: held.since,
					Records: lag.Records(held.committed, from, held.start, held.end),
				}) {
					return
				}
			}
		}
	})
}
