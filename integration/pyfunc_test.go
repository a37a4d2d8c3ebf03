//go:build integration

package integration

import (
	"fmt"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// pyFunc is a worker that serves some models of testdata/pyfunc_models.py.
type pyFunc struct {
	*worker
	registry *registry
	broker   *broker
	names    map[string]string // as they are registered, by their kind
	env      []string          // of Python
}

func servePyFunc(t *testing.T, env []string, kinds ...string) *pyFunc {
	t.Helper()
	p := &pyFunc{registry: sharedRegistry(t), env: env}
	p.registry.script(t, env, "pyfunc_models.py", nil, &p.names, kinds...)
	p.broker = newBroker(t)
	p.broker.topics(t)
	var models []string
	for _, kind := range kinds {
		models = append(models, kind+"=models:/"+p.names[kind]+"@champion")
	}
	p.worker = startWorker(t, "worker", p.broker, append([]string{
		"MLFLOW_TRACKING_URI=" + p.registry.url, "MILLRACE_MODEL=" + strings.Join(models, ","), "MILLRACE_PYFUNC_PYTHON=" + python(t),
		"MILLRACE_PYFUNC_PREDICT_TIMEOUT=4s", "MILLRACE_PYFUNC_MEMORY_LIMIT=" + strconv.Itoa(800<<20), "MILLRACE_BATCH_DELAY=50ms",
	}, env...)...)
	return p
}

// compare holds the worker's answers against those of MLflow's own code, and
// returns how many were predictions, and how many errors.
func (p *pyFunc) compare(t *testing.T, all []asked) (ok, refused int) {
	t.Helper()
	direct := map[string][][]string{}
	for _, a := range all {
		direct[p.names[a.model]] = append(direct[p.names[a.model]], []string{a.contentType, a.body})
	}
	var want map[string][][]any
	p.registry.script(t, p.env, "pyfunc_direct.py", direct, &want)
	for i, got := range exchange(t, p.broker, all) {
		name := p.names[all[i].model]
		answer := want[name][0]
		want[name] = want[name][1:]
		if answer[0] != 200.0 {
			require.Contains(t, []string{"INVALID_INPUT", "MODEL_FAILED"}, got.status, "%+v: %v", all[i], answer)
			require.NotContains(t, got.value, "Traceback")
			refused++
			continue
		}
		require.Equal(t, "ok", got.status, "%+v: %s", all[i], got.value)
		requireSame(t, answer[1].(string), got.value, all[i])
		ok++
	}
	return ok, refused
}

// TestScorer runs the tests of the scorer's own parts.
func TestScorer(t *testing.T) {
	cmd := exec.CommandContext(t.Context(), python(t), filepath.Join("testdata", "scorer_test.py"))
	cmd.Env = inherited("PYTHONPATH="+filepath.Join(root(t), "model", "pyfunc", "scorer"), "PYTHONDONTWRITEBYTECODE=1")
	out, err := cmd.CombinedOutput()
	require.NoError(t, err, "%s", out)
	require.Contains(t, string(out), "OK")
}

// TestPyTorch serves what MLflow logs of PyTorch.
func TestPyTorch(t *testing.T) {
	torch := fetched(t, "fetch-torch.sh")
	p := servePyFunc(t, []string{"LD_LIBRARY_PATH=" + filepath.Join(torch, "lib"), "PYTHONPATH=" + filepath.Join(torch, "site")}, "torch")
	r := rand.New(rand.NewPCG(7, 7))
	var all []asked
	for range 100 {
		all = append(all, asked{"torch", "application/json", fmt.Sprintf(`{"inputs": [[%v, %v, 1, 2]]}`, r.Float64(), r.Float64())})
	}
	for _, body := range odd {
		all = append(all, asked{"torch", "application/json", body})
	}
	ok, refused := p.compare(t, all)
	require.GreaterOrEqual(t, ok, 100)
	require.Greater(t, refused, 10)
	got := exchange(t, p.broker, []asked{
		{"torch", "", `{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}`},
		{"torch", "", `{"inputs": [{"name": "x", "shape": [1, 4], "datatype": "INT64", "data": [1, 2, 3, 4]}]}`},
	})
	require.Regexp(t, `"outputs":\[{"name": "output-1", "shape": \[1, 2\], "datatype": "FP32", "data": \[[-0-9.]{3,13}, [-0-9.]{3,13}\]}\]}$`, got[0].value)
	require.Equal(t, "INVALID_INPUT", got[1].status, got[1].value)
	p.broker.requireNoLag(t, group)
}

// TestPyFunc serves what MLflow logs of scikit-learn, and of classes of its own,
// from the registry to the answer.
func TestPyFunc(t *testing.T) {
	w := servePyFunc(t, nil, "sklearn", "pipeline", "custom", "mean")
	b, names := w.broker, w.names

	t.Run("answers are MLflow's", func(t *testing.T) {
		ok, refused := w.compare(t, drawn(400))
		require.Greater(t, ok, 200)
		require.Greater(t, refused, 20)
	})
	t.Run("V2", func(t *testing.T) {
		got := exchange(t, b, []asked{
			{"sklearn", "", `{"id": "7", "inputs": [{"name": "sepal_length", "shape": [2], "datatype": "FP64", "data": [5.1, 6]}, {"name": "sepal_width", "shape": [2, 1], "datatype": "FP64", "data": [3.5, 3]}, {"name": "petal_length", "shape": [2], "datatype": "FP64", "data": [1.4, 5]}, {"name": "petal_width", "shape": [2], "datatype": "FP64", "data": [0.2, 2]}]}`},
			{"custom", "", `{"inputs": [{"name": "text", "shape": [1], "datatype": "BYTES", "data": ["abc"]}, {"name": "x", "shape": [1], "datatype": "FP64", "data": [2.5]}], "outputs": [{"name": "scaled"}]}`},
		})
		require.Regexp(t, `^{"model_name":"sklearn[^"]*","model_version":"1","id":"7","outputs":\[{"name": "output-1", "shape": \[2\], "datatype": "FP64", "data": \[[0-9.]+, [0-9.]+\]}\]}$`, got[0].value)
		require.Contains(t, got[1].value, `"outputs":[{"name": "scaled", "shape": [1], "datatype": "FP64", "data": [5.0]}]}`)
	})
	t.Run("poison is found", func(t *testing.T) {
		text := func(s string) asked { return asked{"custom", "application/json", custom(s, 1.5, false)} }
		got := exchange(t, b, []asked{text("a"), text("hang"), text("bc"), text("crash"), text("fail"), text("def"), text("print")})
		for i, length := range map[int]int{0: 1, 2: 2, 5: 3, 6: 5} {
			require.Equal(t, answered{"ok", fmt.Sprintf(`{"predictions": [{"length": %d, "scaled": 3.0, "pid": 0}]}`, length)}, got[i])
		}
		require.Equal(t, "MODEL_FAILED", got[1].status)
		require.Contains(t, got[1].value, "did not answer within 4s")
		require.Equal(t, "MODEL_FAILED", got[3].status)
		require.Contains(t, got[3].value, "signal: aborted")
		require.JSONEq(t, `{"error_code":"MODEL_FAILED","message":"ValueError: this text is not for me","retryable":false}`, got[4].value)
		require.Contains(t, tail(w.log, 1000), "a line of the model")
		requireSeries(t, w.worker, `millrace_model_process_restarts_total{model="`+names["custom"]+`",reason="crash",version="1"} [1-9]`)
		requireSeries(t, w.worker, `millrace_model_process_restarts_total{model="`+names["custom"]+`",reason="timeout",version="1"} [1-9]`)
		requireSeries(t, w.worker, `millrace_model_process_resident_bytes{model="`+names["sklearn"]+`",version="1"} [1-9]`)
	})
	t.Run("a leak", func(t *testing.T) {
		pid := func() string {
			got := exchange(t, b, []asked{{"custom", "", custom("a", 1, true)}})
			require.Equal(t, "ok", got[0].status, got[0].value)
			return got[0].value
		}
		before := pid()
		got := exchange(t, b, []asked{{"custom", "", custom("leak", 1, false)}, {"custom", "", custom("leak", 1, false)}})
		require.Equal(t, "ok", got[0].status, got[0].value)
		requireSeries(t, w.worker, `millrace_model_process_restarts_total{model="`+names["custom"]+`",reason="memory",version="1"} [1-9]`)
		require.NotEqual(t, before, pid(), "another process answers")
	})
	b.requireNoLag(t, group)
	w.stop()
	require.NoError(t, w.err)
}

func custom(text string, x float64, pid bool) string {
	return fmt.Sprintf(`{"dataframe_split": {"columns": ["text", "x"], "data": [[%q, %v]]}, "params": {"pid": %v}}`, text, x, pid)
}

// requireSeries waits for a line of the worker's series.
func requireSeries(t *testing.T, w *worker, pattern string) {
	t.Helper()
	pattern = "(?m)^" + strings.NewReplacer("{", `\{`, "}", `\}`).Replace(pattern)
	var text []byte
	require.Eventually(t, func() bool {
		text, _ = get(t.Context(), "http://"+w.addr+"/metrics")
		return regexp.MustCompile(pattern).Match(text)
	}, time.Minute, 200*time.Millisecond, pattern)
}
