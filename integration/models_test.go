//go:build integration

package integration

import (
	"context"
	"fmt"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// TestTopicsAndModels runs workers of three models, one of which the registry
// does not have, over three topics. One worker is killed in the middle.
func TestTopicsAndModels(t *testing.T) {
	const (
		scores, odd = "scores.requests", "odd.requests"
		each        = 2_000
	)
	reg := sharedRegistry(t)
	name := reg.affineModel(t)
	for _, mode := range []string{"at-least-once", "exactly-once", "queue"} {
		t.Run(mode, func(t *testing.T) {
			b := newBroker(t)
			b.topics(t)
			made, err := kadm.NewClient(b.client(t)).CreateTopics(t.Context(), 3, 1, nil, scores, odd)
			require.NoError(t, err)
			require.NoError(t, made.Error())
			env := []string{
				"MLFLOW_TRACKING_URI=" + reg.url, "MILLRACE_DELIVERY=" + mode,
				"MILLRACE_MODEL=models:/" + name + "@champion,second=models:/" + name + "/2,broken=models:/no-such-model@champion",
				"MILLRACE_ROUTES=" + scores + "=second," + odd + "=broken",
			}
			if mode != "queue" { // whose broker has a least time-out of 45 s
				env = append(env, "MILLRACE_SESSION_TIMEOUT=6s", "MILLRACE_HEARTBEAT_INTERVAL=1s")
			}
			first := startWorker(t, "worker-1", b, env...)
			startWorker(t, "worker-2", b, env...)

			ctx, cancel := context.WithTimeout(t.Context(), 2*time.Minute)
			defer cancel()
			wants := make(map[string]string) // what each is answered with
			cl := b.client(t)
			send := func(from, to int) {
				var recs []*kgo.Record
				for i := from; i < to; i++ {
					for topic, headers := range map[string][]kgo.RecordHeader{
						requests: nil, scores: nil, odd: nil,
						"": {{Key: wire.Model, Value: []byte("second")}},
					} {
						if topic == "" {
							topic = requests
						}
						recs = append(recs, &kgo.Record{Topic: topic, Partition: int32(i % 3), Value: body(i), Headers: headers})
					}
				}
				require.NoError(t, cl.ProduceSync(ctx, recs...).FirstErr())
				for _, r := range recs {
					want := "ok 1"
					switch {
					case r.Topic == odd:
						want = "UNAVAILABLE "
					case r.Topic == scores || len(r.Headers) > 0:
						want = "ok 2"
					}
					wants[string(wire.AppendID(nil, r))] = want
				}
			}
			send(0, each/2)
			got, twice := make(map[string]string), 0
			answers := b.client(t, kgo.ConsumeTopics(results), kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), kgo.FetchIsolationLevel(kgo.ReadCommitted()))
			read := func(n int) {
				for len(got) < n {
					fetches := answers.PollFetches(ctx)
					require.NoError(t, fetches.Err())
					fetches.EachRecord(func(r *kgo.Record) {
						value := func(key string) string { v, _ := wire.Header(r, key); return string(v) }
						id := value(wire.ID)
						if _, known := got[id]; known {
							twice++
						}
						got[id] = fmt.Sprint(value(wire.Status), " ", value(wire.ModelVersion))
					})
				}
			}
			read(each)
			first.kill()
			send(each/2, each)
			read(4 * each)
			require.Equal(t, wants, got)
			t.Logf("%d answered twice", twice)
			if mode == "exactly-once" {
				require.Zero(t, twice)
			}
			if mode != "queue" {
				b.requireNoLag(t, group)
			}
		})
	}
}
