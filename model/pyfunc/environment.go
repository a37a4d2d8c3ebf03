package pyfunc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/gofrs/flock"
	"go.yaml.in/yaml/v3"
)

// interpreter returns the Python that the model runs in, making the environment
// first when it has one of its own.
func (o *Options) interpreter(ctx context.Context) (string, error) {
	if o.Env == EnvVirtualenv || o.Env == EnvUV {
		return o.environment(ctx)
	}
	python, err := lookup(o.Environ, o.Python)
	if err != nil {
		return "", fmt.Errorf("python_function needs Python with mlflow and the model's packages: %w: install it, or set MILLRACE_PYFUNC_PYTHON to an interpreter that has them", err)
	}
	return python, nil
}

// wanted is what a model folder says of its environment.
type wanted struct {
	python string   // version, "" for any
	first  []string // what is installed before the rest
	text   []byte   // of the files, for the hash
}

const (
	pythonEnvFile    = "python_env.yaml"
	requirementsFile = "requirements.txt"
)

func (o *Options) wanted() (*wanted, error) {
	var w wanted
	for _, name := range []string{pythonEnvFile, requirementsFile} {
		text, err := os.ReadFile(filepath.Join(o.Folder, name)) //nolint:gosec // of the model
		if errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("the model has no %s to make an environment from: set MILLRACE_PYFUNC_ENV=local, and MILLRACE_PYFUNC_PYTHON to an interpreter with its packages", name)
		}
		if err != nil {
			return nil, err
		}
		w.text = append(append(w.text, text...), 0)
		if name != pythonEnvFile {
			continue
		}
		var env struct {
			Python string `yaml:"python"`
			Build  []any  `yaml:"build_dependencies"`
		}
		if err := yaml.Unmarshal(text, &env); err != nil {
			return nil, fmt.Errorf("%s: %w", name, err)
		}
		w.python = env.Python
		for _, dep := range env.Build {
			if s, ok := dep.(string); ok {
				w.first = append(w.first, s)
			}
		}
	}
	return &w, nil
}

// environment makes the model's environment, unless it is there: by the hash of
// what it is made from, under a lock that processes share.
func (o *Options) environment(ctx context.Context) (python string, err error) {
	w, err := o.wanted()
	if err != nil {
		return "", err
	}
	base := ""
	if o.Env == EnvVirtualenv {
		if base, err = o.base(ctx, w.python); err != nil {
			return "", err
		}
	}
	if o.EnvDir == "" {
		return "", errors.New("no folder to keep environments in: set MILLRACE_MODEL_CACHE_DIR or HOME")
	}
	if err := os.MkdirAll(o.EnvDir, 0o700); err != nil {
		return "", err
	}
	sum := sha256.Sum256(append([]byte(o.Env+"\x00"+base+"\x00"+o.Python+"\x00"), w.text...))
	dir := filepath.Join(o.EnvDir, hex.EncodeToString(sum[:])[:16])
	python = filepath.Join(dir, "bin", "python")
	ctx, cancel := context.WithTimeoutCause(ctx, o.BuildTimeout, fmt.Errorf("it took longer than %s (MILLRACE_PYFUNC_BUILD_TIMEOUT)", o.BuildTimeout))
	defer cancel()
	lock := flock.New(dir + ".lock")
	const look = 200 * time.Millisecond
	if _, err := lock.TryLockContext(ctx, look); err != nil {
		return "", fmt.Errorf("wait for who makes the model's environment: %w", context.Cause(ctx))
	}
	defer func() { err = errors.Join(err, lock.Unlock()) }()
	if executable(python) == nil {
		return python, nil
	}
	return python, o.build(ctx, w, base, dir)
}

// build makes the environment beside where it belongs, and renames it: an
// environment that is there is whole.
func (o *Options) build(ctx context.Context, w *wanted, base, dir string) error {
	o.Logger.Info("making the model's environment", "by", o.Env, "python", w.python, "folder", dir)
	begun := time.Now()
	work := dir + ".part"
	if err := os.RemoveAll(work); err != nil {
		return err
	}
	python := filepath.Join(work, "bin", "python")
	requirements := filepath.Join(o.Folder, requirementsFile)
	var steps [][]string
	if o.Env == EnvUV {
		uv, err := lookup(o.Environ, "uv")
		if err != nil {
			return fmt.Errorf("MILLRACE_PYFUNC_ENV=uv: %w: install uv, or set MILLRACE_PYFUNC_ENV to local or virtualenv", err)
		}
		venv := []string{uv, "venv", "--no-project", work}
		if w.python != "" {
			venv = append(venv, "--python", w.python)
		}
		steps = append(steps, venv, []string{uv, "pip", "install", "--python", python, "-r", requirements})
	} else {
		pip := []string{python, "-m", "pip", "install", "--disable-pip-version-check", "--no-input", "--progress-bar", "off"}
		steps = append(steps, []string{base, "-m", "venv", work})
		if len(w.first) > 0 {
			steps = append(steps, slices.Concat(pip, w.first))
		}
		steps = append(steps, slices.Concat(pip, []string{"-r", requirements}))
	}
	for _, step := range steps {
		if err := o.run(ctx, step); err != nil {
			return errors.Join(fmt.Errorf("make the model's environment: %w", err), os.RemoveAll(work))
		}
	}
	// One that is there has lost its interpreter, else it was used.
	if err := errors.Join(os.RemoveAll(dir), os.Rename(work, dir)); err != nil {
		return err
	}
	o.Logger.Info("the model's environment is there", "folder", dir, "took", time.Since(begun).Round(time.Millisecond))
	return nil
}

// run runs a step to its end. Its output goes to the log, and its end into the
// error.
func (o *Options) run(ctx context.Context, args []string) error {
	out := newLines(o.Logger)
	cmd := exec.CommandContext(ctx, args[0], args[1:]...) //nolint:gosec // the operator's interpreter
	cmd.Env = childEnviron(o.Environ, slices.Concat(building, o.PassEnv))
	cmd.Stdout, cmd.Stderr = out.stream("stdout"), out.stream("stderr")
	ownGroup(cmd)
	cmd.Cancel = func() error {
		killGroup(cmd.Process.Pid)
		return nil
	}
	cmd.WaitDelay = time.Second
	err := cmd.Run()
	out.end()
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		return fmt.Errorf("%s: %w: %s", strings.Join(args[:min(len(args), 4)], " "), err, clip(out.tail())) //nolint:mnd // enough to tell what it was
	}
	return nil
}

// base finds an interpreter of the model's Python, as far as its first two
// numbers go.
func (o *Options) base(ctx context.Context, version string) (string, error) {
	names := []string{o.Python}
	minor := minorOf(version)
	if minor != "" {
		names = append(names, "python"+minor)
	}
	var seen []string
	for _, name := range names {
		path, err := lookup(o.Environ, name)
		if err != nil {
			seen = append(seen, err.Error())
			continue
		}
		cmd := exec.CommandContext(ctx, path, "-c", "import platform; print(platform.python_version())") //nolint:gosec // the operator's interpreter
		cmd.Env = childEnviron(o.Environ, o.PassEnv)
		out, err := cmd.Output()
		if err != nil {
			seen = append(seen, fmt.Sprintf("%s does not run (%v)", path, err))
			continue
		}
		has := strings.TrimSpace(string(out))
		if minor == "" || minorOf(has) == minor {
			return path, nil
		}
		seen = append(seen, fmt.Sprintf("%s is %s", path, has))
	}
	return "", fmt.Errorf("the model was logged with Python %s, and there is none of %s (%s): install it, set MILLRACE_PYFUNC_PYTHON to it, or set MILLRACE_PYFUNC_ENV=uv, which fetches it where it may",
		version, minor, strings.Join(seen, "; "))
}

// minorOf is a version's first two numbers.
func minorOf(version string) string {
	major, rest, _ := strings.Cut(version, ".")
	minor, _, _ := strings.Cut(rest, ".")
	if major == "" || minor == "" {
		return ""
	}
	return major + "." + minor
}
