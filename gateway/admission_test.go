package gateway_test

import (
	"io"
	"net/http"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/gateway"
)

func TestMoreThanTheRateIsToldWhenToComeBack(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(echo)
		cfg := config()
		cfg.Admission.RateLimit, cfg.Admission.RateBurst = 0.25, 2
		g := w.ready(cfg)
		for range 2 {
			require.Equal(t, http.StatusOK, g.post("{}", nil).status)
		}
		res := g.post("{}", nil)
		require.Equal(t, http.StatusTooManyRequests, res.status)
		require.JSONEq(t, `{"error_code": "OVERLOADED", "message": "more than 0.25 requests a second", "retryable": true}`, res.body)
		require.InDelta(t, 1, testutil.ToFloat64(g.m.Refused.WithLabelValues("rate")), 0)
		seconds, err := strconv.Atoi(res.header.Get("Retry-After"))
		require.NoError(t, err, "whole seconds")
		time.Sleep(time.Duration(seconds) * time.Second)
		require.Equal(t, http.StatusOK, g.post("{}", nil).status, "who comes back then is let in")
		require.Equal(t, http.StatusTooManyRequests, g.post("{}", nil).status, "refusals cost no token, and there was one")
		require.Equal(t, http.StatusOK, g.get("/healthz").status, "probes are free")
	})
}

// breakerOf is 1 for the state that the breaker shows, 0 for the others.
func (r *running) requireBreaker(state string) {
	r.w.t.Helper()
	for _, s := range []string{"closed", "open", "half-open"} {
		want := 0.0
		if s == state {
			want = 1
		}
		require.InDelta(r.w.t, want, testutil.ToFloat64(r.m.Breaker.WithLabelValues(s)), 0, s)
	}
}

func TestTheBreakerOpensAtTheFifthTimeoutAndProbesOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		works := false
		w.worker(func(r *kgo.Record) outcome {
			if works {
				return echo(r)
			}
			return outcome{}
		})
		cfg := config()
		cfg.Admission.BreakerTimeouts = 5
		g := w.ready(cfg)
		twoSeconds := map[string]string{"X-Request-Timeout": "2s"}
		for range 4 {
			require.Equal(t, http.StatusGatewayTimeout, g.post("{}", twoSeconds).status)
		}
		g.requireBreaker("closed")
		require.Equal(t, http.StatusGatewayTimeout, g.post("{}", twoSeconds).status)
		g.requireBreaker("open")

		start := time.Now()
		res := g.post("{}", twoSeconds)
		require.Equal(t, http.StatusServiceUnavailable, res.status)
		require.Zero(t, time.Since(start), "at once")
		require.Equal(t, "10", res.header.Get("Retry-After"))
		require.Contains(t, res.body, "UNAVAILABLE")
		require.InDelta(t, 1, testutil.ToFloat64(g.m.Refused.WithLabelValues("breaker")), 0)

		// One is let through, and others are not while it is on its way.
		time.Sleep(10*time.Second + time.Millisecond)
		probe := make(chan response, 1)
		go func() { probe <- g.post("{}", twoSeconds) }()
		synctest.Wait()
		g.requireBreaker("half-open")
		require.Equal(t, http.StatusServiceUnavailable, g.post("{}", twoSeconds).status)
		require.Equal(t, http.StatusGatewayTimeout, (<-probe).status)
		g.requireBreaker("open")

		works = true
		time.Sleep(10*time.Second + time.Millisecond)
		require.Equal(t, http.StatusOK, g.post("{}", twoSeconds).status)
		g.requireBreaker("closed")
		require.Equal(t, http.StatusOK, g.post("{}", twoSeconds).status)
	})
}

func TestClientsInAHurryDoNotOpenTheBreaker(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(silent)
		cfg := config()
		cfg.Admission.BreakerTimeouts = 2
		g := w.ready(cfg)
		time.Sleep(time.Second) // the client asks for a topic's leaders no sooner than a while after it last asked
		for range 5 {
			require.Equal(t, http.StatusGatewayTimeout, g.post("{}", map[string]string{"X-Request-Timeout": "500ms"}).status)
		}
		g.requireBreaker("closed")
	})
}

func TestErrorsOfTheModelLeaveTheBreakerClosed(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(func(*kgo.Record) outcome { return outcome{"MODEL_FAILED", "{}"} })
		cfg := config()
		cfg.Admission.BreakerTimeouts = 1
		g := w.ready(cfg)
		for range 3 {
			require.Equal(t, http.StatusInternalServerError, g.post("{}", nil).status)
		}
		g.requireBreaker("closed")
	})
}

func TestFiftyMayWaitForAWorkerAndNotOneMore(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(silent)
		cfg := config()
		cfg.Admission.WaitingPerWorker = 50
		g := w.ready(cfg)
		results := make(chan response, 120)
		fill := func(n int) {
			for range n {
				go func() { results <- g.post("{}", nil) }()
			}
			synctest.Wait()
		}
		fill(50) // no worker is in the group yet: one's worth
		require.InDelta(t, 50, testutil.ToFloat64(g.m.Waiting), 0)
		res := g.post("{}", nil)
		require.Equal(t, http.StatusServiceUnavailable, res.status, "the 51st is the first that is refused")
		require.Contains(t, res.body, "limit of 50 for each worker")
		for range 50 {
			<-results
		}

		w.member()
		w.member()
		time.Sleep(2 * cfg.LagInterval)
		require.InDelta(t, 2, testutil.ToFloat64(g.m.Workers), 0)
		fill(100)
		require.Equal(t, http.StatusServiceUnavailable, g.post("{}", nil).status)
		require.InDelta(t, 2, testutil.ToFloat64(g.m.Refused.WithLabelValues("waiting")), 0)
		for range 100 {
			<-results
		}
	})
}

// member joins the workers' group and stays in it.
func (w *world) member() {
	w.t.Helper()
	client, err := kgo.NewClient(append(w.kafka(), kgo.ConsumerGroup("millrace"), kgo.ConsumeTopics(requests))...)
	require.NoError(w.t, err)
	ended := make(chan struct{})
	go func() { defer close(ended); client.PollFetches(w.t.Context()) }()
	w.t.Cleanup(func() { client.Close(); <-ended })
}

func TestBodiesHaveBoundedRoomTogether(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		release := make(chan struct{})
		w.worker(func(r *kgo.Record) outcome { <-release; return outcome{"ok", "{}"} })
		cfg := config()
		cfg.Admission.MaxBuffered = 100
		g := w.ready(cfg)
		first := make(chan response, 1)
		go func() { first <- g.post(strings.Repeat("x", 60), nil) }()
		synctest.Wait()
		res := g.do(t.Context(), http.MethodPost, "/predict", io.MultiReader(strings.NewReader(strings.Repeat("x", 41))), nil)
		require.Equal(t, http.StatusServiceUnavailable, res.status)
		require.Contains(t, res.body, "100 bytes")
		require.InDelta(t, 1, testutil.ToFloat64(g.m.Refused.WithLabelValues("memory")), 0)
		second := make(chan response, 1)
		go func() { second <- g.post(strings.Repeat("x", 40), nil) }()
		synctest.Wait()
		close(release)
		require.Equal(t, http.StatusOK, (<-first).status)
		require.Equal(t, http.StatusOK, (<-second).status)
		require.Equal(t, http.StatusOK, g.post(strings.Repeat("x", 100), nil).status, "all is given back")
	})
}

func TestEveryMistakeInTheBoundsIsNamed(t *testing.T) {
	cfg := gateway.AdmissionConfig{RateLimit: -1, RateBurst: -1, BreakerTimeouts: -1, WaitingPerWorker: -1}
	err := cfg.Validate()
	for _, name := range []string{"RATE_LIMIT", "RATE_BURST", "BREAKER_TIMEOUTS", "BREAKER_PAUSE", "MAX_WAITING_PER_WORKER", "MAX_WAITING", "MAX_BUFFERED_BYTES"} {
		require.ErrorContains(t, err, "MILLRACE_GATEWAY_"+name+":")
	}
}
