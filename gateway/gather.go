package gateway

import (
	"sync"
	"time"

	"github.com/millrace/millrace/internal/alarm"
)

// A request of its own costs gateway, broker and worker several times what a record in
// another's company does: on a machine that is busy, a short wait for others is won back.
const (
	gatherFor = 300 * time.Microsecond // how long a request waits for company, while others come
	gatherOff = 2 * time.Millisecond   // after that long without any, one goes at once
)

// gatherer hands requests over to be published: while they come one soon after another,
// those of a short time together; one that comes when it is calm at once.
type gatherer struct {
	publish func(*journey)
	alarm   *alarm.Alarm // calls flush

	mu      sync.Mutex
	last    time.Time  // under mu; when the last was handed over
	waiting []*journey // under mu
	spare   []*journey // under mu; memory of a lot that was handed over
}

// add takes a request, in the order in which they are to be published.
func (q *gatherer) add(j *journey) {
	q.mu.Lock()
	now := time.Now()
	if len(q.waiting) == 0 && now.Sub(q.last) >= gatherOff {
		q.last = now
		q.mu.Unlock()
		q.publish(j)
		return
	}
	defer q.mu.Unlock()
	q.waiting = append(q.waiting, j)
	if len(q.waiting) == 1 {
		q.alarm.Set(gatherFor)
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
