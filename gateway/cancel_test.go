package gateway_test

import (
	"context"
	"net/http"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/wire"
)

const cancellations = "inference.cancellations"

// leave posts a request whose caller goes away a second later, and returns the
// status, 0 for none.
func (r *running) leave(within string) int {
	ctx, cancel := context.WithTimeout(r.w.t.Context(), time.Second)
	defer cancel()
	return r.do(ctx, http.MethodPost, "/predict", strings.NewReader("{}"), map[string]string{"X-Request-Timeout": within}).status
}

// first returns a topic's first record.
func (w *world) first(topic string) *kgo.Record {
	w.t.Helper()
	cl, err := kgo.NewClient(append(w.kafka(), kgo.ConsumeTopics(topic))...)
	require.NoError(w.t, err)
	defer cl.Close()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	records := cl.PollFetches(ctx).Records()
	require.NotEmpty(w.t, records)
	return records[0]
}

func TestACallerThatGoesAwayIsToldOf(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		w.worker(silent)
		cfg := config()
		cfg.CancelTopic = cancellations
		g := w.ready(cfg)
		require.Zero(t, g.leave("20s"))
		asked, told := w.first(requests), w.first(cancellations)
		for _, name := range []string{wire.CorrelationID, wire.ExpiryTime} {
			want, _ := wire.Header(asked, name)
			got, _ := wire.Header(told, name)
			require.Equal(t, want, got, name)
		}
		require.Empty(t, told.Value)
	}, requests, replies, cancellations)
}

// Cancellations that the broker does not take leave room for requests.
func TestCancellationsThatAreRefusedHoldNothingUp(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		var answering atomic.Bool
		w.worker(func(r *kgo.Record) outcome {
			if answering.Load() {
				return echo(r)
			}
			return outcome{}
		})
		cfg := config()
		cfg.CancelTopic, cfg.Admission.MaxWaiting = cancellations, 2
		g := w.ready(cfg)
		w.cluster.Fault(kfake.Fault{Keys: []kmsg.Key{kmsg.Produce}, Topic: cancellations, Count: -1, Err: kerr.NotLeaderForPartition})
		for range 40 { // a buffer of 3 x 2 + 10
			require.Zero(t, g.leave("2m"))
		}
		answering.Store(true)
		require.Equal(t, http.StatusOK, g.post("{}", nil).status)
	}, requests, replies, cancellations)
}
