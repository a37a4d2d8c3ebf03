package transaction

import (
	"bytes"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

type partition struct {
	topic string
	id    int32
}

// memo holds the answers of an aborted transaction, each with the version of
// the model that made it, until their requests are polled again. It holds no
// more than two transactions may.
type memo struct {
	most int

	mu  sync.Mutex // guards what follows
	n   int
	all map[partition]map[int64]entry // by offset
}

func newMemo(most int) *memo { return &memo{most: most, all: make(map[partition]map[int64]entry)} }

// put keeps answers. What there is no room for is dropped: it is made again.
func (m *memo) put(entries []entry) {
	var gone []entry
	m.mu.Lock()
	for _, e := range entries {
		r := e.answer.Request
		p := partition{r.Topic, r.Partition}
		if m.n == m.most {
			gone = append(gone, e)
			continue
		}
		if m.all[p] == nil {
			m.all[p] = make(map[int64]entry)
		}
		if old, ok := m.all[p][r.Offset]; ok {
			gone = append(gone, old)
			m.n--
		}
		m.all[p][r.Offset] = e
		m.n++
	}
	m.mu.Unlock()
	resolve(gone, ErrLost)
}

// take returns the answer to a record, if there is one, as the answer to this
// very record. One whose deadline has passed is not given any more.
func (m *memo) take(r *kgo.Record) (entry, bool) {
	m.mu.Lock()
	of := m.all[partition{r.Topic, r.Partition}]
	e, ok := of[r.Offset]
	if ok {
		delete(of, r.Offset)
		m.n--
	}
	m.mu.Unlock()
	if !ok {
		return entry{}, false
	}
	// An offset may mean another record when the log was cut and written anew.
	was := e.answer.Request
	same := was.Timestamp.Equal(r.Timestamp) && bytes.Equal(was.Value, r.Value) && bytes.Equal(was.Key, r.Key)
	deadline, limited, _ := wire.Expiry(r)
	if !same || e.answer.OK() && limited && !time.Now().Before(deadline) {
		e.acked(e.answer.Status, ErrLost)
		return entry{}, false
	}
	again := *e.answer
	again.Request = r
	e.answer, e.status = &again, again.Status
	return e, true
}

// empty is asked for each poll, which mostly finds it so.
func (m *memo) empty() bool {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.n == 0
}

// keep drops the answers that keep does not want.
func (m *memo) keep(keep func(p partition, offset int64) bool, cause error) {
	var gone []entry
	m.mu.Lock()
	for p, of := range m.all {
		for offset, e := range of {
			if !keep(p, offset) {
				gone = append(gone, e)
				delete(of, offset)
				m.n--
			}
		}
		if len(of) == 0 {
			delete(m.all, p)
		}
	}
	m.mu.Unlock()
	resolve(gone, cause)
}

// resolve tells who waits for answers how these have ended.
func resolve(entries []entry, err error) {
	for i := range entries {
		entries[i].acked(entries[i].status, err)
	}
}
