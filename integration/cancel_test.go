//go:build integration

package integration

import (
	"context"
	"log/slog"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/internal/kafka"
)

// TestCancellation lets a caller go away while its request waits: the model does
// not see it.
func TestCancellation(t *testing.T) {
	b := newBroker(t)
	require.NoError(t, kafka.EnsureTopics(t.Context(), b.client(t), kafka.Topics{
		Requests: requests, Results: results, Replies: replies, DeadLetters: deadLetters, Cancelled: "inference.cancellations",
		Partitions: partitions, Replication: 1,
	}, slog.New(slog.DiscardHandler)))
	// Requests wait for their batch to fill.
	w := startWorker(t, "worker", b, "MILLRACE_MODEL="+affine(t, 1), "MILLRACE_BATCH_DELAY=3s")
	url := startGateway(t, b) + "/predict"
	_, err := post(t.Context(), url, body(1))
	require.NoError(t, err)

	impatient, cancel := context.WithTimeout(t.Context(), time.Second)
	defer cancel()
	_, err = post(impatient, url, body(2))
	require.ErrorIs(t, err, context.DeadlineExceeded)
	counted := func(line string) func() bool {
		return func() bool {
			text, err := get(t.Context(), "http://"+w.addr+"/metrics")
			return err == nil && strings.Contains(string(text), "\n"+line+"\n")
		}
	}
	require.Eventually(t, counted("millrace_cancelled_requests_total 1"), 20*time.Second, 100*time.Millisecond)
	require.Eventually(t, counted("millrace_batch_records_count 1"), time.Second, 100*time.Millisecond, "the model saw the first alone")
	b.requireNoLag(t, group)
}
