package mlflow_test

import (
	"bytes"
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
)

// TestPresigned: large files come from the store where the server gives
// addresses for it, without the server's credentials, and from the server where
// these do not work.
func TestPresigned(t *testing.T) {
	large := strings.Repeat("x", 9<<20)
	for _, works := range []bool{true, false} {
		store := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
			if !works || r.Header.Get("Authorization") != "" || r.Header.Get("X-Signed") != "yes" {
				w.WriteHeader(http.StatusForbidden)
				return
			}
			_, _ = io.WriteString(w, large)
		}))
		s := &tracking{uri: "s3://b/0/r/artifacts/model", run: "r", sign: store.URL, files: modelFiles(t)}
		s.files["large"] = large
		srv := httptest.NewServer(s)
		var log bytes.Buffer
		c, err := mlflow.New(mlflow.Config{TrackingURI: srv.URL + "/prefix", Token: "t", RetryBase: time.Microsecond, Log: logTo(&log)})
		require.NoError(t, err)
		cache, err := mlflow.NewCache(t.TempDir(), 0)
		require.NoError(t, err)
		r, err := c.Resolve(t.Context(), mlflow.Ref{Kind: mlflow.KindVersion, Name: "fraud", Version: "1"})
		require.NoError(t, err)
		_, release, err := c.Fetch(t.Context(), cache, r, nil)
		require.NoError(t, err)
		release()
		want := 4
		if works {
			want = 3
		}
		require.Len(t, s.routes(), want, "files through the server")
		require.Equal(t, !works, strings.Contains(log.String(), "presigned address does not work"), log.String())
		require.NotContains(t, log.String(), "secret")
		srv.Close()
		store.Close()
	}
}

// TestRegisterInAnObjectStore: a server that hands no artifacts out names the
// store, and the folder is written there.
func TestRegisterInAnObjectStore(t *testing.T) {
	b := &bucket{files: map[string]string{}}
	s := &server{files: map[string][]byte{}, old: true}
	s.breaks(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "/runs/create") {
			return false
		}
		_, _ = io.WriteString(w, `{"run":{"info":{"run_id":"r","artifact_uri":"s3://b/0/r/artifacts"}}}`)
		return true
	})
	srv := httptest.NewServer(s)
	defer srv.Close()
	var uri string
	c, err := mlflow.New(mlflow.Config{TrackingURI: srv.URL, Username: "u", Password: "p", Open: func(_ context.Context, at string, direct bool) (mlflow.Bucket, error) {
		uri = at
		require.True(t, direct)
		return b, nil
	}})
	require.NoError(t, err)
	var last mlflow.Progress
	_, err = c.Register(t.Context(), mlflow.Registration{Folder: "testdata/A_tens", Name: "fraud", Progress: func(p mlflow.Progress) { last = p }})
	require.NoError(t, err)
	require.Equal(t, "s3://b/0/r/artifacts/model", uri)
	require.Len(t, b.files, last.Files)
	require.Positive(t, last.Bytes)
	require.Equal(t, last.TotalBytes, last.Bytes)
	for _, name := range []string{"MLmodel", "model.onnx"} {
		require.Equal(t, modelFiles(t)[name], b.files[name])
	}
}
