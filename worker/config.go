// Package worker is the pool between the intake and the publishing: it batches
// what waits across partitions, runs the model, and gives each record its one
// verdict, in the order of its partition.
package worker

import (
	"errors"
	"fmt"
	"time"
)

// Config is how the pool works.
type Config struct {
	Executors       int           `env:"EXECUTORS" envDefault:"0" help:"Batches that run at the same time; 0: one more than cores."`
	MaxBatch        int           `env:"MAX_BATCH" envDefault:"64" help:"Rows in one call of the model; a larger request runs alone."`
	BatchDelay      time.Duration `env:"BATCH_DELAY" envDefault:"0" help:"Longest that a record is held back for its batch to fill."`
	MaxRequestBytes int           `env:"MAX_REQUEST_BYTES" envDefault:"1048576" help:"Bytes of one request's value."`
	Ordered         bool          `env:"ORDERED" envDefault:"true" help:"Publish a partition's answers in the order of its requests."`
	PredictTimeout  time.Duration `env:"PREDICT_TIMEOUT" envDefault:"30s" help:"Longest that a call of the model may take; its requests are then tried in ever smaller calls, and one that takes as long alone is answered MODEL_FAILED. Keep it below a quarter of WATCHDOG_TIMEOUT; 0: no bound but that."`
	PredictAttempts int           `env:"PREDICT_ATTEMPTS" envDefault:"5" help:"Tries of what may pass before the answer is an error."`
	PredictBackoff  time.Duration `env:"PREDICT_BACKOFF" envDefault:"50ms" help:"Pause before the second try; doubles."`
}

// Validate reports every mistake, each with the variable that holds it.
func (c Config) Validate() error {
	var errs []error
	check := func(ok bool, name, want string, v any) {
		if !ok {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: %v is not %s", name, v, want))
		}
	}
	check(c.Executors >= 0, "EXECUTORS", "0 or above", c.Executors)
	check(c.MaxBatch > 0, "MAX_BATCH", "above 0", c.MaxBatch)
	check(c.BatchDelay >= 0, "BATCH_DELAY", "0 or above", c.BatchDelay)
	check(c.MaxRequestBytes > 0, "MAX_REQUEST_BYTES", "above 0", c.MaxRequestBytes)
	check(c.PredictTimeout >= 0, "PREDICT_TIMEOUT", "0 or above", c.PredictTimeout)
	check(c.PredictAttempts > 0, "PREDICT_ATTEMPTS", "above 0", c.PredictAttempts)
	check(c.PredictBackoff > 0, "PREDICT_BACKOFF", "above 0", c.PredictBackoff)
	return errors.Join(errs...)
}
