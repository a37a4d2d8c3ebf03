package main

import (
	"bytes"
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/bundled"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// ran is how a command ended.
type ran struct {
	code     int
	out, err string
}

// tool runs a command in process, with nothing but env in its environment.
func tool(ctx context.Context, env []string, in string, args ...string) ran {
	var out, errw bytes.Buffer
	code := run(ctx, args, env, strings.NewReader(in), &out, &errw)
	return ran{code, out.String(), errw.String()}
}

// registry is a tracking server as far as registering a model and getting it
// back goes.
type registry struct {
	*httptest.Server
	mu       sync.Mutex
	files    map[string][]byte
	versions []map[string]any // what was sent
	aliases  map[string]string
	requests int
}

const artifactRoot = "/api/2.0/mlflow-artifacts/artifacts"

func newFakeRegistry(t *testing.T) *registry {
	t.Helper()
	r := &registry{files: map[string][]byte{}, aliases: map[string]string{}}
	r.Server = httptest.NewServer(r)
	t.Cleanup(func() {
		r.CloseClientConnections()
		r.Close()
	})
	return r
}

func (r *registry) env(t *testing.T) []string {
	t.Helper()
	return []string{"MLFLOW_TRACKING_URI=" + r.URL, "HOME=" + t.TempDir()}
}

func (r *registry) ServeHTTP(w http.ResponseWriter, req *http.Request) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.requests++
	body, _ := io.ReadAll(req.Body)
	var sent map[string]any
	_ = json.Unmarshal(body, &sent)
	if name, ok := strings.CutPrefix(req.URL.Path, artifactRoot); ok {
		r.artifact(w, req, strings.TrimPrefix(name, "/"), body)
		return
	}
	switch p := strings.TrimPrefix(req.URL.Path, "/api/2.0/mlflow/"); {
	case strings.HasPrefix(p, "logged-models"):
		id := "m-" + string(rune('1'+len(r.versions)))
		answer(w, map[string]any{"model": map[string]any{"info": map[string]any{
			"model_id": id, "artifact_uri": "mlflow-artifacts:/0/models/" + id + "/artifacts", "status": "LOGGED_MODEL_READY",
		}}})
	case p == "registered-models/create":
		answer(w, map[string]any{})
	case p == "model-versions/create":
		r.versions = append(r.versions, sent)
		answer(w, map[string]any{"model_version": r.version(len(r.versions))})
	case p == "registered-models/alias" && req.Method == http.MethodPost:
		r.aliases[sent["alias"].(string)] = sent["version"].(string)
		answer(w, map[string]any{})
	case p == "registered-models/alias":
		r.named(w, r.aliases[req.URL.Query().Get("alias")])
	case p == "model-versions/get":
		r.named(w, req.URL.Query().Get("version"))
	case p == "model-versions/get-download-uri":
		id := "m-" + req.URL.Query().Get("version")
		answer(w, map[string]any{"artifact_uri": "mlflow-artifacts:/0/models/" + id + "/artifacts"})
	default:
		http.Error(w, "not known here", http.StatusTeapot)
	}
}

func (r *registry) artifact(w http.ResponseWriter, req *http.Request, name string, body []byte) {
	switch {
	case req.Method == http.MethodPut:
		r.files[name] = body
		answer(w, map[string]any{})
	case name != "":
		_, _ = w.Write(r.files[name])
	default:
		dir, files := req.URL.Query().Get("path"), []map[string]any{}
		for name, text := range r.files {
			if path.Dir(name) == dir {
				files = append(files, map[string]any{"path": path.Base(name), "is_dir": false, "file_size": len(text)})
			}
		}
		answer(w, map[string]any{"files": files})
	}
}

func (r *registry) version(n int) map[string]any {
	sent := r.versions[n-1]
	return map[string]any{
		"name": sent["name"], "version": string(rune('0' + n)), "source": sent["source"],
		"status": "READY", "creation_timestamp": n,
	}
}

func (r *registry) named(w http.ResponseWriter, version string) {
	for n := range r.versions {
		if v := r.version(n + 1); v["version"] == version {
			answer(w, map[string]any{"model_version": v})
			return
		}
	}
	w.WriteHeader(http.StatusNotFound)
	answer(w, map[string]any{"error_code": "RESOURCE_DOES_NOT_EXIST", "message": "no such version"})
}

func answer(w http.ResponseWriter, v any) { _ = json.NewEncoder(w).Encode(v) }

const (
	fourFloats = `[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]`
	twoFloats  = `[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]`
)

// versioned is a folder whose model answers with a row's sum and k.
func versioned(t *testing.T, k int, example string) string {
	t.Helper()
	return onnxtest.Folder{Model: onnxtest.Version(k), Inputs: fourFloats, Outputs: twoFloats, Example: example}.Write(t)
}

func TestModelFromFolderToPrediction(t *testing.T) {
	r := newFakeRegistry(t)
	env := r.env(t)
	for k, alias := range []string{"champion", ""} {
		args := []string{"model", "register", versioned(t, k+1, ""), "--name", "sum", "--description", "of a row", "--tag", "b=2", "--tag", "a=1"}
		if alias != "" {
			args = append(args, "--alias", alias)
		}
		got := tool(t.Context(), env, "", args...)
		require.Zero(t, got.code, got.err)
		require.Contains(t, got.out, "models:/m-"+string(rune('1'+k)))
		require.Empty(t, got.err)
	}
	require.Equal(t, "of a row", r.versions[0]["description"])
	require.Equal(t, []any{map[string]any{"key": "a", "value": "1"}, map[string]any{"key": "b", "value": "2"}}, r.versions[0]["tags"])

	for uri, want := range map[string]string{"models:/sum@champion": "1", "models:/sum/2": "2"} {
		got := tool(t.Context(), env, "", "model", "resolve", uri, "--output", "json")
		require.Zero(t, got.code, got.err)
		var resolved map[string]string
		require.NoError(t, json.Unmarshal([]byte(got.out), &resolved))
		require.Equal(t, "sum", resolved["name"])
		require.Equal(t, want, resolved["version"])
		require.Equal(t, "models:/m-"+want, resolved["source"])
		require.Equal(t, "mlflow-artifacts:/0/models/m-"+want+"/artifacts", resolved["artifact_uri"])
		require.NotEmpty(t, resolved["identity"])

		got = tool(t.Context(), env, `{"inputs": [[1, 2, 3, 4]]}`, "model", "predict", uri)
		require.Zero(t, got.code, got.err)
		require.JSONEq(t, `{"predictions": {"Y": [[10.0, `+want+`.0]]}}`, got.out)
		require.NotContains(t, got.out, "\n")
	}

	got := tool(t.Context(), env, "", "model", "resolve", "models:/sum@champion")
	require.Zero(t, got.code, got.err)
	require.Regexp(t, `(?m)^version +1$`, got.out)
	got = tool(t.Context(), env, "", "model", "inspect", "models:/sum/2")
	require.Zero(t, got.code, got.err)
	require.Regexp(t, `(?m)^batches +yes`, got.out)
	require.Regexp(t, `(?m)^  input +float32 +\[-1 4\]$`, got.out)
	require.Regexp(t, `(?m)^  MLmodel +\d+ B$`, got.out)
}

// The example that inspect shows is a request that predict answers, logged or
// made up.
func TestModelInspectShowsARequest(t *testing.T) {
	home := []string{"HOME=" + t.TempDir()}
	for name, c := range map[string]struct {
		uri, source string
	}{
		"bundled": {"bundled", "logged"},
		"logged":  {versioned(t, 1, `{"inputs": [[1.0, 2.0, 3.0, 4.0]]}`), "logged"},
		"made up": {versioned(t, 1, ""), "made up"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tool(t.Context(), home, "", "model", "inspect", c.uri, "--output", "json")
			require.Zero(t, got.code, got.err)
			var in inspection
			require.NoError(t, json.Unmarshal([]byte(got.out), &in))
			require.True(t, in.Loads)
			require.True(t, in.Batches)
			require.Equal(t, c.source, in.ExampleSource)
			require.NotEmpty(t, in.Files)
			require.NotEmpty(t, in.Signature.Inputs)

			got = tool(t.Context(), home, in.Example, "model", "predict", c.uri)
			require.Zero(t, got.code, got.out+got.err)

			text := tool(t.Context(), home, "", "model", "inspect", c.uri)
			require.Contains(t, text.out, in.Curl)
			require.Equal(t, in.Example, curlSends(t, in.Curl))
		})
	}
}

// curlSends runs the command in a shell whose curl prints the body.
func curlSends(t *testing.T, command string) string {
	t.Helper()
	dir := t.TempDir()
	script := "#!/bin/sh\nfor last; do :; done\nprintf %s \"$last\"\n"
	require.NoError(t, os.WriteFile(filepath.Join(dir, "curl"), []byte(script), 0o700))
	cmd := exec.CommandContext(t.Context(), "/bin/sh", "-c", command)
	cmd.Env = []string{"PATH=" + dir}
	out, err := cmd.Output()
	require.NoError(t, err)
	return string(out)
}

func TestModelInspectSaysWhyItDoesNotLoad(t *testing.T) {
	folder := onnxtest.Folder{Model: []byte("no model"), Inputs: fourFloats}.Write(t)
	for _, output := range []string{"text", "json"} {
		got := tool(t.Context(), []string{"HOME=" + t.TempDir()}, "", "model", "inspect", folder, "--output", output)
		require.Equal(t, 1, got.code)
		require.Contains(t, got.out, "model.onnx")
		require.Regexp(t, `loads +no: .+|"error": ".+"`, got.out)
		require.Empty(t, got.err)
	}
}

func TestModelPredictAnswersErrors(t *testing.T) {
	folder := versioned(t, 1, "")
	ok := `{"inputs": [[1, 2, 3, 4]]}`
	for name, c := range map[string]struct {
		env, args []string
		body      string
		code      string
	}{
		"not JSON":       {nil, nil, "{", "INVALID_INPUT"},
		"shape":          {nil, nil, `{"inputs": [[1, 2, 3]]}`, "INVALID_INPUT"},
		"empty":          {nil, nil, "", "INVALID_INPUT"},
		"tombstone":      {nil, []string{"--tombstone"}, ok, "INVALID_INPUT"},
		"too many bytes": {[]string{"MILLRACE_MAX_REQUEST_BYTES=10"}, nil, ok, "TOO_LARGE"},
		"too many rows":  {[]string{"MILLRACE_MAX_ROWS=1"}, nil, `{"inputs": [[1, 2, 3, 4], [1, 2, 3, 4]]}`, "TOO_LARGE"},
		"content type":   {nil, []string{"--content-type", "application/pdf"}, ok, "UNSUPPORTED_MEDIA_TYPE"},
	} {
		t.Run(name, func(t *testing.T) {
			env := append([]string{"HOME=" + t.TempDir()}, c.env...)
			got := tool(t.Context(), env, c.body, append([]string{"model", "predict", folder}, c.args...)...)
			require.Equal(t, 1, got.code)
			require.Contains(t, got.out, c.code)
			require.NotContains(t, got.out, "\n")
			require.Empty(t, got.err)
		})
	}
}

func TestModelRefuses(t *testing.T) {
	r := newFakeRegistry(t)
	env := r.env(t)
	incomplete := versioned(t, 1, "")
	require.NoError(t, os.Remove(filepath.Join(incomplete, "model.onnx")))
	whole := versioned(t, 1, "")
	for name, c := range map[string]struct {
		env  []string
		args []string
		code int
		err  string
	}{
		"no command":        {env, []string{"nope"}, 2, "--help"},
		"no URI":            {env, []string{"predict"}, 2, "takes one argument"},
		"two URIs":          {env, []string{"inspect", "a", "b"}, 2, "takes one argument"},
		"no reference":      {env, []string{"resolve", "models:/sum"}, 2, "models:/name@alias"},
		"no output":         {env, []string{"resolve", whole, "--output", "xml"}, 2, "neither text nor json"},
		"no registry":       {[]string{"HOME=/nowhere"}, []string{"resolve", "models:/sum@champion"}, 2, "MLFLOW_TRACKING_URI"},
		"wrong variable":    {[]string{"MILLRACE_MAX_ROW=3"}, []string{"predict", whole}, 2, "MILLRACE_MAX_ROWS"},
		"wrong limit":       {[]string{"MILLRACE_MAX_ROWS=x"}, []string{"predict", whole}, 2, "MILLRACE_MAX_ROWS"},
		"unknown version":   {env, []string{"resolve", "models:/sum/9"}, 1, "no such version"},
		"no folder":         {env, []string{"inspect", filepath.Join(whole, "nowhere")}, 1, "nowhere"},
		"nameless":          {env, []string{"register", whole}, 2, "--name"},
		"folderless":        {env, []string{"register", "--name", "sum"}, 2, "takes one argument"},
		"tag":               {env, []string{"register", whole, "--name", "sum", "--tag", "x"}, 2, "KEY=VALUE"},
		"incomplete folder": {env, []string{"register", incomplete, "--name", "sum"}, 1, "model.onnx is missing"},
		"incomplete model":  {env, []string{"predict", incomplete}, 1, "model.onnx is missing"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tool(t.Context(), c.env, "{}", append([]string{"model"}, c.args...)...)
			require.Equal(t, c.code, got.code, got.err)
			require.Contains(t, got.err, c.err)
			require.Empty(t, got.out)
		})
	}
	require.Equal(t, 1, r.requests, "only the unknown version was asked for")
}

func TestBundledFolderIsWhatResolveSays(t *testing.T) {
	got := tool(t.Context(), []string{"HOME=" + t.TempDir()}, "", "model", "resolve", "bundled")
	require.Zero(t, got.code, got.err)
	require.Regexp(t, `(?m)^name +`+bundled.Name+`$`, got.out)
}
