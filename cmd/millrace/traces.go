package main

import (
	"context"
	"log/slog"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/tracing/otlp"
)

// startTraces begins the export of spans, if it is asked for. It is called before
// the parts that record them are started, so that theirs are exported when it
// ends.
func (p *program) startTraces(ctx context.Context, all *parts, cfg otlp.Config, service string, log *slog.Logger, reg *prometheus.Registry) error {
	if !cfg.On() {
		return nil
	}
	traces, err := otlp.New(cfg, otlp.Deps{
		Log: log, Metrics: metrics.NewTracing(reg), Service: service, Version: version, Instance: p.hostname(),
	})
	if err != nil {
		return usageError(err)
	}
	all.traces = traces
	all.start(ctx, "traces", endLimit, traces.Run)
	return nil
}
