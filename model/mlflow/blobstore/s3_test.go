package blobstore_test

import (
	"bytes"
	"context"
	"crypto/md5"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/johannesboyne/gofakes3"
	"github.com/johannesboyne/gofakes3/backend/s3mem"
	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/mlflow/blobstore"
)

// s3 is a server that speaks S3, with faults.
type s3 struct {
	url    string
	fault  func(w http.ResponseWriter, r *http.Request) bool // true: it has answered
	asked  []string
	ranges []string
	mu     sync.Mutex // guards them
}

func startS3(t *testing.T) *s3 {
	t.Helper()
	for name, value := range map[string]string{
		"AWS_ACCESS_KEY_ID": "key", "AWS_SECRET_ACCESS_KEY": "secret", "AWS_SESSION_TOKEN": "", "AWS_PROFILE": "", "AWS_REGION": "",
		"AWS_CONFIG_FILE": os.DevNull, "AWS_SHARED_CREDENTIALS_FILE": os.DevNull, "AWS_EC2_METADATA_DISABLED": "true",
	} {
		t.Setenv(name, value)
	}
	backend := s3mem.New()
	require.NoError(t, backend.CreateBucket("bucket"))
	s := &s3{}
	fake := gofakes3.New(backend).Server()
	srv := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		s.mu.Lock()
		s.asked, s.ranges = append(s.asked, r.Method+" "+r.URL.Path), append(s.ranges, r.Header.Get("Range"))
		s.mu.Unlock()
		s.mu.Lock()
		fault := s.fault
		s.mu.Unlock()
		if fault == nil || !fault(w, r) {
			fake.ServeHTTP(w, r)
		}
	}))
	t.Cleanup(srv.Close)
	s.url = srv.URL
	return s
}

func (s *s3) breaks(fault func(w http.ResponseWriter, r *http.Request) bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.fault = fault
}

// seen gives what was asked for, and the ranges.
func (s *s3) seen() (asked, ranges []string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return slices.Clone(s.asked), slices.Clone(s.ranges)
}

func put(t *testing.T, b mlflow.Bucket, files map[string]string) {
	t.Helper()
	for name, text := range files {
		require.NoError(t, b.Put(t.Context(), name, int64(len(text)), bytes.NewReader([]byte(text))))
	}
}

// fetch brings a folder of a store to the disk as a worker does.
func fetch(t *testing.T, cfg blobstore.Config, uri string) (string, error) {
	t.Helper()
	c, err := mlflow.New(mlflow.Config{
		TrackingURI: "http://127.0.0.1:1", RetryMax: 2, RetryBase: 1, Open: cfg.Open, Artifacts: mlflow.ArtifactsDirect,
	})
	require.NoError(t, err)
	cache, err := mlflow.NewCache(t.TempDir(), 1<<30)
	require.NoError(t, err)
	dir, release, err := c.Fetch(t.Context(), cache, mlflow.Resolved{Identity: "id", ArtifactURI: uri}, nil)
	if err == nil {
		release()
	}
	return dir, err
}

func requireFiles(t *testing.T, dir string, files map[string]string) {
	t.Helper()
	for name, text := range files {
		got, err := os.ReadFile(filepath.Join(dir, name))
		require.NoError(t, err)
		require.Equal(t, text, string(got), name)
	}
}

var model = map[string]string{
	"MLmodel": "flavors: {}", "model.onnx": strings.Repeat("0123456789", 10_000), "a dir/x+y é.txt": "more", "empty": "",
}

func TestS3(t *testing.T) {
	s := startS3(t)
	cfg := blobstore.Config{S3Endpoint: s.url}
	b, err := cfg.Open(t.Context(), "s3://bucket/0/m/artifacts", true)
	require.NoError(t, err)
	put(t, b, model)
	other, err := cfg.Open(t.Context(), "s3://bucket/0/m/artifacts-of-another", true)
	require.NoError(t, err)
	put(t, other, map[string]string{"x": "not of this model"})

	files, err := b.Files(t.Context(), 100)
	require.NoError(t, err)
	require.Len(t, files, len(model))
	_, err = b.Files(t.Context(), 2)
	require.ErrorIs(t, err, mlflow.ErrArtifact)
	dir, err := fetch(t, cfg, "s3://bucket/0/m/artifacts")
	require.NoError(t, err)
	requireFiles(t, dir, model)
	asked, _ := s.seen()
	for _, line := range asked {
		require.Contains(t, line, " /bucket", "the name of a bucket is in the path")
	}

	// A connection that is cut is resumed.
	s.breaks(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "model.onnx") || r.Header.Get("Range") != "" {
			return false
		}
		sum := md5.Sum([]byte(model["model.onnx"]))
		w.Header().Set("ETag", `"`+hex.EncodeToString(sum[:])+`"`)
		w.Header().Set("Content-Length", "100000")
		_, _ = io.WriteString(w, model["model.onnx"][:12_345])
		return true
	})
	dir, err = fetch(t, cfg, "s3://bucket/0/m/artifacts")
	require.NoError(t, err)
	requireFiles(t, dir, model)
	_, ranges := s.seen()
	require.Contains(t, ranges, "bytes=12345-")
}

func TestS3Refuses(t *testing.T) {
	s := startS3(t)
	cfg := blobstore.Config{S3Endpoint: s.url}
	b, err := cfg.Open(t.Context(), "s3://bucket/m", true)
	require.NoError(t, err)
	put(t, b, model)
	_, err = fetch(t, cfg, "s3://bucket/nothing")
	require.ErrorIs(t, err, mlflow.ErrNotFound)
	_, err = fetch(t, cfg, "s3://no-such-bucket/m")
	require.ErrorIs(t, err, mlflow.ErrNoAccess)
	_, err = fetch(t, blobstore.Config{S3Endpoint: "http://127.0.0.1:1"}, "s3://bucket/m")
	require.ErrorIs(t, err, mlflow.ErrNoAccess, "nobody listens there")

	s.breaks(func(w http.ResponseWriter, r *http.Request) bool {
		if !strings.HasSuffix(r.URL.Path, "MLmodel") {
			return false
		}
		w.Header().Set("ETag", `"00000000000000000000000000000000"`)
		_, _ = io.WriteString(w, model["MLmodel"])
		return true
	})
	_, err = fetch(t, cfg, "s3://bucket/m")
	require.ErrorIs(t, err, mlflow.ErrArtifact)
	require.ErrorContains(t, err, "MD5")

	s.breaks(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "MLmodel") {
			w.WriteHeader(http.StatusForbidden)
			return true
		}
		return false
	})
	_, err = fetch(t, cfg, "s3://bucket/m")
	require.ErrorIs(t, err, mlflow.ErrNoAccess)

	escape := `<ListBucketResult><Name>bucket</Name><Prefix>m/</Prefix><IsTruncated>false</IsTruncated>` +
		`<Contents><Key>m/../../x</Key><Size>1</Size><ETag>"0"</ETag><LastModified>2026-01-01T00:00:00Z</LastModified></Contents></ListBucketResult>`
	s.breaks(func(w http.ResponseWriter, r *http.Request) bool {
		if r.URL.Query().Get("list-type") == "" {
			return false
		}
		_, _ = io.WriteString(w, escape)
		return true
	})
	_, err = fetch(t, cfg, "s3://bucket/m")
	require.ErrorIs(t, err, mlflow.ErrArtifact)

	t.Setenv("AWS_ACCESS_KEY_ID", "")
	t.Setenv("AWS_SECRET_ACCESS_KEY", "")
	_, err = cfg.Open(context.Background(), "s3://bucket/m", false)
	require.ErrorIs(t, err, mlflow.ErrNoAccess)
	require.ErrorContains(t, err, "no AWS credentials")
}
