package consumer

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// answering is a pool that answers by producing, after a while.
type answering struct {
	client *kgo.Client
	delay  func() time.Duration
	sent   atomic.Int64

	mu    sync.Mutex
	turn  sync.Mutex // guards queue
	queue map[int32][]func()
	last  map[int32]time.Time // answers of a partition keep its order, as the worker's do
}

func (p *answering) enqueue(partition int32, answer func()) {
	p.turn.Lock()
	defer p.turn.Unlock()
	if p.queue == nil {
		p.queue = make(map[int32][]func())
	}
	p.queue[partition] = append(p.queue[partition], answer)
}

func (p *answering) after(partition int32) time.Duration {
	p.mu.Lock()
	defer p.mu.Unlock()
	at := time.Now()
	if p.delay != nil {
		at = at.Add(p.delay())
	}
	if last := p.last[partition].Add(time.Microsecond); at.Before(last) {
		at = last
	}
	if p.last == nil {
		p.last = make(map[int32]time.Time)
	}
	p.last[partition] = at
	return time.Until(at)
}

func (p *answering) Submit(ctx context.Context, recs []*kgo.Record, done func(*kgo.Record, error)) {
	for _, r := range recs {
		p.enqueue(r.Partition, func() {
			if ctx.Err() != nil {
				done(r, context.Cause(ctx))
				return
			}
			p.sent.Add(1)
			p.client.Produce(context.WithoutCancel(ctx), &kgo.Record{Topic: out, Value: r.Value}, func(_ *kgo.Record, err error) { done(r, err) })
		})
		time.AfterFunc(p.after(r.Partition), func() {
			// Timers a microsecond apart may fire in any order: who fires
			// answers the first that waits.
			p.turn.Lock()
			defer p.turn.Unlock()
			next := p.queue[r.Partition][0]
			p.queue[r.Partition] = p.queue[r.Partition][1:]
			next()
		})
	}
}

// holding is a pool that keeps records until it is told.
type holding struct {
	mu   sync.Mutex
	recs []*kgo.Record
	done []func(*kgo.Record, error)
	ctx  context.Context //nolint:containedctx // The last lease's, for tests to look at.
	back bool            // give back what is held when the lease ends
}

func (p *holding) Submit(ctx context.Context, recs []*kgo.Record, done func(*kgo.Record, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.recs, p.ctx = append(p.recs, recs...), ctx
	for range recs {
		p.done = append(p.done, done)
	}
	if p.back {
		context.AfterFunc(ctx, func() {
			for _, r := range recs {
				done(r, context.Cause(ctx))
			}
		})
	}
}

func (p *holding) held() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.recs)
}

// answer resolves the first n that are held.
func (p *holding) answer(n int, err error) {
	p.mu.Lock()
	recs, done := p.recs[:n], p.done[:n]
	p.recs, p.done = p.recs[n:], p.done[n:]
	p.mu.Unlock()
	for i, r := range recs {
		done[i](r, err)
	}
}

// answerIf resolves what is held and chosen.
func (p *holding) answerIf(chosen func(*kgo.Record) bool) {
	p.mu.Lock()
	var recs []*kgo.Record
	var done []func(*kgo.Record, error)
	kept, keptDone := p.recs[:0:0], p.done[:0:0]
	for i, r := range p.recs {
		if chosen(r) {
			recs, done = append(recs, r), append(done, p.done[i])
		} else {
			kept, keptDone = append(kept, r), append(keptDone, p.done[i])
		}
	}
	p.recs, p.done = kept, keptDone
	p.mu.Unlock()
	for i, r := range recs {
		done[i](r, nil)
	}
}

// hole is a pool that answers all at once, but for one record.
type hole struct {
	partition int32
	offset    int64
	kept      atomic.Pointer[func()]
}

func (p *hole) Submit(_ context.Context, recs []*kgo.Record, done func(*kgo.Record, error)) {
	for _, r := range recs {
		if r.Partition == p.partition && r.Offset == p.offset {
			late := func() { done(r, nil) }
			p.kept.Store(&late)
			continue
		}
		done(r, nil)
	}
}

func (p *hole) fill() { (*p.kept.Load())() }
