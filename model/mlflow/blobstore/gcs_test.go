package blobstore_test

import (
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/fsouza/fake-gcs-server/fakestorage"
	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/mlflow/blobstore"
)

// TestGCS runs against fake-gcs-server, which speaks the JSON and the XML
// interface of Google Cloud Storage.
func TestGCS(t *testing.T) {
	var fakeGCS http.Handler
	var cut, denied atomic.Bool
	var ranges atomic.Int32
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		switch {
		case denied.Load():
			http.Error(w, "no", http.StatusForbidden)
			return
		case strings.HasPrefix(r.Header.Get("Range"), "bytes=12345-"):
			ranges.Add(1)
		case strings.Contains(r.URL.Path, "model.onnx") && r.Method == http.MethodGet && cut.Swap(false):
			w = &cutting{ResponseWriter: w, left: 12_345}
		}
		fakeGCS.ServeHTTP(w, r)
	}))
	defer srv.Close()
	host := strings.TrimPrefix(srv.URL, "http://")
	fake, err := fakestorage.NewServerWithOptions(fakestorage.Options{NoListener: true, PublicHost: host, ExternalURL: srv.URL})
	require.NoError(t, err)
	defer fake.Stop()
	fakeGCS = fake.HTTPHandler()
	fake.CreateBucketWithOpts(fakestorage.CreateBucketOpts{Name: "bucket"})

	cfg := blobstore.Config{GCSEndpoint: host}
	b, err := cfg.Open(t.Context(), "gs://bucket/0/m", false)
	require.NoError(t, err)
	put(t, b, model)
	dir, err := fetch(t, cfg, "gs://bucket/0/m")
	require.NoError(t, err)
	requireFiles(t, dir, model)

	cut.Store(true)
	dir, err = fetch(t, cfg, "gs://bucket/0/m")
	require.NoError(t, err)
	requireFiles(t, dir, model)
	require.EqualValues(t, 1, ranges.Load(), "resumed")

	_, err = fetch(t, cfg, "gs://bucket/nothing")
	require.ErrorIs(t, err, mlflow.ErrNotFound)
	_, err = fetch(t, blobstore.Config{GCSEndpoint: "127.0.0.1:1"}, "gs://bucket/0/m")
	require.ErrorIs(t, err, mlflow.ErrNoAccess, "nobody listens there")
	denied.Store(true)
	_, err = fetch(t, cfg, "gs://bucket/0/m")
	require.ErrorIs(t, err, mlflow.ErrNoAccess)
}

// cutting ends a connection after so many bytes of a body.
type cutting struct {
	http.ResponseWriter
	left int
}

func (c *cutting) Write(p []byte) (int, error) {
	if len(p) <= c.left {
		c.left -= len(p)
		return c.ResponseWriter.Write(p)
	}
	_, _ = c.ResponseWriter.Write(p[:c.left])
	_ = http.NewResponseController(c.ResponseWriter).Flush()
	panic(http.ErrAbortHandler)
}

// Unwrap lets a controller flush.
func (c *cutting) Unwrap() http.ResponseWriter { return c.ResponseWriter }

func TestGCSWithoutCredentials(t *testing.T) {
	t.Setenv("GOOGLE_APPLICATION_CREDENTIALS", os.DevNull)
	_, err := blobstore.Config{}.Open(t.Context(), "gs://bucket/m", false)
	require.ErrorIs(t, err, mlflow.ErrNoAccess)
	require.ErrorContains(t, err, "no Google credentials")
	b, err := blobstore.Config{}.Open(t.Context(), "gs://bucket/m", true)
	require.NoError(t, err, "a bucket that is open to all may be asked for")
	require.NoError(t, b.Close())
}
