package load

import (
	"errors"
	"fmt"
)

// Config is how models are run.
type Config struct {
	Library string `env:"ONNXRUNTIME_LIB" help:"Path of ONNX Runtime's shared library; empty: beside the executable, then where the system's loader finds it."`
	Lanes   int    `env:"MODEL_LANES" envDefault:"0" help:"Calls of a model that may run at a time; 0: as many as there are processors."`
}

// maxLanes is far beyond what helps; more are a mistake.
const maxLanes = 4096

// Validate reports every mistake, by the variable's name.
func (c *Config) Validate() error {
	var errs []error
	if c.Lanes < 0 || c.Lanes > maxLanes {
		errs = append(errs, fmt.Errorf("MILLRACE_MODEL_LANES: %d is not between 0 and %d", c.Lanes, maxLanes))
	}
	return errors.Join(errs...)
}
