package main

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
	"github.com/millrace/millrace/shadow"
	"github.com/millrace/millrace/split"
	"github.com/millrace/millrace/worker"
)

// beside are the versions that run beside the models' own.
type beside struct {
	candidates []*candidate // the arms of the split in their order, then the shadow's
	split      *split.Split
	shadow     *shadow.Runner // nil for none
	pool       *worker.Pool   // that runs the shadow
}

// newBeside makes what MILLRACE_SPLIT and MILLRACE_SHADOW ask for. idle returns
// when the workers have nothing to do.
func (w *runningWorker) newBeside(all *parts, log *slog.Logger, reg *prometheus.Registry, m *metrics.Models, answers *metrics.Worker, client []kgo.Opt, idle func(context.Context) error) error {
	deps := split.Deps{Log: log, Metrics: metrics.NewSplit(reg), Models: w.follower}
	candidate := func(ref shareRef, announce bool) (*candidate, error) {
		c, err := w.newCandidate(ref, log, all.fail, candidateObserver(m, w.refresh, announce, answers), w.refresh)
		if err == nil {
			w.beside.candidates = append(w.beside.candidates, c)
		}
		return c, err
	}
	for _, ref := range w.cfg.Shares.Split {
		c, err := candidate(ref, true)
		if err != nil {
			return err
		}
		_, names := w.cfg.Pool.own(ref)
		deps.Arms = append(deps.Arms, split.Arm{Reference: ref.reference(), Weight: ref.weight, Model: names[0], Names: names, Source: c})
	}
	counted := metrics.NewShadow(reg)
	if ref := w.cfg.Shares.Shadow; ref.text != "" {
		c, err := candidate(ref, false)
		if err != nil {
			return err
		}
		deps.Extra = append(deps.Extra, c)
		w.newShadow(c, log.With("shadow", ref.reference()), counted, client, idle)
	}
	var err error
	if w.beside.split, err = split.New(w.cfg.Split, deps); err != nil {
		return usageError(err)
	}
	return nil
}

// newShadow makes the runner, and the pool of one executor that it runs on.
func (w *runningWorker) newShadow(c *candidate, log *slog.Logger, m *metrics.Shadow, client []kgo.Opt, idle func(context.Context) error) {
	r := shadow.New(w.cfg.Shadow, shadow.Deps{
		Log: log, Metrics: m, Reference: c.ref.reference(), Source: c, Batch: w.cfg.Worker.MaxBatch, Topic: w.cfg.Topics.Shadows(),
		Opts: slices.Concat(client, w.cfg.Producer.ClientOpts()), Idle: idle,
		In:  func(r *kgo.Record) bool { return c.ref.weight.In(c.ref.reference(), r) },
		For: w.answersFor(c.ref),
	})
	cfg := w.cfg.Worker
	cfg.Executors, cfg.BatchDelay, cfg.Ordered = 1, 0, false
	w.beside.pool = worker.New(cfg, worker.Deps{
		Logger: log, Metrics: metrics.NewWorker(prometheus.NewRegistry()), // the series are those of what is answered
		Source: r.Judge(), Publisher: r.Judge(), Witness: r.Judge(),
	})
	r.Pool = w.beside.pool
	w.beside.shadow = r
}

// answersFor says which answers are of the model that a reference is beside:
// its own, and those of the versions that it shares its requests with.
func (w *runningWorker) answersFor(ref shareRef) func(*model.Snapshot) bool {
	if len(w.cfg.Pool.Models) == 1 {
		return func(*model.Snapshot) bool { return true }
	}
	index, names := w.cfg.Pool.own(ref)
	for _, arm := range w.cfg.Shares.Split {
		if i, _ := w.cfg.Pool.own(arm); i == index {
			names = append(names, arm.registered())
		}
	}
	return func(s *model.Snapshot) bool { return s.Name != "" && slices.Contains(names, s.Name) }
}

// refresh lets the split and the shadow look at what is loaded.
func (w *runningWorker) refresh() {
	w.beside.split.Refresh()
	if w.beside.shadow != nil {
		w.beside.shadow.Refresh()
	}
}

// divide makes a pool's requests run on the versions that they are assigned to,
// and its answers be seen by the shadow.
func (w *runningWorker) divide(d *worker.Deps) {
	if len(w.beside.candidates) == 0 {
		return
	}
	d.Source = w.beside.split
	if len(w.cfg.Shares.Split) > 0 {
		d.Router = w.beside.split
	}
	if w.beside.shadow != nil {
		d.Witness = w.beside.shadow
	}
}

// startBeside starts what runs beside. It is stopped after the pool and the
// producer, so that the shadow has seen every answer, and before the models.
func (w *runningWorker) startBeside(ctx context.Context, all *parts) {
	if len(w.beside.candidates) > 0 {
		all.start(ctx, "versions beside", endLimit, w.followBeside)
	}
	if w.beside.shadow != nil {
		all.start(ctx, "shadow pool", endLimit, w.beside.pool.Run)
		all.start(ctx, "shadow", w.cfg.Shadow.DrainTimeout+endLimit, w.beside.shadow.Run)
	}
}

// followBeside waits for the models themselves: nothing waits for the others.
func (w *runningWorker) followBeside(ctx context.Context) error {
	select {
	case <-w.follower.Settled():
	case <-ctx.Done():
		return nil
	}
	var running sync.WaitGroup
	errs := make([]error, len(w.beside.candidates))
	for i, c := range w.beside.candidates {
		running.Go(func() { errs[i] = c.follower.Run(ctx) })
	}
	running.Wait()
	return errors.Join(errs...)
}

// remember keeps what the references of the models name, for what runs beside.
func (w *runningWorker) remember(t follow.Target) follow.Target {
	last := new(atomic.Pointer[follow.Resolved])
	w.names = append(w.names, last)
	return w.versions.follow(t, last)
}

// candidateObserver counts what the following of a version beside does. The
// series of what serves are the models' own.
func candidateObserver(m *metrics.Models, changed func(), announce bool, answers *metrics.Worker) follow.Observer {
	o := modelObserver(m)
	return follow.Observer{
		Polled: func(name string, err error) {
			m.Polls.WithLabelValues(name, resultOf(err)).Inc()
		},
		Loaded: func(name string, took time.Duration, err error) {
			o.Loaded(name, took, err)
			if err != nil {
				changed() // why it does not serve
			}
		},
		Swapped: func(_ string, now, _ *model.Snapshot) {
			if announce {
				answers.Announce(now.Name, now.Version, string(model.OK), failures()...)
			}
			changed()
		},
		Stepped: o.Stepped, RolledBack: o.RolledBack,
	}
}

// besideStatus is what GET /models shows of a version that runs beside.
type besideStatus struct {
	follow.Status
	Split  *split.Status  `json:"split,omitempty"`
	Shadow *shadow.Status `json:"shadow,omitempty"`
}

// status lists the models, and behind them what runs beside.
func (w *runningWorker) status() []besideStatus {
	var list []besideStatus
	for _, s := range w.follower.Status() {
		list = append(list, besideStatus{Status: s})
	}
	var arms []split.Status
	if w.beside.split != nil {
		arms = w.beside.split.Status()
	}
	for i, c := range w.beside.candidates {
		one := besideStatus{Status: c.follower.Status()[0]}
		if i < len(arms) {
			one.Split = &arms[i]
		} else {
			s := w.beside.shadow.Status()
			one.Shadow = &s
		}
		list = append(list, one)
	}
	return list
}

// needed are the topics that a worker creates when it may; the shadow's is not
// waited for.
func (c workerConfig) needed() kafka.Topics {
	t := c.Topics
	if c.Shares.Shadow.text == "" {
		t.Shadow = kafka.NoTopic
	}
	return t
}
