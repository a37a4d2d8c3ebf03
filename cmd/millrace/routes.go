package main

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/millrace/millrace/model/follow"
)

// checkNames refuses routes to models that are certainly not served here, and
// names without a registry to find them in. The name of a folder's model is not
// known before it is opened.
func (w *runningWorker) checkNames(targets []follow.Target) error {
	if len(w.cfg.Follow.OnDemand) > 0 && w.cfg.Source.MLflow.TrackingURI == "" {
		return usageError(errors.New("MLFLOW_TRACKING_URI: it is not set, and MILLRACE_MODEL_ON_DEMAND names models of a registry"))
	}
	var known []string
	for i, t := range targets {
		if t.Model == "" && w.cfg.Pool.Models[i].name == "" {
			return nil
		}
		known = append(known, t.Model, t.Name)
	}
	for _, r := range w.cfg.Topics.Routes {
		name := r.Model
		if i := strings.IndexAny(name, "@/"); i > 0 {
			name = name[:i]
		}
		if slices.Contains(known, name) || slices.ContainsFunc(w.cfg.Follow.OnDemand, func(pattern string) bool {
			ok, _ := path.Match(pattern, name)
			return ok
		}) {
			continue
		}
		return usageError(fmt.Errorf("MILLRACE_ROUTES: %s: MILLRACE_MODEL has no model of that name, and MILLRACE_MODEL_ON_DEMAND allows none", r))
	}
	return nil
}
