// Package split divides the requests of a model among its versions, by a hash
// of their keys: the same key runs on the same version, whichever worker has it
// and however often it is delivered. A version that is not there, or fails too
// often, leaves its share to the model itself.
package split

import (
	"errors"
	"fmt"
	"math"
	"time"
)

// Config is when a version is switched off for failing.
type Config struct {
	MaxFailures float64       `env:"SPLIT_MAX_FAILURES" envDefault:"10" help:"Percent of its requests that a version of MILLRACE_SPLIT may fail on by its own fault before this worker switches it off, until its reference names another; 100: never."`
	MinRequests int           `env:"SPLIT_MIN_REQUESTS" envDefault:"50" help:"Requests that a version has to have had in the window before it is judged."`
	Window      time.Duration `env:"SPLIT_WINDOW" envDefault:"1m" help:"Time over which failures are counted."`
}

// Validate reports every mistake, each with the variable that holds it.
func (c Config) Validate() error {
	var errs []error
	if !(c.MaxFailures > 0 && c.MaxFailures <= 100) || math.IsNaN(c.MaxFailures) {
		errs = append(errs, fmt.Errorf("MILLRACE_SPLIT_MAX_FAILURES: %v is not above 0 and at most 100", c.MaxFailures))
	}
	if c.MinRequests < 1 {
		errs = append(errs, fmt.Errorf("MILLRACE_SPLIT_MIN_REQUESTS: %d is not above 0", c.MinRequests))
	}
	if c.Window <= 0 {
		errs = append(errs, fmt.Errorf("MILLRACE_SPLIT_WINDOW: %s is not above 0", c.Window))
	}
	return errors.Join(errs...)
}
