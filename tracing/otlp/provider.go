package otlp

import (
	"context"
	"log/slog"
	"time"

	"go.opentelemetry.io/otel/sdk/resource"
	sdk "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/tracing"
)

// flushLimit bounds what an end waits for a collector.
const flushLimit = 5 * time.Second

// Deps is what a provider works with.
type Deps struct {
	Log      *slog.Logger
	Metrics  *metrics.Tracing
	Service  string // the process's name, unless the configuration has one
	Version  string
	Instance string // the host's name, "" for none
}

// Provider makes the tracers of one process and exports their spans. A nil
// Provider makes none.
type Provider struct {
	requests trace.Tracer
	batches  trace.Tracer
	spans    sdk.SpanProcessor
	exporter *exporter
	flush    time.Duration
}

// New returns a provider whose export has begun; who makes it calls Run. It asks
// nothing of the collector, which need not be there. cfg is valid, and On.
func New(cfg Config, deps Deps) (*Provider, error) {
	e, err := newExporter(&cfg, deps)
	if err != nil {
		return nil, err
	}
	sampler, err := cfg.sampler()
	if err != nil {
		return nil, err
	}
	of := resource.NewSchemaless(cfg.attributes(deps)...)
	spans := counting{sdk.NewBatchSpanProcessor(e,
		sdk.WithBatchTimeout(time.Duration(cfg.DelayMS)*time.Millisecond), sdk.WithMaxQueueSize(cfg.Queue),
		sdk.WithMaxExportBatchSize(min(cfg.Queue, sdk.DefaultMaxExportBatchSize)), sdk.WithExportTimeout(cfg.timeout()),
	), deps.Metrics}
	limits := sdk.NewSpanLimits()
	limits.LinkCountLimit = 4096 // as many as a batch may have records
	tracer := func(s sdk.Sampler) trace.Tracer {
		p := sdk.NewTracerProvider(sdk.WithSampler(s), sdk.WithResource(of), sdk.WithRawSpanLimits(limits), sdk.WithSpanProcessor(spans))
		return p.Tracer(tracing.Scope, trace.WithInstrumentationVersion(deps.Version))
	}
	return &Provider{requests: tracer(sampler), batches: tracer(sdk.AlwaysSample()), spans: spans, exporter: e, flush: flushLimit}, nil
}

// Worker is for a pool; nil for a nil Provider.
func (p *Provider) Worker() *tracing.Worker {
	if p == nil {
		return nil
	}
	return tracing.NewWorker(p.requests, p.batches)
}

// Gateway is for a gateway; nil for a nil Provider.
func (p *Provider) Gateway() *tracing.Gateway {
	if p == nil {
		return nil
	}
	return tracing.NewGateway(p.requests)
}

// Run exports until ctx ends, and then what is left, within a bound. What the
// collector does not take by then is lost, which is no failure of the process.
func (p *Provider) Run(ctx context.Context) error {
	<-ctx.Done()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), p.flush)
	defer cancel()
	defer context.AfterFunc(ctx, p.exporter.kill)()
	if err := p.spans.Shutdown(ctx); err != nil {
		p.exporter.log.WarnContext(ctx, "the last spans may be lost", "err", err)
	}
	<-p.exporter.ended
	return nil
}

// counting counts the spans that are handed over to be exported.
type counting struct {
	sdk.SpanProcessor
	metrics *metrics.Tracing
}

func (c counting) OnEnd(s sdk.ReadOnlySpan) {
	c.metrics.Spans.Inc()
	c.SpanProcessor.OnEnd(s)
}
