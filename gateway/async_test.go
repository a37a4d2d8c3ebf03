package gateway_test

import (
	"context"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/wire"
)

var later = map[string]string{"Prefer": "wait=5, respond-async"}

// gate holds answers back until it is opened.
type gate chan struct{}

func (g gate) echo(r *kgo.Record) outcome { <-g; return echo(r) }

func (r *running) delete(path string) response {
	return r.do(r.w.t.Context(), http.MethodDelete, path, nil, nil)
}

func TestAnAnswerIsFetchedLaterFromAnyGateway(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		open := make(gate)
		w.worker(open.echo)
		other := config()
		other.Addr = "127.0.0.1:8001"
		first, second := w.ready(config()), w.ready(other)

		res := first.post(`{"inputs": [1]}`, later)
		require.Equal(t, http.StatusAccepted, res.status, res.body)
		require.Equal(t, "respond-async", res.header.Get("Preference-Applied"))
		at := res.header.Get("Location")
		require.Regexp(t, `^/predictions/[0-9a-f]{32}$`, at)
		require.Contains(t, res.body, `"state":"pending"`)
		for _, g := range []*running{first, second} {
			res = g.get(at)
			require.Equal(t, http.StatusAccepted, res.status, res.body)
			require.Equal(t, "1", res.header.Get("Retry-After"))
		}
		waited := make(chan response, 1)
		go func() { waited <- second.get(at + "?wait=60s") }()
		synctest.Wait()
		close(open)
		res = <-waited
		require.Equal(t, http.StatusOK, res.status)
		require.JSONEq(t, `{"inputs": [1]}`, res.body)
		require.Equal(t, "done", res.header.Get("X-Prediction-State"))
		require.Equal(t, "7", res.header.Get("X-Model-Version"))
		require.Equal(t, http.StatusOK, first.get(at+"?wait=10").status)
		require.InDelta(t, 1, first.value("millrace_gateway_predictions"), 0)
		require.Greater(t, first.value("millrace_gateway_predictions_bytes"), 512.0)
		require.InDelta(t, 0, testutil.ToFloat64(first.m.Waiting), 0)

		// A gateway that comes later knows as much.
		require.NoError(t, first.stop())
		again := w.ready(config())
		res = again.get(at)
		require.Equal(t, http.StatusOK, res.status, res.body)
		require.JSONEq(t, `{"inputs": [1]}`, res.body)
		time.Sleep(time.Hour)
		require.Equal(t, http.StatusNotFound, again.get(at).status)
		require.Equal(t, http.StatusNotFound, again.get("/predictions/nonsense").status)
	})
}

func TestAPredictionIsCancelledAndForgotten(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		open := make(gate)
		w.worker(open.echo)
		cfg := config()
		cfg.CancelTopic = cancellations
		g := w.ready(cfg)
		at := g.post("{}", later).header.Get("Location")
		require.Equal(t, http.StatusNoContent, g.delete(at).status)
		time.Sleep(time.Second)
		res := g.get(at)
		require.Equal(t, http.StatusGone, res.status)
		require.Equal(t, "cancelled", res.header.Get("X-Prediction-State"))
		require.Equal(t, strings.TrimPrefix(at, "/predictions/"), hex.EncodeToString(w.first(cancellations).Key))

		close(open)
		at = g.post("{}", later).header.Get("Location")
		require.Equal(t, http.StatusOK, g.get(at+"?wait=10").status)
		require.Equal(t, http.StatusNoContent, g.delete(at).status)
		time.Sleep(time.Second)
		require.Equal(t, http.StatusNotFound, g.get(at).status)
		require.Equal(t, http.StatusNotFound, g.delete(at).status)
	}, requests, replies, kept, cancellations)
}

func TestARepeatedRequestIsOne(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		var seen atomic.Int64
		open := make(gate)
		w.worker(func(r *kgo.Record) outcome { seen.Add(1); return open.echo(r) })
		other := config()
		other.Addr = "127.0.0.1:8001"
		first, second := w.ready(config()), w.ready(other)
		keyed := map[string]string{"Idempotency-Key": "order 17"}

		// Ten at once, by two gateways; then one that comes after the answer.
		results := make(chan response, 10)
		for i := range 10 {
			g := []*running{first, second}[i%2]
			go func() { results <- g.post(`{"inputs": [1]}`, keyed) }()
		}
		synctest.Wait()
		close(open)
		for range 10 {
			res := <-results
			require.Equal(t, http.StatusOK, res.status, res.body)
			require.JSONEq(t, `{"inputs": [1]}`, res.body)
		}
		require.Equal(t, http.StatusOK, second.post(`{"inputs": [1]}`, keyed).status)
		require.EqualValues(t, 1, seen.Load())

		res := first.post(`{"inputs": [2]}`, keyed)
		require.Equal(t, http.StatusUnprocessableEntity, res.status)
		require.Contains(t, res.body, "Idempotency-Key: it was used for another body")
		async := map[string]string{"Idempotency-Key": "order 17", "Prefer": "respond-async"}
		at := first.post(`{"inputs": [1]}`, async).header.Get("Location")
		require.Equal(t, http.StatusOK, first.get(at).status)
		require.EqualValues(t, 1, seen.Load())
		require.Equal(t, http.StatusOK, first.post(`{"inputs": [2]}`, map[string]string{"Idempotency-Key": "order 18"}).status)
		require.Equal(t, http.StatusBadRequest, first.post("{}", map[string]string{"Idempotency-Key": strings.Repeat("x", 256)}).status)
	})
}

func TestAnErrorIsAnAnswerAsWell(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(func(*kgo.Record) outcome { return outcome{"INVALID_INPUT", `{"error_code": "INVALID_INPUT"}`} })
		g := w.ready(config())
		at := g.post("{}", later).header.Get("Location")
		res := g.get(at + "?wait=10s")
		require.Equal(t, http.StatusBadRequest, res.status)
		require.JSONEq(t, `{"error_code": "INVALID_INPUT"}`, res.body)
	})
}

func TestNoAnswerExpires(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		asked := make(chan *kgo.Record, 1)
		w.worker(func(r *kgo.Record) outcome { asked <- r; return outcome{} })
		g := w.ready(config())
		at := g.post("{}", map[string]string{"Prefer": "respond-async", "X-Request-Timeout": "30s"}).header.Get("Location")
		deadline, ok, err := wire.Expiry(<-asked)
		require.NoError(t, err)
		require.True(t, ok)
		require.InDelta(t, 30, time.Until(deadline).Seconds(), 1)
		require.Equal(t, http.StatusAccepted, g.get(at+"?wait=20").status)
		res := g.get(at + "?wait=2m")
		require.Equal(t, http.StatusGatewayTimeout, res.status)
		require.Equal(t, "expired", res.header.Get("X-Prediction-State"))
		require.Equal(t, http.StatusBadRequest, g.get(at+"?wait=soon").status)
	})
}

func TestManyAreListedOrStreamed(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		open := make(gate)
		w.worker(func(r *kgo.Record) outcome {
			if string(r.Value) == "0" {
				<-open
			}
			return outcome{"ok", "answer " + string(r.Value)}
		})
		g := w.ready(config())
		var named []string
		for _, body := range []string{"2", "1", "0"} {
			at := g.post(body, later).header.Get("Location")
			named = append(named, "id="+strings.TrimPrefix(at, "/predictions/"))
			if body != "0" { // whose answer is held back, and with it those of all that the fake fetches beside it
				require.Equal(t, http.StatusOK, g.get(at+"?wait=10").status)
			}
		}
		query := "/predictions?" + strings.Join(append(named, "id="+strings.Repeat("0", 32)), "&")
		type listing struct {
			Predictions []struct{ State, Status, Answer string }
		}
		list := func(wait string) (l listing) {
			res := g.get(query + wait)
			require.Equal(t, http.StatusOK, res.status, res.body)
			require.NoError(t, json.Unmarshal([]byte(res.body), &l))
			require.Len(t, l.Predictions, 4)
			return l
		}
		l := list("")
		require.Equal(t, "answer 2", l.Predictions[0].Answer)
		require.Equal(t, "pending", l.Predictions[2].State)
		require.Equal(t, "unknown", l.Predictions[3].State)
		streamed := make(chan response, 1)
		go func() {
			streamed <- g.do(t.Context(), http.MethodGet, query, nil, map[string]string{"Accept": "text/event-stream"})
		}()
		synctest.Wait()
		time.Sleep(20 * time.Second)
		close(open)
		res := <-streamed
		require.Equal(t, "text/event-stream", res.header.Get("Content-Type"))
		require.Equal(t, 4, strings.Count(res.body, "event: prediction\n"))
		require.Contains(t, res.body, ": alive\n")
		require.Less(t, strings.Index(res.body, `"answer":"answer 1"`), strings.Index(res.body, `"answer":"answer 0"`))
		require.True(t, strings.HasSuffix(res.body, "event: end\ndata: {}\n\n"))
		require.Equal(t, "answer 0", list("&wait=10").Predictions[2].Answer)
		for _, bad := range []string{"/predictions", "/predictions?id=x", "/predictions?" + strings.Repeat("id=0&", 101)} {
			require.Equal(t, http.StatusBadRequest, g.get(bad).status, bad)
		}
	})
}

func TestWithoutTheirTopicThereAreNoPredictions(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(echo)
		g := w.ready(config())
		require.Equal(t, http.StatusServiceUnavailable, g.post("{}", later).status)
		require.Equal(t, http.StatusOK, g.post("{}", nil).status)
		require.NoError(t, w.cluster.CreateTopic(kept, 2, nil))
		time.Sleep(10 * time.Second)
		require.Equal(t, http.StatusAccepted, g.post("{}", later).status)
		require.NoError(t, g.stop())
		cfg := config()
		cfg.Async.Topic = "none"
		require.Equal(t, http.StatusNotImplemented, w.ready(cfg).post("{}", later).status)
	}, requests, replies)
}

func TestARequestThatIsNotPublishedFreesItsKey(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(echo)
		g := w.ready(config())
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: requests, Count: -1, Err: kerr.NotLeaderForPartition})
		keyed := map[string]string{"Idempotency-Key": "k"}
		require.Equal(t, http.StatusServiceUnavailable, g.post("{}", keyed).status)
		fault.Remove()
		time.Sleep(15 * time.Second)
		require.Equal(t, http.StatusOK, g.post("{}", keyed).status)
	})
}

// A caller that goes away while its request is on its way to a broker comes back with
// the same key, and finds that it was published.
func TestARequestThatWasLeftIsPublishedOnce(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		var seen atomic.Int64
		w.worker(func(r *kgo.Record) outcome { seen.Add(1); return echo(r) })
		g := w.ready(config())
		fault := w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: requests, Count: -1, Err: kerr.NotLeaderForPartition})
		keyed := map[string]string{"Idempotency-Key": "k"}
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		require.Zero(t, g.do(ctx, http.MethodPost, "/predict", strings.NewReader("{}"), keyed).status)
		time.Sleep(time.Second)
		fault.Remove()
		require.Equal(t, http.StatusOK, g.post("{}", keyed).status)
		time.Sleep(10 * time.Second)
		require.EqualValues(t, 1, seen.Load())
		require.InDelta(t, 1, counted(t, g, "millrace_gateway_requests_total", "code", "499"), 0)
	})
}
