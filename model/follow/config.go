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
	Compare       bool          `env:"MODEL_COMPARE" envDefault:"true" help:"Refuse a new version that fails on its own input example or on that of the current one, or answers it with NaN or infinity where the current one does not."`
	MaxDrift      float64       `env:"MODEL_MAX_DRIFT" envDefault:"0" help:"Refuse a new version whose answers to the examples are further than this from those of the current one: 0.1 is a tenth of their size, 2 the opposite; 0: none is too far."`

	RollbackWindow   time.Duration `env:"MODEL_ROLLBACK_WINDOW" envDefault:"2m" help:"How long the version before is kept in memory after a swap, to go back to when the new one does badly; 0: not at all."`
	RollbackFailures float64       `env:"MODEL_ROLLBACK_FAILURES" envDefault:"0.1" help:"Share of its requests, beyond the share that failed before, that a new version may fail by its own fault; 1: all."`
	RollbackMin      int           `env:"MODEL_ROLLBACK_MIN_REQUESTS" envDefault:"20" help:"Requests of a new version, and calls of it, below which nothing is made of them."`
	RollbackSlower   float64       `env:"MODEL_ROLLBACK_SLOWER" envDefault:"10" help:"Times that the p95 of a new version's calls may be that of the version before, at the same size of batch; less than 10ms more is always allowed; 0: any."`
	RollbackP95      time.Duration `env:"MODEL_ROLLBACK_P95" envDefault:"0s" help:"Most that the p95 of a new version's calls may be; 0: any."`
	Quarantine       time.Duration `env:"MODEL_QUARANTINE" envDefault:"0s" help:"How long a version that was rolled back is not taken again while the reference names it; 0: until the reference names another."`
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
	return errors.Join(append(append(errs, c.validateMany()...), c.validateRollback()...)...)
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

func (c Config) validateRollback() []error {
	var errs []error
	check := func(ok bool, name, want string, v any) {
		if !ok {
			errs = append(errs, fmt.Errorf("MILLRACE_%s: %v is not %s", name, v, want))
		}
	}
	check(c.MaxDrift >= 0 && c.MaxDrift <= 2, "MODEL_MAX_DRIFT", "between 0 and 2", c.MaxDrift)
	check(c.RollbackWindow >= 0, "MODEL_ROLLBACK_WINDOW", "0 or above", c.RollbackWindow)
	check(c.RollbackP95 >= 0, "MODEL_ROLLBACK_P95", "0 or above", c.RollbackP95)
	check(c.Quarantine >= 0, "MODEL_QUARANTINE", "0 or above", c.Quarantine)
	if c.RollbackWindow > 0 {
		check(c.RollbackFailures > 0 && c.RollbackFailures <= 1, "MODEL_ROLLBACK_FAILURES", "above 0 and at most 1", c.RollbackFailures)
		check(c.RollbackMin > 0, "MODEL_ROLLBACK_MIN_REQUESTS", "above 0", c.RollbackMin)
		check(c.RollbackSlower == 0 || c.RollbackSlower > 1, "MODEL_ROLLBACK_SLOWER", "0 or above 1", c.RollbackSlower)
	}
	return errs
}
