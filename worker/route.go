package worker

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// Router divides requests among versions. Its methods must not block.
type Router interface {
	// Route names the model that a record's request runs on, for
	// [Source.Acquire]. requested is the model that the record asks for, "" for
	// the default. It is called once a record, and has to say the same of the
	// same record after a crash.
	Route(r *kgo.Record, requested string) string
	// Ran is told of a batch of n records that runs on the model of a name that
	// Route gave.
	Ran(name string, n int)
	// Instead names the model to run a request on once more when failed, which
	// was acquired by name, failed on it by its own fault. ok is false when the
	// failure is to be the answer.
	Instead(name string, failed *model.Snapshot) (other string, ok bool)
}

// Witness sees what is answered. Its methods must not block.
type Witness interface {
	// Wants is asked once a prediction whether its outputs are kept for
	// Answered.
	Wants(r *kgo.Record, by *model.Snapshot) bool
	// Answered is told of an answer that the broker has acknowledged, with the
	// outputs that Wants asked for. It is called before the record is resolved.
	Answered(a *wire.Answer, outputs []model.Tensor)
}

// instead puts a request back that another model than the one that failed may
// answer, and says whether it did.
func (e *executor) instead(ctx context.Context, t task, verdict *model.Error) bool {
	if e.deps.Router == nil || e.snap == nil || !ours(verdict.Code) || wire.DeliveryOf(t.rec).Code != "" {
		return false
	}
	name, ok := e.deps.Router.Instead(t.model, e.snap)
	if ok {
		e.again(ctx, t.item, name)
	}
	return ok
}

// again puts a record to the head of the queue, for its partition waits for it,
// to run on the model of that name.
func (p *Pool) again(ctx context.Context, it *item, name string) {
	p.mu.Lock()
	if cause := p.closed; cause != nil {
		p.mu.Unlock()
		p.finish(ctx, it, cause)
		return
	}
	it.model = name
	p.queue.putBack(it)
	p.watch(it)
	p.deps.Metrics.Queued.Inc()
	p.deps.Metrics.Running.Dec()
	p.ready.Signal()
	p.mu.Unlock()
}

// AwaitIdle returns when nothing waits for an executor and one has nothing to
// do, or when the pool is closed. It fails when ctx ends first. One goroutine
// may wait at a time.
func (p *Pool) AwaitIdle(ctx context.Context) error {
	for {
		p.mu.Lock()
		idle := p.closed != nil || p.queue.len == 0 && p.idle > 0
		p.mu.Unlock()
		if idle {
			return nil
		}
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-p.rested:
		}
	}
}

// rest tells who waits for an executor to be idle; p.mu is held.
func (p *Pool) rest() {
	select {
	case p.rested <- struct{}{}:
	default:
	}
}
