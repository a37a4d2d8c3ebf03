package worker

import (
	"context"
	"log/slog"
	"runtime"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tracing"
)

// Publisher publishes answers.
type Publisher interface {
	// Publish sends the answer, and the dead letter when it is no prediction.
	// It may block for backpressure only. acked is called exactly once, when
	// the broker has acknowledged all of it, with the status that was
	// published, or with an error when it cannot be published. Answers of one
	// partition are published in the order of the calls.
	Publish(ctx context.Context, a *wire.Answer, acked func(status string, err error))
}

// Source gives the model that a request is for.
type Source interface {
	// Acquire returns the snapshot for a request's header model ("" is the
	// default), held: the caller releases it. It does not block. It fails with
	// [model.NotFound] for a name that is not served, [model.Unavailable] for
	// one that did not load, and [*model.LoadingError] for one that may soon.
	Acquire(name string) (*model.Snapshot, error)
}

// Cancellations knows which requests nobody waits for any more.
type Cancellations interface {
	// Cancelled is asked once a record, before it is decoded.
	Cancelled(r *kgo.Record) bool
}

// Outcomes learns how the versions of a model do.
type Outcomes interface {
	// Observe is told, once a call of a snapshot's model, that n requests were
	// answered or failed by the model's fault, and how long the call took. A
	// call that failed and was split counts as the calls that came of it.
	Observe(s *model.Snapshot, ok bool, took time.Duration, n int)
}

// Deps is what a pool works with.
type Deps struct {
	Logger        *slog.Logger
	Metrics       *metrics.Worker
	Source        Source
	Publisher     Publisher
	Cancellations Cancellations     // nil: there are none
	Routes        map[string]string // by topic, the model of requests that name none; the default where there is no route
	Router        Router            // nil: a request runs on the model that it names
	Witness       Witness           // nil: nobody looks
	Traces        *tracing.Worker   // nil: no request is followed
	Outcomes      Outcomes          // nil: nobody asks
}

// Pool batches records and runs the model on them.
type Pool struct {
	cfg   Config
	deps  Deps
	codec func(*model.Snapshot) codec

	complaints complaints

	earlier chan struct{} // capacity 1: the alarm was set to an earlier time
	rested  chan struct{} // capacity 1: an executor found nothing to do

	holds sync.WaitGroup // who waits for models to load; of Run and its executors

	mu        sync.Mutex // guards what follows
	ready     sync.Cond
	queue     queue
	idle      int   // executors that wait
	closed    error // why nothing is taken any more
	seqs      map[seqKey]*sequence
	deadlines deadlines // of what is in the queue
	alarm     int64     // when deadlines are looked at next, in Unix nanoseconds; 0: not before one comes
}

// item is one record on its way. Who holds it changes hands: the queue, then
// one executor, then its sequence.
type item struct {
	rec    *kgo.Record
	done   func(*kgo.Record, error)
	seq    *sequence
	model  string
	queued time.Time
	turn   uint64 // in the queue
	held   int64  // since when it waits for its model to load, in Unix nanoseconds; 0 when it did not
	until  int64  // how long it may

	deadline int64 // in Unix nanoseconds, noDeadline or unreadableDeadline
	place    int   // in the pool's deadlines, while it is in the queue
	lapsed   bool  // guarded by the pool's mu: expired in the queue

	answer   *wire.Answer
	outputs  []model.Tensor // kept for the witness
	answered time.Time
	series   *series
	trace    *tracing.Request // nil when it is not followed

	finished bool  // guarded by seq.mu
	err      error // guarded by seq.mu: given back
	told     bool  // guarded by seq.mu: done was called
}

// New returns a pool that Run starts.
func New(cfg Config, deps Deps) *Pool {
	if cfg.Executors == 0 {
		// While the model's calls hold all the cores, one more decodes the
		// next batch or publishes the last.
		cfg.Executors = runtime.GOMAXPROCS(0) + 1
	}
	p := &Pool{
		cfg: cfg, deps: deps, codec: snapshotCodec, seqs: map[seqKey]*sequence{},
		earlier: make(chan struct{}, 1), rested: make(chan struct{}, 1),
	}
	p.ready.L = &p.mu
	return p
}

// Run executes until ctx ends, which kills the work: what is not published by
// then is given back. It returns when every executor has; answers handed to
// the publisher are resolved by it.
func (p *Pool) Run(ctx context.Context) error {
	shut := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(shut)
		p.shut(context.Cause(ctx))
	})
	var wg sync.WaitGroup
	wg.Go(func() { p.expire(ctx) })
	for range p.cfg.Executors {
		wg.Go(func() { newExecutor(p).run(ctx) })
	}
	wg.Wait()
	p.holds.Wait()
	if !stop() {
		<-shut // it may still give records back
	}
	return nil
}

// shut refuses what comes and gives back what no executor has taken.
func (p *Pool) shut(cause error) {
	p.mu.Lock()
	p.closed = cause
	queue := p.queue.empty()
	p.deadlines = nil
	p.deps.Metrics.Queued.Sub(float64(len(queue)))
	for _, s := range p.seqs {
		s.forget()
	}
	clear(p.seqs)
	p.ready.Broadcast()
	p.rest()
	p.mu.Unlock()
	p.giveBack(queue, cause)
}

// modelOf is the name of the model that a record's request runs on: what the
// record says, else what its topic's route does, "" being the default; and of
// its versions the one that the router says.
func (p *Pool) modelOf(r *kgo.Record) string {
	name := p.deps.Routes[r.Topic]
	if own, ok := wire.Header(r, wire.Model); ok && len(own) > 0 {
		name = string(own)
	}
	if p.deps.Router != nil {
		return p.deps.Router.Route(r, name)
	}
	return name
}

// Submit hands over records of one partition, in offset order, under a lease
// whose context is ctx. done is called exactly once a record: with nil when
// its answer is acknowledged, else with the reason why it has to be consumed
// again.
func (p *Pool) Submit(ctx context.Context, recs []*kgo.Record, done func(*kgo.Record, error)) {
	if len(recs) == 0 {
		return
	}
	items := make([]item, len(recs))
	now := time.Now()
	for i, r := range recs {
		items[i] = item{rec: r, done: done, queued: now, model: p.modelOf(r)}
		items[i].deadline = deadlineOf(&items[i])
	}
	p.mu.Lock()
	cause := p.closed
	if cause == nil && ctx.Err() != nil {
		cause = context.Cause(ctx)
	}
	if cause != nil {
		p.mu.Unlock()
		for _, r := range recs {
			done(r, cause)
		}
		return
	}
	seq := p.sequence(ctx, recs[0])
	seq.add(items)
	for i := range items {
		p.queue.push(&items[i])
		p.watch(&items[i])
	}
	p.deps.Metrics.Queued.Add(float64(len(recs)))
	if len(recs) == 1 {
		p.ready.Signal()
	} else {
		p.ready.Broadcast()
	}
	p.mu.Unlock()
}

// take waits for records and returns a fair share of those of one model; nil
// when the pool is closed.
func (p *Pool) take(batch []*item) []*item {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.idle++
	defer func() { p.idle-- }()
	for p.closed == nil && (p.queue.len == 0 || p.delayed()) {
		if p.queue.len == 0 {
			p.rest()
			p.ready.Wait()
		}
	}
	if p.closed != nil {
		return nil
	}
	batch = p.queue.take(batch, min((p.queue.len+p.idle-1)/p.idle, p.cfg.MaxBatch))
	for _, it := range batch {
		p.unwatch(it)
	}
	p.deps.Metrics.Queued.Sub(float64(len(batch)))
	p.deps.Metrics.Running.Add(float64(len(batch)))
	if p.queue.len > 0 {
		p.ready.Signal()
	}
	return batch
}

// delayed waits for a batch to fill, when it may, and says whether to look
// again.
func (p *Pool) delayed() bool {
	if p.cfg.BatchDelay == 0 || p.queue.len >= p.cfg.MaxBatch {
		return false
	}
	left := p.cfg.BatchDelay - time.Since(p.queue.head().queued)
	if left <= 0 {
		return false
	}
	t := time.AfterFunc(left, func() {
		p.mu.Lock()
		p.ready.Broadcast()
		p.mu.Unlock()
	})
	p.ready.Wait()
	t.Stop()
	return p.closed == nil // nobody wakes who waits again after that
}
