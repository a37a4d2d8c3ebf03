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
	for _, m := range w.cfg.Pool.Models {
		t, err := w.source.target(m, w.cfg.Worker.MaxBatch, all.fail)
		if err != nil {
			return nil, err
		}
		targets = append(targets, w.remember(w.announced(t)))
	}
	if err := w.checkNames(targets); err != nil {
		return nil, err
	}
	observer := modelObserver(m)
	counted := observer
	observer.Swapped = func(name string, now, before *model.Snapshot) {
		counted.Swapped(name, now, before)
		w.cards.Swapped(name, now, before)
		answers.Announce(now.Name, now.Version, string(model.OK), failures()...)
		w.refresh()
	}
	observer.Unloaded = func(name string, s *model.Snapshot, why follow.Unload) {
		counted.Unloaded(name, s, why)
		w.cards.Unloaded(name, s, why == follow.UnloadUnused)
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
