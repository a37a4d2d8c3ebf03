package pyfunc

import (
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// interpreterOf writes a program that stands for Python of a version: it makes
// environments of itself, and pip in it notes what it is to install.
func interpreterOf(t *testing.T, dir, name, version, pip string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	script := `#!/bin/sh
case "$*" in
*python_version*) echo ` + version + ` ;;
"-m venv"*) mkdir -p "$3/bin" && cp "$0" "$3/bin/python" ;;
*"pip install"*) echo "Collecting things"; echo "$*" >>"` + dir + `/pip"; ` + pip + ` ;;
esac
`
	require.NoError(t, os.WriteFile(path, []byte(script), 0o700))
	return path
}

func modelFolder(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	for name, text := range map[string]string{
		pythonEnvFile:    "python: 3.9.18\nbuild_dependencies:\n- pip==23.2.1\n- wheel\ndependencies:\n- -r requirements.txt\n",
		requirementsFile: "mlflow==3.17.2\n",
	} {
		require.NoError(t, os.WriteFile(filepath.Join(dir, name), []byte(text), 0o600))
	}
	return dir
}

func TestVirtualenv(t *testing.T) {
	bin, cache := t.TempDir(), t.TempDir()
	interpreterOf(t, bin, "python3", "3.11.7", "true")
	interpreterOf(t, bin, "python3.9", "3.9.2", "true")
	n := &notebook{}
	o := Options{
		Config: Config{Env: EnvVirtualenv, Python: "python3", BuildTimeout: time.Minute}, Folder: modelFolder(t),
		Environ: map[string]string{"PATH": bin + ":/usr/bin:/bin"}, EnvDir: cache, Logger: slog.New(slog.NewTextHandler(n, nil)),
	}
	var all sync.WaitGroup
	paths := make([]string, 4)
	for i := range paths {
		all.Go(func() {
			path, err := o.interpreter(t.Context())
			if err != nil {
				t.Error(err)
			}
			paths[i] = path
		})
	}
	all.Wait()
	require.FileExists(t, paths[0])
	for _, p := range paths {
		require.Equal(t, paths[0], p)
	}
	asked, err := os.ReadFile(filepath.Join(bin, "pip"))
	require.NoError(t, err)
	lines := strings.Split(strings.TrimSpace(string(asked)), "\n")
	require.Len(t, lines, 2, "it is made once")
	require.Contains(t, lines[0], "pip==23.2.1 wheel")
	require.Contains(t, lines[1], "-r "+filepath.Join(o.Folder, requirementsFile))
	require.Contains(t, n.log(), "Collecting things")

	require.NoError(t, os.Remove(paths[0])) // as when what it was made of is gone
	again, err := o.interpreter(t.Context())
	require.NoError(t, err)
	require.Equal(t, paths[0], again)
	require.FileExists(t, again, "it is made anew")

	require.NoError(t, os.WriteFile(filepath.Join(o.Folder, requirementsFile), []byte("mlflow==3.0\n"), 0o600))
	other, err := o.interpreter(t.Context())
	require.NoError(t, err)
	require.NotEqual(t, paths[0], other, "other requirements, another environment")
}

func TestNoEnvironment(t *testing.T) {
	bin := t.TempDir()
	interpreterOf(t, bin, "python3", "3.11.7", "true")
	failing := t.TempDir()
	interpreterOf(t, failing, "python3.9", "3.9.1", "echo no such package >&2; exit 1")
	stuck := t.TempDir()
	interpreterOf(t, stuck, "python3.9", "3.9.1", "exec tail -f /dev/null")
	for name, c := range map[string]struct {
		change func(*Options)
		want   string
	}{
		"no python":    {func(o *Options) { o.Env, o.Environ = EnvLocal, nil }, "set MILLRACE_PYFUNC_PYTHON to an interpreter that has them"},
		"no such path": {func(o *Options) { o.Env, o.Python = EnvLocal, filepath.Join(bin, "python4") }, "no such file"},
		"other python": {func(*Options) {}, "the model was logged with Python 3.9.18, and there is none of 3.9 (" + filepath.Join(bin, "python3") + " is 3.11.7; python3.9 is not in PATH)"},
		"no files":     {func(o *Options) { o.Folder = bin }, "the model has no python_env.yaml to make an environment from"},
		"pip fails":    {func(o *Options) { o.Environ = map[string]string{"PATH": failing + ":/usr/bin:/bin"} }, "no such package"},
		"too long": {func(o *Options) {
			o.BuildTimeout = time.Second
			o.Environ = map[string]string{"PATH": stuck + ":/usr/bin:/bin"}
		}, "longer than 1s (MILLRACE_PYFUNC_BUILD_TIMEOUT)"},
		"no uv":         {func(o *Options) { o.Env = EnvUV }, "install uv"},
		"nowhere to be": {func(o *Options) { o.Env, o.EnvDir = EnvUV, "" }, "set MILLRACE_MODEL_CACHE_DIR or HOME"},
	} {
		t.Run(name, func(t *testing.T) {
			o := Options{
				Config: Config{Env: EnvVirtualenv, Python: "python3", BuildTimeout: time.Minute}, Folder: modelFolder(t),
				Environ: map[string]string{"PATH": bin + ":/usr/bin:/bin"}, EnvDir: t.TempDir(), Logger: slog.New(slog.DiscardHandler),
			}
			c.change(&o)
			_, err := Open(t.Context(), o)
			require.ErrorContains(t, err, c.want)
			left, err := filepath.Glob(filepath.Join(o.EnvDir, "*.part"))
			require.NoError(t, err)
			require.Empty(t, left)
		})
	}
}

func TestWhatAProcessIsTold(t *testing.T) {
	environ := map[string]string{
		"PATH": "/bin", "LC_ALL": "C", "PYTHONPATH": "/lib", "OMP_NUM_THREADS": "1", "MLFLOW_LOGGING_LEVEL": "DEBUG",
		"MLFLOW_TRACKING_URI": "http://user:secret@mlflow", "MLFLOW_TRACKING_PASSWORD": "secret", "MLFLOW_CRYPTO_KEK_PASSWORD": "secret",
		"AWS_SECRET_ACCESS_KEY": "secret", "MILLRACE_KAFKA_SASL_PASSWORD": "secret", "OPENAI_API_KEY": "named", "PIP_INDEX_URL": "secret", "OTHER": "x",
	}
	require.Equal(t, []string{"LC_ALL=C", "MLFLOW_LOGGING_LEVEL=DEBUG", "OMP_NUM_THREADS=1", "PATH=/bin", "PYTHONPATH=/lib"}, childEnviron(environ, nil))
	require.Equal(t, []string{"AWS_SECRET_ACCESS_KEY=secret", "LC_ALL=C", "MLFLOW_LOGGING_LEVEL=DEBUG", "MLFLOW_TRACKING_URI=http://user:secret@mlflow", "OMP_NUM_THREADS=1", "OPENAI_API_KEY=named", "PATH=/bin", "PYTHONPATH=/lib"},
		childEnviron(environ, []string{"OPENAI_API_KEY", "AWS_*", "MLFLOW_TRACKING_URI", "MILLRACE_*", ""}))
}

func TestConfig(t *testing.T) {
	good := Config{Env: EnvLocal, Python: "python3", Processes: 1, Batch: BatchAuto, StartTimeout: 1, PredictTimeout: 1, BuildTimeout: 1, PassEnv: []string{"A_1", "AWS_*"}}
	require.NoError(t, good.Validate())
	bad := Config{Env: "conda", Batch: "x", Processes: 300, MemoryLimit: -1, PassEnv: []string{"A=B"}}
	err := bad.Validate()
	for _, name := range []string{"ENV", "BATCH", "PYTHON", "PROCESSES", "START_TIMEOUT", "PREDICT_TIMEOUT", "BUILD_TIMEOUT", "MEMORY_LIMIT", "PASS_ENV"} {
		require.ErrorContains(t, err, "MILLRACE_PYFUNC_"+name+": ")
	}
}
