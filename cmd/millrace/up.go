package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
)

func (p *program) upCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "up",
		Short: "Run the whole system in one process",
		Long: `Run a Kafka broker, a worker with a model, and the gateway in one process, by the
code that 'millrace worker' and 'millrace gateway' run. It needs this binary and
ONNX Runtime's library, nothing else. When all is ready it prints where everything
listens, and a curl and a kcat line that work as they are. Ctrl-C drains and ends.

The model is a forecaster that the binary carries, or the one of --model. The broker
is in the process, on a fixed loopback port that any Kafka client can use, or the
one of --brokers; topics that are missing are created.

` + environment(&upConfig{}),
		Example: `  millrace up
  millrace up --data-dir ./data           # topics and offsets outlive a restart
  MLFLOW_TRACKING_URI=http://127.0.0.1:5000 millrace up --model models:/forecaster@champion
  millrace up --model ./forecaster --model ./scorer
  millrace up --brokers 127.0.0.1:19092   # a Kafka of your own`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runUp(cmd.Context()) },
	}
	p.listedBy(cmd, "model", "MILLRACE_MODEL")
	p.overriddenBy(cmd, "brokers", "MILLRACE_KAFKA_BROKERS")
	p.overriddenBy(cmd, "data-dir", "MILLRACE_UP_DATA_DIR")
	p.overriddenBy(cmd, "kafka-port", "MILLRACE_UP_KAFKA_PORT")
	p.overriddenBy(cmd, "addr", "MILLRACE_GATEWAY_ADDR")
	p.overriddenBy(cmd, "grpc-addr", "MILLRACE_GATEWAY_GRPC_ADDR")
	p.overriddenBy(cmd, "admin-addr", "MILLRACE_ADMIN_ADDR")
	return cmd
}

func (p *program) runUp(ctx context.Context) error {
	cfg := upConfig{Worker: workerConfig{Source: p.sourceDefaults()}}
	if p.env["MILLRACE_MODEL"] == "" {
		p.env["MILLRACE_MODEL"] = bundledRef
	}
	if err := p.parse(&cfg); err != nil {
		return err
	}
	embedded := p.env["MILLRACE_KAFKA_BROKERS"] == ""
	if k := cfg.Worker.Kafka; embedded && (k.TLS || k.SASLMechanism != "") {
		return usageError(errors.New("MILLRACE_KAFKA_TLS and MILLRACE_KAFKA_SASL_MECHANISM are for a Kafka of your own: name it with --brokers"))
	}
	log := p.logger(cfg.Worker.Log)
	p.begin(ctx, log, "up", &cfg, true)
	all, ctx := newParts(ctx, log)
	err := p.startUp(ctx, all, cfg, embedded, log)
	if err == nil {
		<-ctx.Done()
		log.Info("stopping: requests taken are finished; a second signal kills")
	}
	if err = errors.Join(err, all.stop(ctx)); err == nil {
		log.Info("stopped")
	}
	return err
}

// startUp starts everything, waits until it is ready, and says so. The gateway
// is stopped first, for it waits for the worker's answers; the broker last.
func (p *program) startUp(ctx context.Context, all *parts, cfg upConfig, embedded bool, log *slog.Logger) error {
	if embedded {
		addr, err := p.startBroker(all, cfg.Broker, log)
		if err != nil {
			return err
		}
		cfg.Worker.Kafka.Brokers = []string{addr}
	}
	all.start(ctx, "topics", endLimit, func(ctx context.Context) error {
		return createTopics(ctx, cfg.Worker, embedded, log)
	})
	reg := newRegistry()
	if err := p.startTraces(ctx, all, cfg.Worker.Traces, "millrace", log, reg); err != nil {
		return err
	}
	w, err := p.startWorker(ctx, all, cfg.Worker, log, reg)
	if err != nil {
		return err
	}
	gw, err := startGateway(ctx, all, gatewayConfig{Kafka: cfg.Worker.Kafka, Gateway: cfg.Gateway, Log: cfg.Worker.Log}, log, reg)
	if err != nil {
		return err
	}
	s := scene{worker: reachable(w.addr), gateway: reachable(gw.web), brokers: cfg.Worker.Kafka.Brokers, topics: cfg.Worker.Topics}
	if gw.rpc != nil {
		s.rpc = reachable(gw.rpc)
	}
	if !awaitReady(ctx, "http://"+s.worker+"/readyz", "http://"+s.gateway+"/readyz") {
		return nil // stopped before, or broken: the cause is told at the end
	}
	for _, served := range w.follower.Status() {
		s.models = append(s.models, told(served))
	}
	if s.body, err = w.source.example(ctx, cfg.Worker.Pool.Models[0].text); err != nil {
		return err
	}
	_, err = io.WriteString(p.out, s.String())
	return err
}

// createTopics waits for the broker, creates what is missing, and idles.
func createTopics(ctx context.Context, cfg workerConfig, embedded bool, log *slog.Logger) error {
	opts, err := cfg.Kafka.Opts(log)
	if err != nil {
		return err
	}
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	err = kafka.WaitTopics(ctx, cl, log)
	if err == nil {
		err = kafka.EnsureTopics(ctx, cl, cfg.needed(), log)
	}
	if err == nil && embedded {
		err = boundTopics(ctx, cl, cfg.needed().Names())
	}
	if ctx.Err() != nil { // a stop is no failure
		return nil
	}
	if err != nil {
		return err
	}
	cl.Close()
	<-ctx.Done()
	return nil
}

// awaitReady asks the probes until all of them say yes. It returns false when
// ctx ends first.
func awaitReady(ctx context.Context, probes ...string) bool {
	client := &http.Client{Timeout: time.Second, Transport: &http.Transport{DisableKeepAlives: true}}
	tick := time.NewTicker(50 * time.Millisecond)
	defer tick.Stop()
	for len(probes) > 0 {
		select {
		case <-ctx.Done():
			return false
		case <-tick.C:
		}
		if answersOK(ctx, client, probes[0]) {
			probes = probes[1:]
		}
	}
	return true
}

func answersOK(ctx context.Context, client *http.Client, url string) bool {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, url, http.NoBody)
	if err != nil {
		return false
	}
	resp, err := client.Do(req)
	if err != nil {
		return false
	}
	_ = resp.Body.Close()
	return resp.StatusCode == http.StatusOK
}

// reachable is where this machine reaches a listener, which may listen on all
// addresses.
func reachable(addr net.Addr) string {
	host, port, err := net.SplitHostPort(addr.String())
	if ip := net.ParseIP(host); err != nil || ip != nil && !ip.IsUnspecified() {
		return addr.String()
	}
	return net.JoinHostPort("127.0.0.1", port)
}
