package mlflow_test

import (
	"io"
	"io/fs"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
)

// answers is a transport that answers without a network.
type answers func(r *http.Request) (status int, body string)

func (a answers) RoundTrip(r *http.Request) (*http.Response, error) {
	status, body := a(r)
	return &http.Response{
		StatusCode: status, Header: http.Header{}, Body: io.NopCloser(strings.NewReader(body)),
		ContentLength: int64(len(body)), Request: r,
	}, nil
}

// FuzzListing: whatever a server lists, files come into the model's folder or
// nowhere, and a failure leaves nothing.
func FuzzListing(f *testing.F) {
	for _, s := range []string{
		`{"files":[{"path":"a","file_size":4},{"path":"d","is_dir":true}]}`, `{"files":[{"path":"../a","file_size":4}]}`,
		`{"files":[{"path":"/a"}]}`, `{"files":[{"path":"a\\..\\b","file_size":"4"}]}`, `{}`, `[]`, `{"files":[{"path":"a","file_size":-9}]}`,
		`{"files":[{"path":"a","file_size":4},{"path":"a","is_dir":true}]}`, `{"files":[{"path":"m/a","file_size":4}]}`,
	} {
		f.Add(s, false)
		f.Add(s, true)
	}
	f.Fuzz(func(t *testing.T, listing string, logged bool) {
		home := t.TempDir()
		cache, err := mlflow.NewCache(filepath.Join(home, "cache"), 1<<20)
		require.NoError(t, err)
		c, err := mlflow.New(mlflow.Config{TrackingURI: "http://host", RetryMax: -1, Transport: answers(func(r *http.Request) (int, string) {
			switch p := r.URL.Path; {
			case strings.HasSuffix(p, "/artifacts/directories") && r.URL.Query().Get("artifact_directory_path") == "",
				strings.HasSuffix(p, "/mlflow-artifacts/artifacts") && r.URL.Query().Get("path") == "m":
				return http.StatusOK, listing
			case strings.HasSuffix(p, "/artifacts/directories"), strings.HasSuffix(p, "/mlflow-artifacts/artifacts"):
				return http.StatusOK, `{}`
			}
			return http.StatusOK, "text"
		})})
		require.NoError(t, err)
		r := mlflow.Resolved{Identity: "id", ArtifactURI: "mlflow-artifacts:/m"}
		if logged {
			r = mlflow.Resolved{Identity: "id", ArtifactURI: "s3://b/m", ModelID: "m-1"}
		}
		dir, release, err := c.Fetch(t.Context(), cache, r, nil)
		if err == nil {
			release()
		}
		require.NoError(t, filepath.WalkDir(home, func(path string, d fs.DirEntry, failed error) error {
			if failed != nil || d.IsDir() || strings.HasPrefix(path, filepath.Join(home, "cache", "locks")) {
				return failed
			}
			if err != nil {
				t.Errorf("%s is left after %v", path, err)
			} else if rel, out := filepath.Rel(filepath.Dir(dir), path); (out != nil || !filepath.IsLocal(rel)) &&
				filepath.Dir(path) != filepath.Join(home, "cache", "blobs") {
				t.Errorf("%s is outside of %s", path, dir)
			}
			return nil
		}))
		_, statErr := os.Stat(filepath.Join(home, "cache", "snapshots", "id"))
		require.Equal(t, err == nil, statErr == nil)
	})
}
