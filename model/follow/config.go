package follow

import (
	"errors"
	"fmt"
	"path"
	"strings"
	"time"
)

// Config of a [Follower].
type Config struct {
	Poll          time.Duration `env:"MODEL_POLL" envDefault:"30s" help:"How often the registry is asked, ± 20 %."`
	RetryMin      time.Duration `env:"MODEL_RETRY_MIN" envDefault:"1s" help:"First wait after a failure."`
	RetryMax      time.Duration `env:"MODEL_RETRY_MAX" envDefault:"5m" help:"Longest wait before a version that failed to load is tried again."`
	LoadTimeout   time.Duration `env:"MODEL_LOAD_TIMEOUT" envDefault:"30m" help:"Bound of downloading, opening and warming one version."`
	Wait          time.Duration `env:"MODEL_WAIT" envDefault:"10s" help:"How long requests may wait for their model to load, from the start of that; then, and when it fails, they are answered UNAVAILABLE."`
	StartWait     time.Duration `env:"MODEL_START_WAIT" envDefault:"2m" help:"With several models: how long requests are not taken in once one model serves and others still load."`
	MemoryBudget  int64         `env:"MODEL_MEMORY_BUDGET" envDefault:"0" help:"Bytes that loaded models may take, by estimate, before those unused for longest are unloaded, until a request names them; 0: no bound."`
	OnDemand      []string      `env:"MODEL_ON_DEMAND" help:"Registered models that are loaded when a request names one of their versions (name@alias, name/3): patterns of names such as fraud-*, separated by commas; empty: none."`
	OnDemandMax   int           `env:"MODEL_ON_DEMAND_MAX" envDefault:"16" help:"Most versions loaded on demand at a time; the one unused for longest gives way to the next."`
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
	return errors.Join(append(errs, c.validateMany()...)...)
}

// validateMany is about what several models share.
func (c Config) validateMany() (errs []error) {
	for _, f := range []struct {
		name  string
		wrong bool
		value any
	}{
		{"MODEL_WAIT", c.Wait < 0, c.Wait},
		{"MODEL_START_WAIT", c.StartWait < 0, c.StartWait},
		{"MODEL_MEMORY_BUDGET", c.MemoryBudget < 0, c.MemoryBudget},
	} {
		if f.wrong {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: must be 0 or above, is %v", f.name, f.value))
		}
	}
	if c.OnDemandMax < 1 && len(c.OnDemand) > 0 {
		errs = append(errs, fmt.Errorf("MILLRACE_MODEL_ON_DEMAND_MAX: must be above 0, is %d", c.OnDemandMax))
	}
	for _, pattern := range c.OnDemand {
		if _, err := path.Match(pattern, ""); err != nil || strings.ContainsAny(pattern, "@/") {
			errs = append(errs, fmt.Errorf("MILLRACE_MODEL_ON_DEMAND: %q is no pattern of a model's name, such as fraud-*", pattern))
		}
	}
	return errs
}
