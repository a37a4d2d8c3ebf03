//go:build integration

package integration

import (
	"context"
	"fmt"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

// TestPoisonIsPassedOver kills each worker that one request hangs, as what a
// crash leaves behind: after MILLRACE_MAX_ATTEMPTS of them it is answered with
// an error, and all others are answered, in exactly-once once.
func TestPoisonIsPassedOver(t *testing.T) {
	for _, mode := range []string{atLeastOnce, exactlyOnce} {
		t.Run(mode, func(t *testing.T) {
			const total, poison, attempts = 2000, 777, 4
			b := newBroker(t)
			b.topics(t)
			folder := onnxtest.Folder{
				Model:   onnxtest.Stuck(1),
				Inputs:  `[{"name": "X", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]`,
				Outputs: `[{"name": "Y", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]`,
				Example: `{"inputs": [[1, 2, 3, 4]]}`,
			}
			env := []string{
				"MILLRACE_MODEL=" + folder.Write(t), "MILLRACE_DELIVERY=" + mode, "MILLRACE_MAX_ATTEMPTS=" + strconv.Itoa(attempts),
				"MILLRACE_SESSION_TIMEOUT=6s", "MILLRACE_HEARTBEAT_INTERVAL=500ms", "MILLRACE_TRANSACTION_TIMEOUT=3s",
			}
			cl := b.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
			recs := make([]*kgo.Record, total)
			for i := range recs {
				recs[i] = &kgo.Record{
					Topic: requests, Partition: int32(i % partitions), Value: fmt.Appendf(nil, `{"inputs": [[%d, 0, 0, 1]]}`, i),
					Headers: []kgo.RecordHeader{{Key: wire.CorrelationID, Value: []byte(strconv.Itoa(i))}},
				}
			}
			recs[poison].Value = fmt.Appendf(nil, `{"inputs": [[1, 2, 3, %d]]}`, onnxtest.StuckOn)
			require.NoError(t, cl.ProduceSync(t.Context(), recs...).FirstErr())

			killed := 0
			w := startWorker(t, "worker-1", b, env...)
			for w.hangs(t, b) {
				w.kill()
				killed++
				require.LessOrEqual(t, killed, attempts, "the request is run again")
				w = startWorker(t, fmt.Sprintf("worker-%d", killed+1), b, env...)
			}
			require.Equal(t, attempts, killed)
			b.requireNoLag(t, group)
			w.stop()
			require.Zero(t, w.exit(t, 20*time.Second))

			status, times := b.statuses(t, total)
			for i := range total {
				id := strconv.Itoa(i)
				if i == poison {
					require.Equal(t, wire.ModelFailed, status[id])
				} else {
					require.Equal(t, "ok", status[id], "request %s", id)
				}
				if mode == exactlyOnce {
					require.Equal(t, 1, times[id], "answers to %s", id)
				}
			}
			letters := b.client(t, kgo.ConsumeTopics(deadLetters), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
			letter := letters.PollRecords(t.Context(), 10).Records()
			require.Len(t, letter, 1)
			n, _ := wire.Header(letter[0], wire.DeadDeliveries)
			require.Equal(t, strconv.Itoa(attempts), string(n))
		})
	}
}

// hangs waits until all is answered, or a request has been run for long.
func (w *worker) hangs(t *testing.T, b *broker) bool {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
	defer cancel()
	adm := kadm.NewClient(b.client(t))
	tick := time.NewTicker(200 * time.Millisecond)
	defer tick.Stop()
	for running, since := "", time.Now(); ; {
		text, err := get(ctx, "http://"+w.addr+"/metrics")
		require.NoError(t, err)
		now := sample(string(text), "millrace_running_records") + " of " + sample(string(text), "millrace_consumed_records_total")
		if now != running || strings.HasPrefix(now, "0 ") {
			running, since = now, time.Now()
		}
		if time.Since(since) > 3*time.Second {
			return true
		}
		ends, err := adm.ListCommittedOffsets(ctx, deadLetters)
		require.NoError(t, err)
		var n int64
		ends.Each(func(o kadm.ListedOffset) { n += o.Offset })
		if n > 0 {
			return false
		}
		select {
		case <-ctx.Done():
			t.Fatal("neither does the worker hang, nor is the request answered")
		case <-tick.C:
		}
	}
}

// sample is the value of a series without labels.
func sample(text, name string) string {
	_, rest, _ := strings.Cut(text, "\n"+name+" ")
	value, _, _ := strings.Cut(rest, "\n")
	return value
}

// statuses reads what read_committed sees of the answers to n requests, by
// correlation id: what they say and how often.
func (b *broker) statuses(t *testing.T, n int) (status map[string]string, times map[string]int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	adm := kadm.NewClient(b.client(t))
	cl := b.client(t, kgo.ConsumeTopics(results), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.KeepControlRecords())
	ends, err := adm.ListCommittedOffsets(ctx, results)
	require.NoError(t, err)
	left := make(map[int32]int64)
	ends.Each(func(o kadm.ListedOffset) {
		if o.Offset > 0 {
			left[o.Partition] = o.Offset
		}
	})
	status, times = make(map[string]string, n), make(map[string]int, n)
	for len(left) > 0 {
		fetches := cl.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			if r.Offset+1 >= left[r.Partition] {
				delete(left, r.Partition)
			}
			if r.Attrs.IsControl() {
				return
			}
			id, _ := wire.Header(r, wire.CorrelationID)
			s, _ := wire.Header(r, wire.Status)
			status[string(id)] = string(s)
			times[string(id)]++
		})
	}
	return status, times
}
