package wire

import (
	"context"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Codes of errors that an intake asks for.
const (
	ModelFailed = "MODEL_FAILED"
	Internal    = "INTERNAL"
)

// Statuses of answers that mean something to an intake.
const (
	OK               = "ok"
	DeadlineExceeded = "DEADLINE_EXCEEDED"
	Unavailable      = "UNAVAILABLE"
	Overloaded       = "OVERLOADED"
)

// Delivery is what an intake says of a request beside what the record holds.
// It rides in the record's context, so that pools and publishers take records
// alone.
type Delivery struct {
	Attempts int    // how often it was worked on, this time included; 0 counts as 1
	Code     string // when set, it is answered with this error and not run
	Message  string // of that error
}

type deliveryKey struct{}

// Deliver notes d in the record. Whoever holds the record calls it, before
// handing it on.
func Deliver(r *kgo.Record, d Delivery) {
	ctx := r.Context
	if ctx == nil {
		ctx = context.Background()
	}
	r.Context = context.WithValue(ctx, deliveryKey{}, d)
}

// DeliveryOf returns what Deliver noted last.
func DeliveryOf(r *kgo.Record) Delivery {
	d := Delivery{}
	if r.Context != nil {
		d, _ = r.Context.Value(deliveryKey{}).(Delivery)
	}
	d.Attempts = max(d.Attempts, 1)
	return d
}
