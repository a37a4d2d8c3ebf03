package announce

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"net"
	"strconv"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const (
	topic    = "inference.models"
	champion = "models:/fraud@champion"
	period   = 30 * time.Second
)

// world is a broker in virtual time, a registry, and the members of pools.
type world struct {
	t        *testing.T
	net      *kfake.VirtualNetwork
	cluster  *kfake.Cluster
	registry *registry
	members  []*member
}

func inWorld(t *testing.T, topics []string, test func(*world)) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		w := &world{t: t, net: &kfake.VirtualNetwork{}, registry: &registry{names: make(map[string]int), asked: make(map[string]int)}}
		w.registry.set(champion, 1)
		w.cluster = kfake.MustCluster(kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(w.net.Listen), kfake.SeedTopics(1, topics...))
		defer w.cluster.Close()
		defer func() {
			for _, m := range w.members {
				m.stop()
			}
		}()
		test(w)
	})
}

func (w *world) opts(dial func(context.Context, string, string) (net.Conn, error)) []kgo.Opt {
	return []kgo.Opt{
		kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(dial), kgo.DisableClientMetrics(), kgo.MetadataMinAge(100 * time.Millisecond),
		kgo.RetryBackoffFn(func(int) time.Duration { return 50 * time.Millisecond }),
	}
}

// member is a worker: it asks its board in each period, and the registry when
// that does not know.
type member struct {
	*Board
	w         *world
	metrics   *metrics.Announce
	log       bytes.Buffer // read when it has ended
	still     gate
	stop      func()
	mu        sync.Mutex
	version   string // guarded by mu: what it takes the reference to name
	failed    error  // guarded by mu
	alone     int    // guarded by mu: times that it asked the registry by itself
	withdrawn string // guarded by mu
}

func (w *world) member(change ...func(*Deps)) *member {
	w.t.Helper()
	m := &member{w: w, metrics: metrics.NewAnnounce(prometheus.NewRegistry())}
	d := Deps{
		Topic: topic, Group: "millrace", Scope: []string{"http://mlflow", ""}, Poll: period, Self: "member-" + strconv.Itoa(len(w.members)),
		Resolve: func(ctx context.Context, r string) (json.RawMessage, error) {
			m.still.pass()
			return w.registry.resolve(ctx, r)
		},
		Missing:  func(err error) bool { return errors.Is(err, errGone) },
		Identity: func(found json.RawMessage) string { return string(found) },
		Log:      slog.New(slog.NewTextHandler(&m.log, nil)), Metrics: m.metrics, Opts: w.opts(m.dial),
	}
	d.Resolve = func(ctx context.Context, r string) (json.RawMessage, error) {
		return w.registry.resolveFor(ctx, d.Self, r)
	}
	for _, c := range change {
		c(&d)
	}
	b, err := New(Config{Session: 10 * time.Second}, d)
	require.NoError(w.t, err)
	m.Board = b
	ctx, cancel := context.WithCancel(context.WithoutCancel(w.t.Context()))
	var running sync.WaitGroup
	running.Go(func() { _ = b.Run(ctx) })
	running.Go(func() { m.follow(ctx, champion) })
	m.stop = sync.OnceFunc(func() {
		m.still.thaw()
		cancel()
		running.Wait()
	})
	w.members = append(w.members, m)
	return m
}

// failure is why the member last heard nothing new, nil when it did.
func (m *member) failure() error {
	m.mu.Lock()
	defer m.mu.Unlock()
	return m.failed
}

// follow is what a worker makes of a board.
func (m *member) follow(ctx context.Context, reference string) {
	wake := m.Follow(reference)
	for ctx.Err() == nil {
		found, ok := m.Ask(ctx, reference)
		if ctx.Err() != nil {
			return
		}
		if !ok {
			found.Answer, found.Failed = m.w.registry.resolve(ctx, reference)
		}
		w, gone := m.Withdrawn(reference, string(found.Answer))
		m.mu.Lock()
		m.version, m.failed, m.withdrawn = string(found.Answer), found.Failed, ""
		if gone {
			m.version, m.withdrawn = string(w.Instead), w.Version
		}
		if !ok {
			m.alone++
		}
		m.mu.Unlock()
		timer := time.NewTimer(period)
		select {
		case <-ctx.Done():
		case <-timer.C:
		case within := <-wake:
			sleep(ctx, within)
		}
		timer.Stop()
	}
}

func (m *member) knows(version string) {
	m.w.t.Helper()
	m.mu.Lock()
	defer m.mu.Unlock()
	require.Equal(m.w.t, version, m.version)
}

// alones returns how often the members asked by themselves since the last look.
func (w *world) alones() int {
	n := 0
	for _, m := range w.members {
		m.mu.Lock()
		n, m.alone = n+m.alone, 0
		m.mu.Unlock()
	}
	return n
}

// elected is the one member that is.
func (w *world) elected() *member {
	w.t.Helper()
	var all []*member
	for _, m := range w.members {
		if testutil.ToFloat64(m.metrics.Elected) > 0 {
			all = append(all, m)
		}
	}
	require.Len(w.t, all, 1)
	return all[0]
}

func pause(d time.Duration) {
	time.Sleep(d)
	synctest.Wait()
}

// records reads the topic, as it is for who comes now.
func (w *world) records() []*kgo.Record {
	w.t.Helper()
	cl, err := kgo.NewClient(append(w.opts(w.net.DialContext), kgo.ConsumeTopics(topic), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))...)
	require.NoError(w.t, err)
	defer cl.Close()
	var all []*kgo.Record
	for {
		ctx, cancel := context.WithTimeout(w.t.Context(), 2*time.Second)
		got := cl.PollFetches(ctx).Records()
		cancel()
		if len(got) == 0 {
			return all
		}
		all = append(all, got...)
	}
}

// lastAnswer is what compaction would leave of a reference.
func (w *world) lastAnswer(reference string) (a answer) {
	w.t.Helper()
	for _, r := range w.records() {
		var key []string
		require.NoError(w.t, json.Unmarshal(r.Key, &key))
		if key[0] == kindAnswer && key[len(key)-1] == reference && r.Value != nil {
			a = answer{}
			require.NoError(w.t, json.Unmarshal(r.Value, &a))
		}
	}
	return a
}

// put writes a record as a member would.
func (w *world) put(m *member, kind, reference string, value any) {
	w.t.Helper()
	cl, err := kgo.NewClient(w.opts(w.net.DialContext)...)
	require.NoError(w.t, err)
	defer cl.Close()
	text, err := json.Marshal(value)
	require.NoError(w.t, err)
	r := &kgo.Record{Topic: topic, Key: m.key(kind, reference), Value: text}
	require.NoError(w.t, cl.ProduceSync(w.t.Context(), r).FirstErr())
}

var (
	errDown = errors.New("the registry is down")
	errGone = errors.New("there is no such alias")
)
