//go:build integration

package integration

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"math/rand/v2"
	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// asked is a request of these tests.
type asked struct{ model, contentType, body string }

// answered is what came back.
type answered struct{ status, value string }

// python is the interpreter of the real MLflow.
func python(t *testing.T) string {
	t.Helper()
	return filepath.Join(fetched(t, "fetch-venv.sh", "mlflow"), "bin", "python")
}

// script runs a program of testdata against the registry and reads what it prints.
func (r *registry) script(t *testing.T, env []string, name string, in, out any, args ...string) {
	t.Helper()
	stdin, err := json.Marshal(in)
	require.NoError(t, err)
	cmd := exec.CommandContext(t.Context(), python(t), append([]string{filepath.Join("testdata", name)}, args...)...)
	cmd.Env = inherited(append(env, "MLFLOW_TRACKING_URI="+r.url, "MLFLOW_DISABLE_TELEMETRY=true")...)
	text, err := runWith(cmd, stdin)
	require.NoError(t, err)
	require.NoError(t, json.Unmarshal(text[bytes.LastIndexByte(bytes.TrimSpace(text), '\n')+1:], out), "%s", text)
}

// exchange sends requests, in one batch, and returns their answers.
func exchange(t *testing.T, b *broker, all []asked) []answered {
	t.Helper()
	consumer := b.client(t, kgo.ConsumeTopics(results), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	producer := b.client(t, kgo.ProducerLinger(50*time.Millisecond))
	begun := strconv.FormatInt(time.Now().UnixNano(), 36)
	var recs []*kgo.Record
	for i, a := range all {
		recs = append(recs, &kgo.Record{Topic: requests, Value: []byte(a.body), Headers: []kgo.RecordHeader{
			{Key: wire.CorrelationID, Value: fmt.Appendf(nil, "%s-%d", begun, i)},
			{Key: wire.Model, Value: []byte(a.model)},
			{Key: wire.ContentType, Value: []byte(a.contentType)},
		}})
	}
	require.NoError(t, producer.ProduceSync(t.Context(), recs...).FirstErr())
	got := make([]answered, len(all))
	deadline := time.Now().Add(5 * time.Minute)
	for left := len(all); left > 0; {
		require.True(t, time.Now().Before(deadline), "%d of %d requests are not answered", left, len(all))
		consumer.PollFetches(t.Context()).EachRecord(func(r *kgo.Record) {
			id, _ := wire.Header(r, wire.CorrelationID)
			n, ours := strings.CutPrefix(string(id), begun+"-")
			if !ours {
				return
			}
			i, err := strconv.Atoi(n)
			require.NoError(t, err)
			status, _ := wire.Header(r, wire.Status)
			require.Empty(t, got[i].status, "request %d is answered twice", i)
			got[i] = answered{string(status), string(r.Value)}
			left--
		})
	}
	return got
}

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

// requireSame compares answers: all but floats exactly, those within what another
// order of summing makes of them, and null where MLflow has NaN.
func requireSame(t *testing.T, want, got string, of asked) {
	t.Helper()
	if want == got {
		return
	}
	want = strings.NewReplacer("NaN", "null", "-Infinity", "null", "Infinity", "null").Replace(want)
	var a, b any
	require.NoError(t, json.Unmarshal([]byte(want), &a), want)
	require.NoError(t, json.Unmarshal([]byte(got), &b), got)
	require.True(t, near(a, b), "%+v:\n%s\n%s", of, want, got)
	require.Equal(t, strings.Count(want, "."), strings.Count(got, "."), "%+v: floats stay floats:\n%s\n%s", of, want, got)
}

func near(a, b any) bool {
	switch x := a.(type) {
	case float64:
		y, ok := b.(float64)
		return ok && (x-y <= 1e-6*max(1, x, -x) && y-x <= 1e-6*max(1, x, -x))
	case []any:
		y, ok := b.([]any)
		return ok && slices.EqualFunc(x, y, near)
	case map[string]any:
		y, ok := b.(map[string]any)
		return ok && maps.EqualFunc(x, y, near)
	default:
		return a == b
	}
}

// drawn makes requests of all models, good and bad, the same ones each time.
func drawn(n int) []asked {
	r := rand.New(rand.NewPCG(7, 7))
	var all []asked
	for range n {
		switch r.IntN(9) {
		case 0, 1, 2:
			all = append(all, asked{"sklearn", "application/json", table(r, []string{"sepal_length", "sepal_width", "petal_length", "petal_width"}, number)})
		case 3:
			all = append(all, asked{"sklearn", "text/csv", fmt.Sprintf("sepal_length,sepal_width,petal_length,petal_width\n%v,%v,1,2.5\n", r.Float64(), r.Float64())})
		case 4, 5:
			cell := map[string]func(*rand.Rand) string{"colour": word, "size": number, "count": func(r *rand.Rand) string { return strconv.Itoa(r.IntN(9)) }}
			all = append(all, asked{"pipeline", "application/json", tableOf(r, []string{"colour", "size", "count"}, func(r *rand.Rand, c string) string { return cell[c](r) })})
		case 6:
			all = append(all, asked{"custom", "application/json", custom(strings.Trim(word(r), `"`), r.Float64(), false)})
		case 7:
			all = append(all, asked{"mean", "application/json", fmt.Sprintf(`{"inputs": [[%v, %v]]}`, r.Float64(), r.Float64())},
				asked{"mean", "application/json", fmt.Sprintf(`{"dataframe_records": [{"a": %v}, {"a": %v}]}`, r.Float64(), r.Float64())})
		default:
			all = append(all, asked{[]string{"sklearn", "pipeline", "custom", "mean"}[r.IntN(4)], "application/json", odd[r.IntN(len(odd))]})
		}
	}
	return all
}

// odd are bodies that some models refuse.
var odd = []string{
	`{"inputs": [[1, 2]]}`, `{"inputs": []}`, `{"instances": [1.5]}`, `{"inputs": "x"}`, `{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}`,
	`{"dataframe_split": []}`, `{"dataframe_records": {}}`, `{"dataframe_records": []}`, `{"inputs": [1], "instances": [1]}`, `{"other": 1}`, `[]`, `7`,
	`{"dataframe_records": [{"text": "a", "x": "2.5"}]}`, `{"dataframe_records": [{"text": "a", "x": 1, "more": 2}], "params": {"factor": 3}}`,
	`{"dataframe_records": [{"text": "a", "x": 1}], "params": {"factor": "x"}}`, `{"dataframe_records": [{"text": null, "x": null}]}`,
	`{"dataframe_records": [{"colour": "red", "size": null, "count": 1}]}`, `{"dataframe_records": [{"colour": 1, "size": 1, "count": 1}]}`,
	`{"dataframe_records": [{"colour": "red", "size": 1, "count": 1.5}]}`, `{"inputs": {"text": ["a", "b"], "x": [1.5, 2]}}`,
	`{"inputs": [[0.5, NaN, 1, 2], [1, 2, 3, 4.5]]}`, `{"messages": []}`,
}

func table(r *rand.Rand, columns []string, cell func(*rand.Rand) string) string {
	return tableOf(r, columns, func(r *rand.Rand, _ string) string { return cell(r) })
}

// tableOf is a data frame, in one of its forms.
func tableOf(r *rand.Rand, columns []string, cell func(*rand.Rand, string) string) string {
	rows := make([][]string, 1+r.IntN(3))
	for i := range rows {
		for _, c := range columns {
			rows[i] = append(rows[i], cell(r, c))
		}
	}
	var parts []string
	switch r.IntN(3) {
	case 0:
		for _, row := range rows {
			parts = append(parts, "["+strings.Join(row, ", ")+"]")
		}
		names, _ := json.Marshal(columns)
		return fmt.Sprintf(`{"dataframe_split": {"columns": %s, "data": [%s]}}`, names, strings.Join(parts, ", "))
	case 1:
		for _, row := range rows {
			var cells []string
			for i, c := range columns {
				cells = append(cells, fmt.Sprintf("%q: %s", c, row[i]))
			}
			parts = append(parts, "{"+strings.Join(cells, ", ")+"}")
		}
		return fmt.Sprintf(`{"dataframe_records": [%s]}`, strings.Join(parts, ", "))
	default:
		for i, c := range columns {
			var cells []string
			for _, row := range rows {
				cells = append(cells, row[i])
			}
			parts = append(parts, fmt.Sprintf("%q: [%s]", c, strings.Join(cells, ", ")))
		}
		return fmt.Sprintf(`{"%s": {%s}}`, []string{"inputs", "instances"}[r.IntN(2)], strings.Join(parts, ", "))
	}
}

func number(r *rand.Rand) string {
	if r.IntN(5) == 0 {
		return strconv.Itoa(r.IntN(7))
	}
	return strconv.FormatFloat(r.Float64()*7, 'g', -1, 64)
}

func word(r *rand.Rand) string { return []string{`"red"`, `"blue"`, `"grün"`, `"black"`}[r.IntN(4)] }
