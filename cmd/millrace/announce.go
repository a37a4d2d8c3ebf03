package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"slices"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/announce"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model/follow"
	"github.com/millrace/millrace/model/mlflow"
)

// newBoard makes what lets the workers of a pool ask the registry as one.
func (w *runningWorker) newBoard(log *slog.Logger, reg *prometheus.Registry, models *metrics.Models, opts []kgo.Opt) (*announce.Board, error) {
	host, err := os.Hostname()
	if err != nil {
		host = "unknown"
	}
	topic := w.cfg.Topics.Announcements()
	if w.cfg.Source.MLflow.TrackingURI == "" {
		topic = "" // folders are asked by everybody
	}
	return announce.New(w.cfg.Announce, announce.Deps{
		Topic: topic, Group: w.cfg.Consumer.Group, Scope: w.source.client.Scope(), Poll: w.cfg.Follow.Poll,
		Self: fmt.Sprintf("%s/%d", host, os.Getpid()), Log: log, Metrics: metrics.NewAnnounce(reg), Opts: opts,
		Missing:  func(err error) bool { return errors.Is(err, mlflow.ErrNotFound) },
		Identity: func(found json.RawMessage) string { return decodeFound(found).Identity },
		Resolve: func(ctx context.Context, reference string) (json.RawMessage, error) {
			ref, err := mlflow.ParseRef(reference)
			if err != nil {
				return nil, err
			}
			if ref.Kind == mlflow.KindFolder { // another's folders are no business of this worker
				return nil, fmt.Errorf("%w: %s is a folder", mlflow.ErrBadReference, reference)
			}
			r, err := w.source.client.Resolve(ctx, ref)
			name := r.Name
			if err != nil && slices.ContainsFunc(w.cfg.Pool.Models, func(m modelRef) bool { return m.text == reference }) {
				name = ref.Name // others' may be anybody's, and no label
			}
			polled(models, name, err)
			if err != nil {
				return nil, err
			}
			return json.Marshal(foundOf(r))
		},
	})
}

// found is what is announced of a reference. Its form is read by other versions
// of this program.
type found struct {
	Name        string `json:"name"`
	Version     string `json:"version"`
	Identity    string `json:"identity"`
	ArtifactURI string `json:"artifact_uri"`
	Source      string `json:"source"`
	Status      string `json:"status"`
	RunID       string `json:"run_id,omitempty"`
	ModelID     string `json:"model_id,omitempty"`
}

func foundOf(r mlflow.Resolved) found {
	return found{r.Name, r.Version, r.Identity, r.ArtifactURI, r.Source, r.Status, r.RunID, r.ModelID}
}

func decodeFound(text json.RawMessage) (f found) {
	_ = json.Unmarshal(text, &f) // what is no such answer names nothing
	return f
}

func (f found) resolved(ref mlflow.Ref) follow.Resolved {
	return follow.Resolved{Name: f.Name, Version: f.Version, Identity: f.Identity, Value: mlflow.Resolved{
		Ref: ref, Name: f.Name, Version: f.Version, Identity: f.Identity, ArtifactURI: f.ArtifactURI, Source: f.Source, Status: f.Status,
		RunID: f.RunID, ModelID: f.ModelID,
	}}
}

// announced has a target of the registry go by what the pool announces, and ask
// by itself where nothing is.
func (w *runningWorker) announced(t follow.Target) follow.Target {
	ref, err := mlflow.ParseRef(t.Reference)
	if err != nil || ref.Kind == mlflow.KindFolder || t.Reference == bundledRef {
		return t
	}
	a := &announcedTarget{board: w.board, ref: ref, text: t.Reference, direct: t.Resolve}
	t.Wake = w.board.Follow(t.Reference)
	t.Resolve, t.Withdraw = a.resolve, a.withdraw
	return t
}

type announcedTarget struct {
	board  *announce.Board
	ref    mlflow.Ref
	text   string
	direct func(context.Context) (follow.Resolved, error)
	had    atomic.Bool // something was resolved
}

func (a *announcedTarget) resolve(ctx context.Context) (follow.Resolved, error) {
	r, err := a.ask(ctx)
	if err != nil {
		return r, err
	}
	a.had.Store(true)
	w, gone := a.board.Withdrawn(a.text, r.Identity)
	if !gone {
		return r, nil
	}
	instead := decodeFound(w.Instead)
	if instead.Identity == "" {
		return r, nil // who withdrew it was of another make
	}
	back := instead.resolved(a.ref)
	back.Announced, back.At = r.Announced, r.At
	back.Withdrawn = &follow.LeftAlone{
		Version: w.Version, Identity: w.Identity, Reason: w.Reason, Detail: w.Detail, By: w.By, At: w.At, Until: w.Until,
	}
	return back, nil
}

func (a *announcedTarget) ask(ctx context.Context) (follow.Resolved, error) {
	said, ok := a.board.Ask(ctx, a.text)
	f := decodeFound(said.Answer)
	switch {
	case !ok, f.Identity == "" && said.Failed == nil:
		return a.direct(ctx)
	case said.Missing:
		return follow.Resolved{Name: a.ref.Name, Announced: true, At: said.At}, fmt.Errorf("announced: %w: %w", mlflow.ErrNotFound, said.Failed)
	case said.Failed != nil && f.Identity == "" && !a.had.Load():
		return a.direct(ctx) // it may know what served last
	case said.Failed != nil && a.had.Load():
		return follow.Resolved{Name: a.ref.Name, Announced: true, At: said.At}, fmt.Errorf("announced: %w", said.Failed)
	}
	r := f.resolved(a.ref) // the last good one, for who has none
	r.Announced, r.At, r.Stale = true, said.At, said.Failed
	return r, nil
}

func (a *announcedTarget) withdraw(ctx context.Context, bad follow.LeftAlone, instead follow.Resolved) {
	r, ok := instead.Value.(mlflow.Resolved)
	if !ok {
		return
	}
	text, err := json.Marshal(foundOf(r))
	if err != nil {
		return
	}
	a.board.Withdraw(ctx, a.text, announce.Withdrawal{
		Identity: bad.Identity, Version: bad.Version, Reason: bad.Reason, Detail: bad.Detail, At: bad.At, Until: bad.Until, Instead: text,
	})
}
