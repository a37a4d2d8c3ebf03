package shadow

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

var (
	errTrailing = errors.New("more than one value")
	errStopped  = errors.New("the shadow has stopped")
)

// Source gives the shadow's snapshot, held, for "".
type Source interface {
	Acquire(name string) (*model.Snapshot, error)
}

// Pool runs requests, as the worker's does. done is called once a record.
type Pool interface {
	Submit(ctx context.Context, recs []*kgo.Record, done func(*kgo.Record, error))
}

// Deps is what a [Runner] works with.
type Deps struct {
	Log       *slog.Logger
	Metrics   *metrics.Shadow
	Reference string // for people
	Source    Source
	Batch     int                                 // most records handed to the pool at a time
	In        func(*kgo.Record) bool              // whether a request is in the share that is shadowed
	For       func(answered *model.Snapshot) bool // whether an answer is of the model that the shadow is of
	Topic     string                              // where results go; empty: nowhere
	Opts      []kgo.Opt                           // of the client that publishes them

	// Idle returns when the workers have nothing to do, or fails when ctx ends.
	Idle func(ctx context.Context) error
}

// Runner is the witness of the pool whose answers are shadowed. It hands their
// requests to Pool, a pool of its own whose publisher and witness is
// [Runner.Judge].
type Runner struct {
	cfg   Config
	deps  Deps
	queue queue
	full  prometheus.Counter // dropped: looked up once, for a busy worker drops most

	Pool Pool // set before Run

	identity atomic.Pointer[string] // of the shadow's version, nil while there is none
	off      atomic.Pointer[string] // why there is none
	answers  atomic.Int64
	differ   atomic.Int64
	refused  atomic.Bool // the broker takes no results: said once until it does

	cl *kgo.Client // owned by Run
}

// New makes a runner; Run starts it.
func New(cfg Config, deps Deps) *Runner {
	r := &Runner{cfg: cfg, deps: deps}
	r.queue = queue{records: cfg.MaxRecords, most: cfg.MaxBytes, gauge: deps.Metrics.Queued, filled: make(chan struct{}, 1)}
	r.full = deps.Metrics.Dropped.WithLabelValues(metrics.DroppedFull)
	r.off.Store(new("its version is not loaded yet"))
	for _, reason := range []string{metrics.DroppedStopped, metrics.DroppedPublish, metrics.DroppedUnloaded} {
		deps.Metrics.Dropped.WithLabelValues(reason)
	}
	return r
}

// Refresh looks anew at what the shadow has loaded.
func (r *Runner) Refresh() {
	s, err := r.deps.Source.Acquire("")
	if err != nil {
		why := model.AsError(err).Message
		r.identity.Store(nil)
		switch was := r.off.Swap(&why); {
		case was == nil:
			r.deps.Log.Warn("the shadow is switched off", "reason", why)
		case *was != why:
			r.deps.Log.Info("the shadow cannot run yet", "reason", why)
		}
		return
	}
	defer func() { _ = s.Release() }() // closed by who follows it
	id := s.Identity
	if was := r.identity.Swap(&id); was == nil || *was != id {
		r.deps.Log.Info("the shadow runs beside the answers", "model", s.Name, "version", s.Version)
	}
	r.off.Store(nil)
}

// Wants says whether a prediction is shadowed. A request that a worker has ended
// at before is not: should it have been the shadow's doing, it is not its again.
func (r *Runner) Wants(rec *kgo.Record, by *model.Snapshot) bool {
	id := r.identity.Load()
	if id == nil || *id == by.Identity || !r.deps.For(by) || !r.deps.In(rec) || wire.DeliveryOf(rec).Attempts > 1 {
		return false
	}
	if r.queue.full() {
		r.full.Inc()
		return false
	}
	return true
}

// Answered queues a request that has been answered.
func (r *Runner) Answered(a *wire.Answer, outputs []model.Tensor) {
	if outputs == nil { // not wanted
		return
	}
	if !r.queue.put(job{a, outputs}) {
		r.full.Inc()
	}
}

func (r *Runner) drop(reason string, n int) {
	r.deps.Metrics.Dropped.WithLabelValues(reason).Add(float64(n))
}

// Run works on the queue until ctx ends, and then on what is left of it within
// DrainTimeout. Nothing may be answered any more by then.
func (r *Runner) Run(ctx context.Context) error {
	cl, err := kgo.NewClient(slices.Concat(r.deps.Opts, []kgo.Opt{
		// Few are worth little alone, and none is worth waiting for.
		kgo.ProducerLinger(20 * time.Millisecond), kgo.MaxBufferedRecords(r.cfg.MaxRecords),
		kgo.RecordDeliveryTimeout(deliveryTimeout), kgo.UnknownTopicRetries(2),
	})...)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	r.cl = cl
	lease, end := context.WithCancelCause(context.WithoutCancel(ctx))
	var bound sync.WaitGroup
	bound.Go(func() { r.bound(ctx, lease, end) })
	defer bound.Wait()
	defer end(errStopped)
	for r.await(ctx) == nil {
		r.work(lease)
	}
	for lease.Err() == nil && !r.queue.empty() {
		r.work(lease)
	}
	r.drop(metrics.DroppedStopped, len(r.queue.take(r.cfg.MaxRecords)))
	_ = cl.Flush(lease) // what is left fails, and is counted
	cl.Close()
	return nil
}

// bound ends the lease when a stop has taken too long.
func (r *Runner) bound(ctx, lease context.Context, end context.CancelCauseFunc) {
	select {
	case <-ctx.Done():
	case <-lease.Done():
		return
	}
	timer := time.NewTimer(r.cfg.DrainTimeout)
	defer timer.Stop()
	select {
	case <-timer.C:
		end(errStopped)
	case <-lease.Done():
	}
}

// deliveryTimeout is how long a result may wait for the broker.
const deliveryTimeout = 30 * time.Second

// await returns when there is work, and nobody to hold up by it.
func (r *Runner) await(ctx context.Context) error {
	for r.queue.empty() {
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-r.queue.filled:
		}
	}
	return r.deps.Idle(ctx)
}

// work runs a batch, and returns when all of it is done or the lease ends.
func (r *Runner) work(lease context.Context) {
	jobs := r.queue.take(r.deps.Batch)
	if len(jobs) == 0 {
		return
	}
	recs := make([]*kgo.Record, len(jobs))
	for i := range jobs {
		recs[i] = again(&jobs[i])
	}
	var left atomic.Int64
	left.Store(int64(len(recs)))
	all := make(chan struct{})
	r.Pool.Submit(lease, recs, func(_ *kgo.Record, err error) {
		if err != nil {
			r.drop(metrics.DroppedStopped, 1)
		}
		if left.Add(-1) == 0 {
			close(all)
		}
	})
	select {
	case <-all:
	case <-lease.Done(): // a call that hangs ends with its pool
	}
}

type jobKey struct{}

// again is a job's request, without what was meant for its first run: deadline,
// model, and whom to answer.
func again(j *job) *kgo.Record {
	was := j.answer.Request
	r := &kgo.Record{
		Topic: was.Topic, Partition: was.Partition, Offset: was.Offset, Key: was.Key, Value: was.Value, Timestamp: was.Timestamp,
		Context: context.WithValue(context.Background(), jobKey{}, j),
	}
	if ct, ok := wire.Header(was, wire.ContentType); ok {
		r.Headers = []kgo.RecordHeader{{Key: wire.ContentType, Value: ct}}
	}
	return r
}

// Status is what GET /models shows of a shadow.
type Status struct {
	Reference string `json:"-"`
	Off       string `json:"off,omitempty"` // why it runs on nothing
	Queued    int    `json:"queued"`
	Answers   int64  `json:"answers"`
	Differing int64  `json:"differing"`
}

// Status describes the shadow.
func (r *Runner) Status() Status {
	s := Status{Reference: r.deps.Reference, Answers: r.answers.Load(), Differing: r.differ.Load()}
	if why := r.off.Load(); why != nil {
		s.Off = *why
	}
	r.queue.mu.Lock()
	s.Queued = len(r.queue.jobs)
	r.queue.mu.Unlock()
	return s
}
