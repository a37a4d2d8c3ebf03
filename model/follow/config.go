package follow

import (
	"errors"
	"fmt"
	"time"
)

// Config of a [Follower].
type Config struct {
	Poll          time.Duration `env:"MODEL_POLL" envDefault:"30s" help:"How often the registry is asked, ± 20 %."`
	RetryMin      time.Duration `env:"MODEL_RETRY_MIN" envDefault:"1s" help:"First wait after a failure."`
	RetryMax      time.Duration `env:"MODEL_RETRY_MAX" envDefault:"5m" help:"Longest wait before a version that failed to load is tried again."`
	LoadTimeout   time.Duration `env:"MODEL_LOAD_TIMEOUT" envDefault:"30m" help:"Bound of downloading, opening and warming one version."`
	AllowBreaking bool          `env:"MODEL_ALLOW_BREAKING" envDefault:"false" help:"Swap even when the new signature breaks requests of the old."`
}

// Validate joins all that is wrong.
func (c Config) Validate() error {
	var errs []error
	for _, f := range []struct {
		name  string
		value time.Duration
	}{
		{"MODEL_POLL", c.Poll},
		{"MODEL_RETRY_MIN", c.RetryMin},
		{"MODEL_RETRY_MAX", c.RetryMax},
		{"MODEL_LOAD_TIMEOUT", c.LoadTimeout},
	} {
		if f.value <= 0 {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: must be above 0, is %s", f.name, f.value))
		}
	}
	if c.RetryMax < c.RetryMin {
		errs = append(errs, errors.New("MILLRACE_MODEL_RETRY_MAX: must not be below MILLRACE_MODEL_RETRY_MIN"))
	}
	return errors.Join(errs...)
}
