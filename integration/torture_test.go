//go:build integration

package integration

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/integration/torture"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// The delivery modes.
const (
	atLeastOnce = "at-least-once"
	exactlyOnce = "exactly-once"
	queue       = "queue"
)

// delivered are the modes that the binary has, and that are tortured a little
// with the other tests.
var delivered = []string{atLeastOnce, exactlyOnce, queue}

// What `make torture` sets.
var (
	tortureMode   = flag.String("torture.mode", "", "delivery mode to torture; a short run of each when empty")
	tortureFaults = flag.Int("torture.faults", 10, "faults of a run")
	tortureSeed   = flag.Uint64("torture.seed", 1, "what the faults are drawn from")
	tortureRate   = flag.Int("torture.rate", 300, "requests a second")
)

const (
	slots        = 6
	goodVersions = 4
	stuckVersion = goodVersions + 1 // of the model that hangs
	session      = 6 * time.Second
	watchdog     = 15 * time.Second
)

// TestTorture breaks what can be broken around workers while they answer, and
// then holds every answer against what is promised.
func TestTorture(t *testing.T) {
	modes := delivered
	if *tortureMode != "" {
		require.Contains(t, []string{atLeastOnce, exactlyOnce, queue}, *tortureMode, "-torture.mode (MODE of make torture)")
		modes = []string{*tortureMode}
	}
	for _, mode := range modes {
		t.Run(mode, func(t *testing.T) { newBench(t, mode, *tortureSeed, *tortureFaults, *tortureRate).run(t) })
	}
}

// bench is one run.
type bench struct {
	mode     string
	faults   []torture.Fault
	rate     int
	requests torture.Requests
	ledger   *torture.Ledger
	report   *torture.Report
	logs     string

	cluster  *cluster
	mlflow   *registry
	registry *torture.Proxy // that workers reach MLflow through
	model    string
	disk     string // of the model caches, "" when it cannot be filled
	slots    []*slot
	sent     atomic.Int64

	mu      sync.Mutex          // guards what follows
	pointed map[int]string      // the version that a slot's alias names
	taken   map[string]struct{} // what faults under way need
	changed chan struct{}       // closed and replaced when something is not taken any more
}

func newBench(t *testing.T, mode string, seed uint64, faults, rate int) *bench {
	t.Helper()
	b := &bench{
		mode: mode, rate: rate, logs: logDir(t), pointed: make(map[int]string), taken: make(map[string]struct{}), changed: make(chan struct{}),
		requests: torture.Requests{Seed: seed, Topic: requests, Replies: replies, Poisoned: 10},
		report:   &torture.Report{Mode: mode, Seed: seed, ByKind: make(map[torture.Kind]int), Skipped: make(map[torture.Kind]int), Exits: make(map[string]int)},
	}
	old, err := filepath.Glob(filepath.Join(b.logs, "*"))
	require.NoError(t, err)
	for _, name := range old { // of an earlier run
		require.NoError(t, os.Remove(name))
	}
	b.report.Logs = b.logs
	topics := map[string]int{requests: partitions, results: partitions, deadLetters: partitions, "__consumer_offsets": 4}
	switch mode {
	case exactlyOnce:
		topics["__transaction_state"] = 4
	case queue:
		topics["__share_group_state"] = 4
	}
	b.faults = torture.Plan(seed, faults, torture.Shape{
		Brokers: 3, Slots: slots, Running: 4, Least: 2, Session: session, Versions: goodVersions, Topics: topics,
	})
	b.ledger = torture.NewLedger(torture.Topics{Requests: requests, Results: results, Replies: replies, DeadLetters: deadLetters},
		b.requests, mode == exactlyOnce, mode != queue)
	b.cluster = newCluster(t)
	b.models(t)
	b.workers(t)
	return b
}

// models registers those that answer, the last of them one that hangs.
func (b *bench) models(t *testing.T) {
	t.Helper()
	b.mlflow = sharedRegistry(t)
	b.registry = newProxy(t, strings.TrimPrefix(b.mlflow.url, "http://"))
	b.model = "torture-" + b.mode + "-" + time.Now().Format("150405.000000")
	for k := 1; k <= goodVersions; k++ {
		b.mlflow.register(t, affine(t, k), b.model, "")
	}
	stuck := onnxtest.Folder{
		Model:   onnxtest.Stuck(stuckVersion),
		Inputs:  `[{"name": "X", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]`,
		Outputs: `[{"name": "Y", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]`,
		Example: `{"inputs": [[1, 2, 3, 4]]}`,
	}
	b.mlflow.register(t, stuck.Write(t), b.model, "")
	var reason string
	if b.disk, reason = smallDisk(t); reason != "" {
		b.report.Notes = append(b.report.Notes, reason)
		t.Log(reason)
	}
}

// workers makes the slots, and starts the first of them.
func (b *bench) workers(t *testing.T) {
	t.Helper()
	caches := b.disk
	if caches == "" {
		caches = t.TempDir()
	}
	addrs := freeAddrs(t, slots)
	for i := range slots {
		s := &slot{bench: b, n: i, alias: fmt.Sprintf("slot-%d", i), addr: addrs[i], argv: []string{binary(t), "worker"}}
		require.NoError(t, b.point(t.Context(), s, 1+i%goodVersions))
		s.env = environ(t, append(b.delivery(i),
			"MLFLOW_TRACKING_URI=http://"+b.registry.Addr(), "MILLRACE_MODEL=models:/"+b.model+"@"+s.alias,
			"MILLRACE_MODEL_CACHE_DIR="+filepath.Join(caches, s.name()), "MILLRACE_MODEL_CACHE_QUOTA=4000",
			"MILLRACE_MODEL_POLL=1s", "MILLRACE_MODEL_RETRY_MIN=500ms", "MILLRACE_MODEL_RETRY_MAX=4s", "MILLRACE_MODEL_LOAD_TIMEOUT=30s",
			"MILLRACE_KAFKA_BROKERS="+b.cluster.proxies(), "MILLRACE_KAFKA_CLIENT_ID="+s.name(), "MILLRACE_ADMIN_ADDR="+s.addr,
			"MILLRACE_KAFKA_REQUEST_TIMEOUT=5s", "MILLRACE_KAFKA_DIAL_TIMEOUT=3s",
			"MILLRACE_WATCHDOG_TIMEOUT="+watchdog.String(), "MILLRACE_MAX_IN_FLIGHT_RECORDS=512",
		)...)
		b.slots = append(b.slots, s)
	}
}

// delivery are the settings of a mode for a slot's worker.
func (b *bench) delivery(slot int) []string {
	env := []string{
		"MILLRACE_SESSION_TIMEOUT=" + session.String(), "MILLRACE_HEARTBEAT_INTERVAL=500ms", "MILLRACE_REBALANCE_TIMEOUT=10s",
		"MILLRACE_DRAIN_TIMEOUT=5s",
	}
	switch b.mode {
	case exactlyOnce:
		return append(env, "MILLRACE_DELIVERY="+b.mode, fmt.Sprintf("MILLRACE_TRANSACTIONAL_ID=slot-%d", slot))
	case queue:
		return append(env, "MILLRACE_DELIVERY="+b.mode)
	}
	return env
}

// run makes the faults under steady traffic, and then holds the answers against
// the promises.
func (b *bench) run(t *testing.T) {
	t.Helper()
	begun := time.Now()
	limit := 5*time.Minute + time.Duration(len(b.faults))*10*time.Second
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for _, s := range b.slots {
		t.Cleanup(s.kill)
	}

	reading, endReading := context.WithCancel(ctx)
	defer endReading()
	var readers sync.WaitGroup
	reader := b.cluster.client(t, kgo.ConsumeTopics(requests, results, replies, deadLetters),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords(), kgo.FetchMaxWait(500*time.Millisecond))
	readers.Go(func() { b.read(reading, reader) })

	for _, s := range b.slots[:4] {
		s.up(ctx)
	}
	for _, s := range b.slots[:4] {
		s.current().ready(t, time.Minute, func(ctx context.Context) error {
			_, err := get(ctx, "http://"+s.addr+"/readyz")
			return err
		})
	}
	sending, endSending := context.WithCancel(ctx)
	defer endSending()
	sent := make(chan error, 1)
	producer := b.cluster.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	go func() { sent <- b.send(sending, producer) }()
	readers.Go(func() { b.sample(reading) })
	readers.Go(func() { b.progress(reading, t) })

	pressed := time.Now()
	b.press(ctx, t)
	b.report.Pressure = time.Since(pressed).Seconds()
	nap(ctx, 3*time.Second) // of peace
	endSending()
	if err := <-sent; err != nil {
		b.ledger.Violate(torture.RuleUnhandled, "sending: %v", err)
	}
	b.settle(ctx, t)
	b.stopAll(ctx)
	b.drainTopics(ctx)
	endReading()
	readers.Wait()
	b.ledger.Close()
	b.finish(t, begun)
}

// press makes the faults, several at a time.
func (b *bench) press(ctx context.Context, t *testing.T) {
	t.Helper()
	var under sync.WaitGroup
	defer under.Wait()
	for _, f := range b.faults {
		nap(ctx, f.Pause)
		waited := time.Now()
		if !b.take(ctx, f.Needs()) {
			b.ledger.Violate(torture.RuleUnhandled, "%s: what it needs is not free after %.0f s", f, time.Since(waited).Seconds())
			return
		}
		t.Log(f)
		under.Go(func() {
			defer b.give(f.Needs())
			err := b.make(ctx, f)
			b.mu.Lock()
			defer b.mu.Unlock()
			if errors.Is(err, errSkipped) {
				b.report.Skipped[f.Kind]++
				return
			}
			b.report.Faults++
			b.report.ByKind[f.Kind]++
			if err != nil {
				b.report.Notes = append(b.report.Notes, fmt.Sprintf("%s: %v", f, err))
			}
		})
	}
}

// take waits until all that a fault needs is free, and takes it.
func (b *bench) take(ctx context.Context, needs []string) bool {
	ctx, cancel := context.WithTimeout(ctx, 2*time.Minute)
	defer cancel()
	for {
		b.mu.Lock()
		free := true
		for _, n := range needs {
			_, taken := b.taken[n]
			free = free && !taken
		}
		if free {
			for _, n := range needs {
				b.taken[n] = struct{}{}
			}
		}
		changed := b.changed
		b.mu.Unlock()
		if free {
			return true
		}
		select {
		case <-changed:
		case <-ctx.Done():
			return false
		}
	}
}

func (b *bench) give(needs []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, n := range needs {
		delete(b.taken, n)
	}
	close(b.changed)
	b.changed = make(chan struct{})
}
