package sharegroup

import (
	"context"
	"errors"

	"github.com/millrace/millrace/internal/wire"
)

// Publisher publishes answers.
type Publisher interface {
	// Publish sends the answer, and the dead letter when it is no prediction. It may block for backpressure only. acked
	// is called exactly once, when the broker has acknowledged all of it, with the status that was published, or with
	// an error when it cannot be published.
	Publish(ctx context.Context, a *wire.Answer, acked func(status string, err error))
}

// errMayPass gives a record back whose answer would be an error that may pass.
var errMayPass = errors.New("the answer would be an error that may pass; the request is to be delivered again")

// Publisher wraps what the pool publishes with, so that the queue learns what
// became of each record. An error that may pass is not published while the
// record has deliveries left: another worker, or a later time, may do better.
// When it is that the model did not load, requests have waited for it already,
// and delivering them again would use up what the others need.
func (q *Queue) Publisher(next Publisher) Publisher { return noting{next} }

type noting struct{ next Publisher }

func (n noting) Publish(ctx context.Context, a *wire.Answer, acked func(status string, err error)) {
	s := slotOf(a.Request)
	if s == nil {
		n.next.Publish(ctx, a, acked)
		return
	}
	if !s.last && !a.Final && (a.Status == wire.Unavailable || a.Status == wire.Overloaded) {
		acked(a.Status, errMayPass)
		return
	}
	n.next.Publish(ctx, a, func(status string, err error) {
		if err == nil {
			s.batch.published(s, status)
		}
		acked(status, err)
	})
}
