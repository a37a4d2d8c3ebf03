// Package consumer takes requests in, at least once. It polls within a free
// budget, tracks each record in its partition's lease, submits it to a pool,
// and commits the contiguous prefix of what the pool has answered. It never
// decodes.
//
// A record is resolved when its answer is acknowledged by the broker. A commit
// names, in its metadata, the resolved records above the watermark. What is in
// flight at a crash is consumed again, so a request may be answered twice, and
// is never lost. A record that ends its workers is found and passed over.
package consumer

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

	"github.com/millrace/millrace/internal/checkpoint"
	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/metrics"
)

// Pool answers records.
type Pool interface {
	// Submit hands over records of one partition, in offset order, under a lease whose context is ctx. It does not
	// block: the consumer's budget bounds what is in flight. done is called exactly once a record, from any goroutine:
	// nil = its answer is acknowledged by the broker; an error = not answered, it has to be consumed again.
	// When ctx is cancelled, records no executor has taken yet are given back at once with context.Cause(ctx);
	// those running are finished. Control records are never submitted.
	Submit(ctx context.Context, recs []*kgo.Record, done func(*kgo.Record, error))
}

// The causes with which a lease's context ends, and what Run returns.
var (
	ErrRevoked = errors.New("partition revoked")
	ErrLost    = errors.New("partition lost")
	ErrReset   = errors.New("partition's log was cut and written anew")
	ErrStopped = errors.New("consumer stopped")
	ErrStalled = errors.New("work in flight makes no progress")
)

// Deps is what a consumer works with.
type Deps struct {
	Topics  []string // that requests are taken from
	Pool    Pool
	Log     *slog.Logger
	Metrics *metrics.Consumer
	// Client options of the process: addresses, TLS, SASL.
	Client []kgo.Opt
}

// Consumer is a member of the pool's consumer group.
type Consumer struct {
	Deps
	cfg    Config
	budget *budget
	cl     *kgo.Client // set by Run before anything uses it
	admin  *kadm.Client
	retry  chan failed   // submissions that the pool failed; see retryLoop
	lagNow chan struct{} // capacity 1: look at the ends now

	guardNow   chan struct{} // capacity 1: see what may go on
	quarantine atomic.Bool   // records under suspicion are in flight; set by guardLoop
	alone      *lease        // whose record was last alone in flight; of guardLoop
	holds      sync.Mutex    // held while a partition is paused or resumed

	// commits is held while offsets are collected and committed, so that a
	// lost partition cannot be committed under the member's next generation.
	// A channel, for the wait for it is bounded.
	commits chan struct{}

	joined    atomic.Bool // the group has given this member its assignment
	reachable atomic.Bool // the broker answered the last question
	stopping  atomic.Bool
	waited    atomic.Bool  // a stop has waited for running records as long as it may
	answered  atomic.Int64 // records, since the start
	stalled   atomic.Bool

	left checkpoint.Leftovers // of ended leases

	mu     sync.Mutex // guards what follows
	leases map[partition]*lease
	adrift []*lease // that ended with records running
	epoch  uint64
	work   context.Context //nolint:containedctx // Parent of the leases' contexts: it outlives the intake's, and callbacks of the client need it.

	advance    advance           // of the commit loop alone
	fetchErrs  kafka.FetchErrors // of the poll loop alone
	commitErrs string            // under commits
}

type partition struct {
	topic string
	id    int32
}

// New checks the options and starts nothing.
func New(cfg Config, deps Deps) (*Consumer, error) {
	if err := cfg.Validate(); err != nil {
		return nil, err
	}
	c := &Consumer{
		Deps: deps, cfg: cfg,
		retry:    make(chan failed, cfg.MaxRecords+1),
		lagNow:   make(chan struct{}, 1),
		guardNow: make(chan struct{}, 1),
		commits:  make(chan struct{}, 1),
		leases:   make(map[partition]*lease),
	}
	c.budget = newBudget(cfg.MaxRecords, cfg.MaxBytes, func(records int, bytes int64) {
		c.Metrics.InFlightRecords.Set(float64(records))
		c.Metrics.InFlightBytes.Set(float64(bytes))
	})
	if err := kgo.ValidateOpts(c.options()...); err != nil {
		return nil, fmt.Errorf("consumer's options: %w", err)
	}
	return c, nil
}

// Run consumes until ctx ends, then drains: intake stops at once, what no
// executor has taken is given back, what runs is waited for under DRAIN_TIMEOUT
// while heartbeats go on, offsets are committed, and the group is left. It
// returns nil after a stop, ErrStalled when the watchdog ended it.
func (c *Consumer) Run(ctx context.Context) error {
	if err := c.waitReady(ctx); err != nil {
		if ctx.Err() != nil {
			return nil
		}
		return err
	}
	work, endWork := context.WithCancelCause(context.WithoutCancel(ctx))
	defer endWork(ErrStopped)
	c.mu.Lock()
	c.work = work
	c.mu.Unlock()
	cl, err := kgo.NewClient(c.options()...)
	if err != nil {
		return fmt.Errorf("consumer's client: %w", err)
	}
	c.cl, c.admin = cl, kadm.NewClient(cl)

	intake, stopIntake := context.WithCancelCause(ctx)
	defer stopIntake(nil)
	var side sync.WaitGroup
	side.Go(func() { c.commitLoop(work, stopIntake) })
	side.Go(func() { c.lagLoop(work) })
	side.Go(func() { c.retryLoop(work) })
	side.Go(func() { c.guardLoop(work) })
	c.pollLoop(intake)

	c.stopping.Store(true)
	c.closeLeases(ErrStopped)
	c.waitRunning(ctx)
	endWork(ErrStopped)
	side.Wait()
	c.leave(ctx)
	if c.stalled.Load() {
		return ErrStalled
	}
	return nil
}

// waitReady waits for the broker and the topics with a client of its own: one
// that is in a group would join it and wait in silence.
func (c *Consumer) waitReady(ctx context.Context) error {
	cl, err := kgo.NewClient(c.Client...)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	return kafka.WaitTopics(ctx, cl, c.Log, c.Topics...)
}

// Ready says that this member has joined the group, that Kafka answers, and
// that no stop has begun.
func (c *Consumer) Ready() bool {
	return c.joined.Load() && c.reachable.Load() && !c.stopping.Load()
}

// Healthy is false when the watchdog has tripped: only a restart helps.
func (c *Consumer) Healthy() bool { return !c.stalled.Load() }

// Drained says that nothing is in flight: every record handed to the pool was
// answered or given back. More may come unless Run has returned.
func (c *Consumer) Drained() bool {
	now, cancel := context.WithCancel(context.Background())
	cancel()
	return c.budget.waitZero(now)
}

func (c *Consumer) held() []*lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	held := make([]*lease, 0, len(c.leases))
	for _, l := range c.leases {
		held = append(held, l)
	}
	return held
}

func (c *Consumer) lease(p partition) *lease {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.leases[p]
}

// commitBound is the longest wait for one commit.
const commitBound = 5 * time.Second
