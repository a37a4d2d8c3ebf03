package worker

import (
	"context"
	"errors"
	"time"

	"github.com/millrace/millrace/model"
)

// hold puts the records of a batch back when their model is being loaded, until
// that has ended or they have waited for as long as they may. No executor waits
// with them. It returns those that are to be answered now.
func (e *executor) hold(ctx context.Context, batch []*item, failed error, now time.Time) []*item {
	loading := (*model.LoadingError)(nil)
	if !errors.As(failed, &loading) || !now.Before(loading.Until) {
		return batch
	}
	var held []*item
	rest := batch[:0]
	e.mu.Lock()
	for _, it := range batch {
		if it.held == 0 {
			it.held, it.until = now.UnixNano(), loading.Until.UnixNano()
		}
		// One whose lease has ended would not be found there by who gives back
		// what is queued.
		if e.closed != nil || it.seq.lease.Err() != nil || now.UnixNano() >= it.until {
			rest = append(rest, it)
			continue
		}
		held = append(held, it)
		e.watch(it)
	}
	if len(held) > 0 && e.queue.hold(held) {
		e.holds.Go(func() { e.await(ctx, held[0].model, loading) })
	}
	e.mu.Unlock()
	e.deps.Metrics.Running.Sub(float64(len(held)))
	e.deps.Metrics.Queued.Add(float64(len(held)))
	clear(batch[len(rest):])
	return rest
}

// await lets the records of a model go on when its load has ended.
func (p *Pool) await(ctx context.Context, name string, loading *model.LoadingError) {
	timer := time.NewTimer(time.Until(loading.Until))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-loading.Done:
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	p.queue.release(name)
	p.ready.Broadcast()
}
