package main

import (
	"context"
	"log/slog"
)

// logger writes the process's log.
func (p *program) logger(cfg logConfig) *slog.Logger {
	opts := &slog.HandlerOptions{Level: cfg.Level}
	if cfg.Format == "json" {
		return slog.New(slog.NewJSONHandler(p.err, opts))
	}
	return slog.New(slog.NewTextHandler(p.err, opts))
}

// begin logs what a process that serves starts with, and tunes its memory. With
// brief, of the configuration only what is not the default: on a laptop the
// rest is noise.
func (p *program) begin(ctx context.Context, log *slog.Logger, command string, cfg any, brief bool) {
	log.LogAttrs(ctx, slog.LevelInfo, "starting", slog.String("command", command), slog.String("version", version))
	log.LogAttrs(ctx, slog.LevelInfo, "configuration", effective(cfg, brief)...)
	p.tuneMemory(log)
}
