package card

import (
	"context"
	"encoding/json"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/model"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const topic = "inference.cards"

func snapshot(t *testing.T, name, version string) *model.Snapshot {
	t.Helper()
	sig, err := model.ParseSignature(`[{"name":"X","type":"tensor","tensor-spec":{"dtype":"float32","shape":[-1,2]}}]`, "", "")
	require.NoError(t, err)
	info := model.Info{
		Inputs:  []model.Spec{{Name: "X", DType: model.Float32, Shape: []int64{-1, 2}}},
		Outputs: []model.Spec{{Name: "Y", DType: model.String, Shape: []int64{-1}}}, Batches: true,
	}
	codec, err := model.NewCodec(sig, info, model.Limits{})
	require.NoError(t, err)
	return &model.Snapshot{Name: name, Version: version, Flavor: "onnx", Loaded: time.Now(), Signature: sig, Codec: codec}
}

func TestACardDescribesASnapshot(t *testing.T) {
	s := snapshot(t, "m", "3")
	c := Of(s, "host")
	require.Equal(t, []Tensor{{"X", "FP32", []int64{-1, 2}}}, c.Inputs)
	require.Equal(t, []Tensor{{"Y", "BYTES", []int64{-1}}}, c.Outputs)
	require.Equal(t, "onnx_onnxv1", c.Platform)
	require.JSONEq(t, `{"inputs": {"X": [[0.5, 0.5]]}}`, string(c.Example), "made up")
	require.Nil(t, c.Signature.Outputs)
	s.Example = []byte(`{"instances": [[1, 2]]}`)
	require.JSONEq(t, string(s.Example), string(Of(s, "").Example))
	s.Example = []byte(`{"instances": "` + strings.Repeat("x", largestExample) + `"}`)
	require.JSONEq(t, `{"inputs": {"X": [[0.5, 0.5]]}}`, string(Of(s, "").Example))

	r, err := c.record(topic)
	require.NoError(t, err)
	require.Equal(t, "m/3", string(r.Key))
	var back Card
	require.NoError(t, json.Unmarshal(r.Value, &back))
	require.JSONEq(t, string(c.Example), string(back.Example))
	back.Example, back.Signature = c.Example, c.Signature
	require.Equal(t, c, back)
}

func TestALargeCardLosesWhatCanBeDoneWithout(t *testing.T) {
	long := json.RawMessage(`"` + strings.Repeat("x", largestCard) + `"`)
	c := Card{Name: "m", Version: "1", Inputs: []Tensor{{Name: "X"}}, Signature: &Signature{Inputs: long}, Example: json.RawMessage(`1`)}
	r, err := c.record(topic)
	require.NoError(t, err)
	require.NotContains(t, string(r.Value), "xxx")
	require.Contains(t, string(r.Value), `"name":"X"`)
	c.Version = strings.Repeat("1", largestCard)
	_, err = c.record(topic)
	require.ErrorContains(t, err, "larger than")
}

// world is a broker in a bubble of virtual time.
type world struct {
	t       *testing.T
	opts    []kgo.Opt
	cluster *kfake.Cluster
}

func inWorld(t *testing.T, test func(*world), topics ...string) {
	t.Helper()
	synctest.Test(t, func(t *testing.T) {
		net := &kfake.VirtualNetwork{}
		w := &world{t: t, opts: []kgo.Opt{kgo.SeedBrokers("127.0.0.1:9092"), kgo.Dialer(net.DialContext), kgo.DisableClientMetrics(), kgo.MetadataMinAge(100 * time.Millisecond)}}
		opts := []kfake.Opt{kfake.NumBrokers(1), kfake.Ports(9092), kfake.ListenFn(net.Listen)}
		if len(topics) > 0 {
			opts = append(opts, kfake.SeedTopics(1, topics...))
		}
		w.cluster = kfake.MustCluster(opts...)
		t.Cleanup(w.cluster.Close)
		test(w)
	})
}

// run starts a part and returns what ends it.
func (w *world) run(part func(context.Context) error) (stop func()) {
	ctx, cancel := context.WithCancel(w.t.Context())
	ended := make(chan error, 1)
	go func() { ended <- part(ctx) }()
	stopped := false
	stop = func() {
		if !stopped {
			stopped = true
			cancel()
			require.NoError(w.t, <-ended)
		}
	}
	w.t.Cleanup(stop)
	return stop
}

func (w *world) publisher(worker string) *Publisher {
	return NewPublisher(PublisherDeps{Topic: topic, Worker: worker, Log: slog.New(slog.DiscardHandler), Opts: w.opts})
}

func (w *world) list(known prometheus.Gauge) *List {
	return NewList(ListDeps{Topic: topic, Log: slog.New(slog.DiscardHandler), Opts: w.opts, Known: known})
}

func TestGatewaysLearnWhatWorkersServe(t *testing.T) {
	inWorld(t, func(w *world) {
		known := prometheus.NewGauge(prometheus.GaugeOpts{Name: "known", Help: "Cards."})
		l := w.list(known)
		_, _, err := l.Find("m", "")
		require.ErrorIs(t, err, ErrUnknown)
		w.run(l.Run)
		time.Sleep(time.Second)
		require.NoError(t, l.Err())
		_, _, err = l.Find("m", "")
		require.ErrorIs(t, err, ErrNone)

		a, b := w.publisher("a"), w.publisher("b")
		endA, endB := w.run(a.Run), w.run(b.Run)
		one := snapshot(t, "m", "1")
		a.Swapped("", one, nil)
		time.Sleep(time.Second)
		b.Swapped("", snapshot(t, "m", "2"), nil)
		b.Swapped("given", snapshot(t, "other", "1"), nil)
		time.Sleep(time.Second)
		c, versions, err := l.Find("m", "")
		require.NoError(t, err)
		require.Equal(t, []string{"1", "2"}, versions)
		require.Equal(t, "2", c.Version)
		require.Equal(t, "b", c.Worker)
		c, _, err = l.Find("m", "1")
		require.NoError(t, err)
		require.Equal(t, "a", c.Worker)
		_, versions, err = l.Find("m", "3")
		require.ErrorIs(t, err, ErrNone)
		require.Len(t, versions, 2)
		require.Len(t, l.All(), 4)
		c, _, err = l.Find("given", "1")
		require.NoError(t, err)
		require.Equal(t, "b", c.Worker)

		// A version that was swapped out is told no more, and the rest again and again.
		a.Swapped("", snapshot(t, "m", "2"), one)
		time.Sleep(2 * MaxAge)
		_, versions, err = l.Find("m", "")
		require.NoError(t, err)
		require.Equal(t, []string{"2"}, versions)
		require.InDelta(t, 3, testutil.ToFloat64(known), 0)

		// A list that comes later reads what stands there.
		later := w.list(nil)
		w.run(later.Run)
		time.Sleep(time.Second)
		require.Equal(t, l.All(), later.All())

		// A pool that is gone ages out.
		endA()
		endB()
		time.Sleep(MaxAge + turn)
		require.Empty(t, l.All())
		require.InDelta(t, 0, testutil.ToFloat64(known), 0)
	}, topic)
}

func TestATopicThatComesLater(t *testing.T) {
	inWorld(t, func(w *world) {
		l, p := w.list(nil), w.publisher("a")
		w.run(l.Run)
		p.Swapped("", snapshot(t, "m", "1"), nil)
		w.run(p.Run)
		time.Sleep(time.Minute)
		require.ErrorIs(t, l.Err(), ErrUnknown)
		cl, err := kgo.NewClient(w.opts...)
		require.NoError(t, err)
		defer cl.Close()
		_, err = kadm.NewClient(cl).CreateTopic(w.t.Context(), 1, 1, nil, topic)
		require.NoError(t, err)
		time.Sleep(time.Minute)
		c, _, err := l.Find("m", "")
		require.NoError(t, err)
		require.Equal(t, "1", c.Version)
	})
}

func TestNoTopic(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		l, p := NewList(ListDeps{}), NewPublisher(PublisherDeps{})
		p.Swapped("", snapshot(t, "m", "1"), nil)
		ended := make(chan error, 2)
		go func() { ended <- l.Run(ctx) }()
		go func() { ended <- p.Run(ctx) }()
		synctest.Wait()
		_, _, err := l.Find("m", "")
		require.ErrorIs(t, err, ErrUnknown)
		require.ErrorContains(t, err, "MILLRACE_TOPIC_CARDS is none")
		cancel()
		require.NoError(t, <-ended)
		require.NoError(t, <-ended)
	})
}

func TestWhatIsNoCardIsLeft(t *testing.T) {
	l := NewList(ListDeps{Topic: topic})
	for _, r := range []*kgo.Record{
		{Key: []byte("m/1"), Value: []byte("no JSON")},
		{Key: []byte("m/1"), Value: []byte(`{"version": "1"}`)},
		{Key: []byte("m/2"), Value: []byte(`{"name": "m", "version": "1"}`)},
	} {
		l.take(r)
		require.Empty(t, l.cards)
	}
	now := time.Now()
	l.take(&kgo.Record{Key: []byte("m/1"), Value: []byte(`{"name": "m", "version": "1"}`), Timestamp: now})
	require.Len(t, l.All(), 1)
	l.take(&kgo.Record{Key: []byte("m/1"), Timestamp: now})
	require.Empty(t, l.All())
}

func TestTheOldestGoWhenThereAreTooMany(t *testing.T) {
	l, now := NewList(ListDeps{Topic: topic}), time.Now()
	for i := range most + 2 {
		c := Card{Name: "m", Version: time.Duration(i).String(), Written: now.Add(time.Duration(i))}
		l.cards[c.key()] = c
	}
	l.age(now)
	require.Len(t, l.cards, most)
	require.NotContains(t, l.cards, "m/0s")
	require.NotContains(t, l.cards, "m/1ns")
}

// TestWhatIsUnloaded: what is loaded again when it is asked for is still told of, what
// went for good is not, and two that serve one version do not take it from each other.
func TestWhatIsUnloaded(t *testing.T) {
	p := NewPublisher(PublisherDeps{Topic: topic})
	told := func() []string { return slices.Sorted(maps.Keys(p.cards)) }
	one, two, other := snapshot(t, "m", "1"), snapshot(t, "m", "2"), snapshot(t, "m", "1")
	p.Swapped("given", one, nil)
	p.Swapped("", other, nil)
	require.Equal(t, []string{"given/1", "m/1"}, told())
	p.Unloaded("", other, true)
	require.Equal(t, []string{"given/1", "m/1"}, told(), "one still serves")
	p.Unloaded("given", one, false)
	require.Equal(t, []string{"given/1", "m/1"}, told(), "it comes back when it is asked for")
	again := snapshot(t, "m", "1")
	p.Swapped("given", again, nil)
	p.Swapped("given", two, again)
	require.Equal(t, []string{"given/2", "m/2"}, told())
	p.Unloaded("given", two, false)
	p.Swapped("given", snapshot(t, "m", "3"), nil)
	require.Equal(t, []string{"given/3", "m/3"}, told(), "what it came back as is another version")
	p.Swapped("m", snapshot(t, "n", "1"), nil)
	require.Equal(t, []string{"given/3", "m/1", "m/3", "n/1"}, told())
	p.Unloaded("m", snapshot(t, "n", "1"), true)
	require.Equal(t, []string{"given/3", "m/3"}, told())
}
