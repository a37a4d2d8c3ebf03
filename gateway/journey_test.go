package gateway_test

import (
	"fmt"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/wire"
)

// The memory of a request is used again by another: many at once, of which some are
// never answered, get what is theirs.
func TestManyAtOnceGetWhatIsTheirs(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(func(r *kgo.Record) outcome {
			if strings.Contains(string(r.Value), "ignored") {
				return outcome{}
			}
			kind, _ := wire.Header(r, wire.Model)
			return outcome{"ok", string(r.Value) + " of " + string(kind)}
		})
		g := w.ready(config())
		var users sync.WaitGroup
		for user := range 20 {
			users.Go(func() {
				for n := range 25 {
					body, named := fmt.Sprintf("%d of %d", n, user), strings.Repeat("m", user*20)
					want, status := body+" of "+named, http.StatusOK
					if n%5 == 4 {
						body, status = "ignored", http.StatusGatewayTimeout
					}
					res := g.post(body, map[string]string{"X-Model": named, "X-Request-Timeout": "1"})
					if res.status != status || status == http.StatusOK && res.body != want {
						t.Errorf("%d: %s, not %q", res.status, res.body, want)
					}
				}
			})
		}
		users.Wait()
		require.InDelta(t, 0, testutil.ToFloat64(g.m.Waiting), 0)
		require.InDelta(t, 0, testutil.ToFloat64(g.m.Orphans), 0)
	})
}

// That the broker has a request is asked for when its time to say so is over: one that
// is answered later than that is waited for.
func TestAnAnswerMayTakeLongerThanTheAcknowledgement(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		answers := make(chan outcome)
		w.worker(func(*kgo.Record) outcome { return <-answers })
		cfg := config()
		g := w.ready(cfg)
		got := make(chan response, 1)
		go func() { got <- g.post("{}", nil) }()
		time.Sleep(2 * cfg.PublishTimeout) // virtual
		answers <- outcome{"ok", "late"}
		res := <-got
		require.Equal(t, http.StatusOK, res.status)
		require.Equal(t, "late", res.body)
	})
}

// A broker that says nothing of a request is told of after that time.
func TestARequestThatIsNotAcknowledgedIsUnavailable(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(silent)
		cfg := config()
		g := w.ready(cfg)
		require.Equal(t, http.StatusGatewayTimeout, g.post("{}", map[string]string{"X-Request-Timeout": "1"}).status)
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: requests, Count: -1, Err: kerr.NotEnoughReplicas})
		defer fault.Remove()
		for timeout, want := range map[string]time.Duration{"2": 2 * time.Second, "20": cfg.PublishTimeout} {
			start := time.Now()
			res := g.post("{}", map[string]string{"X-Request-Timeout": timeout})
			require.Equal(t, http.StatusServiceUnavailable, res.status, res.body)
			require.InDelta(t, want.Seconds(), time.Since(start).Seconds(), 1, res.body)
		}
	})
}
