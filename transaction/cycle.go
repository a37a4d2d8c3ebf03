package transaction

import (
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// entry is an answer that waits to be committed, and who waits for that.
type entry struct {
	answer *wire.Answer
	acked  func(status string, err error)
	status string // as it was published
}

// cycle is what one transaction is about: from the poll of its records to the
// commit of their answers and offsets.
type cycle struct {
	ctx     context.Context //nolint:containedctx // The records carry it to the pool and back, and with it the cycle.
	begun   time.Time
	records int            // requests taken in; of the lane's goroutine
	bytes   int64          // of these; likewise
	verdict *wire.Delivery // on its one request, which is not run
	sent    []share        // submitted, a poll each; of the lane's goroutine

	mu      sync.Mutex        // guards what follows
	entries []entry           // in the order in which they are published
	pending int               // records without a verdict, and one while the lane gathers
	again   map[partition]int // of the entries, those that were not submitted
	err     error             // why it cannot be committed: the first reason
	closed  bool              // ended, or given up
	ready   chan struct{}
}

type cycleKey struct{}

// newCycle takes the memory for its answers from a cycle that is over.
func newCycle(room []entry) *cycle {
	c := &cycle{begun: time.Now(), pending: 1, ready: make(chan struct{}), entries: room[:0]}
	c.ctx = context.WithValue(context.Background(), cycleKey{}, c)
	return c
}

// cycleOf finds the cycle that a record was submitted in.
func cycleOf(r *kgo.Record) *cycle { return r.Context.Value(cycleKey{}).(*cycle) } //nolint:forcetypeassert // Every record submitted has one.

// expect counts records that are about to be submitted.
func (c *cycle) expect(p partition, recs []*kgo.Record) {
	c.sent = append(c.sent, share{p, len(recs)})
	for _, r := range recs {
		r.Context = c.ctx //nolint:fatcontext // One context for all: nothing nests.
	}
	c.mu.Lock()
	c.pending += len(recs)
	c.mu.Unlock()
}

// seal says that nothing more is gathered.
func (c *cycle) seal() {
	c.mu.Lock()
	c.resolve()
	c.mu.Unlock()
}

// resolve is called under mu.
func (c *cycle) resolve() {
	if c.pending--; c.pending == 0 {
		close(c.ready)
	}
}

func (c *cycle) answer(a *wire.Answer, acked func(string, error)) {
	c.mu.Lock()
	late := c.closed
	if !late {
		c.entries = append(c.entries, entry{answer: a, acked: acked, status: a.Status})
		c.resolve()
	}
	c.mu.Unlock()
	if late {
		acked(a.Status, ErrStopped)
	}
}

// repeat takes an answer of an earlier cycle in.
func (c *cycle) repeat(e entry) {
	c.mu.Lock()
	c.entries = append(c.entries, e)
	if c.again == nil {
		c.again = make(map[partition]int)
	}
	c.again[partition{e.answer.Request.Topic, e.answer.Request.Partition}]++
	c.mu.Unlock()
}

// share is how many records of a partition were submitted.
type share struct {
	partition
	n int
}

// unanswered are the partitions with records that have no verdict.
func (c *cycle) unanswered() map[partition]bool {
	left := make(map[partition]int)
	for _, s := range c.sent {
		left[s.partition] += s.n
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, e := range c.entries {
		left[partition{e.answer.Request.Topic, e.answer.Request.Partition}]--
	}
	open := make(map[partition]bool)
	for p, n := range left {
		open[p] = n+c.again[p] > 0
	}
	return open
}

// done is what the pool calls: for a record that it gives back, and when an
// answer's entry comes to its end, which this cycle knows already.
func (c *cycle) done(_ *kgo.Record, err error) {
	if err == nil {
		return
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.closed {
		return
	}
	if c.err == nil {
		c.err = err
	}
	c.resolve()
}

// waiting is the number of records without a verdict.
func (c *cycle) waiting() int {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.pending
}

func (c *cycle) fail(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.err == nil {
		c.err = err
	}
}

func (c *cycle) failure() error {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.err
}

// close ends the cycle and returns its answers.
func (c *cycle) close() []entry {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.closed = true
	return c.entries
}
