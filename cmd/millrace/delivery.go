package main

import (
	"context"
	"crypto/rand"
	"errors"
	"log/slog"
	"regexp"
	"slices"
	"strings"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/consumer"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/producer"
	"github.com/millrace/millrace/transaction"
	"github.com/millrace/millrace/worker"
)

// The values of MILLRACE_DELIVERY.
const (
	atLeastOnce = "at-least-once"
	exactlyOnce = "exactly-once"
	queue       = "queue"
)

// intake takes requests in and has them answered, in one of the modes.
type intake interface {
	Run(ctx context.Context) error
	Ready() bool
	Healthy() bool
}

// delivery is a mode's intake, the pool that it feeds, and what has to be ended
// after both.
type delivery struct {
	intake intake
	pool   *worker.Pool
	end    func() error // nil for nothing
}

// deliver makes the parts of the mode that is configured. They are not started.
func (w *runningWorker) deliver(log *slog.Logger, reg *prometheus.Registry, counted *metrics.Worker, client []kgo.Opt) (delivery, error) {
	published := metrics.NewProducer(reg)
	published.Announce(failures()...)
	publish := producer.Deps{
		Logger: log, Metrics: published, Topics: w.cfg.Topics, Group: w.cfg.Consumer.Group,
		Worker: w.host, Opts: client, ErrorBody: errorBody,
	}
	work := worker.Deps{
		Logger: log, Metrics: counted, Source: w.follower, Cancellations: w.cancelled, Routes: w.cfg.Topics.Routes.Models(),
		Outcomes: w.follower, Traces: w.traces,
	}
	w.divide(&work)
	switch w.cfg.Pool.Delivery {
	case exactlyOnce:
		return w.exactlyOnce(publish, work, reg)
	case queue:
		return w.queue(publish, work, reg)
	default:
		return w.atLeastOnce(publish, work, reg)
	}
}

func (w *runningWorker) atLeastOnce(publish producer.Deps, work worker.Deps, reg *prometheus.Registry) (delivery, error) {
	answers, err := producer.New(w.producerConfig(), publish)
	if err != nil {
		return delivery{}, err
	}
	work.Publisher = answers
	pool := worker.New(w.cfg.Worker, work)
	in, err := consumer.New(w.cfg.Consumer, consumer.Deps{
		Topics: w.cfg.Topics.Intake(), Pool: pool, Log: work.Logger, Metrics: metrics.NewConsumer(reg), Client: publish.Opts,
	})
	if err != nil {
		return delivery{}, errors.Join(err, answers.Close())
	}
	return delivery{in, pool, answers.Close}, nil
}

func (w *runningWorker) exactlyOnce(publish producer.Deps, work worker.Deps, reg *prometheus.Registry) (delivery, error) {
	cfg, c := w.producerConfig(), w.cfg.Consumer
	in, err := transaction.New(w.cfg.Transaction, transaction.Member{
		Group: c.Group, InstanceID: c.InstanceID, Protocol: c.Protocol, OffsetReset: c.OffsetReset,
		SessionTimeout: c.SessionTimeout, RebalanceTimeout: c.RebalanceTimeout, HeartbeatInterval: c.HeartbeatInterval,
		RevokeDrain: c.RevokeDrain, DrainTimeout: c.DrainTimeout, WatchdogTimeout: c.WatchdogTimeout, LagInterval: c.LagInterval,
		MaxRecords: c.MaxRecords, MaxAttempts: c.MaxAttempts, MaxBytes: c.MaxBytes, FetchMaxBytes: c.FetchMaxBytes,
	}, transaction.Deps{
		Topics: w.cfg.Topics.Intake(), Log: work.Logger, Metrics: metrics.NewConsumer(reg), Transactions: metrics.NewTransaction(reg),
		Client: publish.Opts, Produce: cfg.ClientOpts,
		Publisher: func(cl *kgo.Client) transaction.Publisher { return producer.NewTransactional(cfg, publish, cl) },
	})
	if err != nil {
		return delivery{}, err
	}
	work.Publisher = in
	pool := worker.New(w.cfg.Worker, work)
	in.Pool = pool
	return delivery{intake: in, pool: pool}, nil
}

// nameTransactions chooses the transactional id when none is configured: one
// that is the same after a restart where the process's name is, and else one
// that no other process has.
func (p *program) nameTransactions(cfg *workerConfig) {
	t := &cfg.Transaction
	if t.ID != "" {
		return
	}
	host := p.hostname()
	if regexp.MustCompile(`.-[0-9]+$`).MatchString(p.env["HOSTNAME"]) { // a pod of a StatefulSet: one at a time has the name
		t.ID = cfg.Consumer.Group + "-" + host
		return
	}
	t.ID, t.Own = cfg.Consumer.Group+"-"+host+"-"+strings.ToLower(rand.Text()[:12]), true
}

// producerConfig lets the gateways' replies through, whatever their topic is
// called.
func (w *runningWorker) producerConfig() producer.Config {
	cfg := w.cfg.Producer
	for _, topic := range []string{w.cfg.Topics.Replies, w.cfg.Topics.Predictions()} {
		if topic != "" && !slices.Contains(cfg.ReplyTopics, topic) {
			cfg.ReplyTopics = append(slices.Clone(cfg.ReplyTopics), topic)
		}
	}
	return cfg
}

// errorBody is an error in the dialect of a request that was never read.
func errorBody(err *model.Error) (contentType string, value []byte) {
	var unread model.Request
	return unread.ContentType(), unread.EncodeError(nil, err)
}
