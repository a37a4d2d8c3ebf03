package mlflow_test

import (
	"context"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
)

// bucket is an object store in memory.
type bucket struct {
	mu    sync.Mutex
	files map[string]string
	deny  bool
}

func (b *bucket) Files(context.Context, int) (all []mlflow.File, err error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for name, text := range b.files {
		all = append(all, mlflow.File{Path: name, Size: int64(len(text))})
	}
	return all, nil
}

func (b *bucket) Open(_ context.Context, f mlflow.File, offset int64) (*mlflow.Body, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if b.deny {
		return nil, fmt.Errorf("%w: 403", mlflow.ErrNoAccess)
	}
	text := b.files[f.Path]
	return &mlflow.Body{ReadCloser: io.NopCloser(strings.NewReader(text[offset:])), Offset: offset, Size: int64(len(text))}, nil
}

func (b *bucket) Put(_ context.Context, name string, size int64, content io.ReadSeeker) error {
	text, err := io.ReadAll(content)
	if err != nil || int64(len(text)) != size {
		return fmt.Errorf("%d bytes of %d: %w", len(text), size, err)
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	b.files[name] = string(text)
	return nil
}

func (b *bucket) Close() error { return nil }

// tracking is a server whose models lie in an object store that it reads for
// those who ask.
type tracking struct {
	source string // of version 1
	uri    string // of its artifacts
	run    string // the version's
	files  map[string]string
	asked  []string // routes to files
	mu     sync.Mutex
	deny   bool
	sign   string // where presigned addresses lead to
}

func (s *tracking) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	q := r.URL.Query()
	p := strings.TrimPrefix(r.URL.Path, "/prefix/api/2.0/mlflow/")
	switch {
	case p == "model-versions/get":
		_, _ = fmt.Fprintf(w, `{"model_version":{"name":"fraud","version":"1","status":"READY","source":%q,"run_id":%q}}`, s.source, s.run)
	case p == "model-versions/get-download-uri":
		_, _ = fmt.Fprintf(w, `{"artifact_uri":%q}`, s.uri)
	case p == "runs/get":
		_, _ = io.WriteString(w, `{"run":{"info":{"run_id":"r","artifact_uri":"s3://b/0/r/artifacts"},"outputs":{"model_outputs":[{"model_id":"m-2"},{"model_id":"m-3"}]}}}`)
	case p == "logged-models/m-1" || p == "logged-models/m-2":
		_, _ = io.WriteString(w, `{"model":{"info":{"model_id":"m-2","name":"clf","artifact_uri":"s3://b/0/models/m-2/artifacts","status":"LOGGED_MODEL_READY"}}}`)
	case s.deny:
		w.WriteHeader(http.StatusForbidden)
	case p == "artifacts/list":
		s.list(w, "model", q.Get("path"), q.Get("page_token"))
	case strings.HasPrefix(p, "logged-models/") && strings.HasSuffix(p, "/artifacts/directories"):
		s.list(w, "", q.Get("artifact_directory_path"), q.Get("page_token"))
	case p == "artifacts/presigned-download-url" && s.sign != "":
		_, _ = fmt.Fprintf(w, `{"presigned_url":"%s/signed?X-Amz-Signature=secret","headers":{"X-Signed":"yes"}}`, s.sign)
	case p == "/prefix/get-artifact" && q.Get("run_id") == "r":
		s.send(w, "run", strings.TrimPrefix(q.Get("path"), "model/"))
	case p == "/prefix/model-versions/get-artifact" && q.Get("name") == "fraud" && q.Get("version") == "1":
		s.send(w, "version", q.Get("path"))
	case strings.HasPrefix(p, "/prefix/ajax-api/2.0/mlflow/logged-models/"):
		s.send(w, "logged", q.Get("artifact_file_path"))
	case strings.HasPrefix(p, "/prefix/plain/model/"):
		s.send(w, "plain", strings.TrimPrefix(p, "/prefix/plain/model/"))
	default:
		http.NotFound(w, r)
	}
}

// routes are those that files took.
func (s *tracking) routes() []string {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked)
}

func (s *tracking) send(w http.ResponseWriter, route, name string) {
	s.asked = append(s.asked, route)
	text, ok := s.files[name]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	_, _ = io.WriteString(w, text)
}

// list gives a folder in two pages, its paths from the root of a run or model.
func (s *tracking) list(w http.ResponseWriter, root, dir, token string) {
	var lines []string
	folders := map[string]bool{}
	for name, text := range s.files {
		full := strings.TrimPrefix(root+"/"+name, "/")
		below, ok := strings.CutPrefix(full, strings.TrimPrefix(dir+"/", "/"))
		first, _, deeper := strings.Cut(below, "/")
		switch at := strings.TrimPrefix(dir+"/"+first, "/"); {
		case !ok:
		case !deeper:
			lines = append(lines, fmt.Sprintf(`{"path":%q,"file_size":"%d"}`, full, len(text)))
		case !folders[at]:
			folders[at] = true
			lines = append(lines, fmt.Sprintf(`{"path":%q,"is_dir":true}`, at))
		}
	}
	slices.Sort(lines)
	if len(lines) == 0 {
		_, _ = io.WriteString(w, `{}`)
		return
	}
	if token == "" {
		_, _ = fmt.Fprintf(w, `{"files":[%s],"next_page_token":"rest"}`, lines[0])
		return
	}
	_, _ = fmt.Fprintf(w, `{"files":[%s]}`, strings.Join(lines[1:], ","))
}

func modelFiles(t *testing.T) map[string]string {
	t.Helper()
	files := map[string]string{"sub/dir/more.txt": "more"}
	for _, name := range []string{"MLmodel", "model.onnx"} {
		text, err := os.ReadFile(filepath.Join("testdata/A_tens", name))
		require.NoError(t, err)
		files[name] = string(text)
	}
	return files
}

func TestRoutes(t *testing.T) {
	version := mlflow.Ref{Kind: mlflow.KindVersion, Name: "fraud", Version: "1"}
	never := func(context.Context, string, bool) (mlflow.Bucket, error) {
		return nil, fmt.Errorf("%w: no credentials", mlflow.ErrNoAccess)
	}
	cases := map[string]struct {
		ref    mlflow.Ref
		server *tracking
		mode   mlflow.Artifacts
		open   func(*bucket) mlflow.Opener
		via    string // the route that every file took
		all    bool   // files that MLmodel does not name came as well
		err    string
	}{
		"direct":                   {ref: version, server: &tracking{uri: "s3://b/x"}, open: func(b *bucket) mlflow.Opener { return b.opener() }, all: true},
		"no store here":            {ref: version, server: &tracking{uri: "s3://b/0/r/artifacts/model", run: "r"}, via: "run", all: true},
		"no credentials":           {ref: version, server: &tracking{uri: "s3://b/0/r/artifacts/model", run: "r"}, open: func(*bucket) mlflow.Opener { return never }, via: "run", all: true},
		"denied on reading":        {ref: version, server: &tracking{uri: "s3://b/0/r/artifacts/model", run: "r"}, open: func(b *bucket) mlflow.Opener { b.deny = true; return b.opener() }, via: "run", all: true},
		"server asked for":         {ref: version, server: &tracking{uri: "s3://b/0/r/artifacts/model", run: "r"}, mode: mlflow.ArtifactsServer, open: func(b *bucket) mlflow.Opener { return b.opener() }, via: "run", all: true},
		"logged model":             {ref: version, server: &tracking{source: "models:/m-1", uri: "abfss://f@a.dfs.core.windows.net/x"}, via: "logged", all: true},
		"runs:/ of a logged model": {ref: mlflow.Ref{Kind: mlflow.KindRun, ID: "r", Path: "clf"}, via: "logged", all: true},
		"runs:/":                   {ref: mlflow.Ref{Kind: mlflow.KindRun, ID: "r", Path: "model"}, via: "run", all: true},
		"models:/m-":               {ref: mlflow.Ref{Kind: mlflow.KindLoggedModel, ID: "m-1"}, via: "logged", all: true},
		"a version of no run":      {ref: version, server: &tracking{uri: "s3://b/anywhere"}, via: "version"},
		"a server's own folder":    {ref: version, server: &tracking{uri: "/srv/artifacts/model"}, via: "version"},
		"a scheme of its own":      {ref: version, server: &tracking{uri: "hdfs://h/model"}, via: "version"},
		"plain web server":         {ref: version, server: &tracking{uri: "http://HOST/prefix/plain/model"}, via: "plain"},
		"direct asked for": {
			ref: version, server: &tracking{uri: "s3://b/0/r/artifacts/model", run: "r"}, mode: mlflow.ArtifactsDirect,
			open: func(*bucket) mlflow.Opener { return never }, err: "directly from s3:: artifact store is out of reach: no credentials",
		},
		"neither way": {
			ref: version, server: &tracking{uri: "s3://b/0/r/artifacts/model", run: "r", deny: true},
			open: func(*bucket) mlflow.Opener { return never }, err: "through the tracking server: list artifacts: mlflow: GET",
		},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			s := c.server
			if s == nil {
				s = &tracking{}
			}
			s.files = modelFiles(t)
			srv := httptest.NewServer(s)
			defer srv.Close()
			s.uri = strings.ReplaceAll(s.uri, "HOST", strings.TrimPrefix(srv.URL, "http://"))
			cfg := mlflow.Config{TrackingURI: srv.URL + "/prefix", Artifacts: c.mode, RetryBase: time.Microsecond, RetryMax: 2}
			if c.open != nil {
				cfg.Open = c.open(&bucket{files: modelFiles(t)})
			}
			cl, err := mlflow.New(cfg)
			require.NoError(t, err)
			cache, err := mlflow.NewCache(t.TempDir(), 0)
			require.NoError(t, err)
			r, err := cl.Resolve(t.Context(), c.ref)
			require.NoError(t, err)
			dir, release, err := cl.Fetch(t.Context(), cache, r, nil)
			if c.err != "" {
				require.ErrorContains(t, err, c.err)
				if c.mode != mlflow.ArtifactsDirect {
					require.ErrorContains(t, err, "no credentials", "each way is told")
				}
				return
			}
			require.NoError(t, err)
			defer release()
			for _, route := range s.routes() {
				require.Equal(t, c.via, route)
			}
			require.Equal(t, c.via == "", len(s.routes()) == 0)
			_, err = mlflow.ReadFolder(dir)
			require.NoError(t, err)
			if c.all {
				text, err := os.ReadFile(filepath.Join(dir, "sub", "dir", "more.txt"))
				require.NoError(t, err)
				require.Equal(t, "more", string(text))
			}
		})
	}
}

func (b *bucket) opener() mlflow.Opener {
	return func(context.Context, string, bool) (mlflow.Bucket, error) { return b, nil }
}
