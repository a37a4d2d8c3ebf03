package producer

import (
	"maps"
	"slices"
	"strings"
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

func TestADeadLetterSaysWhoRefusedWhatWhen(t *testing.T) {
	asked := time.Date(2026, 3, 4, 5, 6, 7, 89e6, time.UTC)
	for name, c := range map[string]struct {
		change func(*wire.Answer)
		want   map[string]string
	}{
		"by a model": {func(*wire.Answer) {}, map[string]string{wire.DeadModel: "m", wire.DeadModelVersion: "3", "model": "m@champion"}},
		"by none":    {func(a *wire.Answer) { a.ModelName, a.ModelVersion = "", "" }, map[string]string{"model": "m@champion"}},
		// What a person copied from the dead-letter topic to the requests.
		"a dead letter put back": {func(a *wire.Answer) {
			a.Request.Headers = append(a.Request.Headers, header(wire.DeadTopic, "old"), header(wire.DeadPayloadOmitted, "old"), header(wire.ReplayedAs, "old"))
		}, map[string]string{wire.DeadModel: "m", wire.DeadModelVersion: "3", "model": "m@champion"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			a := answer("no", header("model", "m@champion"))
			a.Status, a.Message, a.Request.Timestamp = "MODEL_FAILED", "MODEL_FAILED: no", asked
			c.change(a)
			before := time.Now()
			require.Equal(t, "MODEL_FAILED", r.publish(t, a))
			got := headers(r.records(t, 2)["dlq"])
			refused, err := time.Parse(time.RFC3339Nano, got[wire.DeadTime])
			require.NoError(t, err)
			require.WithinRange(t, refused, before.Add(-time.Second), time.Now())
			delete(got, wire.DeadTime)
			maps.Copy(c.want, map[string]string{
				wire.DeadTopic: "requests", wire.DeadPartition: "4", wire.DeadOffset: "7", wire.DeadGroup: "g", wire.DeadDeliveries: "1",
				wire.DeadCode: "MODEL_FAILED", wire.DeadMessage: "MODEL_FAILED: no", wire.DeadRequestTime: "2026-03-04T05:06:07.089Z",
			})
			require.Equal(t, c.want, got)
		})
	}
}

// A letter that its topic takes in no form holds up nobody: the request has its
// answer.
func TestADeadLetterThatIsTooLargeInEveryForm(t *testing.T) {
	for name, c := range map[string]struct {
		most  int // bytes of a batch
		given bool
	}{
		"but the last": {450, false},
		"at all":       {0, true},
	} {
		t.Run(name, func(t *testing.T) {
			r := newRig(t)
			r.cluster.Fault(kfake.Fault{
				Keys: []kmsg.Key{kmsg.Produce}, Topic: "dlq", Count: -1, Err: kerr.MessageTooLarge,
				When: func(req kmsg.Request) bool { // the result, which may be with it, is smaller
					return slices.ContainsFunc(req.(*kmsg.ProduceRequest).Topics, func(t kmsg.ProduceRequestTopic) bool {
						return len(t.Partitions[0].Records) > c.most
					})
				},
			})
			a := answer("no", header("model", "m"))
			a.Status, a.Message, a.Request.Key = "MODEL_FAILED", strings.Repeat("x", 500), []byte("key")
			require.Equal(t, "MODEL_FAILED", r.publish(t, a))
			lost := testutil.ToFloat64(r.deps.Metrics.LettersLost)
			if c.given {
				require.Equal(t, "MODEL_FAILED", headers(r.records(t, 1)["results"])["status"])
				require.InDelta(t, 1, lost, 0)
				require.Equal(t, 1, testutil.CollectAndCount(r.deps.Metrics.LettersLost, "millrace_dead_letters_given_up_total"))
				require.Zero(t, testutil.ToFloat64(r.deps.Metrics.DeadLetters.WithLabelValues("MODEL_FAILED")))
				return
			}
			dead := r.records(t, 2)["dlq"]
			require.Equal(t, map[string]string{
				wire.DeadTopic: "requests", wire.DeadPartition: "4", wire.DeadOffset: "7", wire.DeadCode: "MODEL_FAILED",
				wire.DeadPayloadOmitted: "the request is too large for the dead-letter topic",
			}, headers(dead))
			require.Empty(t, dead.Key)
			require.Empty(t, dead.Value)
			require.Zero(t, lost)
		})
	}
}

func TestTheAnswerOfAReplayNamesTheOriginal(t *testing.T) {
	r := newRig(t)
	replay := []kgo.RecordHeader{header(wire.ReplayOf, "dlq/1/2"), header(wire.OriginalID, "requests/3/4")}
	require.Equal(t, "ok", r.publish(t, answer("out", replay...)))
	got := headers(r.records(t, 1)["results"])
	require.Equal(t, "requests/4/7", got[wire.ID])
	require.Equal(t, "requests/3/4", got[wire.OriginalID])
}

func TestAnOriginalIDThatIsTooLargeIsNotEchoed(t *testing.T) {
	r := newRig(t)
	require.Equal(t, "TOO_LARGE", r.publish(t, answer("out", header(wire.OriginalID, strings.Repeat("x", 9000)))))
	got := headers(r.records(t, 2)["results"])
	require.Equal(t, "requests/4/7", got[wire.ID])
	require.NotContains(t, got, wire.OriginalID)
}
