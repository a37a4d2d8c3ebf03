package worker

import (
	"context"
	"fmt"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// shelf has the models "a", which is there, and "slow", which a test loads.
type shelf struct {
	source
	wait time.Duration

	mu    sync.Mutex
	asked int // for slow
	slow  *model.Snapshot
	fails bool
	began time.Time
	done  chan struct{}
}

func (s *shelf) Acquire(name string) (*model.Snapshot, error) {
	if name != "slow" {
		return s.source.Acquire("")
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.asked++
	if s.slow != nil {
		s.slow.Acquire()
		return s.slow, nil
	}
	if s.began.IsZero() {
		s.began = time.Now()
	}
	err := model.Errorf(model.Unavailable, "slow is being loaded")
	if until := s.began.Add(s.wait); !s.fails && time.Now().Before(until) {
		return nil, &model.LoadingError{Err: err, Done: s.done, Until: until}
	}
	return nil, err
}

func (s *shelf) times() int {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.asked
}

// end is what the load comes to.
func (s *shelf) end(m model.Model) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.fails = m == nil; m != nil {
		s.slow = model.Open(&model.Snapshot{Name: "slow", Version: "2", Model: m})
	}
	close(s.done)
}

func newShelf(t *testing.T, executors int) (*rig, *shelf, context.CancelFunc) {
	t.Helper()
	r := newRig(&fake{})
	s := &shelf{wait: 10 * time.Second, done: make(chan struct{})}
	s.snap = model.Open(&model.Snapshot{Name: "m", Version: "1", Model: &fake{}})
	r.cfg.Executors, r.deps.Source = executors, s
	ctx, kill := context.WithCancel(t.Context())
	go func() { _ = r.Run(ctx) }()
	return r, s, kill
}

func forSlow() kgo.RecordHeader { return kgo.RecordHeader{Key: wire.Model, Value: []byte("slow")} }

// With one executor, requests for a model that does not load keep it from
// nothing: those of the other model are answered as if they were alone.
func TestALoaderThatIsStuckHoldsNoExecutor(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r, s, kill := newShelf(t, 1)
		begun := time.Now()
		for o := range int64(100) {
			r.Submit(t.Context(), []*kgo.Record{rec(0, o, "a", forSlow())}, r.resolved)
			r.Submit(t.Context(), []*kgo.Record{rec(1, o, "a")}, r.resolved)
		}
		time.Sleep(time.Second)
		synctest.Wait()
		require.Len(t, r.pub.all(), 100)
		require.Less(t, time.Since(begun), 2*time.Second)
		for _, a := range r.pub.all() {
			require.Equal(t, int32(1), a.Request.Partition)
			require.Equal(t, "ok", a.Status)
		}
		require.InDelta(t, 100, testutil.ToFloat64(r.deps.Metrics.Queued), 0)
		require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Running))

		time.Sleep(s.wait)
		synctest.Wait()
		require.Len(t, r.pub.all(), 200)
		for o, a := range r.pub.all()[100:] {
			require.Equal(t, string(model.Unavailable), a.Status)
			require.EqualValues(t, o, a.Request.Offset)
			require.Empty(t, a.ModelName)
		}
		// Whoever comes now does not wait again.
		r.Submit(t.Context(), []*kgo.Record{rec(0, 100, "a", forSlow())}, r.resolved)
		time.Sleep(time.Millisecond)
		synctest.Wait()
		require.Len(t, r.pub.all(), 201)
		kill()
		synctest.Wait()
		require.Len(t, r.done, 201)
	})
}

func TestRequestsWaitForTheirModel(t *testing.T) {
	for name, c := range map[string]struct {
		model model.Model
		want  string
	}{"loads": {&fake{}, "ok"}, "fails": {nil, string(model.Unavailable)}} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, s, kill := newShelf(t, 4)
				for o := range int64(50) { // in the order of the partition, whose other requests wait with them
					headers := []kgo.RecordHeader{forSlow()}
					if o%3 == 0 {
						headers = nil
					}
					r.Submit(t.Context(), []*kgo.Record{rec(0, o, "a", headers...)}, r.resolved)
				}
				time.Sleep(3 * time.Second)
				synctest.Wait()
				require.Len(t, r.pub.all(), 1, "what stands before the first that waits")
				require.Less(t, s.times(), 40, "asking again does not make it load")
				s.end(c.model)
				time.Sleep(time.Second)
				kill()
				synctest.Wait()
				require.Len(t, r.pub.all(), 50)
				for o, a := range r.pub.all() {
					require.EqualValues(t, o, a.Request.Offset)
					if o%3 == 0 {
						require.Equal(t, "ok", a.Status)
					} else {
						require.Equal(t, c.want, a.Status)
					}
				}
				require.NotZero(t, testutil.CollectAndCount(r.deps.Metrics.Phase), metrics.PhaseLoad)
				require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Queued))
				require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Running))
			})
		})
	}
}

// What waits for its model expires, is given back with its lease, and with the
// pool, as anything that is queued.
func TestWhatWaitsForItsModelMayGoBefore(t *testing.T) {
	for name, c := range map[string]struct {
		end  func(kill, revoke func(), r *rig)
		want string // the status, "" when it is given back
	}{
		"expires": {func(_, _ func(), _ *rig) { time.Sleep(2 * time.Second) }, string(model.DeadlineExceeded)},
		"revoked": {func(_, revoke func(), _ *rig) { revoke() }, ""},
		"stopped": {func(kill, _ func(), _ *rig) { kill() }, ""},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r, _, kill := newShelf(t, 2)
				lease, revoke := context.WithCancel(t.Context())
				r.Submit(lease, []*kgo.Record{rec(0, 0, "a", forSlow(), within(time.Second))}, r.resolved)
				synctest.Wait()
				c.end(kill, revoke, r)
				synctest.Wait()
				require.Equal(t, map[string]int{"0/0": 1}, r.done)
				if c.want == "" {
					require.Empty(t, r.pub.all())
					require.Error(t, r.errs["0/0"])
				} else {
					require.Equal(t, c.want, r.pub.all()[0].Status)
				}
				require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Queued))
				kill()
				revoke()
				synctest.Wait()
			})
		})
	}
}

// The header wins over the topic's route, which wins over the default.
func TestModelOfARecord(t *testing.T) {
	p := newRig(&fake{}).Pool
	p.deps.Routes = map[string]string{"orders": "forecaster"}
	header := func(v string) kgo.RecordHeader { return kgo.RecordHeader{Key: wire.Model, Value: []byte(v)} }
	for _, c := range []struct {
		topic, want string
		headers     []kgo.RecordHeader
	}{
		{topic: "t", want: ""},
		{topic: "orders", want: "forecaster"},
		{topic: "orders", want: "scorer/2", headers: []kgo.RecordHeader{header("scorer/2")}},
		{topic: "orders", want: "forecaster", headers: []kgo.RecordHeader{header("")}},
		{topic: "t", want: "scorer@best", headers: []kgo.RecordHeader{header("scorer@best")}},
	} {
		require.Equal(t, c.want, p.modelOf(&kgo.Record{Topic: c.topic, Headers: c.headers}), fmt.Sprint(c))
	}
}

// all is what was published so far.
func (p *publisher) all() []*wire.Answer {
	p.mu.Lock()
	defer p.mu.Unlock()
	return slices.Clone(p.got)
}
