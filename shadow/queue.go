package shadow

import (
	"sync"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// job is an answered request that the shadow is to answer too.
type job struct {
	answer  *wire.Answer
	outputs []model.Tensor // of the version that answered
}

// size is what waits with a job: its batch's memory may stay with it.
func (j job) size() int64 {
	n := int64(len(j.answer.Request.Value) + len(j.answer.Value))
	for i := range j.outputs {
		n += int64(len(j.outputs[i].Data))
		for _, s := range j.outputs[i].Strings {
			n += int64(len(s))
		}
	}
	return n
}

// queue holds jobs in the order of their answers. It is bounded by number and
// bytes; a job larger than the bound passes alone.
type queue struct {
	records int
	most    int64
	gauge   prometheus.Gauge
	filled  chan struct{} // capacity 1: it was empty, and is not

	mu    sync.Mutex // guards what follows
	jobs  []job
	bytes int64
}

// put takes a job, and says whether it had room.
func (q *queue) put(j job) bool {
	size := j.size()
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.jobs) >= q.records || len(q.jobs) > 0 && q.bytes+size > q.most {
		return false
	}
	q.jobs = append(q.jobs, j)
	q.bytes += size
	q.gauge.Inc()
	select {
	case q.filled <- struct{}{}:
	default:
	}
	return true
}

// full says whether a job of no size would find no room.
func (q *queue) full() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.jobs) >= q.records || q.bytes >= q.most
}

// take removes the oldest n jobs, or what there is.
func (q *queue) take(n int) []job {
	q.mu.Lock()
	defer q.mu.Unlock()
	n = min(n, len(q.jobs))
	taken := make([]job, n)
	copy(taken, q.jobs)
	clear(q.jobs[:n])
	if q.jobs = q.jobs[n:]; len(q.jobs) == 0 {
		q.jobs = nil
	}
	for i := range taken {
		q.bytes -= taken[i].size()
	}
	q.gauge.Sub(float64(n))
	return taken
}

func (q *queue) empty() bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	return len(q.jobs) == 0
}
