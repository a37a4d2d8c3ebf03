package consumer

import (
	"context"
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"
)

// budget bounds what is in flight. Waiting for it holds no lock and blocks no
// rebalance; one goroutine waits, any may release.
type budget struct {
	maxRecords int
	maxBytes   int64
	moved      func(records int, bytes int64)
	freed      chan struct{} // capacity 1: what is waited for may be there

	mu      sync.Mutex // guards what follows
	records int
	bytes   int64
	eager   bool          // who waits takes whatever is released
	parked  int           // of the records, those that no pool has
	zero    chan struct{} // closed and replaced when nothing is in flight
}

func newBudget(records int, bytes int64, moved func(int, int64)) *budget {
	return &budget{
		maxRecords: records, maxBytes: bytes, moved: moved,
		freed: make(chan struct{}, 1), zero: make(chan struct{}),
	}
}

// take reserves room for the longest prefix of recs that fits, and waits while
// not even one does. A record above the whole byte budget passes when nothing
// else is in flight. It returns 0 when ctx or the lease ends first.
func (b *budget) take(ctx, lease context.Context, recs []*kgo.Record) int {
	for {
		if ctx.Err() != nil || lease.Err() != nil {
			return 0
		}
		if n := b.try(recs); n > 0 {
			return n
		}
		select {
		case <-ctx.Done():
		case <-lease.Done():
		case <-b.freed:
		}
	}
}

func (b *budget) try(recs []*kgo.Record) int {
	b.mu.Lock()
	defer b.mu.Unlock()
	n := 0
	for _, r := range recs {
		size := sizeOf(r)
		if b.records >= b.maxRecords || b.bytes+size > b.maxBytes && b.records > 0 {
			break
		}
		b.records++
		b.bytes += size
		n++
	}
	if n > 0 {
		b.moved(b.records, b.bytes)
	}
	b.eager = n == 0
	return n
}

// share of the budget that has to be free before there is a next poll: a poll
// for each record that comes free costs more than the record.
const share = 16

// waitFree returns how many records fit now, once a share of the budget is
// free.
func (b *budget) waitFree(ctx context.Context) int {
	for {
		b.mu.Lock()
		free := b.maxRecords - b.records
		if !b.roomy() {
			free = 0
		} else if b.records > 0 && b.bytes > 0 {
			// A poll is bounded by records alone: the mean size says how many
			// of them the free bytes hold.
			mean := max(1, b.bytes/int64(b.records))
			free = min(free, int(max(1, (b.maxBytes-b.bytes)/mean)))
		}
		b.mu.Unlock()
		if free > 0 {
			return free
		}
		select {
		case <-ctx.Done():
			return 0
		case <-b.freed:
		}
	}
}

// roomy says whether a poll pays. It is called under mu.
func (b *budget) roomy() bool {
	return b.maxRecords-b.records >= max(1, b.maxRecords/share) && b.maxBytes-b.bytes >= max(1, b.maxBytes/share)
}

func (b *budget) release(r *kgo.Record) {
	b.mu.Lock()
	b.records--
	b.bytes -= sizeOf(r)
	if b.records == 0 {
		close(b.zero)
		b.zero = make(chan struct{})
	}
	b.moved(b.records, b.bytes)
	wake := b.eager || b.roomy()
	b.mu.Unlock()
	if !wake {
		return
	}
	select {
	case b.freed <- struct{}{}:
	default:
	}
}

// park counts records that are kept from the pool, or that no longer are.
func (b *budget) park(n int) {
	b.mu.Lock()
	b.parked += n
	b.mu.Unlock()
}

// quiet says that no pool has any record.
func (b *budget) quiet() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.records == b.parked
}

// waitZero returns true when nothing is in flight, false when ctx ends first.
func (b *budget) waitZero(ctx context.Context) bool {
	b.mu.Lock()
	n, zero := b.records, b.zero
	b.mu.Unlock()
	if n == 0 {
		return true
	}
	select {
	case <-zero:
		return true
	case <-ctx.Done():
		return false
	}
}

// sizeOf counts what a record holds in memory by its content.
func sizeOf(r *kgo.Record) int64 {
	n := len(r.Key) + len(r.Value)
	for i := range r.Headers {
		n += len(r.Headers[i].Key) + len(r.Headers[i].Value)
	}
	return int64(n)
}
