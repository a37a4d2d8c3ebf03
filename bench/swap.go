package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// The load under which versions change: requests at a steady rate, in windows
// that have a change or none, in turn.
const (
	swapWindow = 8 * time.Second
	swapAfter  = time.Second // from the start of its window
	swapBurst  = 5 * time.Millisecond
)

// swaps is what was measured of changes of version under load.
type swaps struct {
	rate        int
	quiet, busy []float64 // p99 in seconds, a window each
	ratios      []float64 // of neighbours
	requests    int
	versions    int // that answered
	slowest     time.Duration
}

// changing is a worker under load. Only what is said to be is shared.
type changing struct {
	cl   *kgo.Client
	in   string
	rate int

	sent     atomic.Int64
	mu       sync.Mutex
	at       []time.Time     // guarded by mu: when a request was sent, by its number
	took     []time.Duration // guarded by mu: until its answer was read; 0: it was not
	versions map[string]bool // guarded by mu
	faults   []error         // guarded by mu
	stopped  chan struct{}   // closed when no more is sent
	cause    context.CancelCauseFunc
}

// swapped measures how changes of version are felt. Every request has to be
// answered, once, with a prediction.
func (b *bench) swapped(ctx context.Context) (*swaps, error) {
	dir := filepath.Join(b.dir, "swapping")
	if err := writeVersion(dir, 1); err != nil {
		return nil, err
	}
	in, out := b.next("requests"), b.next("results")
	if err := b.topics.create(ctx, in, out); err != nil {
		return nil, err
	}
	env := append([]string{
		"MILLRACE_KAFKA_BROKERS=" + b.broker.addr, "MILLRACE_GROUP=" + out, "MILLRACE_ADMIN_ADDR=127.0.0.1:0",
		"MILLRACE_TOPIC_REQUESTS=" + in, "MILLRACE_TOPIC_RESULTS=" + out, "MILLRACE_TOPIC_REPLIES=replies", "MILLRACE_TOPIC_DLQ=dead",
		"MILLRACE_MODEL=" + dir, "MILLRACE_MODEL_POLL=200ms", "MILLRACE_ONNXRUNTIME_LIB=" + b.library,
	}, b.env...)
	p, err := launch(ctx, b.dir, "worker", []string{b.binary, "worker"}, env, nil)
	if err != nil {
		return nil, err
	}
	cl, err := kgo.NewClient(kgo.SeedBrokers(b.broker.addr), kgo.DisableClientMetrics(), kgo.ProducerLinger(0),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.ConsumeTopics(out), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, errors.Join(err, p.stop())
	}
	defer cl.Close()
	c := &changing{cl: cl, in: in, rate: b.rate, versions: make(map[string]bool), stopped: make(chan struct{})}
	s, err := c.run(ctx, dir, b.swaps, p.done)
	if errors.Is(err, errEnded) {
		err = p.fault()
	}
	if stopErr := p.stop(); err == nil {
		err = stopErr
	}
	if err != nil {
		return nil, err
	}
	return s, b.topics.remove(ctx, in, out)
}

var errEnded = errors.New("the worker ended")

func (c *changing) run(ctx context.Context, dir string, n int, ended <-chan struct{}) (*swaps, error) {
	ctx, c.cause = context.WithCancelCause(ctx)
	defer c.cause(nil)
	var running sync.WaitGroup
	defer running.Wait()
	defer c.cause(nil)
	running.Go(func() { c.read(ctx) })
	running.Go(func() {
		select {
		case <-ended:
			c.cause(errEnded)
		case <-ctx.Done():
		}
	})
	load, stop := context.WithCancel(ctx)
	defer stop()
	running.Go(func() { c.send(load) })

	say("swaps: warming up at %d requests a second", c.rate)
	if err := wait(ctx, swapWindow); err != nil {
		return nil, err
	}
	s := &swaps{rate: c.rate}
	for i := range n {
		quiet, err := c.window(ctx, nil)
		if err != nil {
			return nil, err
		}
		busy, err := c.window(ctx, func() error { return writeVersion(dir, i+2) })
		if err != nil {
			return nil, err
		}
		s.quiet, s.busy, s.ratios = append(s.quiet, quiet), append(s.busy, busy), append(s.ratios, busy/quiet)
		say("swaps %d/%d: p99 %.2f ms without a swap, %.2f ms with one", i+1, n, 1e3*quiet, 1e3*busy)
	}
	stop()
	<-c.stopped
	return s, c.finish(ctx, s, n)
}

// window is a stretch of the load. Its p99 is that of the requests sent in it.
func (c *changing) window(ctx context.Context, change func() error) (p99 float64, err error) {
	from := c.sent.Load()
	if err := wait(ctx, swapAfter); err != nil {
		return 0, err
	}
	if change != nil {
		if err := change(); err != nil {
			return 0, err
		}
	}
	if err := wait(ctx, swapWindow-swapAfter); err != nil {
		return 0, err
	}
	to := c.sent.Load()
	if err := c.answered(ctx, to); err != nil {
		return 0, err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	took := slices.Sorted(slices.Values(c.took[from:to]))
	return took[len(took)*99/100].Seconds(), nil
}

// answered waits until all requests before a number are answered.
func (c *changing) answered(ctx context.Context, to int64) error {
	const limit = 30 * time.Second
	for began := time.Now(); ; {
		c.mu.Lock()
		missing := slices.Index(c.took[:to], 0)
		faults := errors.Join(c.faults...)
		c.mu.Unlock()
		switch {
		case faults != nil:
			return faults
		case missing < 0:
			return nil
		case time.Since(began) > limit:
			return fmt.Errorf("request %d is not answered within %s", missing, limit)
		}
		if err := wait(ctx, 10*time.Millisecond); err != nil {
			return err
		}
	}
}

func (c *changing) finish(ctx context.Context, s *swaps, n int) error {
	total := c.sent.Load()
	if err := c.answered(ctx, total); err != nil {
		return err
	}
	if err := wait(ctx, time.Second); err != nil { // for a second answer
		return err
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	s.requests, s.versions, s.slowest = int(total), len(c.versions), slices.Max(c.took)
	if s.versions != n+1 {
		c.faults = append(c.faults, fmt.Errorf("%d versions answered, where there were %d", s.versions, n+1))
	}
	return errors.Join(c.faults...)
}

func wait(ctx context.Context, d time.Duration) error {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
		return context.Cause(ctx)
	case <-timer.C:
		return nil
	}
}

// writeVersion makes version k of a model what its folder holds, at once: only
// the weights differ.
func writeVersion(dir string, k int) error {
	const example = `{"inputs": {"X": [[0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7, 0, 1, 2, 3, 4, 5, 6, 7]]}}`
	if err := os.MkdirAll(dir, 0o750); err != nil {
		return err
	}
	files := map[string][]byte{"model.onnx": onnxtest.MLP(uint64(k))} //nolint:gosec // small
	if k == 1 {
		files["MLmodel"] = []byte(mlpMLmodel + "saved_input_example_info:\n  serving_input_path: serving_input_example.json\n")
		files["serving_input_example.json"] = []byte(example)
	}
	for name, data := range files {
		beside := filepath.Join(filepath.Dir(dir), name+".new")
		if err := os.WriteFile(beside, data, 0o600); err != nil {
			return err
		}
		if err := os.Rename(beside, filepath.Join(dir, name)); err != nil {
			return err
		}
	}
	return nil
}

// swapTarget is how much of the p99 without a swap that with one should be.
const swapTarget = 1.1

func (s *swaps) write(w io.Writer) {
	quiet, busy, ratios := stats(s.quiet), stats(s.busy), stats(s.ratios)
	fmt.Fprintf(w, "\n**Swaps under load**: the mlp, %d requests a second, %d in all, windows of %s without a new version and with one in turn\n\n",
		s.rate, s.requests, swapWindow)
	fmt.Fprintln(w, "| | p99, ms | least – most |\n|---|--:|--:|")
	fmt.Fprintf(w, "| without a swap | %.2f | %.2f – %.2f |\n", 1e3*quiet.mid, 1e3*quiet.low, 1e3*quiet.high)
	fmt.Fprintf(w, "| with a swap | %.2f | %.2f – %.2f |\n", 1e3*busy.mid, 1e3*busy.low, 1e3*busy.high)
	fmt.Fprintf(w, "| **of that without** | **%.2f** | %.2f – %.2f |\n", ratios.mid, ratios.low, ratios.high)
	fmt.Fprintf(w, "\n%d versions answered; no request was lost, failed or answered twice; the slowest took %.1f ms.\n",
		s.versions, 1e3*s.slowest.Seconds())
	if ratios.mid > swapTarget {
		fmt.Fprintf(w, "\nThe target of %.1f is not reached.\n", swapTarget)
	}
}
