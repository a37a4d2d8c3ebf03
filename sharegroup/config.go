package sharegroup

import (
	"errors"
	"fmt"
	"time"
)

// Config is how requests are taken from a share group.
type Config struct {
	Lanes    int           `env:"QUEUE_LANES" envDefault:"4" help:"Queue: members of the share group in this worker; each takes the next requests when all that it took are answered."`
	Records  int           `env:"QUEUE_RECORDS" envDefault:"128" help:"Queue: most requests that a lane takes at once. Fewer share a burst more evenly between workers."`
	Lock     time.Duration `env:"QUEUE_LOCK" envDefault:"15s" help:"Queue: time after which the broker gives a request to another worker unless this one renews; it does while it works. A hand-out that was lost on the wire waits for it. The broker allows 15s to 60s unless it is told otherwise."`
	Attempts int           `env:"QUEUE_ATTEMPTS" envDefault:"0" help:"Queue: deliveries in which a request is tried; in the next it is answered with an error. Below the limit after which the broker drops a request, share.delivery.count.limit; 0: 6, or what that limit leaves."`
}

const (
	mostDeliveries  = 10 // that the broker takes for a group's limit, unless it is told otherwise
	defaultAttempts = 6
	// spare is what the limit should leave beyond the attempts: one to give a
	// record up in, and one for a worker that ends just then.
	spare = 2
)

// Validate reports every mistake, each with the variable that holds it.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, name, want string, v any) {
		if !ok {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: %v is not %s", name, v, want))
		}
	}
	check(c.Lanes >= 1 && c.Lanes <= 64, "QUEUE_LANES", "between 1 and 64", c.Lanes)
	check(c.Records >= 1 && c.Records <= 10_000, "QUEUE_RECORDS", "between 1 and 10000", c.Records)
	check(c.Lock >= time.Second, "QUEUE_LOCK", "1s or above", c.Lock)
	check(c.Attempts == 0 || c.Attempts >= 2 && c.Attempts <= 100, "QUEUE_ATTEMPTS", "0, or between 2 and 100", c.Attempts)
	return errors.Join(errs...)
}

// Member is how the worker takes part in the group. The settings are those of
// the at-least-once intake, which says what they mean.
type Member struct {
	Group           string
	OffsetReset     string // earliest or latest
	SessionTimeout  time.Duration
	FetchMaxBytes   int32
	DrainTimeout    time.Duration
	WatchdogTimeout time.Duration
	LagInterval     time.Duration
}
