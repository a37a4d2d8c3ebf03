package mlflow_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
)

// TestDownloadsAreParallelAndBounded: four files are on their way at a time, and
// none more.
func TestDownloadsAreParallelAndBounded(t *testing.T) {
	var now, most atomic.Int32
	four := make(chan struct{})
	var told atomic.Int32
	srv := httptest.NewServer(folder{func(w http.ResponseWriter, _ string) {
		var names []string
		for i := range 12 {
			names = append(names, fmt.Sprintf(`{"path":"f%d","file_size":4}`, i))
		}
		_, _ = io.WriteString(w, `{"files":[`+strings.Join(names, ",")+`]}`)
	}, func(w http.ResponseWriter, _ *http.Request) {
		n := now.Add(1)
		defer now.Add(-1)
		for m := most.Load(); n > m && !most.CompareAndSwap(m, n); m = most.Load() {
		}
		if n == 4 {
			select {
			case <-four:
			default:
				close(four)
			}
		}
		<-four
		_, _ = io.WriteString(w, "text")
	}})
	defer srv.Close()
	cache, err := mlflow.NewCache(t.TempDir(), 0)
	require.NoError(t, err)
	c, err := mlflow.New(mlflow.Config{TrackingURI: srv.URL, ProgressEvery: time.Microsecond})
	require.NoError(t, err)
	r, err := c.Resolve(t.Context(), mlflow.Ref{Kind: mlflow.KindVersion, Name: "fraud", Version: "1"})
	require.NoError(t, err)
	var last mlflow.Progress
	_, release, err := c.Fetch(t.Context(), cache, r, func(p mlflow.Progress) {
		told.Add(1)
		last = p
	})
	require.NoError(t, err)
	release()
	require.EqualValues(t, 4, most.Load())
	require.Equal(t, []int64{48, 48, 12, 12}, []int64{last.Bytes, last.TotalBytes, int64(last.Files), int64(last.TotalFiles)})
	require.Positive(t, told.Load())
}

// TestDownloadIsCancelledAtOnce: also while a server is silent.
func TestDownloadIsCancelledAtOnce(t *testing.T) {
	silent := make(chan struct{})
	srv := httptest.NewServer(folder{one(4), func(w http.ResponseWriter, r *http.Request) {
		_, _ = io.WriteString(w, "te")
		_ = http.NewResponseController(w).Flush()
		close(silent)
		<-r.Context().Done()
	}})
	defer srv.Close()
	dir := t.TempDir()
	cache, err := mlflow.NewCache(dir, 0)
	require.NoError(t, err)
	c, err := mlflow.New(mlflow.Config{TrackingURI: srv.URL})
	require.NoError(t, err)
	r, err := c.Resolve(t.Context(), mlflow.Ref{Kind: mlflow.KindVersion, Name: "fraud", Version: "1"})
	require.NoError(t, err)
	stop := errors.New("enough")
	ctx, cancel := context.WithCancelCause(t.Context())
	go func() {
		<-silent
		cancel(stop)
	}()
	_, _, err = c.Fetch(ctx, cache, r, nil)
	require.ErrorIs(t, err, stop)
	left, err := os.ReadDir(filepath.Join(dir, "tmp"))
	require.NoError(t, err)
	require.Empty(t, left)
}
