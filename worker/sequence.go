package worker

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

type seqKey struct {
	topic     string
	partition int32
	lease     context.Context //nolint:containedctx // A lease is known by its context.
}

// sequence brings the answers of one partition under one lease back into the
// order of their requests. Whoever finishes the head publishes what is
// contiguous; nobody else waits for it.
type sequence struct {
	lease   context.Context //nolint:containedctx // The lease that it stands for.
	ordered bool
	forget  func() bool // stops the watch over the lease

	mu       sync.Mutex // guards what follows
	items    []*item    // not yet published, in the order of submission
	flushing bool       // somebody publishes
	broken   error      // a record was given back: none after it is published
}

// sequence finds or makes the one of a partition's lease; p.mu is held.
func (p *Pool) sequence(ctx context.Context, r *kgo.Record) *sequence {
	key := seqKey{r.Topic, r.Partition, ctx}
	s := p.seqs[key]
	if s == nil {
		s = &sequence{lease: ctx, ordered: p.cfg.Ordered}
		s.forget = context.AfterFunc(ctx, func() { p.drop(key, s) })
		p.seqs[key] = s
	}
	return s
}

// drop ends a sequence whose lease has ended: what no executor has taken is
// given back at once.
func (p *Pool) drop(key seqKey, s *sequence) {
	var gone []*item
	p.mu.Lock()
	delete(p.seqs, key)
	p.queue.withdraw(func(it *item) bool {
		if it.seq != s {
			return false
		}
		p.unwatch(it)
		gone = append(gone, it)
		return true
	})
	p.deps.Metrics.Queued.Sub(float64(len(gone)))
	p.mu.Unlock()
	p.giveBack(gone, context.Cause(s.lease))
}

func (s *sequence) add(items []item) {
	s.mu.Lock()
	for i := range items {
		items[i].seq = s
		if s.ordered {
			s.items = append(s.items, &items[i])
		}
	}
	s.mu.Unlock()
}

// giveBack resolves records that nobody has begun, and leaves a hole in their
// sequences. What waited behind them is resolved with it.
func (p *Pool) giveBack(items []*item, cause error) {
	for _, it := range items {
		it.seq.mu.Lock()
		it.finished, it.err, it.told = true, cause, true
		it.seq.mu.Unlock()
		it.trace.GiveBack(cause)
		it.done(it.rec, cause)
	}
	for _, it := range items {
		it.seq.flush(func(behind *item, reason error) { p.resolve(it.seq.lease, behind, reason) })
	}
}

// finish hands on a record with its answer, or with the reason why it has
// none.
func (p *Pool) finish(ctx context.Context, it *item, err error) {
	p.deps.Metrics.Running.Dec()
	if !it.seq.ordered {
		p.resolve(ctx, it, err)
		return
	}
	it.seq.mu.Lock()
	it.finished, it.err = true, err
	it.seq.mu.Unlock()
	it.seq.flush(func(it *item, reason error) { p.resolve(ctx, it, reason) })
}

// flush resolves what is finished from the head on, unless somebody does.
func (s *sequence) flush(resolve func(*item, error)) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.flushing {
		return
	}
	s.flushing = true
	for len(s.items) > 0 && s.items[0].finished {
		head := s.items[0]
		s.items[0] = nil
		s.items = s.items[1:]
		if s.broken == nil {
			s.broken = head.err
		}
		if head.told {
			continue
		}
		reason := s.broken
		s.mu.Unlock()
		resolve(head, reason)
		s.mu.Lock()
	}
	s.flushing = false
}

func (p *Pool) resolve(ctx context.Context, it *item, err error) {
	if err != nil {
		it.trace.GiveBack(err)
		it.done(it.rec, err)
		return
	}
	p.deps.Publisher.Publish(ctx, it.answer, func(status string, err error) {
		if err == nil {
			p.observe(it, status)
			if p.deps.Witness != nil && status == it.answer.Status { // else another answer took its place
				p.deps.Witness.Answered(it.answer, it.outputs)
			}
		} else {
			it.trace.GiveBack(err)
		}
		it.done(it.rec, err)
	})
}
