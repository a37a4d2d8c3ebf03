package mlflow_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
)

func client(t *testing.T, uri string) *mlflow.Client {
	t.Helper()
	c, err := mlflow.New(mlflow.Config{TrackingURI: uri, Username: "u", Password: "p", RetryBase: time.Millisecond})
	require.NoError(t, err)
	return c
}

// recorded answers with what a real server answered to the same GET, the last
// time when it was asked more than once.
func recorded(t *testing.T) *httptest.Server {
	t.Helper()
	type exchange struct {
		Method, Path, Response string
		Status                 int
		Headers                map[string]string
	}
	first := map[string]exchange{}
	f, err := os.Open("testdata/rest.jsonl")
	require.NoError(t, err)
	defer func() { require.NoError(t, f.Close()) }()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 1<<20)
	for lines.Scan() {
		var e exchange
		require.NoError(t, json.Unmarshal(lines.Bytes(), &e))
		u := strings.SplitN(e.Path, "?", 2)
		key := e.Method + " " + u[0]
		if len(u) == 2 {
			q := strings.Split(u[1], "&")
			key += "?" + strings.Join(q, "&")
		}
		if _, ok := first[key]; !ok {
			first[key] = e
		}
	}
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		q := r.URL.Query()
		for key, e := range first {
			method, p, _ := strings.Cut(key, " ")
			req := httptest.NewRequestWithContext(r.Context(), method, p, http.NoBody)
			if method == r.Method && req.URL.Path == r.URL.Path && req.URL.Query().Encode() == q.Encode() {
				w.Header().Set("Content-Type", e.Headers["content-type"])
				w.WriteHeader(e.Status)
				_, _ = io.WriteString(w, e.Response)
				return
			}
		}
		http.Error(w, "not recorded", http.StatusTeapot)
	}))
	t.Cleanup(srv.Close)
	return srv
}

func TestRecordedAnswers(t *testing.T) {
	c := client(t, recorded(t).URL)
	v, err := c.ByAlias(t.Context(), "fraud1795445522", "champion")
	require.NoError(t, err)
	require.Equal(t, "1", v.Version)
	require.EqualValues(t, 1795445533833, v.Created)
	_, err = c.ByAlias(t.Context(), "fraud1795445522", "nope") // a 400
	require.ErrorIs(t, err, mlflow.ErrNotFound)
	_, err = c.ByAlias(t.Context(), "nope", "champion")
	require.ErrorIs(t, err, mlflow.ErrNotFound)
	_, err = c.ByVersion(t.Context(), "fraud1795445522", "x") // a 400 that is not about something missing
	require.NotErrorIs(t, err, mlflow.ErrNotFound)
	uri, err := c.DownloadURI(t.Context(), "fraud1795445522", "4")
	require.NoError(t, err)
	require.Equal(t, "s3://b/p", uri)
}

// server is a registry of one model with artifacts, with faults.
type server struct {
	mu    sync.Mutex
	files map[string][]byte
	alias string
	gets  int
	fault func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	old   bool                                              // knows no logged models
}

func (s *server) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if user, pass, _ := r.BasicAuth(); user != "u" || pass != "p" {
		w.WriteHeader(http.StatusUnauthorized)
		return
	}
	if s.fault != nil && s.fault(w, r) {
		return
	}
	body, _ := io.ReadAll(r.Body)
	const artifacts = "/api/2.0/mlflow-artifacts/artifacts"
	version := `{"name":"fraud","version":"1","creation_timestamp":"17","status":"READY","source":"models:/m-1"}`
	name, isFile := strings.CutPrefix(r.URL.Path, artifacts+"/")
	switch p := strings.TrimPrefix(r.URL.Path, "/api/2.0/mlflow/"); {
	case r.URL.Path == artifacts:
		s.list(w, r.URL.Query().Get("path"))
	case isFile && r.Method == http.MethodPut:
		s.files[name] = body
	case isFile:
		s.gets++
		_, _ = w.Write(s.files[name])
	case p == "logged-models" && s.old:
		http.Error(w, "<h1>Not Found</h1>", http.StatusNotFound)
	case p == "logged-models" && bytes.ContainsAny(field(body, "name"), `/:.%"'`),
		p == "model-versions/create" && !s.old && string(field(body, "source")) != "models:/"+string(field(body, "model_id")):
		w.WriteHeader(http.StatusBadRequest) // as 3.17 does
		_, _ = io.WriteString(w, `{"error_code":"INVALID_PARAMETER_VALUE","message":"no"}`)
	case strings.HasPrefix(p, "logged-models"):
		_, _ = io.WriteString(w, `{"model":{"info":{"model_id":"m-1","artifact_uri":"mlflow-artifacts:/0/models/m-1/artifacts","status":"LOGGED_MODEL_READY"}}}`)
	case strings.HasPrefix(p, "runs/"):
		_, _ = io.WriteString(w, `{"run":{"info":{"run_id":"r","artifact_uri":"mlflow-artifacts:/0/r/artifacts"}}}`)
	case p == "registered-models/alias" && r.Method == http.MethodPost:
		s.alias = string(body)
	case p == "registered-models/create":
		w.WriteHeader(http.StatusBadRequest)
		_, _ = io.WriteString(w, `{"error_code":"RESOURCE_ALREADY_EXISTS","message":"it is there"}`)
	case p == "model-versions/get-download-uri" && s.old:
		_, _ = io.WriteString(w, `{"artifact_uri":"runs:/r/model"}`)
	case p == "model-versions/get-download-uri":
		_, _ = io.WriteString(w, `{"artifact_uri":"mlflow-artifacts:/0/models/m-1/artifacts"}`)
	default:
		_, _ = io.WriteString(w, `{"model_version":`+version+`}`)
	}
}

// field is a text of a JSON object.
func field(body []byte, name string) []byte {
	var all map[string]any
	_ = json.Unmarshal(body, &all)
	text, _ := all[name].(string)
	return []byte(text)
}

func (s *server) list(w http.ResponseWriter, dir string) {
	var files []map[string]any
	for name, text := range s.files {
		if path.Dir(name) == dir {
			files = append(files, map[string]any{"path": path.Base(name), "is_dir": false, "file_size": len(text)})
		}
	}
	_ = json.NewEncoder(w).Encode(map[string]any{"files": files})
}

func (s *server) breaks(fault func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

func start(t *testing.T) (*server, *mlflow.Client, *mlflow.Cache, string) {
	t.Helper()
	s := &server{files: map[string][]byte{}}
	srv := httptest.NewServer(s)
	t.Cleanup(srv.Close)
	dir := t.TempDir()
	cache, err := mlflow.NewCache(dir, 0)
	require.NoError(t, err)
	return s, client(t, srv.URL), cache, dir
}

func TestRegisterResolveFetch(t *testing.T) {
	for _, old := range []bool{false, true} {
		s, c, cache, dir := start(t)
		s.old = old
		_, err := c.Register(t.Context(), mlflow.Registration{Folder: "testdata/A_tens", Name: "fraud.v2", Alias: "champion"})
		require.NoError(t, err)
		require.Contains(t, s.alias, "champion")
		ref, err := mlflow.ParseRef("models:/fraud@champion")
		require.NoError(t, err)
		r, err := c.Resolve(t.Context(), ref)
		require.NoError(t, err)

		folder, release, err := c.Fetch(t.Context(), cache, r, nil)
		require.NoError(t, err)
		_, err = mlflow.ReadFolder(folder)
		require.NoError(t, err)
		want, err := mlflow.HashFolder("testdata/A_tens")
		require.NoError(t, err)
		got, err := mlflow.HashFolder(folder)
		require.NoError(t, err)
		require.Equal(t, want, got)

		before := s.gets
		_, again, err := c.Fetch(t.Context(), cache, r, nil) // shared, while the first is in use
		require.NoError(t, err)
		require.Equal(t, before, s.gets, "what is cached is not downloaded again")
		again()
		release()

		data := filepath.Join(dir, "snapshots", r.Identity, "files", "model.onnx")
		require.NoError(t, os.WriteFile(data, []byte("damaged"), 0o600))
		folder, release, err = c.Fetch(t.Context(), cache, r, nil)
		require.NoError(t, err)
		require.Greater(t, s.gets, before, "what is damaged is downloaded again")
		got, err = mlflow.HashFolder(folder)
		require.NoError(t, err)
		require.Equal(t, want, got)
		release()
	}
}

func TestFaults(t *testing.T) {
	s, c, cache, dir := start(t)
	_, err := c.Register(t.Context(), mlflow.Registration{Folder: "testdata/A_tens", Name: "fraud"})
	require.NoError(t, err)
	ref, err := mlflow.ParseRef("models:/fraud/1")
	require.NoError(t, err)
	n := 0
	s.breaks(func(w http.ResponseWriter, _ *http.Request) bool {
		n++
		if n < 3 {
			w.WriteHeader(http.StatusServiceUnavailable)
		}
		return n < 3
	})
	r, err := c.Resolve(t.Context(), ref)
	require.NoError(t, err, "a 503 is tried again")

	s.breaks(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "model.onnx") {
			return false
		}
		_, _ = io.WriteString(w, "short")
		return true
	})
	_, _, err = c.Fetch(t.Context(), cache, r, nil)
	require.ErrorIs(t, err, mlflow.ErrArtifact)
	for _, sub := range []string{"snapshots", "tmp"} {
		left, err := os.ReadDir(filepath.Join(dir, sub))
		require.NoError(t, err)
		require.Empty(t, left, sub)
	}

	s.breaks(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("path") == "" {
			return false
		}
		_, _ = io.WriteString(w, `{"files":[{"path":"../x","file_size":1}]}`)
		return true
	})
	_, _, err = c.Fetch(t.Context(), cache, r, nil)
	require.ErrorIs(t, err, mlflow.ErrArtifact)
}

func logTo(w io.Writer) *slog.Logger { return slog.New(slog.NewTextHandler(w, nil)) }
