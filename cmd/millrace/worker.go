package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/announce"
	"github.com/millrace/millrace/cancellation"
	"github.com/millrace/millrace/card"
	"github.com/millrace/millrace/internal/admin"
	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model/follow"
	"github.com/millrace/millrace/tracing"
	"github.com/millrace/millrace/worker"
)

func (p *program) workerCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Answer requests from Kafka with a model",
		Long: `Take requests from a Kafka topic, answer them with a model, publish the answers.
With several models, a request's header or its topic says which.

Start as many as there are partitions to share; they form one consumer group. A
worker follows its model's alias and changes versions between two batches. It
waits for a broker, topics or registry that are not there yet: /readyz says why.
SIGTERM lets it finish what it has taken; a second one kills it.

` + environment(&workerConfig{}),
		Example: `  MILLRACE_MODEL=models:/forecaster@champion MLFLOW_TRACKING_URI=http://mlflow:5000 \
    MILLRACE_KAFKA_BROKERS=broker-1:9092,broker-2:9092 millrace worker
  millrace worker --model ./my-model --brokers 127.0.0.1:9092`,
		Args: noArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return p.runWorker(cmd.Context()) },
	}
	p.listedBy(cmd, "model", "MILLRACE_MODEL")
	p.overriddenBy(cmd, "brokers", "MILLRACE_KAFKA_BROKERS")
	p.overriddenBy(cmd, "admin-addr", "MILLRACE_ADMIN_ADDR")
	return cmd
}

func (p *program) runWorker(ctx context.Context) error {
	cfg := workerConfig{Source: p.sourceDefaults()}
	if err := p.parse(&cfg); err != nil {
		return err
	}
	log := p.logger(cfg.Log)
	p.begin(ctx, log, "worker", &cfg, false)
	all, ctx := newParts(ctx, log)
	reg := newRegistry()
	err := p.startTraces(ctx, all, cfg.Traces, "millrace-worker", log, reg)
	if err == nil {
		_, err = p.startWorker(ctx, all, cfg, log, reg)
	}
	if err == nil {
		<-ctx.Done()
		log.Info("stopping: requests taken are finished; a second signal kills")
	}
	if err = errors.Join(err, all.stop(ctx)); err == nil {
		log.Info("stopped")
	}
	return err
}

// runningWorker is a worker that was started.
type runningWorker struct {
	cfg      workerConfig
	host     string   // its name in answers
	addr     net.Addr // of the probes
	source   *modelSource
	intake   intake
	follower *follow.Follower
	board    *announce.Board // what the pool knows of the registry
	// The requests that nobody waits for any more.
	cancelled *cancellation.List
	cards     *card.Publisher // tells gateways what is served
	versions  versions
	names     []*atomic.Pointer[follow.Resolved] // what the models' references name
	beside    beside
	traces    *tracing.Worker // nil when no request is followed
}

// startWorker starts the parts of a worker. They end in the reverse order: the
// consumer stops its intake, waits for what is in the pool, commits, and leaves
// the group; then the pool, the producer, the models; the probes are last.
func (p *program) startWorker(ctx context.Context, all *parts, cfg workerConfig, log *slog.Logger, reg *prometheus.Registry) (*runningWorker, error) {
	kafkaOpts, err := cfg.Kafka.Opts(log)
	if err != nil {
		return nil, usageError(err)
	}
	p.nameTransactions(&cfg)
	w := &runningWorker{cfg: cfg, host: p.hostname(), traces: all.traces.Worker()}
	w.cancelled = cancellation.New(cancellation.Deps{Topic: cfg.Topics.Cancellations(), Log: log, Opts: kafkaOpts})
	w.cards = card.NewPublisher(card.PublisherDeps{Topic: cfg.Topics.Cards(), Worker: w.host, Log: log, Opts: kafkaOpts})
	if w.source, err = p.modelSource(cfg.Source, log); err != nil {
		return nil, err
	}
	w.source.remote = metrics.NewRemote(reg)
	counted, models := metrics.NewWorker(reg), metrics.NewModels(reg)
	w.source.processes = processObserver{models}
	if w.board, err = w.newBoard(log, reg, models, kafkaOpts); err != nil {
		return nil, err
	}
	if w.follower, err = w.newFollower(all, log, models, counted); err != nil {
		return nil, err
	}
	var pool *worker.Pool // made last, for the shadow sees its answers
	idle := func(ctx context.Context) error { return pool.AwaitIdle(ctx) }
	if err := w.newBeside(all, log, reg, models, counted, kafkaOpts, idle); err != nil {
		return nil, err
	}
	probes, err := listen(ctx, "MILLRACE_ADMIN_ADDR", cfg.Pool.AdminAddr)
	if err != nil {
		return nil, err
	}
	w.addr = probes.Addr()
	d, err := w.deliver(log, reg, counted, kafkaOpts) //nolint:contextcheck // what it ends on an error bounds itself
	if err != nil {
		return nil, errors.Join(err, probes.Close())
	}
	w.intake, pool = d.intake, d.pool
	log.Info("probes and metrics are served", "addr", w.addr.String())

	server := &admin.Server{Listener: probes, Handler: w.handler(reg)}
	all.start(ctx, "probes", endLimit, server.Run)
	all.start(ctx, "announcements", endLimit, w.board.Run)
	all.start(ctx, "models", endLimit, w.follower.Run)
	w.startBeside(ctx, all)
	all.start(ctx, "cancellations", endLimit, w.cancelled.Run)
	all.start(ctx, "cards", endLimit, w.cards.Run)
	if d.end != nil {
		all.onStop("producer", d.end)
	}
	all.start(ctx, "pool", endLimit, d.pool.Run)
	all.start(ctx, "consumer", cfg.Consumer.DrainTimeout+cfg.Consumer.RebalanceTimeout+endLimit, func(ctx context.Context) error {
		return w.consume(ctx, log, kafkaOpts)
	})
	return w, nil
}

// endLimit is the longest wait for a part that has nothing left to do.
const endLimit = 15 * time.Second

// consume waits for all that an answer needs, so that no request is taken in
// only to be refused, and takes requests in until ctx ends.
func (w *runningWorker) consume(ctx context.Context, log *slog.Logger, opts []kgo.Opt) error {
	cl, err := kgo.NewClient(opts...)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	err = kafka.WaitTopics(ctx, cl, log, append(w.cfg.Topics.Intake(), w.cfg.Topics.Results, w.cfg.Topics.DeadLetters)...)
	if ctx.Err() != nil { // a stop is no failure
		return nil
	}
	if err != nil {
		return err
	}
	cl.Close()
	select {
	case <-w.follower.Settled():
	case <-ctx.Done():
		return nil
	}
	return w.intake.Run(ctx)
}

// hostname is the name of this host, in Kubernetes the pod's; "" when it has none.
func (p *program) hostname() string {
	if name := p.env["HOSTNAME"]; name != "" {
		return name
	}
	name, _ := os.Hostname() // it only helps to tell workers apart
	return name
}

// listen takes an address, or says in one line why it cannot be had.
func listen(ctx context.Context, variable, addr string) (net.Listener, error) {
	l, err := (&net.ListenConfig{}).Listen(ctx, "tcp", addr)
	if errors.Is(err, syscall.EADDRINUSE) {
		return nil, fmt.Errorf("%s is taken by another process: end it, or choose another address with %s", addr, variable)
	}
	if err != nil {
		return nil, fmt.Errorf("%s: %w", variable, err)
	}
	return l, nil
}
