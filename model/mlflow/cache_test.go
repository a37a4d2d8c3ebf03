package mlflow_test

import (
	"context"
	"io"
	"os"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
)

// content fetches one file, and counts how often.
func content(text string, times *int) mlflow.FetchFunc {
	return func(_ context.Context, into *mlflow.Filler) error {
		*times++
		return into.Add(mlflow.File{Path: "a/b", Size: int64(len(text))}, func(w *mlflow.Writer) error {
			_, err := io.WriteString(w, text)
			return err
		})
	}
}

func TestCacheEvictsTheLongestUnused(t *testing.T) {
	cache, err := mlflow.NewCache(t.TempDir(), 1000) // two of three, with their manifests
	require.NoError(t, err)
	text := string(make([]byte, 300))
	var one, two, three int
	get := func(id, text string, times *int) func() {
		_, release, err := cache.Get(t.Context(), id, content(text, times))
		require.NoError(t, err)
		return release
	}
	inUse := get("one", "1"+text, &one)
	get("two", "2"+text, &two)()
	get("three", "3"+text, &three)()
	get("one", "1"+text, &one)()
	require.Equal(t, 1, one, "what is in use is never evicted")
	get("two", "2"+text, &two)()
	require.Equal(t, 2, two)
	inUse()
}

func TestCacheStaysWholeWhenTheDiskIsFull(t *testing.T) {
	cache, err := mlflow.NewCache(t.TempDir(), 0)
	require.NoError(t, err)
	_, _, err = cache.Get(t.Context(), "id", func(_ context.Context, into *mlflow.Filler) error {
		return into.Add(mlflow.File{Path: "a", Size: 9}, func(w *mlflow.Writer) error {
			_, err := io.WriteString(w, "half")
			require.NoError(t, err)
			return syscall.ENOSPC
		})
	})
	require.ErrorIs(t, err, syscall.ENOSPC)
	var n int
	_, release, err := cache.Get(t.Context(), "id", content("text", &n))
	require.NoError(t, err)
	require.Equal(t, 1, n)
	release()
	_, _, err = cache.Get(t.Context(), "../id", content("text", &n))
	require.Error(t, err)
}

func TestCacheSweepsWhatCrashesLeft(t *testing.T) {
	dir := t.TempDir()
	_, err := mlflow.NewCache(dir, 0)
	require.NoError(t, err)
	old, fresh := filepath.Join(dir, "tmp", "blob-1"), filepath.Join(dir, "tmp", "blob-2")
	for _, path := range []string{old, fresh} {
		require.NoError(t, os.WriteFile(path, []byte("half"), 0o600))
	}
	past := time.Now().Add(-48 * time.Hour)
	require.NoError(t, os.Chtimes(old, past, past))
	_, err = mlflow.NewCache(dir, 0)
	require.NoError(t, err)
	require.NoFileExists(t, old)
	require.FileExists(t, fresh, "another process may be writing it")
}
