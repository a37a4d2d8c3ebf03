package main

import (
	"errors"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/producer"
	"github.com/millrace/millrace/sharegroup"
	"github.com/millrace/millrace/worker"
)

// queue takes requests from a share group. There is no order to keep: an answer
// is published when it is there.
func (w *runningWorker) queue(publish producer.Deps, work worker.Deps, reg *prometheus.Registry) (delivery, error) {
	answers, err := producer.New(w.producerConfig(), publish)
	if err != nil {
		return delivery{}, err
	}
	c, cfg := w.cfg.Consumer, w.cfg.Worker
	in, err := sharegroup.New(w.cfg.Queue, sharegroup.Member{
		Group: c.Group, OffsetReset: c.OffsetReset, SessionTimeout: c.SessionTimeout, FetchMaxBytes: c.FetchMaxBytes,
		DrainTimeout: c.DrainTimeout, WatchdogTimeout: c.WatchdogTimeout, LagInterval: c.LagInterval,
	}, sharegroup.Deps{
		Topics: w.cfg.Topics.Intake(), Log: work.Logger, Metrics: metrics.NewConsumer(reg), Series: metrics.NewQueue(reg),
		Client: publish.Opts,
	})
	if err != nil {
		return delivery{}, errors.Join(err, answers.Close())
	}
	work.Publisher = in.Publisher(answers)
	cfg.Ordered = false
	pool := worker.New(cfg, work)
	in.Pool = pool
	return delivery{in, pool, answers.Close}, nil
}
