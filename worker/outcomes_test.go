package worker

import (
	"context"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/model"
)

// counted is what a pool tells of a snapshot's calls.
type counted struct {
	mu         sync.Mutex
	ok, failed int
	calls      int
	took       time.Duration
	other      bool // it was told of another snapshot
	snap       *model.Snapshot
}

func (c *counted) Observe(s *model.Snapshot, ok bool, took time.Duration, n int) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.other = c.other || s != c.snap
	if !ok {
		c.failed += n
		return
	}
	c.ok += n
	c.calls++
	c.took += took
}

// unwritable fails to encode what was asked with.
type unwritable struct {
	echo
	err error
}

func (u unwritable) Encode(dst []byte, req *model.Request, out []model.Tensor, name, version string) ([]byte, error) {
	if out[0].Data[0] == 'x' {
		return nil, u.err
	}
	return u.echo.Encode(dst, req, out, name, version)
}

func TestOutcomesOfCalls(t *testing.T) {
	for name, c := range map[string]struct {
		model      fake
		encode     error
		values     string // a record each
		ok, failed int
		calls      int
	}{
		"a batch":                {values: "abcdefgh", ok: 8, calls: 1},
		"one at fault":           {values: "abc!efgh", ok: 7, failed: 1, calls: 3},
		"not now":                {model: fake{fails: 100}, values: "abcd", failed: 4},
		"not now, but then":      {model: fake{fails: 2}, values: "abcd", ok: 4, calls: 1},
		"an answer without form": {encode: model.Errorf(model.Failed, "wrong number of rows"), values: "abcx", ok: 3, failed: 1, calls: 1},
		"a row that is refused":  {encode: model.Errorf(model.InvalidInput, "wrong"), values: "abcx", ok: 4, calls: 1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				r := newRig(&c.model)
				got := &counted{snap: r.deps.Source.(*source).snap}
				r.deps.Outcomes, r.cfg.Executors = got, 1
				r.codec = func(*model.Snapshot) codec { return unwritable{err: c.encode} }
				ctx, kill := context.WithCancel(t.Context())
				var recs []*kgo.Record
				for i, v := range strings.Split(c.values, "") {
					recs = append(recs, rec(0, int64(i), v))
				}
				r.Submit(t.Context(), recs, r.resolved)
				go func() { _ = r.Run(ctx) }()
				time.Sleep(time.Minute)
				kill()
				synctest.Wait()
				require.Len(t, r.pub.got, len(recs))
				require.False(t, got.other)
				require.Equal(t, []int{c.ok, c.failed, c.calls}, []int{got.ok, got.failed, got.calls})
				require.Less(t, got.took, time.Duration(c.calls+1)*time.Millisecond)
				require.Equal(t, c.calls > 0, got.took > 0)
			})
		})
	}
}

// A request that is at fault itself says nothing of the model.
func TestOutcomesOfRefusedRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(&fake{})
		got := &counted{snap: r.deps.Source.(*source).snap}
		r.deps.Outcomes = got
		ctx, kill := context.WithCancel(t.Context())
		r.Submit(t.Context(), []*kgo.Record{rec(0, 0, "bad"), rec(0, 1, "too long a request")}, r.resolved)
		go func() { _ = r.Run(ctx) }()
		time.Sleep(time.Minute)
		kill()
		synctest.Wait()
		require.Len(t, r.pub.got, 2)
		require.Zero(t, got.ok+got.failed+got.calls)
	})
}
