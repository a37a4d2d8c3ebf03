package gateway

import (
	"sync"
	"time"
)

// gatherFor is how long after a request others are held back, to be published together.
// A request of its own costs gateway, broker and worker several times what a record in
// another's company does: on a machine that is busy, the wait is won back.
const gatherFor = 700 * time.Microsecond

// gatherer hands requests over to be published: one that comes alone at once, those that
// come soon after another all together when that is over. So none waits while there is
// little to do, and at most one lot is published in that time.
type gatherer struct {
	publish func(*journey)

	mu      sync.Mutex
	last    time.Time   // under mu; when the last lot was handed over
	waiting []*journey  // under mu
	spare   []*journey  // under mu; memory of a lot that was handed over
	timer   *time.Timer // under mu; runs while any wait
}

// add takes a request, in the order in which they are to be published.
func (q *gatherer) add(j *journey) {
	q.mu.Lock()
	now := time.Now()
	left := gatherFor - now.Sub(q.last)
	if len(q.waiting) == 0 && left <= 0 {
		q.last = now
		q.mu.Unlock()
		q.publish(j)
		return
	}
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, j)
	switch {
	case len(q.waiting) > 1:
	case q.timer == nil:
		q.timer = time.AfterFunc(left, q.flush)
	default:
		q.timer.Reset(left)
	}
}

// flush hands over those that wait.
func (q *gatherer) flush() {
	q.mu.Lock()
	lot := q.waiting
	q.waiting, q.spare, q.last = q.spare, nil, time.Now()
	q.mu.Unlock()
	for _, j := range lot {
		q.publish(j)
	}
	clear(lot)
	q.mu.Lock()
	defer q.mu.Unlock()
	q.spare = lot[:0]
}
