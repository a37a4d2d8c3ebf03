package load

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/pyfunc"
)

// Config is how models are run.
type Config struct {
	Library string `env:"ONNXRUNTIME_LIB" help:"Path of ONNX Runtime's shared library; empty: beside the executable, then where the system's loader finds it."`
	Flavor  string `env:"MODEL_FLAVOR" envDefault:"auto" help:"Which of a model's flavors is served: onnx, lightgbm, xgboost or python_function; auto: the first of them that the model has and that can be served."`
	Lanes   int    `env:"MODEL_LANES" envDefault:"0" help:"Calls of a model that may run at a time; 0: as many as there are processors."`

	PyFunc pyfunc.Config
}

// maxLanes is far beyond what helps; more are a mistake.
const maxLanes = 4096

// Validate reports every mistake, by the variable's name.
func (c *Config) Validate() error {
	var errs []error
	if c.Lanes < 0 || c.Lanes > maxLanes {
		errs = append(errs, fmt.Errorf("MILLRACE_MODEL_LANES: %d is not between 0 and %d", c.Lanes, maxLanes))
	}
	if flavors := append([]string{Auto}, mlflow.Preferred()...); c.Flavor != "" && !slices.Contains(flavors, c.Flavor) {
		errs = append(errs, fmt.Errorf("MILLRACE_MODEL_FLAVOR: %q is none of %s", c.Flavor, strings.Join(flavors, ", ")))
	}
	return errors.Join(errs...)
}
