// Package transaction takes requests in and has them answered exactly once:
// under read_committed, a request's answers and the commit of its offset are
// seen together or not at all.
//
// A worker has a few lanes, each a member of the group with one client and one
// transactional id. A lane goes through cycles: it polls and hands the records
// to the pool; when every one has its answer it begins a transaction, publishes
// all answers, and commits them together with the offsets. A transaction is
// open for no longer than that, however slow the model is. What a transaction
// that was aborted held is kept in a memo, and published again without a second
// inference when its requests are polled again.
package transaction

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
	"golang.org/x/sync/semaphore"

	"github.com/millrace/millrace/internal/checkpoint"
	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
)

// Pool answers records.
type Pool interface {
	// Submit hands over records of one partition, in offset order, under a lease whose context is ctx. It does not
	// block. Each record comes to one end, from any goroutine: its answer is handed to the intake's Publish, or done
	// is called with the reason why there is none. When ctx is cancelled, records no executor has taken yet are given
	// back at once with context.Cause(ctx); those running are finished. Control records are never submitted.
	Submit(ctx context.Context, recs []*kgo.Record, done func(*kgo.Record, error))
}

// Publisher publishes answers within a lane's transaction.
type Publisher interface {
	// Publish sends the answer, and the dead letter when it is no prediction. acked is called exactly once, when the
	// broker has acknowledged all of it, with the status that was published, or with an error when it was refused.
	// Answers of one partition are published in the order of the calls.
	Publish(ctx context.Context, a *wire.Answer, acked func(status string, err error))
	// Ended says how the transaction of all that was published since the last call has ended.
	Ended(committed bool)
}

// The causes with which a lease's context ends, and what Run returns.
var (
	ErrRevoked = errors.New("partition revoked")
	ErrLost    = errors.New("partition lost")
	ErrStopped = errors.New("intake stopped")
	ErrStalled = errors.New("work in flight makes no progress")
	ErrFenced  = errors.New("another worker has the transactional id")
)

// Deps is what an intake works with.
type Deps struct {
	Topics       []string // that requests are taken from
	Pool         Pool
	Log          *slog.Logger
	Metrics      *metrics.Consumer
	Transactions *metrics.Transaction
	// Client options of the process: addresses, TLS, SASL.
	Client []kgo.Opt
	// Produce returns a client's options to publish with. Clients must not share
	// them: that of compression is changed by the client that it is given to.
	Produce func() []kgo.Opt
	// Publisher returns one that publishes with a lane's client.
	Publisher func(*kgo.Client) Publisher
}

// Intake is a worker's lanes. It is the pool's publisher too: an answer goes
// into the transaction of the lane that its request came from.
type Intake struct {
	Deps
	cfg    Config
	member Member
	lanes  []*lane
	admin  *kadm.Client        // set by Run before anything uses it
	lagNow chan struct{}       // capacity 1: look at the ends now
	turns  *semaphore.Weighted // at the pool, one a lane; see isolate

	left      checkpoint.Leftovers
	answered  atomic.Int64 // verdicts of the pool
	reachable atomic.Bool  // the broker answered the last question
	stopping  atomic.Bool
	stalled   atomic.Bool
}

// New checks the options and starts nothing. The pool may be set later, before
// Run.
func New(cfg Config, member Member, deps Deps) (*Intake, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	t := &Intake{Deps: deps, cfg: cfg, member: member, lagNow: make(chan struct{}, 1), turns: semaphore.NewWeighted(int64(cfg.lanes()))}
	for n := range cfg.lanes() {
		t.lanes = append(t.lanes, newLane(t, n))
	}
	if err := kgo.ValidateOpts(t.lanes[0].options()...); err != nil {
		return nil, fmt.Errorf("lane's options: %w", err)
	}
	return t, nil
}

// Run takes requests in until ctx ends. Then intake stops at once, what is in
// flight is waited for under DRAIN_TIMEOUT and committed, and the group is left.
// It returns nil after a stop, ErrStalled when the watchdog ended it, ErrFenced
// when another worker has taken the transactional id.
func (t *Intake) Run(ctx context.Context) error {
	cl, err := kgo.NewClient(t.Client...)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	if err := kafka.WaitTopics(ctx, cl, t.Log, t.Topics...); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	t.admin = kadm.NewClient(cl)

	intake, stopIntake := context.WithCancelCause(ctx)
	defer stopIntake(nil)
	s := t.stops(intake)
	lag, endLag := context.WithCancel(context.WithoutCancel(ctx))
	var side, lanes sync.WaitGroup
	side.Go(func() { t.lagLoop(lag) })
	side.Go(func() { s.bound(t) })
	errs := make([]error, len(t.lanes))
	for i, l := range t.lanes {
		lanes.Go(func() { //nolint:contextcheck // A lane has the three contexts of s.
			if errs[i] = l.run(s); errs[i] != nil {
				stopIntake(errs[i])
			}
		})
	}
	lanes.Wait()
	stopIntake(nil)
	close(s.ended)
	endLag()
	side.Wait()
	return errors.Join(errs...)
}

// stops are the three ends of a run, one after the other.
type stops struct {
	intake context.Context //nolint:containedctx // Ends the polling.
	work   context.Context //nolint:containedctx // Ends the leases: what no executor has taken comes back.
	hard   context.Context //nolint:containedctx // Ends the waiting for what runs, and for the broker.

	endWork context.CancelCauseFunc
	kill    context.CancelFunc
	ended   chan struct{} // closed when the lanes have ended
}

func (t *Intake) stops(intake context.Context) *stops {
	s := &stops{intake: intake, ended: make(chan struct{})}
	s.work, s.endWork = context.WithCancelCause(context.WithoutCancel(intake))
	s.hard, s.kill = context.WithCancel(context.WithoutCancel(intake))
	return s
}

// bound gives the lanes a bounded time once the intake has ended.
func (s *stops) bound(t *Intake) {
	defer s.kill()
	defer s.endWork(ErrStopped)
	select {
	case <-s.intake.Done():
	case <-s.ended:
	}
	t.stopping.Store(true)
	if s.wait(t.member.DrainTimeout) {
		return
	}
	t.Log.Warn("records are in flight after the drain's limit; what is queued is given back", "limit", t.member.DrainTimeout)
	s.endWork(ErrStopped)
	if !s.wait(t.member.revokeDrain()) {
		t.Log.Warn("records are running after the stop's limit; they will be answered by another worker", "limit", t.member.revokeDrain())
	}
}

func (s *stops) wait(d time.Duration) bool {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-s.ended:
		return true
	case <-timer.C:
		return false
	}
}

// Publish takes an answer of the pool into the cycle of its request. acked is
// called when the transaction is committed, or with an error when the answer is
// not published and never will be.
func (t *Intake) Publish(_ context.Context, a *wire.Answer, acked func(status string, err error)) {
	t.answered.Add(1)
	cycleOf(a.Request).answer(a, acked)
}

// Ready says that every lane has joined the group, that Kafka answers, and that
// no stop has begun.
func (t *Intake) Ready() bool {
	for _, l := range t.lanes {
		if !l.joined.Load() {
			return false
		}
	}
	return t.reachable.Load() && !t.stopping.Load()
}

// Healthy is false when the watchdog has tripped: only a restart helps.
func (t *Intake) Healthy() bool { return !t.stalled.Load() }
