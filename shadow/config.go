// Package shadow runs a second version on requests that have been answered, and
// says how its answers differ from those that were given. It never holds up an
// answer or an offset: it works when the pool has nothing to do, from a bounded
// queue, and what finds no room in it is dropped and counted.
package shadow

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Config is how a shadow works.
type Config struct {
	Tolerance    float64       `env:"SHADOW_TOLERANCE" envDefault:"1e-5" help:"Relative difference up to which two numbers of a float type are the same; 1e-8 is allowed beside it, as numpy.isclose does."`
	MaxRecords   int           `env:"SHADOW_MAX_QUEUED" envDefault:"1024" help:"Most requests that wait for the shadow; more are dropped and counted."`
	MaxBytes     int64         `env:"SHADOW_MAX_QUEUED_BYTES" envDefault:"67108864" help:"Most bytes of requests and answers that wait for the shadow."`
	DrainTimeout time.Duration `env:"SHADOW_DRAIN_TIMEOUT" envDefault:"5s" help:"Longest wait at a stop for what waits for the shadow; the rest is dropped and counted."`
}

// Validate reports every mistake, each with the variable that holds it.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, name, want string, v any) {
		if !ok {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: %v is not %s", name, v, want))
		}
	}
	check(c.Tolerance >= 0 && !math.IsInf(c.Tolerance, 0), "SHADOW_TOLERANCE", "0 or above", c.Tolerance)
	check(c.MaxRecords > 0, "SHADOW_MAX_QUEUED", "above 0", c.MaxRecords)
	check(c.MaxBytes > 0, "SHADOW_MAX_QUEUED_BYTES", "above 0", c.MaxBytes)
	check(c.DrainTimeout > 0, "SHADOW_DRAIN_TIMEOUT", "above 0", c.DrainTimeout)
	return errors.Join(errs...)
}
