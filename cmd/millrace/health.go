package main

import (
	"cmp"
	"errors"
	"fmt"
	"net/http"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/millrace/millrace/internal/admin"
	"github.com/millrace/millrace/model/follow"
)

// handler serves what a worker tells of itself, and what the registry tells it.
func (w *runningWorker) handler(reg *prometheus.Registry) http.Handler {
	mux := admin.Mux(admin.Health{Live: w.live, Ready: w.ready, Degraded: w.degraded}, reg)
	mux.HandleFunc("GET /models", func(rw http.ResponseWriter, _ *http.Request) {
		admin.WriteJSON(rw, http.StatusOK, w.status())
	})
	mux.Handle("/models", admin.OnlyMethod("GET, HEAD"))
	if w.cfg.Announce.Secret+w.cfg.Announce.SecretFile != "" {
		mux.Handle("POST /webhooks/mlflow", w.board.Webhook())
		mux.Handle("/webhooks/mlflow", admin.OnlyMethod("POST"))
	}
	return mux
}

func (w *runningWorker) live() error {
	if !w.intake.Healthy() {
		return errors.New("work in flight makes no progress")
	}
	return nil
}

func (w *runningWorker) ready() error {
	if !w.follower.Ready() {
		return errors.New(cmp.Or(append(w.degraded(), "the models are loaded; requests are about to be taken in")...))
	}
	if !w.intake.Ready() {
		return errors.New("kafka: this worker has not joined its group, or the broker does not answer")
	}
	return nil
}

// degraded lists the models that do not serve, with the reasons. When requests
// are taken in all the same, it is those of these that are answered UNAVAILABLE.
func (w *runningWorker) degraded() []string {
	var list []string
	for _, s := range w.follower.Status() {
		why := fmt.Sprintf("model %s is %s", maskURLs(s.Reference), s.State)
		switch {
		case s.State == follow.StateServing || s.State == follow.StateUnloaded || s.OnDemand:
		case s.LastError != "":
			list = append(list, why+": "+s.LastError)
		default:
			list = append(list, why)
		}
	}
	return list
}
