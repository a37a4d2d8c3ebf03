package pyfunc

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
)

// A model's process runs the model's code. It gets the variables that programs
// need to run at all, those that tune Python, numeric libraries and MLflow, and
// what the operator names; no address, user, password, token or key of ours.
//
//nolint:gochecknoglobals // constant tables
var (
	passed = []string{
		"PATH", "HOME", "USER", "LOGNAME", "SHELL", "TMPDIR", "TZ", "LANG", "LANGUAGE", "LC_*",
		"LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH", "VIRTUAL_ENV", "CONDA_PREFIX", "XDG_CACHE_HOME", "PYENV_*",
		"PYTHON*", "MLFLOW_*", "OMP_*", "MKL_*", "OPENBLAS_*", "BLIS_*", "NUMEXPR_*", "NUMBA_*", "KMP_*", "GOTO_NUM_THREADS",
		"CUDA_*", "NVIDIA_*", "HIP_*", "ROCR_*", "TORCH_*", "TF_*", "XLA_*", "TOKENIZERS_PARALLELISM",
		"HF_HOME", "HF_HUB_OFFLINE", "TRANSFORMERS_CACHE", "TRANSFORMERS_OFFLINE", "SSL_CERT_FILE", "SSL_CERT_DIR",
		"SERVING_MODEL_CONFIG",
	}
	// kept are ours even so.
	kept = []string{
		"MLFLOW_TRACKING_*", "MLFLOW_REGISTRY_URI", "MLFLOW_S3_*", "MLFLOW_*_KEY", "MLFLOW_*_PASSWORD", "MLFLOW_*_SECRET*", "MLFLOW_*_TOKEN",
	}
	// building are for who makes an environment, which is not the model.
	building = []string{
		"PIP_*", "UV_*", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY", "http_proxy", "https_proxy", "no_proxy", "all_proxy",
		"REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "CC", "CXX", "CFLAGS", "LDFLAGS", "NETRC",
	}
)

// childEnviron is what of environ a process gets, sorted. more are names, or
// prefixes with * at the end; none of them lets our own configuration through.
func childEnviron(environ map[string]string, more []string) []string {
	var out []string
	for name, value := range environ {
		if strings.HasPrefix(name, "MILLRACE_") {
			continue
		}
		if matches(passed, name) && !matches(kept, name) || matches(more, name) {
			out = append(out, name+"="+value)
		}
	}
	slices.Sort(out)
	return out
}

func matches(patterns []string, name string) bool {
	return slices.ContainsFunc(patterns, func(p string) bool {
		ok, err := filepath.Match(p, name)
		return err == nil && ok
	})
}

// lookup finds a program: a path as it is, a name in environ's PATH.
func lookup(environ map[string]string, name string) (string, error) {
	if strings.ContainsRune(name, filepath.Separator) {
		if err := executable(name); err != nil {
			return "", err
		}
		return filepath.Abs(name)
	}
	for _, dir := range filepath.SplitList(environ["PATH"]) {
		if path := filepath.Join(dir, name); filepath.IsAbs(dir) && executable(path) == nil {
			return path, nil
		}
	}
	return "", fmt.Errorf("%s is not in PATH", name)
}

func executable(path string) error {
	st, err := os.Stat(path)
	if err == nil && (st.IsDir() || st.Mode()&0o111 == 0) {
		err = fmt.Errorf("%s is no program", path)
	}
	return err
}
