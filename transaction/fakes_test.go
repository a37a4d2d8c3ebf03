package transaction

import (
	"context"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// pool answers each request with its value.
type pool struct {
	intake   *Intake
	delay    func() time.Duration
	refuse   bool         // answer with errors
	inferred atomic.Int64 // answers made
	ends     atomic.Int64 // answers whose end was told
	counted  atomic.Int64 // of these, the committed

	mu    sync.Mutex // guards what follows
	hold  bool       // keep records until told
	held  []func()
	recs  []*kgo.Record      // of these
	queue map[int32][]func() // by partition: who fires answers the first
	last  map[int32]time.Time
}

func (p *pool) Submit(ctx context.Context, recs []*kgo.Record, done func(*kgo.Record, error)) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, r := range recs {
		work := func() {
			if ctx.Err() != nil {
				done(r, context.Cause(ctx))
				return
			}
			p.inferred.Add(1)
			a := &wire.Answer{Request: r, Status: "ok", ModelName: "m", ModelVersion: "1", ContentType: "text/plain", Value: r.Value}
			if p.refuse {
				a.Status, a.Message = "INVALID_INPUT", "no"
			}
			p.intake.Publish(ctx, a, func(_ string, err error) {
				p.ends.Add(1)
				if err == nil {
					p.counted.Add(1)
				}
				done(r, err)
			})
		}
		if p.hold {
			p.held, p.recs = append(p.held, work), append(p.recs, r)
			continue
		}
		p.later(r.Partition, work)
	}
}

// later is called under mu. Answers of a partition keep its order.
func (p *pool) later(id int32, work func()) {
	if p.queue == nil {
		p.queue, p.last = make(map[int32][]func()), make(map[int32]time.Time)
	}
	at := time.Now()
	if p.delay != nil {
		at = at.Add(p.delay())
	}
	if after := p.last[id].Add(time.Microsecond); at.Before(after) {
		at = after
	}
	p.last[id] = at
	p.queue[id] = append(p.queue[id], work)
	time.AfterFunc(time.Until(at), func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		next := p.queue[id][0]
		p.queue[id] = p.queue[id][1:]
		next()
	})
}

// waiting is the number of records that are held.
func (p *pool) waiting() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}

// answer lets the first n go.
func (p *pool) answer(n int) {
	p.mu.Lock()
	free := p.held[:n]
	p.held, p.recs = p.held[n:], p.recs[n:]
	p.mu.Unlock()
	for _, work := range free {
		work()
	}
}

// answerIf lets some go.
func (p *pool) answerIf(which func(*kgo.Record) bool) {
	p.mu.Lock()
	held, recs := p.held, p.recs
	p.held, p.recs = nil, nil
	var free []func()
	for i, r := range recs {
		if which(r) {
			free = append(free, held[i])
		} else {
			p.held, p.recs = append(p.held, held[i]), append(p.recs, r)
		}
	}
	p.mu.Unlock()
	for _, work := range free {
		work()
	}
}

// release lets all go, and holds none any more.
func (p *pool) release() {
	p.mu.Lock()
	p.hold = false
	p.mu.Unlock()
	p.answer(p.waiting())
}
