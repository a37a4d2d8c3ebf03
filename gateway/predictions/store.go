package predictions

import (
	"container/list"
	"context"
	"crypto/sha256"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
)

// Grace is how long after its deadline an answer is still waited for: that of a
// worker which found the deadline passed.
const Grace = 5 * time.Second

// Store is what the topic says. It is safe for concurrent use.
type Store struct {
	keep    time.Duration
	bytes   int64
	metrics *metrics.Predictions

	mu    sync.Mutex // guards what follows
	byID  map[ID]*entry
	age   *list.List       // of *entry, the oldest first
	size  int64            // of all answers, and of what keeping them takes
	reads map[ID]chan bool // by nonce: who waits for a record of its own
}

// entry is a prediction in the store; the store's lock guards it.
type entry struct {
	Prediction
	place *list.Element
	size  int64
	final chan struct{} // closed when the state is final
}

// overhead is what an entry takes beside its answer, about.
const overhead = 512

// New returns an empty store. It keeps predictions for keep from when they were
// accepted, and as many as bytes allow: the oldest go first.
func New(keep time.Duration, bytes int64, m *metrics.Predictions) *Store {
	return &Store{keep: keep, bytes: bytes, metrics: m, byID: make(map[ID]*entry), age: list.New(), reads: make(map[ID]chan bool)}
}

// Take reads the next record of the topic.
func (s *Store) Take(r *kgo.Record) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.evict(time.Now())
	kind, marked := wire.Header(r, headerKind)
	switch {
	case !marked:
		s.answer(r)
	case len(r.Key) != len(ID{}):
	case string(kind) == kindAccepted:
		s.accept(r)
	case string(kind) == kindCancelled:
		s.drop(ID(r.Key))
	case string(kind) == kindWithdrawn:
		if e := s.byID[ID(r.Key)]; e != nil && e.State == Pending {
			s.remove(e)
		}
	case string(kind) == kindFence:
		s.tell(r, true)
	}
}

// accept begins a prediction, unless one of this id is there. By the records' own
// times alone, so that all gateways come to the same.
func (s *Store) accept(r *kgo.Record) {
	deadline, ok, err := wire.Expiry(r)
	body, _ := wire.Header(r, headerBody)
	if !ok || err != nil || len(body) != sha256.Size {
		return
	}
	id := ID(r.Key)
	if old := s.byID[id]; old != nil {
		over := r.Timestamp.After(old.Created.Add(s.keep)) || old.State == Pending && r.Timestamp.After(old.Deadline.Add(Grace))
		if !over {
			s.tell(r, false)
			return
		}
		s.remove(old)
	}
	client, _ := wire.Header(r, wire.Client)
	e := &entry{
		Prediction: Prediction{
			ID: id, State: Pending, Client: string(client), Body: [sha256.Size]byte(body), Created: r.Timestamp, Deadline: deadline,
		},
		size: overhead, final: make(chan struct{}),
	}
	e.place = s.age.PushBack(e)
	s.byID[id] = e
	s.grow(e.size)
	s.tell(r, true)
}

func (s *Store) answer(r *kgo.Record) {
	id, _ := wire.Header(r, wire.CorrelationID)
	if len(id) != len(ID{}) {
		return
	}
	e := s.byID[ID(id)]
	if e == nil || e.State != Pending { // evicted, cancelled, or answered twice
		return
	}
	e.State, e.Answer = Done, r
	more := int64(len(r.Value))
	e.size += more
	s.grow(more)
	close(e.final)
}

// drop cancels what is pending, and forgets what is done.
func (s *Store) drop(id ID) {
	switch e := s.byID[id]; {
	case e == nil:
	case e.State == Pending:
		e.State = Cancelled
		close(e.final)
	case e.State == Done:
		s.remove(e)
	}
}

func (s *Store) tell(r *kgo.Record, won bool) {
	nonce, _ := wire.Header(r, headerNonce)
	if len(nonce) != len(ID{}) {
		return
	}
	if c, ok := s.reads[ID(nonce)]; ok {
		delete(s.reads, ID(nonce))
		c <- won
	}
}

func (s *Store) remove(e *entry) {
	if e.State == Pending {
		close(e.final)
	}
	s.age.Remove(e.place)
	delete(s.byID, e.ID)
	s.grow(-e.size)
}

func (s *Store) grow(n int64) {
	s.size += n
	s.metrics.Kept.Set(float64(len(s.byID)))
	s.metrics.Bytes.Set(float64(s.size))
}

// evict removes what is too old, and the oldest while there is too much.
func (s *Store) evict(now time.Time) {
	for front := s.age.Front(); front != nil; front = s.age.Front() {
		e := front.Value.(*entry) //nolint:forcetypeassert // the list holds nothing else
		switch {
		case now.After(e.Created.Add(s.keep)):
		case s.size > s.bytes:
			s.metrics.Evicted.Inc()
		default:
			return
		}
		s.remove(e)
	}
}

// Get returns a prediction.
func (s *Store) Get(id ID) (Prediction, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.get(id, time.Now())
}

func (s *Store) get(id ID, now time.Time) (Prediction, bool) {
	s.evict(now)
	e := s.byID[id]
	if e == nil {
		return Prediction{}, false
	}
	p := e.Prediction
	if p.State == Pending && now.After(p.Deadline.Add(Grace)) {
		p.State = Expired
	}
	return p, true
}

// Wait returns a prediction when its state is final, or as it is when ctx ends.
func (s *Store) Wait(ctx context.Context, id ID) (Prediction, bool) {
	s.mu.Lock()
	p, ok := s.get(id, time.Now())
	if !ok || p.State != Pending {
		s.mu.Unlock()
		return p, ok
	}
	final := s.byID[id].final
	s.mu.Unlock()
	expiry := time.NewTimer(time.Until(p.Deadline.Add(Grace)) + time.Millisecond)
	defer expiry.Stop()
	select {
	case <-final:
	case <-expiry.C:
	case <-ctx.Done():
	}
	return s.Get(id)
}

// Read says that the record with the nonce will be waited for. The channel gets one
// value when it has been read: of an accepted record, whether it began the
// prediction. The caller forgets it when it no longer waits.
func (s *Store) Read(nonce ID) <-chan bool {
	c := make(chan bool, 1)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.reads[nonce] = c
	return c
}

// Forget gives up waiting for a record.
func (s *Store) Forget(nonce ID) {
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.reads, nonce)
}
