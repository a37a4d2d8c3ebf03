package sharegroup

import (
	"cmp"
	"slices"
	"sync"
	"time"
)

// gather is how long a lane waits before the first of its risky records, so
// that those which other lanes fetched at the same time are known.
const gather = 200 * time.Millisecond

// solo is the order in which a worker runs records that may end it, one at a
// time over all lanes: up the offsets in the last but one of their deliveries,
// and down in the last. Of the records that come back together, one that ends
// its worker then has had those on both of its sides answered, whichever lane
// got them.
type solo struct {
	mu      sync.Mutex // guards what follows
	waiting []*slot    // in order
	changed chan struct{}
}

// enter adds a lane's records.
func (s *solo) enter(slots []*slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = append(s.waiting, slots...)
	slices.SortStableFunc(s.waiting, inTurn)
}

func inTurn(x, y *slot) int {
	place := cmp.Or(cmp.Compare(x.rec.Partition, y.rec.Partition), cmp.Compare(x.rec.Offset, y.rec.Offset))
	if x.last {
		place = -place
	}
	return cmp.Or(cmp.Compare(x.count, y.count), place)
}

// leave takes records out whose turn is over, or will not come.
func (s *solo) leave(slots ...*slot) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.waiting = slices.DeleteFunc(s.waiting, func(w *slot) bool { return slices.Contains(slots, w) })
	close(s.changed)
	s.changed = make(chan struct{})
}

// turn says whether it is a record's turn, and when to ask again.
func (s *solo) turn(of *slot) (now bool, changed <-chan struct{}) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return len(s.waiting) > 0 && s.waiting[0] == of, s.changed
}
