package pyfunc

import (
	"errors"
	"fmt"
	"regexp"
	"slices"
	"time"
)

// Config is how models of the flavor python_function are run.
type Config struct {
	Env            string        `env:"PYFUNC_ENV" envDefault:"local" help:"Where python_function models run: local (in PYFUNC_PYTHON as it is), or an environment made from the model's requirements by virtualenv (Python's venv and pip) or uv."`
	Python         string        `env:"PYFUNC_PYTHON" envDefault:"python3" help:"Python interpreter: with mlflow and the models' packages in it for local, to make environments with for virtualenv; uv finds its own."`
	Processes      int           `env:"PYFUNC_PROCESSES" envDefault:"1" help:"Processes of a python_function model's version; each holds the model, and runs one call at a time."`
	Batch          string        `env:"PYFUNC_BATCH" envDefault:"auto" help:"Whether requests share calls of a python_function model: auto (when they are answered together as alone), never or always. The model's metadata millrace_batch goes before."`
	StartTimeout   time.Duration `env:"PYFUNC_START_TIMEOUT" envDefault:"2m" help:"Longest time that a process may take to load its model and warm up."`
	PredictTimeout time.Duration `env:"PYFUNC_PREDICT_TIMEOUT" envDefault:"30s" help:"Longest time that a process may go without an answer before it is ended; well below WATCHDOG_TIMEOUT."`
	BuildTimeout   time.Duration `env:"PYFUNC_BUILD_TIMEOUT" envDefault:"20m" help:"Longest time that making an environment may take."`
	MemoryLimit    int64         `env:"PYFUNC_MEMORY_LIMIT" envDefault:"0" help:"Bytes that a process may hold before another takes its place, without a request failing; 0: no bound. Linux only."`
	PassEnv        []string      `env:"PYFUNC_PASS_ENV" help:"More variables that models' processes get, by name or by prefix with * at the end, as in OPENAI_API_KEY,AWS_*."`
}

// The values of Config.Env and Config.Batch.
const (
	EnvLocal      = "local"
	EnvVirtualenv = "virtualenv"
	EnvUV         = "uv"

	BatchAuto   = "auto"
	BatchNever  = "never"
	BatchAlways = "always"
)

const maxProcesses = 256

// Validate reports every mistake, by the variable's name.
func (c *Config) Validate() error {
	var errs []error
	check := func(ok bool, name, want string, v any) {
		if !ok {
			errs = append(errs, fmt.Errorf("MILLRACE_PYFUNC_%s: %v is not %s", name, v, want))
		}
	}
	check(slices.Contains([]string{EnvLocal, EnvVirtualenv, EnvUV}, c.Env), "ENV", "local, virtualenv or uv", c.Env)
	check(slices.Contains([]string{BatchAuto, BatchNever, BatchAlways}, c.Batch), "BATCH", "auto, never or always", c.Batch)
	check(c.Python != "", "PYTHON", "the name or path of an interpreter", `""`)
	check(c.Processes > 0 && c.Processes <= maxProcesses, "PROCESSES", fmt.Sprintf("between 1 and %d", maxProcesses), c.Processes)
	check(c.StartTimeout > 0, "START_TIMEOUT", "above 0", c.StartTimeout)
	check(c.PredictTimeout > 0, "PREDICT_TIMEOUT", "above 0", c.PredictTimeout)
	check(c.BuildTimeout > 0, "BUILD_TIMEOUT", "above 0", c.BuildTimeout)
	check(c.MemoryLimit >= 0, "MEMORY_LIMIT", "0 or above", c.MemoryLimit)
	name := regexp.MustCompile(`^[A-Za-z_][A-Za-z0-9_]*\*?$`)
	for _, v := range c.PassEnv {
		check(v == "" || name.MatchString(v), "PASS_ENV", "a variable's name, nor a prefix with * at its end", v)
	}
	return errors.Join(errs...)
}
