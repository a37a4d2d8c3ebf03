package main

import (
	"context"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"
)

// sink is a service that notes what it gets.
type sink struct {
	*httptest.Server
	mu     sync.Mutex
	bodies map[string]int
	header http.Header // of the last
	seen   func(n int) // called with the number of requests so far
	count  int
}

func newSink(t *testing.T, status int) *sink {
	t.Helper()
	s := &sink{bodies: map[string]int{}, seen: func(int) {}}
	s.Server = httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		body, _ := io.ReadAll(r.Body)
		s.mu.Lock()
		defer s.mu.Unlock()
		s.bodies[string(body)]++
		s.header = r.Header
		s.count++
		s.seen(s.count)
		w.WriteHeader(status)
	}))
	t.Cleanup(s.Close)
	return s
}

// until returns a context that ends, as Ctrl-C ends it, with the request n.
func (s *sink) until(t *testing.T, n int) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	s.seen = func(count int) {
		if count == n {
			cancel()
		}
	}
	return ctx
}

func TestLoad(t *testing.T) {
	s := newSink(t, http.StatusOK)
	got := tool(s.until(t, 20), nil, "", "load", "--url", s.URL, "--users", "2", "--spawn-rate", "0", "--duration", "1h", "-H", "X-A: b")
	s.Close() // requests that were given up may still be in its handler
	require.Zero(t, got.code, got.err)
	require.Contains(t, got.out, "p95 ms")
	require.Contains(t, got.out, "req/s")
	require.Greater(t, len(s.bodies), 1, "the windows differ")
	require.Equal(t, "b", s.header.Get("X-A"))
	require.Equal(t, "application/json", s.header.Get("Content-Type"))
}

func TestLoadEndsEarly(t *testing.T) {
	s := newSink(t, http.StatusOK)
	file := filepath.Join(t.TempDir(), "body")
	require.NoError(t, os.WriteFile(file, []byte("from a file"), 0o600))
	got := tool(s.until(t, 4), nil, "from standard input", "load", "--url", s.URL, "--users", "1", "--duration", "1h", "--body", file, "--body", "-", "--content-type", "text/plain")
	s.Close()
	require.Zero(t, got.code, got.err)
	require.Contains(t, got.out, "p99 ms")
	require.Equal(t, map[string]int{"from a file": 2, "from standard input": 2}, s.bodies)
	require.Equal(t, "text/plain", s.header.Get("Content-Type"))
}

func TestLoadFails(t *testing.T) {
	refusing := newSink(t, http.StatusServiceUnavailable)
	got := tool(refusing.until(t, 4), nil, "", "load", "--url", refusing.URL, "--users", "1", "--duration", "0")
	require.Equal(t, 1, got.code)
	require.Contains(t, got.out, "HTTP 503")
	require.Empty(t, got.err)

	ended, cancel := context.WithCancel(t.Context())
	cancel()
	got = tool(ended, nil, "", "load", "--url", refusing.URL)
	require.Equal(t, 1, got.code)
	require.Contains(t, got.err, "no request ended")

	for name, args := range map[string][]string{
		"url":      {"--url", "nowhere"},
		"users":    {"--users", "0"},
		"header":   {"--header", "X"},
		"duration": {"--duration", "-1s"},
		"argument": {"surplus"},
		"flag":     {"--nope"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tool(t.Context(), nil, "", append([]string{"load"}, args...)...)
			require.Equal(t, 2, got.code)
			require.NotEmpty(t, got.err)
			require.Empty(t, got.out)
		})
	}
	got = tool(t.Context(), nil, "", "load", "--body", filepath.Join(t.TempDir(), "none"))
	require.Equal(t, 1, got.code)
	require.Contains(t, got.err, "--body")
}
