//go:build integration

package integration

import (
	"context"
	"encoding/json"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// TestDLQ asks for a model that nobody serves, then has it served and puts the
// requests back, by a replay that is killed on the way.
func TestDLQ(t *testing.T) {
	const total = 600
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	b := newBroker(t)
	b.topics(t)
	env := []string{"MLFLOW_TRACKING_URI=" + reg.url}
	first := startWorker(t, "worker-1", b, append(env, "MILLRACE_MODEL=models:/"+name+"@champion")...)
	sent := sendFor(t, b, "other", total)
	tool := environ(t, "MILLRACE_KAFKA_BROKERS="+b.plain)
	inspect := func() (sum struct{ Letters, Replayed int }) {
		require.NoError(t, json.Unmarshal(millrace(t, tool, nil, "dlq", "inspect", "--code", "MODEL_NOT_FOUND", "--model", "other", "--records", "0", "-o", "json"), &sum))
		return sum
	}
	require.Eventually(t, func() bool { return inspect().Letters == total }, time.Minute, 200*time.Millisecond)
	first.stop()
	startWorker(t, "worker-2", b, append(env, "MILLRACE_MODEL=models:/"+name+"@champion,other=models:/"+name+"/2")...)

	only := []string{"dlq", "replay", "--code", "MODEL_NOT_FOUND", "--model", "other"}
	require.Contains(t, string(millrace(t, tool, nil, append(only, "--dry-run")...)), "600 requests would be replayed")
	for _, attempt := range []string{"replay-1", "replay-2"} {
		before := inspect().Replayed
		p := start(t, attempt, tool, append([]string{binary(t)}, append(only, "--rate", "100")...)...)
		require.Eventually(t, func() bool { return inspect().Replayed > before }, 30*time.Second, 50*time.Millisecond)
		p.kill()
	}
	killed := inspect().Replayed
	require.Less(t, killed, total, "the replay was over before it was killed")
	out := string(millrace(t, tool, nil, only...))
	require.Contains(t, out, strconv.Itoa(killed)+" not sent: replayed before")
	t.Logf("replayed by runs that were killed: %d", killed)
	require.Contains(t, string(millrace(t, tool, nil, only...)), "0 requests replayed, of 600 dead letters picked")

	b.requireNoLag(t, group)
	requireAnsweredOnce(t, b, sent)
}

// sendFor sends requests for a model, and returns their number by id.
func sendFor(t *testing.T, b *broker, model string, total int) map[string]int {
	t.Helper()
	cl := b.client(t, kgo.RecordPartitioner(kgo.ManualPartitioner()))
	recs := make([]*kgo.Record, total)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: requests, Partition: int32(i % partitions), Value: body(i), Headers: []kgo.RecordHeader{
			{Key: wire.Model, Value: []byte(model)}, {Key: wire.CorrelationID, Value: []byte(strconv.Itoa(i))},
		}}
	}
	require.NoError(t, cl.ProduceSync(t.Context(), recs...).FirstErr())
	sent := make(map[string]int, total)
	for i, r := range recs {
		sent[string(wire.AppendID(nil, r))] = i
	}
	return sent
}

// requireAnsweredOnce holds that each original has the one prediction that is
// right for it.
func requireAnsweredOnce(t *testing.T, b *broker, sent map[string]int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	cl := b.client(t, kgo.ConsumeTopics(results), kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	header := func(r *kgo.Record, key string) string {
		v, _ := wire.Header(r, key)
		return string(v)
	}
	got, refused := make(map[string]int), 0
	for read := 0; read < 2*len(sent); {
		fetches := cl.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(r *kgo.Record) {
			read++
			if header(r, wire.Status) != "ok" {
				refused++
				return
			}
			original := header(r, wire.OriginalID)
			i, ok := sent[original]
			require.True(t, ok, "an answer of no original: %q", original)
			require.Equal(t, strconv.Itoa(i), header(r, wire.CorrelationID))
			require.NotEqual(t, original, header(r, wire.ID))
			want, err := answerOf(i, "2")
			require.NoError(t, err)
			answer, err := parseAnswer(r.Value)
			require.NoError(t, err)
			require.Equal(t, want, answer)
			got[original]++
		})
	}
	require.Equal(t, len(sent), refused)
	require.Len(t, got, len(sent))
	for id, n := range got {
		require.Equal(t, 1, n, id)
	}
}
