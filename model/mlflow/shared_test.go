package mlflow_test

import (
	"bytes"
	"context"
	"flag"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/mlflow"
)

// text fetches a file of a text, after before.
func text(content string, before func()) mlflow.FetchFunc {
	return func(_ context.Context, into *mlflow.Filler) error {
		before()
		return into.Add(mlflow.File{Path: "a", Size: int64(len(content))}, func(w *mlflow.Writer) error {
			_, err := io.WriteString(w, content)
			return err
		})
	}
}

// TestCacheIsFilledOnce: two that want the same model download it once.
func TestCacheIsFilledOnce(t *testing.T) {
	dir := t.TempDir()
	begun, wanted := make(chan struct{}), make(chan struct{})
	var wg sync.WaitGroup
	for i := range 2 {
		cache, err := mlflow.NewCache(dir, 0)
		require.NoError(t, err)
		wg.Go(func() {
			if i == 1 {
				<-begun
				close(wanted)
			}
			_, release, err := cache.Get(t.Context(), "id", text("content", func() {
				close(begun) // panics the second time
				<-wanted
			}))
			if err == nil {
				release()
			} else {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

// What TestCacheOfProcesses tells the processes that it starts.
var (
	processCache = flag.String("process-cache", "", "of TestCacheOfProcesses")
	processHangs = flag.Bool("process-hangs", false, "of TestCacheOfProcesses")
)

// TestCacheOfProcesses runs this test in processes of their own: one that is
// killed in the middle, and three at a time that come after it.
func TestCacheOfProcesses(t *testing.T) {
	if *processCache != "" {
		cache, err := mlflow.NewCache(*processCache, 0)
		require.NoError(t, err)
		_, release, err := cache.Get(t.Context(), "id", func(ctx context.Context, into *mlflow.Filler) error {
			_, _ = os.Stdout.WriteString("FETCHING\n")
			if *processHangs {
				return into.Add(mlflow.File{Path: "a", Size: -1}, func(w *mlflow.Writer) error {
					_, _ = io.WriteString(w, "half")
					_, _ = os.Stdout.WriteString("HANGING\n")
					<-ctx.Done()
					return ctx.Err()
				})
			}
			return text("content", func() {})(ctx, into)
		})
		require.NoError(t, err)
		release()
		return
	}
	dir := t.TempDir()
	process := func(more ...string) *exec.Cmd {
		args := append([]string{"-test.run=^TestCacheOfProcesses$", "-test.v", "-process-cache=" + dir}, more...)
		return exec.CommandContext(t.Context(), os.Args[0], args...)
	}
	killed := process("-process-hangs")
	out, err := killed.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, killed.Start())
	var said strings.Builder
	for !strings.Contains(said.String(), "HANGING") {
		_, err := io.CopyN(&said, out, 1)
		require.NoError(t, err, said.String())
	}
	left := func() []os.DirEntry {
		t.Helper()
		all, err := os.ReadDir(filepath.Join(dir, "tmp"))
		require.NoError(t, err)
		return all
	}
	require.Len(t, left(), 1)
	past := time.Now().Add(-48 * time.Hour)
	aged := filepath.Join(dir, "tmp", left()[0].Name())
	require.NoError(t, os.Chtimes(aged, past, past))
	_, err = mlflow.NewCache(dir, 0)
	require.NoError(t, err)
	require.Len(t, left(), 1, "its process lives, however old it is")

	require.NoError(t, killed.Process.Kill())
	require.Error(t, killed.Wait())
	require.NoError(t, os.Chtimes(aged, past, past))
	var all bytes.Buffer
	cmds := []*exec.Cmd{process(), process(), process()}
	outs := make([]bytes.Buffer, len(cmds))
	for i, cmd := range cmds {
		cmd.Stdout = &outs[i]
		require.NoError(t, cmd.Start())
	}
	for i, cmd := range cmds {
		require.NoError(t, cmd.Wait(), outs[i].String())
		all.Write(outs[i].Bytes())
	}
	require.Equal(t, 1, strings.Count(all.String(), "FETCHING"))
	require.Empty(t, left(), "what the killed one left is gone")
}

// TestCacheSharesContents: two versions with the same file take its room once,
// and the last to go takes it along.
func TestCacheSharesContents(t *testing.T) {
	dir := t.TempDir()
	cache, err := mlflow.NewCache(dir, 1500)
	require.NoError(t, err)
	get := func(id, content string) string {
		t.Helper()
		at, release, err := cache.Get(t.Context(), id, text(content, func() {}))
		require.NoError(t, err)
		release()
		return filepath.Join(at, "a")
	}
	same := strings.Repeat("x", 1000)
	one, two := get("one", same), get("two", same)
	first, err := os.Stat(one)
	require.NoError(t, err)
	second, err := os.Stat(two)
	require.NoError(t, err)
	require.True(t, os.SameFile(first, second))
	get("three", strings.Repeat("y", 900))
	require.NoFileExists(t, one)
	require.NoFileExists(t, two)
	blobs, err := os.ReadDir(filepath.Join(dir, "blobs"))
	require.NoError(t, err)
	require.Len(t, blobs, 1, "a content that no version has is removed")
}

// TestCacheMakesRoomBefore: what is unused goes before a download begins, and
// not after it has filled the disk.
func TestCacheMakesRoomBefore(t *testing.T) {
	cache, err := mlflow.NewCache(t.TempDir(), 1000)
	require.NoError(t, err)
	old, release, err := cache.Get(t.Context(), "old", text(strings.Repeat("x", 800), func() {}))
	require.NoError(t, err)
	release()
	_, release, err = cache.Get(t.Context(), "new", func(ctx context.Context, into *mlflow.Filler) error {
		if err := into.Expect(800); err != nil {
			return err
		}
		require.NoDirExists(t, old)
		return text(strings.Repeat("y", 800), func() {})(ctx, into)
	})
	require.NoError(t, err)
	release()
}

func TestCacheThatCannotBeWritten(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	require.NoError(t, os.WriteFile(file, nil, 0o600))
	_, err := mlflow.NewCache(filepath.Join(file, "cache"), 0)
	require.ErrorContains(t, err, "a folder that this process may write")
}

func TestRemember(t *testing.T) {
	s, c, cache, dir := start(t)
	_, err := c.Register(t.Context(), mlflow.Registration{Folder: "testdata/A_tens", Name: "fraud"})
	require.NoError(t, err)
	ref := mlflow.Ref{Kind: mlflow.KindAlias, Name: "fraud", Alias: "champion"}
	_, ok := c.Recall(cache, ref)
	require.False(t, ok)
	r, err := c.Resolve(t.Context(), ref)
	require.NoError(t, err)
	require.NoError(t, c.Remember(cache, r))
	_, ok = c.Recall(cache, ref)
	require.False(t, ok, "it is not in the cache")
	_, release, err := c.Fetch(t.Context(), cache, r, nil)
	require.NoError(t, err)
	release()

	again, err := mlflow.NewCache(dir, 0) // another process
	require.NoError(t, err)
	got, ok := c.Recall(again, ref)
	require.True(t, ok)
	require.Equal(t, r, got.Resolved)
	require.WithinDuration(t, time.Now(), got.At, time.Minute)
	before := s.gets
	_, release, err = c.Fetch(t.Context(), again, got.Resolved, nil)
	require.NoError(t, err)
	require.Equal(t, before, s.gets)
	release()
	_, ok = c.Recall(again, mlflow.Ref{Kind: mlflow.KindAlias, Name: "fraud", Alias: "other"})
	require.False(t, ok)
	_, ok = client(t, "http://another:5000").Recall(again, ref)
	require.False(t, ok, "another server's reference is another")
	refs, err := os.ReadDir(filepath.Join(dir, "refs"))
	require.NoError(t, err)
	require.NoError(t, os.WriteFile(filepath.Join(dir, "refs", refs[0].Name()), []byte("{damaged"), 0o600))
	_, ok = c.Recall(again, ref)
	require.False(t, ok)
}
