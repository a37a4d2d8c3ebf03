package main

import (
	"context"
	"encoding/json"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model/onnx/onnxtest"
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
	got := tool(s.until(t, 20), nil, "", "load", "--url", s.URL, "--watch", "none", "--users", "2", "--spawn-rate", "0", "--duration", "1h", "-H", "X-A: b")
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
	got := tool(s.until(t, 4), nil, "from standard input", "load", "--url", s.URL, "--watch", "none", "--users", "1", "--duration", "1h", "--body", file, "--body", "-", "--content-type", "text/plain")
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

func TestLoadAtARate(t *testing.T) {
	s := newSink(t, http.StatusOK)
	dir := t.TempDir()
	page, note := filepath.Join(dir, "load.html"), filepath.Join(dir, "load.md")
	got := tool(t.Context(), nil, "", "load", "--url", s.URL, "--rate", "200:100ms,400:100ms", "--watch", "none",
		"--expect", "failures<1%", "--expect", "requests>=10", "--json", "-", "--html", page, "--markdown", note)
	require.Zero(t, got.code, got.err)
	var report struct {
		Loop     string `json:"loop"`
		Requests int    `json:"requests"`
		Verdicts []struct {
			Met bool `json:"met"`
		} `json:"verdicts"`
	}
	require.NoError(t, json.Unmarshal([]byte(got.out), &report), got.out)
	require.Equal(t, "open", report.Loop)
	require.GreaterOrEqual(t, report.Requests, 10)
	require.Len(t, report.Verdicts, 2)
	require.Contains(t, got.err, "met      requests>=10")

	got = tool(t.Context(), nil, "", "load", "--url", s.URL, "--watch", "none", "--rate", "100", "--duration", "1100ms", "--expect", "rate>=1000000", "--html", page, "--markdown", note)
	require.Equal(t, 1, got.code)
	require.Contains(t, got.out, "NOT met  rate>=1000000")
	for path, want := range map[string]string{page: "<svg", note: "**not met**"} {
		text, err := os.ReadFile(path)
		require.NoError(t, err)
		require.Contains(t, string(text), want)
	}
}

func TestLoadSearchesTheCapacity(t *testing.T) {
	s := newSink(t, http.StatusServiceUnavailable)
	got := tool(t.Context(), nil, "", "load", "--url", s.URL, "--watch", "none", "--capacity", "--rate", "20", "--trial", "100ms", "--expect", "p95<1h")
	require.Equal(t, 1, got.code)
	require.Contains(t, got.out, "no rate that was tried held")
}

func TestLoadDrawsBodiesForAModel(t *testing.T) {
	const oneFloat = `[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 1]}}]`
	folder := onnxtest.Folder{Model: onnxtest.Picky(), Inputs: oneFloat}.Write(t)
	s := newSink(t, http.StatusOK)
	got := tool(s.until(t, 20), home(t), "", "load", "--url", s.URL, "--watch", "none", "--users", "1", "--duration", "1h", "--model", folder, "--rows", "2")
	s.Close()
	require.Zero(t, got.code, got.err)
	require.Greater(t, len(s.bodies), 10)
	for body := range s.bodies {
		require.Regexp(t, `^\{"inputs": \[\[[-0-9.e]+\], \[[-0-9.e]+\]\]\}$`, body)
	}
}

func TestLoadStraightToKafka(t *testing.T) {
	c := newKafka(t, freePort(t))
	createAll(t, c, 2)
	worker := start(t, home(t, "MILLRACE_MODEL=bundled", "HOSTNAME=here"), "worker", "--brokers", c.ListenAddrs()[0])
	at := worker.probes(t)
	eventually(t, func() bool { return get(t, at+"/readyz").code == http.StatusOK }, "ready")
	got := tool(t.Context(), home(t, "MILLRACE_KAFKA_BROKERS="+c.ListenAddrs()[0]), "",
		"load", "--kafka", "--users", "4", "--spawn-rate", "0", "--duration", "1s")
	require.Zero(t, got.code, got.out+got.err)
	require.Contains(t, got.out, "forecaster")
	require.Regexp(t, `answers by worker\n.* here\n`, got.out)
	require.Zero(t, worker.stop(t), worker.err.String())
}

func TestLoadRefusesWhatContradictsItself(t *testing.T) {
	for name, tt := range map[string]struct {
		args []string
		says string
	}{
		"no objective":  {[]string{"--capacity"}, "--expect"},
		"steps":         {[]string{"--capacity", "--expect", "p95<1s", "--rate", "1:1s,2"}, "no steps"},
		"trial":         {[]string{"--capacity", "--expect", "p95<1s", "--trial", "0s"}, "--trial"},
		"rate":          {[]string{"--rate", "fast"}, "--rate"},
		"time":          {[]string{"--rate", "1:x"}, "--rate"},
		"zero":          {[]string{"--rate", "0"}, "--rate"},
		"expectation":   {[]string{"--expect", "p95"}, "--expect"},
		"two sources":   {[]string{"--model", "bundled", "--body", "x"}, "--body and --model"},
		"no signature":  {[]string{"--generate"}, "--generate"},
		"rows":          {[]string{"--model", "bundled", "--rows", "0"}, "--rows"},
		"kafka's place": {[]string{"--kafka", "--header", "X"}, "--header"},
	} {
		t.Run(name, func(t *testing.T) {
			got := tool(t.Context(), home(t), "", append([]string{"load"}, tt.args...)...)
			require.Equal(t, 2, got.code, got.err)
			require.Contains(t, got.err, tt.says)
			require.Empty(t, got.out)
		})
	}
}
