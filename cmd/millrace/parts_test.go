package main

import (
	"context"
	"errors"
	"log/slog"
	"testing"
	"testing/fstest"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
)

var errBroke = errors.New("it broke")

// run for a part that notes its end.
func noting(ends *[]string, name string, err error) func(context.Context) error {
	return func(ctx context.Context) error {
		<-ctx.Done()
		*ends = append(*ends, name) // one after the other: the race detector sees to it
		return err
	}
}

func TestPartsEndInReverse(t *testing.T) {
	signal, cancel := context.WithCancel(t.Context())
	all, ctx := newParts(signal, slog.New(slog.DiscardHandler))
	var ends []string
	all.start(ctx, "probes", time.Second, noting(&ends, "probes", nil))
	all.onStop("producer", func() error { ends = append(ends, "producer"); return nil })
	all.start(ctx, "consumer", time.Second, noting(&ends, "consumer", nil))
	cancel()
	<-ctx.Done()
	require.Empty(t, ends, "parts outlive the signal until they are stopped")
	require.NoError(t, all.stop(ctx))
	require.Equal(t, []string{"consumer", "producer", "probes"}, ends)
}

func TestPartThatBreaksEndsTheProcess(t *testing.T) {
	all, ctx := newParts(t.Context(), slog.New(slog.DiscardHandler))
	var ends []string
	all.start(ctx, "models", time.Second, noting(&ends, "models", nil))
	all.start(ctx, "server", time.Second, func(context.Context) error { return errBroke })
	<-ctx.Done()
	err := all.stop(ctx)
	require.ErrorIs(t, err, errBroke)
	require.Equal(t, "server: it broke", err.Error(), "told once")
	require.Equal(t, []string{"models"}, ends)
}

func TestPartThatEndsByItselfIsBroken(t *testing.T) {
	all, ctx := newParts(t.Context(), slog.New(slog.DiscardHandler))
	all.start(ctx, "server", time.Second, func(context.Context) error { return nil })
	<-ctx.Done()
	require.ErrorIs(t, all.stop(ctx), errEnded)
}

func TestWhatGoesWrongAtTheEndIsTold(t *testing.T) {
	all, ctx := newParts(t.Context(), slog.New(slog.DiscardHandler))
	var ends []string
	all.onStop("producer", func() error { return errBroke })
	all.start(ctx, "pool", time.Second, noting(&ends, "pool", nil))
	require.EqualError(t, all.stop(ctx), "producer: it broke")
}

func TestPartThatDoesNotEndIsAbandoned(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		all, ctx := newParts(t.Context(), slog.New(slog.DiscardHandler))
		free := make(chan struct{})
		closed := false
		all.onStop("producer", func() error { closed = true; return nil })
		all.start(ctx, "pool", 15*time.Second, func(context.Context) error { <-free; return nil })
		begun := time.Now()
		err := all.stop(ctx)
		require.ErrorIs(t, err, errStuck)
		require.Equal(t, 15*time.Second, time.Since(begun))
		require.False(t, closed, "what the stuck one sends to stays")
		close(free)
	})
}

func TestMemoryPlan(t *testing.T) {
	const v2, v1 = "0::/a/b\n", "5:cpu:/x\n4:memory:/docker/abc\n0::/\n"
	for _, c := range []struct {
		name    string
		files   map[string]string
		percent int
		limit   int64
		from    string
	}{
		{"nothing told", nil, 200, 0, "none"},
		{"machine", map[string]string{"proc/meminfo": "MemTotal:  1048576 kB\nMemFree: 1 kB\n", "proc/self/cgroup": "0::/\n"}, 400, 512 << 20, "machine"},
		{"version 2", map[string]string{"proc/self/cgroup": v2, "sys/fs/cgroup/a/b/memory.max": "1073741824\n"}, 400, 768 << 20, "cgroup"},
		{"a parent's limit holds", map[string]string{
			"proc/self/cgroup": v2, "sys/fs/cgroup/a/b/memory.max": "max\n", "sys/fs/cgroup/a/memory.max": "536870912\n",
		}, 400, 384 << 20, "cgroup"},
		{"no limit in version 2", map[string]string{
			"proc/self/cgroup": v2, "sys/fs/cgroup/a/b/memory.max": "max\n", "proc/meminfo": "MemTotal: 2097152 kB\n",
		}, 400, 1 << 30, "machine"},
		{"version 1 in a container", map[string]string{
			"proc/self/cgroup": v1, "sys/fs/cgroup/memory/memory.limit_in_bytes": "1073741824\n",
		}, 400, 768 << 20, "cgroup"},
		{"no limit in version 1", map[string]string{
			"proc/self/cgroup": v1, "sys/fs/cgroup/memory/docker/abc/memory.limit_in_bytes": "9223372036854771712\n",
		}, 200, 0, "none"},
	} {
		t.Run(c.name, func(t *testing.T) {
			root := fstest.MapFS{}
			for name, text := range c.files {
				root[name] = &fstest.MapFile{Data: []byte(text)}
			}
			percent, limit, from := gcPlan(root)
			require.Equal(t, c.percent, percent)
			require.Equal(t, c.limit, limit)
			require.Equal(t, c.from, from)
		})
	}
}
