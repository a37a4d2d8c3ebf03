//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"golang.org/x/sync/errgroup"

	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// TestParity asks MLflow's scoring server and a worker behind a gateway the same
// of the same models, and compares.
func TestParity(t *testing.T) {
	dir := t.TempDir()
	mixed(t).WriteTo(t, filepath.Join(dir, "onnx"))
	require.NoError(t, os.Rename(affine(t, 1), filepath.Join(dir, "tensor")))
	addr := freeAddr(t)
	host, port, err := net.SplitHostPort(addr)
	require.NoError(t, err)
	several := onnxtest.Folder{Model: onnxtest.Multi()}
	several.WriteTo(t, filepath.Join(dir, "unsigned"))
	several.Inputs = `[{"name": "A", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}, {"name": "B", "type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1]}}]`
	several.WriteTo(t, filepath.Join(dir, "tensors"))
	theirs := start(t, "mlflow", inherited("MLFLOW_DISABLE_TELEMETRY=true"), python(t), filepath.Join("testdata", "parity.py"), dir, host, port)
	b := newBroker(t)
	b.topics(t)
	theirs.ready(t, 5*time.Minute, func(ctx context.Context) error {
		_, err := get(ctx, "http://"+addr+"/onnx/ping")
		return err
	})
	models := map[string][]column{
		"onnx":     {{"a", number}, {"b", number}, {"n", whole}, {"k", truth}},
		"tensor":   {{"X", vector(4)}},
		"tensors":  {{"A", vector(2)}, {"B", whole}},
		"unsigned": {{"A", vector(2)}, {"B", whole}},
		"sklearn":  {{"colour", word}, {"size", number}, {"count", whole}},
		"lightgbm": {{"a", number}, {"b", number}, {"n", whole}},
		"xgboost":  {{"a", number}, {"b", number}, {"c", number}},
	}
	var settings []string
	for name := range models {
		settings = append(settings, name+"="+filepath.Join(dir, name))
	}
	w := startWorker(t, "worker", b, "MILLRACE_MODEL="+strings.Join(settings, ","), "MILLRACE_PYFUNC_PYTHON="+python(t))
	web := startGateway(t, b)
	served, err := get(t.Context(), "http://"+w.addr+"/models")
	require.NoError(t, err)
	for _, flavor := range []string{"onnx", "lightgbm", "xgboost", "python_function"} {
		require.Contains(t, string(served), `"flavor":"`+flavor+`"`)
	}
	used := make([]int, len(onPurpose))
	for name, columns := range models {
		t.Run(name, func(t *testing.T) {
			all := bodies(name, columns, 160)
			want, got := answersOf(t, "http://"+addr+"/"+name+"/invocations", all), answersOf(t, web+"/predict", all)
			predicted := 0
			for i := range all {
				if compare(t, &all[i], want[i], got[i], used) {
					predicted++
				}
			}
			t.Logf("%d bodies, %d of them predicted by MLflow", len(all), predicted)
			require.Greater(t, predicted, 20)
			require.Greater(t, len(all)-predicted, 20)
		})
	}
	parity, err := os.ReadFile(filepath.Join(root(t), "docs", "parity.md"))
	require.NoError(t, err)
	for i, d := range onPurpose {
		t.Logf("%3d × %s", used[i], d.reason)
		require.NotZero(t, used[i], "no body is answered as %q says: it goes", d.reason)
		require.Contains(t, strings.Join(strings.Fields(string(parity)), " "), d.reason, "docs/parity.md does not say this")
	}
}

// reply is what a server answers.
type reply struct {
	status int
	body   string
}

// answersOf posts all bodies, some at a time.
func answersOf(t *testing.T, url string, all []asked) []reply {
	t.Helper()
	replies := make([]reply, len(all))
	askers, ctx := errgroup.WithContext(t.Context())
	askers.SetLimit(8)
	for i, a := range all {
		askers.Go(func() error {
			req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, strings.NewReader(a.body))
			if err != nil {
				return err
			}
			req.Close = true // MLflow's server ends connections after what it does not catch
			if a.contentType != "" {
				req.Header.Set("Content-Type", a.contentType)
			}
			req.Header.Set("X-Model", a.model)
			resp, err := http.DefaultClient.Do(req)
			if err != nil {
				return err
			}
			defer func() { _ = resp.Body.Close() }()
			text, err := io.ReadAll(resp.Body)
			replies[i] = reply{resp.StatusCode, string(text)}
			return err
		})
	}
	require.NoError(t, askers.Wait())
	return replies
}

// compare holds an answer against MLflow's, or against what the difference that
// applies says of it, and says whether MLflow predicted.
func compare(t *testing.T, a *asked, want, got reply, used []int) bool {
	t.Helper()
	says, ok := "", same(want, got)
	if i := slices.IndexFunc(onPurpose, func(d difference) bool { return d.when(a, want) }); i >= 0 {
		d := &onPurpose[i]
		used[i]++
		says, ok = d.reason, d.status == got.status && strings.Contains(got.body, d.says)
		if d.body != nil {
			ok = same(reply{d.status, d.body(want.body)}, got)
		}
	}
	if !ok {
		t.Errorf("%s %s %q\nMLflow: %d %s\nours:   %d %s\nMLflow's should be ours but for: %q", a.model, a.contentType, a.body, want.status, end(want.body), got.status, got.body, says)
	}
	return want.status == http.StatusOK
}

// end is the last part of an answer, without a traceback.
func end(body string) string {
	var e struct{ Message string }
	if json.Unmarshal([]byte(body), &e) == nil && e.Message != "" {
		body = e.Message
	}
	return body[max(0, len(body)-500):]
}

// same says whether the answers are the same prediction, or refusals of the same
// class.
func same(want, got reply) bool {
	if want.status == http.StatusBadRequest && !strings.Contains(got.body, "INVALID_INPUT") {
		return false
	}
	if want.status != http.StatusOK {
		return want.status == got.status || want.status >= http.StatusInternalServerError && got.status >= http.StatusInternalServerError
	}
	var a, b any
	return got.status == http.StatusOK && json.Unmarshal([]byte(want.body), &a) == nil && json.Unmarshal([]byte(got.body), &b) == nil &&
		near(a, b) && strings.Count(want.body, ".") == strings.Count(got.body, ".") // floats stay floats
}

// mixed is a model with columns of several types: it answers with a + b + n, twice
// n, and not k.
func mixed(t *testing.T) onnxtest.Folder {
	t.Helper()
	dims := []int64{-1}
	return onnxtest.Folder{
		Model: onnxtest.Graph{
			Inputs: []onnxtest.Value{
				{Name: "a", Elem: onnxtest.Float, Dims: dims},
				{Name: "b", Elem: onnxtest.Double, Dims: dims},
				{Name: "n", Elem: onnxtest.Int32, Dims: dims},
				{Name: "k", Elem: onnxtest.Bool, Dims: dims},
			},
			Outputs: []onnxtest.Value{{Name: "sum", Elem: onnxtest.Float, Dims: dims}, {Name: "n2", Elem: onnxtest.Int32, Dims: dims}, {Name: "no", Elem: onnxtest.Bool, Dims: dims}},
			Nodes: []onnxtest.Node{
				{Op: "Cast", In: []string{"b"}, Out: []string{"bf"}, Attrs: []onnxtest.Attr{{Name: "to", Value: onnxtest.Float}}},
				{Op: "Cast", In: []string{"n"}, Out: []string{"nf"}, Attrs: []onnxtest.Attr{{Name: "to", Value: onnxtest.Float}}},
				{Op: "Add", In: []string{"a", "bf"}, Out: []string{"ab"}},
				{Op: "Add", In: []string{"ab", "nf"}, Out: []string{"sum"}},
				{Op: "Add", In: []string{"n", "n"}, Out: []string{"n2"}},
				{Op: "Not", In: []string{"k"}, Out: []string{"no"}},
			},
		}.Bytes(),
		Inputs: `[{"type": "double", "name": "a"}, {"type": "double", "name": "b"}, {"type": "integer", "name": "n"}, {"type": "boolean", "name": "k"}]`,
	}
}
