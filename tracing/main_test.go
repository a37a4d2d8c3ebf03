package tracing_test

import (
	"testing"

	"github.com/stretchr/testify/require"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/sdk/trace/tracetest"
	"go.opentelemetry.io/otel/trace"
)

const (
	traceID = "0af7651916cd43dd8448eb211c80319c"
	sampled = "00-" + traceID + "-b7ad6b7169203331-01"
	unasked = "00-" + traceID + "-b7ad6b7169203331-00"
)

// recorder is a tracer whose spans are kept.
func recorder(t *testing.T, s sdk.Sampler) (trace.Tracer, *tracetest.InMemoryExporter) {
	t.Helper()
	kept := tracetest.NewInMemoryExporter()
	p := sdk.NewTracerProvider(sdk.WithSampler(s), sdk.WithSyncer(kept))
	return p.Tracer("test"), kept
}

func byName(t *testing.T, kept *tracetest.InMemoryExporter) map[string]tracetest.SpanStub {
	t.Helper()
	all := make(map[string]tracetest.SpanStub)
	for _, s := range kept.GetSpans() {
		require.NotContains(t, all, s.Name)
		all[s.Name] = s
	}
	return all
}

func attributes(s tracetest.SpanStub) map[string]any {
	all := make(map[string]any)
	for _, a := range s.Attributes {
		all[string(a.Key)] = a.Value.AsInterface()
	}
	return all
}
