// Package sharegroup takes requests in from a share group (KIP-932), in which
// the broker hands single records to members and workers may outnumber
// partitions. Requests are answered at least once, in no order.
//
// A worker has several lanes, each a member of its own. A lane polls, submits
// what it got to the pool, waits until every record is answered or given back,
// acknowledges each, and only then polls again: the client takes a record that
// is not acknowledged at the next poll for done.
//
// An answer is published before its request is acknowledged, and the two are
// not one transaction: after a crash in between, or when a lock ran out, a
// request is answered again, under the same id.
package sharegroup

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/metrics"
)

// Pool answers records.
type Pool interface {
	// Submit hands over records of one partition, in offset order, under a lease whose context is ctx. It does not
	// block: what a lane takes is bounded. done is called exactly once a record, from any goroutine: nil = its answer
	// is acknowledged by the broker; an error = not answered, it has to be delivered again. When ctx is cancelled,
	// records no executor has taken yet are given back at once; those running are finished.
	Submit(ctx context.Context, recs []*kgo.Record, done func(*kgo.Record, error))
}

// What Run returns, or what a record is given back with.
var (
	ErrStopped = errors.New("queue stopped")
	ErrStalled = errors.New("work in flight makes no progress")
)

// Deps is what a queue works with.
type Deps struct {
	Topics  []string // that requests are taken from
	Pool    Pool     // may be set after New, for its Publisher is the queue's
	Log     *slog.Logger
	Metrics *metrics.Consumer
	Series  *metrics.Queue
	// Client options of the process: addresses, TLS, SASL.
	Client []kgo.Opt
}

// Queue is a worker's part in the pool's share group.
type Queue struct {
	Deps
	cfg    Config
	member Member
	client *kgo.Client  // set by Run before anything uses it
	admin  *kadm.Client // likewise
	lanes  []*lane      // likewise
	solo   solo

	attempts  atomic.Int32 // deliveries in which a record is tried
	reachable atomic.Bool  // the broker answered the last question
	stopping  atomic.Bool
	stalled   atomic.Bool
	submitted atomic.Int64 // records in the pool
	answered  atomic.Int64 // records that came back from it, since the start

	mu      sync.Mutex // guards what follows
	records int        // taken in and not acknowledged
	bytes   int64
	shown   map[partition]bool // partitions whose lag is exported
}

// New checks the options and starts nothing.
func New(cfg Config, member Member, deps Deps) (*Queue, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	q := &Queue{Deps: deps, cfg: cfg, member: member, shown: make(map[partition]bool)}
	q.solo.changed = make(chan struct{})
	q.attempts.Store(defaultAttempts)
	if err := kgo.ValidateOpts(newLane(q, 0).options()...); err != nil {
		return nil, fmt.Errorf("share group's options: %w", err)
	}
	return q, nil
}

// Run takes requests in until ctx ends, then drains: intake stops at once, what
// is in flight is waited for under DrainTimeout while locks are renewed, what
// has no answer is released, and the group is left. It returns nil after a
// stop, ErrStalled when the watchdog ended it, and an error that says what is
// needed when the broker has no share groups or does not let this one be
// configured.
func (q *Queue) Run(ctx context.Context) error {
	cl, err := kgo.NewClient(q.Client...)
	if err != nil {
		return fmt.Errorf("queue's client: %w", err)
	}
	defer cl.Close()
	q.client, q.admin = cl, kadm.NewClient(cl)
	if err = kafka.WaitTopics(ctx, cl, q.Log, q.Topics...); err == nil {
		err = q.prepare(ctx)
	}
	if ctx.Err() != nil {
		return nil
	}
	if err != nil {
		return err
	}
	return q.run(ctx)
}

func (q *Queue) run(ctx context.Context) error {
	intake, stopIntake := context.WithCancelCause(ctx)
	defer stopIntake(nil)
	lanes, err := q.open()
	if err != nil {
		return err
	}
	// Beyond the intake live the lease of what the pool has, and the waiting
	// for what it does not give back.
	lease, endLease := context.WithCancelCause(context.WithoutCancel(ctx))
	defer endLease(ErrStopped)
	wait, endWait := context.WithCancel(context.WithoutCancel(ctx))
	defer endWait()
	var side, work sync.WaitGroup
	for _, l := range lanes {
		work.Go(func() { l.run(intake, lease, wait) })
	}
	side.Go(func() { q.lagLoop(wait) })
	side.Go(func() { q.watchLoop(wait, stopIntake) })
	<-intake.Done()

	q.stopping.Store(true)
	ended := make(chan struct{})
	go func() {
		work.Wait()
		close(ended)
	}()
	if !q.stalled.Load() && !within(ended, q.member.DrainTimeout) {
		q.Log.Warn("records are in flight after the drain's limit; what is queued is given back", "limit", q.member.DrainTimeout)
	}
	endLease(ErrStopped)
	if !q.stalled.Load() && !within(ended, runningBound) {
		q.Log.Warn("records are running after the stop's limit; they will be answered again", "limit", runningBound)
	}
	endWait()
	<-ended
	side.Wait()
	q.forgetLag()
	if q.stalled.Load() {
		return ErrStalled
	}
	return nil
}

// runningBound is the longest wait, at a stop, for what executors had taken
// when the drain's limit had passed.
const runningBound = 10 * time.Second

func within(done <-chan struct{}, d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-done:
		return true
	case <-timer.C:
		return false
	}
}

// open makes the lanes' clients, which join the group.
func (q *Queue) open() ([]*lane, error) {
	for i := range q.cfg.Lanes {
		l := newLane(q, i)
		var err error
		if l.cl, err = kgo.NewClient(l.options()...); err != nil {
			for _, opened := range q.lanes {
				opened.cl.Close()
			}
			return nil, fmt.Errorf("lane's client: %w", err)
		}
		q.mu.Lock()
		q.lanes = append(q.lanes, l)
		q.mu.Unlock()
	}
	return q.lanes, nil
}

// Ready says that this worker takes part in the group, that Kafka answers, and
// that no stop has begun.
func (q *Queue) Ready() bool {
	return q.joined() > 0 && q.reachable.Load() && !q.stopping.Load()
}

// joined counts the lanes that the broker has let fetch.
func (q *Queue) joined() int {
	q.mu.Lock()
	defer q.mu.Unlock()
	n := 0
	for _, l := range q.lanes {
		if l.joined.Load() {
			n++
		}
	}
	return n
}

// Healthy is false when the watchdog has tripped: only a restart helps.
func (q *Queue) Healthy() bool { return !q.stalled.Load() }

// Drained says that nothing is in flight: every record handed to the pool was
// answered or given back. More may come unless Run has returned.
func (q *Queue) Drained() bool { return q.submitted.Load() == 0 }

// hold counts what was taken in, or with negative numbers what is done with.
func (q *Queue) hold(records int, bytes int64) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.records += records
	q.bytes += bytes
	q.Metrics.InFlightRecords.Set(float64(q.records))
	q.Metrics.InFlightBytes.Set(float64(q.bytes))
}
