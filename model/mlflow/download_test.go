package mlflow_test

import (
	"compress/gzip"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
)

// folder is a registry of one version, whose files lie behind the proxy, as
// list and file answer.
type folder struct {
	list func(w http.ResponseWriter, dir string)
	file http.HandlerFunc
}

func (f folder) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	const artifacts = "/api/2.0/mlflow-artifacts/artifacts"
	switch {
	case r.URL.Path == artifacts:
		f.list(w, strings.TrimPrefix(strings.TrimPrefix(r.URL.Query().Get("path"), "m"), "/"))
	case strings.HasPrefix(r.URL.Path, artifacts+"/m/"):
		f.file(w, r)
	case strings.HasSuffix(r.URL.Path, "get-download-uri"):
		_, _ = io.WriteString(w, `{"artifact_uri":"mlflow-artifacts:/m"}`)
	case strings.HasSuffix(r.URL.Path, "model-versions/get"):
		_, _ = io.WriteString(w, `{"model_version":{"name":"fraud","version":"1","status":"READY","source":"mlflow-artifacts:/m"}}`)
	default:
		http.NotFound(w, r)
	}
}

// one lists a single file.
func one(size int64) func(http.ResponseWriter, string) {
	return func(w http.ResponseWriter, _ string) {
		_, _ = fmt.Fprintf(w, `{"files":[{"path":"model.onnx","file_size":%d}]}`, size)
	}
}

// fetchFrom fetches version 1 of a server, and holds that a failure leaves
// nothing behind.
func fetchFrom(t *testing.T, h http.Handler, quota int64, set ...func(*mlflow.Config)) (string, error) {
	t.Helper()
	srv := httptest.NewServer(h)
	defer srv.Close()
	dir := t.TempDir()
	cache, err := mlflow.NewCache(dir, quota)
	require.NoError(t, err)
	cfg := mlflow.Config{TrackingURI: srv.URL, RetryBase: time.Microsecond, RetryMax: 3}
	for _, f := range set {
		f(&cfg)
	}
	c, err := mlflow.New(cfg)
	require.NoError(t, err)
	r, err := c.Resolve(t.Context(), mlflow.Ref{Kind: mlflow.KindVersion, Name: "fraud", Version: "1"})
	require.NoError(t, err)
	at, release, err := c.Fetch(t.Context(), cache, r, nil)
	if err != nil {
		for _, sub := range []string{"snapshots", "tmp", "blobs"} {
			left, err := os.ReadDir(filepath.Join(dir, sub))
			require.NoError(t, err)
			require.Empty(t, left, sub)
		}
		return "", err
	}
	release()
	return at, nil
}

func TestDownloadRefuses(t *testing.T) {
	text := strings.Repeat("x", 1000)
	serve := func(w http.ResponseWriter, _ *http.Request) { _, _ = io.WriteString(w, text) }
	cut := func(w http.ResponseWriter, _ *http.Request) { // a chunked body without its end
		_, _ = io.WriteString(w, text[:500])
		_ = http.NewResponseController(w).Flush()
		panic(http.ErrAbortHandler)
	}
	listed := func(entries string) func(http.ResponseWriter, string) {
		return func(w http.ResponseWriter, dir string) {
			if dir == "" {
				_, _ = io.WriteString(w, `{"files":[`+entries+`]}`)
			}
		}
	}
	limit := func(n int64) func(*mlflow.Config) { return func(c *mlflow.Config) { c.MaxBytes = n } }
	cases := map[string]struct {
		folder
		quota  int64
		set    func(*mlflow.Config)
		is     error
		reason string
	}{
		"longer than listed": {folder: folder{one(999), func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush() // no Content-Length
			_, _ = io.WriteString(w, text)
		}}, is: mlflow.ErrArtifact, reason: "longer than the 999"},
		"another Content-Length": {folder: folder{one(999), serve}, is: mlflow.ErrArtifact, reason: "its size is 1000, not the listed 999"},
		"shorter than listed": {folder: folder{one(1001), func(w http.ResponseWriter, _ *http.Request) {
			_ = http.NewResponseController(w).Flush()
			_, _ = io.WriteString(w, text)
		}}, is: mlflow.ErrArtifact, reason: "ended after 1000 of 1001"},
		"cut chunks": {folder: folder{one(1000), cut}, is: io.ErrUnexpectedEOF, reason: "download model.onnx"},
		"short of its Content-Length": {folder: folder{one(-1), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Length", "2000")
			_, _ = io.WriteString(w, text)
		}}, is: io.ErrUnexpectedEOF, reason: "download model.onnx"},
		"another MD5": {folder: folder{one(1000), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-MD5", "AAAAAAAAAAAAAAAAAAAAAA==")
			_, _ = io.WriteString(w, text)
		}}, is: mlflow.ErrArtifact, reason: "its MD5 is"},
		"gzip bomb": {folder: folder{one(-1), func(w http.ResponseWriter, _ *http.Request) {
			w.Header().Set("Content-Encoding", "gzip")
			z := gzip.NewWriter(w)
			_, _ = io.CopyN(z, zeros{}, 64<<20)
			_ = z.Close()
		}}, is: mlflow.ErrArtifact, reason: "gzip encoding, for which it was not asked"},
		"unlisted size beyond the quota": {folder: folder{one(-1), serve}, quota: 999, is: mlflow.ErrTooLarge, reason: "MILLRACE_MODEL_CACHE_QUOTA"},
		"listed size beyond the quota":   {folder: folder{one(1000), nil}, quota: 999, is: mlflow.ErrTooLarge, reason: "MILLRACE_MODEL_CACHE_QUOTA"},
		"beyond the disk":                {folder: folder{one(1 << 60), nil}, is: mlflow.ErrTooLarge, reason: "MILLRACE_MODEL_CACHE_DIR"},
		"beyond the setting":             {folder: folder{one(1000), nil}, set: limit(999), is: mlflow.ErrTooLarge, reason: "MILLRACE_MODEL_MAX_BYTES"},
		"unlisted beyond the setting":    {folder: folder{one(-1), serve}, set: limit(999), is: mlflow.ErrTooLarge, reason: "MILLRACE_MODEL_MAX_BYTES"},
		"absolute path":                  {folder: folder{listed(`{"path":"/etc/passwd","file_size":1}`), nil}, is: mlflow.ErrArtifact, reason: "/etc/passwd"},
		"parent path":                    {folder: folder{listed(`{"path":"..","is_dir":true}`), nil}, is: mlflow.ErrArtifact, reason: `".."`},
		"dot":                            {folder: folder{listed(`{"path":".","is_dir":true}`), nil}, is: mlflow.ErrArtifact, reason: `"."`},
		"backslash":                      {folder: folder{listed(`{"path":"..\\x","file_size":1}`), nil}, is: mlflow.ErrArtifact, reason: "x"},
		"twice":                          {folder: folder{listed(`{"path":"a","file_size":1},{"path":"a","file_size":1}`), nil}, is: mlflow.ErrArtifact, reason: "twice"},
		"negative size":                  {folder: folder{listed(`{"path":"a","file_size":-7}`), nil}, is: mlflow.ErrArtifact, reason: "of -7 bytes"},
		"sizes that overflow":            {folder: folder{listed(`{"path":"a","file_size":9223372036854775807},{"path":"b","file_size":9223372036854775807}`), nil}, is: mlflow.ErrArtifact, reason: "beyond any disk"},
		"nothing":                        {folder: folder{listed(``), nil}, is: mlflow.ErrNotFound, reason: "nothing at m"},
		"folders without end": {folder: folder{func(w http.ResponseWriter, _ string) {
			_, _ = io.WriteString(w, `{"files":[{"path":"d","is_dir":true}]}`)
		}, nil}, is: mlflow.ErrArtifact, reason: "32 levels"},
		"a million files": {folder: folder{func(w http.ResponseWriter, _ string) {
			var all struct {
				Files []map[string]any `json:"files"`
			}
			for i := range 200_000 { // what fits into one answer
				all.Files = append(all.Files, map[string]any{"path": strconv.Itoa(i), "file_size": 1})
			}
			_ = json.NewEncoder(w).Encode(all)
		}, nil}, is: mlflow.ErrArtifact, reason: "more than 10000 files"},
		"a listing of many megabytes": {folder: folder{func(w http.ResponseWriter, _ string) {
			_, _ = io.WriteString(w, `{"files":[`)
			_, _ = io.CopyN(w, zeros{}, 33<<20)
		}, nil}, reason: "answer is too large"},
	}
	for name, c := range cases {
		t.Run(name, func(t *testing.T) {
			if c.set == nil {
				c.set = func(*mlflow.Config) {}
			}
			_, err := fetchFrom(t, c.folder, c.quota, c.set)
			require.ErrorContains(t, err, c.reason)
			if c.is != nil {
				require.ErrorIs(t, err, c.is)
			}
		})
	}
}

type zeros struct{}

func (zeros) Read(p []byte) (int, error) { clear(p); return len(p), nil }

// TestDownloadResumes: a body that breaks goes on where it was, when it still is
// the same content; else it begins again.
func TestDownloadResumes(t *testing.T) {
	text := strings.Repeat("0123456789", 1000)
	for _, changes := range []bool{false, true} {
		var calls, encodings []string
		at, err := fetchFrom(t, folder{one(int64(len(text))), func(w http.ResponseWriter, r *http.Request) {
			calls = append(calls, r.Header.Get("Range"))
			encodings = append(encodings, r.Header.Get("Accept-Encoding"))
			etag := `"one"`
			if changes && len(calls) > 1 {
				etag = `"two"`
			}
			w.Header().Set("ETag", etag)
			if len(calls) == 1 {
				w.Header().Set("Content-Length", strconv.Itoa(len(text)))
				_, _ = io.WriteString(w, text[:4321])
				return // short of its length: the server cuts the connection
			}
			http.ServeContent(w, r, "", time.Time{}, strings.NewReader(text))
		}}, 0)
		require.NoError(t, err)
		got, err := os.ReadFile(filepath.Join(at, "model.onnx"))
		require.NoError(t, err)
		require.Equal(t, text, string(got))
		require.Equal(t, []string{"", "bytes=4321-"}, calls)
		require.Equal(t, []string{"identity", "identity"}, encodings)
	}
}

func TestDownloadWaitsAsLongAsTheServerSays(t *testing.T) {
	var calls atomic.Int32
	_, err := fetchFrom(t, folder{one(4), func(w http.ResponseWriter, _ *http.Request) {
		if calls.Add(1) == 1 {
			w.Header().Set("Retry-After", "1")
			w.WriteHeader(http.StatusTooManyRequests)
			return
		}
		_, _ = io.WriteString(w, "text")
	}}, 0)
	require.NoError(t, err)
	require.EqualValues(t, 2, calls.Load())
}

// TestDownloadOfAStalledServer: no byte for long is a broken connection.
func TestDownloadOfAStalledServer(t *testing.T) {
	var calls atomic.Int32
	_, err := fetchFrom(t, folder{one(4), func(w http.ResponseWriter, r *http.Request) {
		if calls.Add(1) == 1 {
			_, _ = io.WriteString(w, "te")
			_ = http.NewResponseController(w).Flush()
			<-r.Context().Done() // until the client goes
			return
		}
		_, _ = io.WriteString(w, "text")
	}}, 0, func(c *mlflow.Config) { c.Stall = 50 * time.Millisecond })
	require.NoError(t, err)
}
