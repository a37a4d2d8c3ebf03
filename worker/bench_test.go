package worker

import (
	"context"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	sdk "go.opentelemetry.io/otel/sdk/trace"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/tracing"
)

// instant is a model that costs nothing but its output.
type instant struct{ fake }

func (*instant) Predict(_ context.Context, in []model.Tensor) ([]model.Tensor, error) {
	return []model.Tensor{{DType: model.Uint8, Shape: in[0].Shape, Data: slices.Clone(in[0].Data)}}, nil
}

type acker struct{}

func (acker) Publish(_ context.Context, a *wire.Answer, acked func(string, error)) {
	acked(a.Status, nil)
}

func BenchmarkPool(b *testing.B) {
	b.Run("plain", func(b *testing.B) { benchmarkPool(b) })
	b.Run("deadline", func(b *testing.B) { benchmarkPool(b, within(time.Hour)) })
	b.Run("traces", func(b *testing.B) {
		b.Run("sampled=no", func(b *testing.B) { benchmarkTraced(b, "00") })
		b.Run("sampled=yes", func(b *testing.B) { benchmarkTraced(b, "01") })
	})
}

func benchmarkTraced(b *testing.B, flags string) {
	b.Helper()
	tracer := sdk.NewTracerProvider().Tracer("")
	benchmarkRig(b, func(r *rig) { r.deps.Traces = tracing.NewWorker(tracer, tracer) }, traceparent(flags))
}

func benchmarkPool(b *testing.B, h ...kgo.RecordHeader) {
	b.Helper()
	benchmarkRig(b, func(*rig) {}, h...)
}

func benchmarkRig(b *testing.B, with func(*rig), h ...kgo.RecordHeader) {
	b.Helper()
	r := newRig(&fake{})
	with(r)
	r.cfg.MaxBatch, r.deps.Publisher = 64, acker{}
	r.deps.Source = &source{snap: model.Open(&model.Snapshot{Name: "m", Version: "1", Model: &instant{}})}
	ctx, kill := context.WithCancel(b.Context())
	var run, left sync.WaitGroup
	run.Go(func() { _ = r.Run(ctx) })
	recs := make([]*kgo.Record, 256)
	for i := range recs {
		recs[i] = &kgo.Record{Topic: "t", Value: []byte{byte('a' + i%20)}, Timestamp: time.Now(), Headers: h}
	}
	b.ReportAllocs()
	for done := 0; b.Loop(); done++ {
		if done%len(recs) == 0 { // a chunk is the unit that is handed over
			left.Wait()
			left.Add(len(recs))
			r.Submit(ctx, recs, func(*kgo.Record, error) { left.Done() })
		}
	}
	left.Wait()
	kill()
	run.Wait()
}
