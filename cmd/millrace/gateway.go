package main

import (
	"context"
	"errors"
	"log/slog"
	"net"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"

	"github.com/millrace/millrace/gateway"
	"github.com/millrace/millrace/internal/alarm"
	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/metrics"
)

func (p *program) gatewayCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "gateway",
		Short: "Turn HTTP requests into records and wait for their answers",
		Long: `Serve POST /predict, POST /invocations and the Open Inference Protocol, below /v2 and
on a port of its own over gRPC: publish the body to the requests topic, wait for the
answer on the replies topic, and give it back. Several gateways may run side by side.
/readyz says whether a record comes back through Kafka.

` + environment(&gatewayConfig{}),
		Example: `  MILLRACE_KAFKA_BROKERS=broker-1:9092,broker-2:9092 millrace gateway
  millrace gateway --brokers 127.0.0.1:9092 --addr 127.0.0.1:8080`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runGateway(cmd.Context()) },
	}
	p.overriddenBy(cmd, "brokers", "MILLRACE_KAFKA_BROKERS")
	p.overriddenBy(cmd, "addr", "MILLRACE_GATEWAY_ADDR")
	p.overriddenBy(cmd, "grpc-addr", "MILLRACE_GATEWAY_GRPC_ADDR")
	return cmd
}

func (p *program) runGateway(ctx context.Context) error {
	var cfg gatewayConfig
	if err := p.parse(&cfg); err != nil {
		return err
	}
	log := p.logger(cfg.Log)
	p.begin(ctx, log, "gateway", &cfg, false)
	all, ctx := newParts(ctx, log)
	reg := newRegistry()
	err := p.startTraces(ctx, all, cfg.Traces, "millrace-gateway", log, reg)
	if err == nil {
		_, err = startGateway(ctx, all, cfg, log, reg)
	}
	if err == nil {
		<-ctx.Done()
		log.Info("stopping: requests that wait are answered; a second signal kills")
	}
	if err = errors.Join(err, all.stop(ctx)); err == nil {
		log.Info("stopped")
	}
	return err
}

// listening is where a gateway listens.
type listening struct {
	web net.Addr
	rpc net.Addr // nil: it does not
}

func closeRPC(l net.Listener) error {
	if l == nil {
		return nil
	}
	return l.Close()
}

// startGateway starts the gateway and returns where it listens.
func startGateway(ctx context.Context, all *parts, cfg gatewayConfig, log *slog.Logger, reg *prometheus.Registry) (*listening, error) {
	kafkaOpts, err := cfg.Kafka.Opts(log)
	if err != nil {
		return nil, usageError(err)
	}
	l, err := listen(ctx, "MILLRACE_GATEWAY_ADDR", cfg.Gateway.Addr)
	if err != nil {
		return nil, err
	}
	where := &listening{web: l.Addr()}
	var rpc net.Listener
	if addr := kafka.Optional(cfg.Gateway.GRPCAddr); addr != "" {
		if rpc, err = listen(ctx, "MILLRACE_GATEWAY_GRPC_ADDR", addr); err != nil {
			return nil, errors.Join(err, l.Close())
		}
		where.rpc = rpc.Addr()
	}
	g, err := gateway.New(cfg.Gateway, gateway.Deps{
		Traces: all.traces.Gateway(),
		Log:    log, Version: version, Metrics: metrics.NewGateway(reg), Predictions: metrics.NewPredictions(reg), Series: reg, Kafka: kafkaOpts, Listener: l, GRPC: rpc,
		Alarm: alarm.New,
	})
	if err != nil {
		return nil, errors.Join(err, l.Close(), closeRPC(rpc))
	}
	log.Info("gateway is served", "addr", l.Addr().String())
	if where.rpc != nil {
		log.Info("gRPC is served", "addr", where.rpc.String())
	}
	all.start(ctx, "gateway", cfg.Gateway.DrainTimeout+endLimit, g.Run)
	return where, nil
}
