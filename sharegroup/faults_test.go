package sharegroup

import (
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// Whatever the broker answers for a while, all requests are answered.
func TestFaults(t *testing.T) {
	type fault = kfake.Fault
	for name, f := range map[string]fault{
		"fetch: not the leader":          {Keys: []kmsg.Key{kmsg.ShareFetch}, Topic: in, Err: kerr.NotLeaderForPartition, Count: 3},
		"fetch: unknown":                 {Keys: []kmsg.Key{kmsg.ShareFetch}, Topic: in, Err: kerr.UnknownServerError, Count: 3},
		"fetch: no session":              {Keys: []kmsg.Key{kmsg.ShareFetch}, TopLevel: true, Err: kerr.ShareSessionNotFound, Count: 3},
		"fetch: wrong session epoch":     {Keys: []kmsg.Key{kmsg.ShareFetch}, TopLevel: true, Err: kerr.InvalidShareSessionEpoch, Count: 3},
		"fetch: not allowed":             {Keys: []kmsg.Key{kmsg.ShareFetch}, TopLevel: true, Err: kerr.GroupAuthorizationFailed, Count: 3},
		"acknowledge: not the leader":    {Keys: []kmsg.Key{kmsg.ShareAcknowledge}, Topic: in, Err: kerr.NotLeaderForPartition, Count: 3},
		"acknowledge: state":             {Keys: []kmsg.Key{kmsg.ShareAcknowledge}, Topic: in, Err: kerr.InvalidRecordState, Count: 3},
		"acknowledge: loading":           {Keys: []kmsg.Key{kmsg.ShareAcknowledge}, Topic: in, Err: kerr.CoordinatorLoadInProgress, Count: 3},
		"acknowledge: no session":        {Keys: []kmsg.Key{kmsg.ShareAcknowledge}, TopLevel: true, Err: kerr.ShareSessionNotFound, Count: 3},
		"acknowledge: wrong epoch":       {Keys: []kmsg.Key{kmsg.ShareAcknowledge}, TopLevel: true, Err: kerr.InvalidShareSessionEpoch, Count: 3},
		"acknowledge: unknown":           {Keys: []kmsg.Key{kmsg.ShareAcknowledge}, TopLevel: true, Err: kerr.UnknownServerError, Count: 3},
		"heartbeat: unknown member":      {Keys: []kmsg.Key{kmsg.ShareGroupHeartbeat}, TopLevel: true, Err: kerr.UnknownMemberID, Count: 3},
		"heartbeat: fenced":              {Keys: []kmsg.Key{kmsg.ShareGroupHeartbeat}, TopLevel: true, Err: kerr.FencedMemberEpoch, Count: 3},
		"heartbeat: not the coordinator": {Keys: []kmsg.Key{kmsg.ShareGroupHeartbeat}, TopLevel: true, Err: kerr.NotCoordinator, Count: 3},
		"heartbeat: full":                {Keys: []kmsg.Key{kmsg.ShareGroupHeartbeat}, TopLevel: true, Err: kerr.GroupMaxSizeReached, Count: 3},
		"heartbeat: not allowed":         {Keys: []kmsg.Key{kmsg.ShareGroupHeartbeat}, TopLevel: true, Err: kerr.GroupAuthorizationFailed, Count: 3},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 2, func(b *bench) {
				w := b.start(config(), &pool{delay: 10 * time.Millisecond})
				b.until("ready", w.Ready)
				h := b.cluster.Fault(f)
				b.fill(0, 200)
				b.until("answered", func() bool { return b.lag() == 0 && h.Hits() == 3 })
				known := map[string]bool{}
				for _, a := range w.pool.published.all() {
					require.Equal(t, "ok", a.status)
					known[a.value] = true
				}
				require.Len(t, known, 200)
				require.True(t, w.Healthy())
				w.halt(t)
			})
		})
	}
}

// Errors of fetching and of the group are counted, and said once.
func TestErrorsAreSeen(t *testing.T) {
	for name, c := range map[string]struct {
		fault kfake.Fault
		says  string
	}{
		"fetch": {kfake.Fault{Keys: []kmsg.Key{kmsg.ShareFetch}, Topic: in, Err: kerr.TopicAuthorizationFailed, Count: 5}, "fetching fails"},
		"group": {kfake.Fault{Keys: []kmsg.Key{kmsg.ShareGroupHeartbeat}, TopLevel: true, Err: kerr.GroupAuthorizationFailed, Count: 5}, "the share group does not take this member"},
	} {
		t.Run(name, func(t *testing.T) {
			virtual(t, 1, func(b *bench) {
				h := b.cluster.Fault(c.fault)
				w := b.start(config(), &pool{})
				b.until("refused", func() bool { return h.Hits() == 5 })
				b.fill(0, 1)
				b.until("answered", func() bool { return b.lag() == 0 })
				require.Positive(t, testutil.ToFloat64(w.Metrics.FetchErrors))
				require.Contains(t, w.log.String(), c.says)
				w.halt(t)
			})
		})
	}
}

// The broker is silent: what is answered is answered again, and nothing is
// lost.
func TestConnectionsAreCut(t *testing.T) {
	virtual(t, 2, func(b *bench) {
		p := &pool{delay: 50 * time.Millisecond}
		w := b.start(config(), p)
		b.until("ready", w.Ready)
		for i := range 10 {
			b.fill(i*50, 50)
			time.Sleep(30 * time.Millisecond) // at work
			w.wire.Hiccup()
			time.Sleep(5 * time.Second) // each cut is a delivery, of which there are few
		}
		b.until("answered", func() bool { return b.lag() == 0 })
		known := map[string]int{}
		for _, a := range p.published.all() {
			require.Equal(t, "ok", a.status)
			known[a.value]++
		}
		require.Len(t, known, 500)
		require.Positive(t, w.acks("accept", "error"))
		w.halt(t)
	})
}
