package main

import (
	"errors"
	"log/slog"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/follow"
	"github.com/millrace/millrace/model/mlflow"
)

// newFollower makes what keeps the models loaded.
func (w *runningWorker) newFollower(all *parts, log *slog.Logger, m *metrics.Models, answers *metrics.Worker) (*follow.Follower, error) {
	var targets []follow.Target
	var given givenNames
	for _, m := range w.cfg.Pool.Models {
		t, err := w.source.target(m, w.cfg.Worker.MaxBatch, all.fail)
		if err != nil {
			return nil, err
		}
		targets = append(targets, given.watch(w.remember(w.announced(t))))
	}
	if err := w.checkNames(targets); err != nil {
		return nil, err
	}
	observer := modelObserver(m)
	count := observer.Swapped
	observer.Swapped = func(now, before *model.Snapshot) {
		count(now, before)
		w.cards.Swapped(now, before, given.of(now, before))
		answers.Announce(now.Name, now.Version, string(model.OK), failures()...)
		w.refresh()
	}
	return follow.New(w.cfg.Follow, follow.Deps{
		Targets: targets, Log: log, Observer: observer, Compatible: model.Compatible,
		OnDemand: func(name string) (follow.Target, error) {
			return w.source.target(modelRef{text: "models:/" + name, onDemand: true}, w.cfg.Worker.MaxBatch, all.fail)
		},
		Missing: func(err error) bool {
			return errors.Is(err, mlflow.ErrNotFound) || errors.Is(err, mlflow.ErrBadReference)
		},
	})
}

// failures are the codes of answers that are no prediction.
func failures() []string {
	var list []string
	for _, code := range model.Codes()[1:] {
		list = append(list, string(code))
	}
	return list
}
