package worker

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// fork routes records with an odd first byte to version 2, whose failures
// version 1 makes good.
type fork struct {
	own, other *model.Snapshot

	mu      sync.Mutex
	routed  int
	ran     map[string]int
	instead int
}

func (f *fork) Route(r *kgo.Record, requested string) string {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.routed++
	if requested == "" && len(r.Value) > 0 && r.Value[0]%2 == 1 {
		return "other"
	}
	return requested
}

func (f *fork) Ran(name string, n int) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.ran[name] += n
}

func (f *fork) Instead(name string, failed *model.Snapshot) (string, bool) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if name == "other" && failed == f.other {
		f.instead++
		return "", true
	}
	return "", false
}

func (f *fork) Acquire(name string) (*model.Snapshot, error) {
	s := map[string]*model.Snapshot{"": f.own, "other": f.other}[name]
	if s == nil {
		return nil, model.Errorf(model.NotFound, "no such model")
	}
	s.Acquire()
	return s, nil
}

// brittle fails on every call.
type brittle struct {
	fake
	err error
}

func (b *brittle) Predict(context.Context, []model.Tensor) ([]model.Tensor, error) { return nil, b.err }

func newFork(r *rig, other model.Model) *fork {
	f := &fork{ran: map[string]int{}}
	f.own = model.Open(&model.Snapshot{Name: "m", Version: "1", Model: &fake{}})
	f.other = model.Open(&model.Snapshot{Name: "m", Version: "2", Model: other})
	r.deps.Source, r.deps.Router = f, f
	return f
}

// run runs a rig's pool over records, each submitted alone.
func (r *rig) run(t *testing.T, recs ...*kgo.Record) {
	t.Helper()
	ctx, kill := context.WithCancel(t.Context())
	go func() { _ = r.Run(ctx) }()
	for _, rec := range recs {
		r.Submit(t.Context(), []*kgo.Record{rec}, r.resolved)
	}
	time.Sleep(time.Minute)
	kill()
	synctest.Wait()
	require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Queued))
	require.Zero(t, testutil.ToFloat64(r.deps.Metrics.Running))
}

func TestRequestsRunWhereTheyAreRouted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(&fake{})
		f := newFork(r, &fake{})
		var recs []*kgo.Record
		for o := range int64(300) {
			recs = append(recs, rec(0, o, string(rune('a'+o%2))))
		}
		recs = append(recs, rec(0, 300, "a", kgo.RecordHeader{Key: wire.Model, Value: []byte("x")}))
		r.run(t, recs...)
		require.Len(t, r.pub.got, 301)
		for i, a := range r.pub.got[:300] {
			require.Equal(t, int64(i), a.Request.Offset, "the order of the partition stays")
			require.Equal(t, []string{"ok", []string{"2", "1"}[i%2]}, []string{a.Status, a.ModelVersion}) // 'a' is odd
		}
		require.Equal(t, string(model.NotFound), r.pub.got[300].Status)
		require.Equal(t, 301, f.routed)
		require.Equal(t, map[string]int{"": 150, "other": 150, "x": 1}, f.ran)
		require.Zero(t, f.instead)
	})
}

// What a version fails on by its own fault is answered by another, in its turn;
// what is the request's fault is not tried again.
func TestAnotherVersionAnswersInstead(t *testing.T) {
	expired := kgo.RecordHeader{Key: wire.ExpiryTime, Value: []byte("1999-01-01T00:00:00Z")}
	for name, c := range map[string]struct {
		err error
		rec *kgo.Record
		// The status and version of the answer, and how often another ran.
		status  model.Code
		version string
		instead int
	}{
		"failure":           {errors.New("broken"), rec(0, 50, "a"), model.OK, "1", 1},
		"away":              {model.Errorf(model.Unavailable, "away"), rec(0, 50, "a"), model.OK, "1", 1},
		"the input's fault": {model.Invalidf("x", "bad"), rec(0, 50, "a"), model.InvalidInput, "2", 0},
		"expired":           {errors.New("broken"), rec(0, 50, "a", expired), model.DeadlineExceeded, "2", 0},
		"both fail":         {errors.New("broken"), rec(0, 50, "!"), model.Failed, "1", 1}, // as '!' is odd
		"our defect":        {&model.Error{Code: model.Internal, Message: "panic"}, rec(0, 50, "a"), model.OK, "1", 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(&fake{})
				f := newFork(r, &brittle{err: c.err})
				c.rec.Timestamp = time.Now()
				var recs []*kgo.Record
				for o := range int64(100) {
					if o == 50 {
						recs = append(recs, c.rec)
						continue
					}
					recs = append(recs, rec(0, o, "b"))
				}
				r.run(t, recs...)
				require.Len(t, r.pub.got, 100)
				for i, a := range r.pub.got {
					require.Equal(t, int64(i), a.Request.Offset)
				}
				got := r.pub.got[50]
				require.Equal(t, []string{string(c.status), c.version}, []string{got.Status, got.ModelVersion})
				require.Equal(t, c.instead, f.instead)
			})
		})
	}
}

// A record that an intake has condemned is not run by anybody.
func TestWhatIsCondemnedIsNotTriedElsewhere(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(&fake{})
		f := newFork(r, &fake{})
		condemned := rec(0, 0, "a")
		wire.Deliver(condemned, wire.Delivery{Attempts: 5, Code: wire.ModelFailed, Message: "five workers ended at it"})
		r.run(t, condemned)
		require.Equal(t, string(model.Failed), r.pub.got[0].Status)
		require.Zero(t, f.instead)
	})
}

// A stop or a revocation in the middle of second tries resolves each record
// once, and publishes no answer behind a hole.
func TestSecondTriesEndWithTheirLease(t *testing.T) {
	for name, hard := range map[string]bool{"revoke": false, "hard stop": true} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(&fake{})
				newFork(r, &brittle{err: errors.New("broken")})
				ctx, kill := context.WithCancel(t.Context())
				lease, revoke := context.WithCancelCause(t.Context())
				go func() { _ = r.Run(ctx) }()
				for o := range int64(500) {
					r.Submit(lease, []*kgo.Record{rec(0, o, "a")}, r.resolved)
				}
				time.Sleep(2 * time.Millisecond)
				if hard {
					kill()
				} else {
					revoke(errors.New("revoked"))
				}
				time.Sleep(time.Second)
				kill()
				revoke(errors.New("revoked"))
				synctest.Wait()
				answered := len(r.pub.got)
				require.Len(t, r.done, 500)
				for o := range 500 {
					key := fmt.Sprint(0, "/", o)
					require.Equal(t, 1, r.done[key])
					require.Equal(t, o >= answered, r.errs[key] != nil, key)
				}
			})
		})
	}
}
