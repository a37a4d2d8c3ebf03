package gateway_test

import (
	"net/http"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
)

func transactional(w *world, id string) *kgo.Client {
	w.t.Helper()
	client, err := kgo.NewClient(append(w.kafka(), kgo.TransactionalID(id), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
	require.NoError(w.t, err)
	w.t.Cleanup(client.Close)
	return client
}

// An answer whose transaction was aborted has never been given.
func TestAnAbortedAnswerIsNotSeen(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		seen := make(chan *kgo.Record, 1)
		w.worker(func(r *kgo.Record) outcome { seen <- r; return outcome{} })
		client := transactional(w, "worker")
		g := w.ready(config())
		result := make(chan response, 1)
		go func() { result <- g.post("{}", nil) }()
		req := <-seen
		require.NoError(t, client.BeginTransaction())
		require.NoError(t, client.ProduceSync(t.Context(), reply(req, outcome{"ok", "aborted"})).FirstErr())
		require.NoError(t, client.EndTransaction(t.Context(), kgo.TryAbort))
		time.Sleep(time.Second)
		synctest.Wait()
		require.Empty(t, result)
		require.NoError(t, client.BeginTransaction())
		require.NoError(t, client.ProduceSync(t.Context(), reply(req, outcome{"ok", "committed"})).FirstErr())
		require.NoError(t, client.EndTransaction(t.Context(), kgo.TryCommit))
		res := <-result
		require.Equal(t, http.StatusOK, res.status)
		require.Equal(t, "committed", res.body)
	})
}

// What no worker can read yet is no lag: it would wake a pool for nothing.
func TestAnOpenTransactionIsNoLag(t *testing.T) {
	inWorld(t, func(w *world) {
		t := w.t
		client := transactional(w, "requester")
		require.NoError(t, client.BeginTransaction())
		require.NoError(t, client.ProduceSync(t.Context(), &kgo.Record{Topic: requests, Value: []byte("{}")}).FirstErr())
		g := w.ready(config())
		lag := g.m.GroupLag.WithLabelValues("millrace", requests)
		time.Sleep(time.Second) // virtual: the first reading is done
		require.InDelta(t, 0, testutil.ToFloat64(lag), 0)
		require.NoError(t, client.EndTransaction(t.Context(), kgo.TryCommit))
		time.Sleep(11 * time.Second)
		require.InDelta(t, 2, testutil.ToFloat64(lag), 0, "the record and the marker")
	})
}
