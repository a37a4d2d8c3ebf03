package worker

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.opentelemetry.io/otel/attribute"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/tracing"
)

const followedID = "0af7651916cd43dd8448eb211c80319c"

func traceparent(flags string) kgo.RecordHeader {
	return kgo.RecordHeader{Key: wire.TraceParent, Value: []byte("00-" + followedID + "-b7ad6b7169203331-" + flags)}
}

// traced is a rig that follows the requests whose trace is sampled.
func traced(r *rig) (requests, batches *tracetest.InMemoryExporter) {
	requests, batches = tracetest.NewInMemoryExporter(), tracetest.NewInMemoryExporter()
	sampling := sdk.NewTracerProvider(sdk.WithSampler(sdk.ParentBased(sdk.NeverSample())), sdk.WithSyncer(requests))
	r.deps.Traces = tracing.NewWorker(sampling.Tracer(""), sdk.NewTracerProvider(sdk.WithSyncer(batches)).Tracer(""))
	return requests, batches
}

func count(spans tracetest.SpanStubs) map[string]int {
	all := map[string]int{}
	for _, s := range spans {
		all[s.Name]++
	}
	return all
}

func TestSampledRequestsAreFollowed(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(&fake{})
		r.cfg.Executors = 1
		requests, batches := traced(r)
		ctx, kill := context.WithCancel(t.Context())
		r.Submit(t.Context(), []*kgo.Record{
			rec(0, 0, "a", traceparent("01")), rec(0, 1, "b", traceparent("00")), rec(0, 2, "c"), rec(0, 3, "bad", traceparent("01")),
		}, r.resolved)
		go func() { _ = r.Run(ctx) }()
		time.Sleep(time.Minute)
		kill()
		synctest.Wait()

		require.Equal(t, map[string]int{"process t": 2, "wait": 2, "decode": 1, "predict": 1, "publish": 2}, count(requests.GetSpans()))
		require.Len(t, batches.GetSpans(), 1)
		require.Len(t, batches.GetSpans()[0].Links, 1, "the one that was sampled and run")
		require.Len(t, r.pub.got, 4)
		for i, own := range []bool{true, false, false, true} {
			parent := r.pub.got[i].TraceParent
			require.Equal(t, own, parent != "", i)
			if own {
				require.Contains(t, parent, "00-"+followedID+"-")
				require.NotContains(t, parent, "b7ad6b7169203331", "the span that made the answer")
			}
		}
		require.Equal(t, []string{followedID}, exemplars(t, r.deps.Metrics.Latency))
	})
}

// exemplars are the ids of the traces beside a histogram's buckets.
func exemplars(t *testing.T, c prometheus.Collector) (ids []string) {
	t.Helper()
	reg := prometheus.NewRegistry()
	reg.MustRegister(c)
	all, err := reg.Gather()
	require.NoError(t, err)
	for _, b := range all[0].GetMetric()[0].GetHistogram().GetBucket() {
		for _, l := range b.GetExemplar().GetLabel() {
			if l.GetName() == "trace_id" {
				ids = append(ids, l.GetValue())
			}
		}
	}
	return ids
}

func TestWhatIsGivenBackEndsItsTrace(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		r := newRig(&fake{})
		requests, _ := traced(r)
		r.pub.instead, r.pub.err = "ok", errors.New("no broker")
		ctx, kill := context.WithCancel(t.Context())
		go func() { _ = r.Run(ctx) }()
		r.Submit(t.Context(), []*kgo.Record{rec(0, 0, "a", traceparent("01"))}, r.resolved)
		time.Sleep(time.Minute)
		kill()
		synctest.Wait()
		require.ErrorContains(t, r.errs["0/0"], "no broker")
		spans := requests.GetSpans()
		require.Equal(t, map[string]int{"process t": 1, "wait": 1, "decode": 1, "predict": 1}, count(spans))
		require.Contains(t, spans[len(spans)-1].Attributes, attribute.String("millrace.given_back", "no broker"))
	})
}
