package gateway_test

import (
	"context"
	"io"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

func TestOneMoreThanMayWaitIsRefused(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(silent)
		cfg := config()
		cfg.Admission.MaxWaiting = 3
		g := w.ready(cfg)
		results := make(chan response, 3)
		for range 3 {
			go func() { results <- g.post("{}", nil) }()
		}
		synctest.Wait()
		require.InDelta(t, 3, testutil.ToFloat64(g.m.Waiting), 0)
		res := g.post("{}", nil)
		require.Equal(t, http.StatusServiceUnavailable, res.status)
		require.Contains(t, res.body, "OVERLOADED")
		require.Equal(t, "1", res.header.Get("Retry-After"))
		require.InDelta(t, 1, testutil.ToFloat64(g.m.Refused.WithLabelValues("waiting")), 0)
		for range 3 {
			require.Equal(t, http.StatusGatewayTimeout, (<-results).status)
		}
		require.InDelta(t, 0, testutil.ToFloat64(g.m.Waiting), 0)
	})
}

func TestAClientThatGoesAwayFreesItsSlotAndOrphansItsReply(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		release := make(chan struct{})
		free := sync.OnceFunc(func() { close(release) })
		defer free() // or a failure would hang in the clean-up
		w.worker(func(r *kgo.Record) outcome { <-release; return echo(r) })
		cfg := config()
		cfg.Admission.MaxWaiting = 1
		g := w.ready(cfg)
		ctx, leave := context.WithCancel(t.Context())
		left := make(chan response, 1)
		go func() { left <- g.do(ctx, http.MethodPost, "/predict", strings.NewReader("{}"), nil) }()
		synctest.Wait()
		require.InDelta(t, 1, testutil.ToFloat64(g.m.Waiting), 0)
		leave()
		require.Zero(t, (<-left).status)
		synctest.Wait()
		require.InDelta(t, 0, testutil.ToFloat64(g.m.Waiting), 0)
		require.InDelta(t, 1, testutil.ToFloat64(g.m.Gone), 0)
		require.InDelta(t, 1, testutil.ToFloat64(g.m.Requests.WithLabelValues("499")), 0)
		free()
		require.Equal(t, http.StatusOK, g.post("{}", nil).status)
		time.Sleep(time.Second)
		require.InDelta(t, 1, testutil.ToFloat64(g.m.Orphans), 0)
	})
}

func TestASlowClientHoldsNoSlot(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(echo)
		cfg := config()
		cfg.Admission.MaxWaiting = 1
		cfg.ReadTimeout = 10 * time.Second
		g := w.ready(cfg)
		body, feed := io.Pipe()
		slow := make(chan response, 1)
		go func() { slow <- g.do(t.Context(), http.MethodPost, "/predict", body, nil) }()
		_, err := feed.Write([]byte("{"))
		require.NoError(t, err)
		synctest.Wait()
		require.Equal(t, http.StatusOK, g.post("{}", nil).status)
		time.Sleep(11 * time.Second)
		require.NoError(t, feed.Close())
		<-slow // 408, or a closed connection when the client was writing
		require.InDelta(t, 1, testutil.ToFloat64(g.m.Requests.WithLabelValues("408")), 0)
	})
}

func TestGatewaysSideBySideTakeOnlyTheirOwn(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(echo)
		a, b := config(), config()
		a.ReplyPartition, b.ReplyPartition = 2, 2
		b.Addr = "127.0.0.1:8001"
		first, second := w.ready(a), w.ready(b)
		results := make(chan bool, 40)
		for i := range 40 {
			g, text := first, strings.Repeat("x", i+1)
			if i%2 == 1 {
				g = second
			}
			go func() { res := g.post(text, nil); results <- res.status == 200 && res.body == text }()
		}
		for range 40 {
			require.True(t, <-results)
		}
		for _, g := range []*running{first, second} {
			require.InDelta(t, 20, testutil.ToFloat64(g.m.Requests.WithLabelValues("200")), 0)
			require.InDelta(t, 0, testutil.ToFloat64(g.m.Orphans), 0)
		}
	})
}

func TestAStopLetsWaitingRequestsFinish(t *testing.T) {
	tests := map[string]struct {
		answerAfter time.Duration
		status      int
	}{
		"in time":  {5 * time.Second, http.StatusOK},
		"too late": {25 * time.Second, http.StatusServiceUnavailable},
	}
	for name, tt := range tests {
		t.Run(name, func(t *testing.T) {
			inWorld(t, func(w *world) {
				t := w.t
				w.worker(func(r *kgo.Record) outcome { time.Sleep(tt.answerAfter); return echo(r) })
				g := w.ready(config())
				result := make(chan response, 1)
				go func() { result <- g.post("{}", nil) }()
				synctest.Wait()
				start := time.Now()
				require.NoError(t, g.stop())
				require.LessOrEqual(t, time.Since(start), 21*time.Second)
				require.Equal(t, tt.status, (<-result).status)
				require.Zero(t, g.get("/healthz").status, "it must not listen any more")
			})
		})
	}
}

func TestABrokerThatRefusesMakes503InTime(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(echo)
		g := w.ready(config())
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: requests, Count: -1, Err: kerr.NotLeaderForPartition})
		start := time.Now()
		res := g.post("{}", nil)
		require.Equal(t, http.StatusServiceUnavailable, res.status)
		require.Contains(t, res.body, "UNAVAILABLE")
		require.LessOrEqual(t, time.Since(start), 6*time.Second)
		fault.Remove()
		time.Sleep(10 * time.Second)
		require.Equal(t, http.StatusOK, g.post("{}", nil).status)
	})
}

func TestReadinessFollowsTheProbe(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(echo)
		g := w.ready(config())
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Fetch}, Topic: replies, Count: -1, Err: kerr.NotLeaderForPartition})
		time.Sleep(15 * time.Second)
		res := g.get("/readyz")
		require.Equal(t, http.StatusServiceUnavailable, res.status)
		require.Contains(t, res.body, "no probe came back")
		require.Equal(t, http.StatusOK, g.get("/healthz").status)
		fault.Remove()
		time.Sleep(15 * time.Second)
		require.Equal(t, http.StatusOK, g.get("/readyz").status, g.get("/readyz").body)
		require.Equal(t, http.StatusOK, g.post("{}", nil).status)
	})
}

func TestWithoutTopicsItIsNotReadyAndSaysWhy(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		g := w.start(config())
		time.Sleep(2 * time.Second)
		res := g.get("/readyz")
		require.Equal(t, http.StatusServiceUnavailable, res.status)
		require.Contains(t, res.body, "topic "+replies)
		require.Equal(t, http.StatusServiceUnavailable, g.post("{}", nil).status)
		require.NoError(t, w.cluster.CreateTopic(replies, 4, nil))
		time.Sleep(10 * time.Second)
		require.Equal(t, http.StatusOK, g.get("/readyz").status)
	}, requests)
}

func TestWhatTheBrokerFindsTooLargeIsNotToBeSentAgain(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(func(*kgo.Record) outcome { return outcome{"ok", "{}"} })
		g := w.ready(config())
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: requests, Err: kerr.MessageTooLarge})
		res := g.post("{}", nil)
		require.Equal(t, http.StatusRequestEntityTooLarge, res.status)
		require.Contains(t, res.body, `"retryable":false`)
		require.Equal(t, http.StatusOK, g.post(strings.Repeat("x", 1<<20), nil).status, "the largest body allowed")
	})
}
