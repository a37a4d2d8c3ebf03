package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/spf13/cobra"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/remote"
	"github.com/millrace/millrace/worker"
)

// predictConfig is what a worker's answer depends on.
type predictConfig struct {
	Source sourceConfig
	Worker worker.Config `envPrefix:"MILLRACE_"`
}

// predictFlags are the flags of `millrace model predict`.
type predictFlags struct {
	contentType string
	tombstone   bool
}

func (p *program) predictCommand() *cobra.Command {
	var f predictFlags
	cmd := &cobra.Command{
		Use:   "predict URI < BODY",
		Short: "Answer one request as a worker would",
		Long: `Read one request's body from standard input and write the answer's value to
standard output: exactly the bytes that a worker with this environment would
publish, without a line end added. It runs the worker's own path, with its limits
(MILLRACE_MAX_REQUEST_BYTES, MILLRACE_MAX_ROWS, …) and dialects.

It exits with 0 when the answer is a prediction. It exits with 1 when the answer
is an error, whose body then is on standard output, or when the model could not
be loaded, which standard error tells.`,
		Example: `  echo '{"inputs": [[1, 2, 3, 4]]}' | millrace model predict models:/fraud@champion
  millrace model predict ./my-model < request.json
  millrace model predict bundled --content-type text/csv < rows.csv`,
		Args: oneArg(uriArg),
		RunE: func(cmd *cobra.Command, args []string) error { return p.runPredict(cmd.Context(), args[0], f) },
	}
	cmd.Flags().StringVar(&f.contentType, "content-type", "", "the record's header content-type; absent when empty, which is application/json")
	cmd.Flags().BoolVar(&f.tombstone, "tombstone", false, "a record without a value, instead of standard input")
	return cmd
}

func (p *program) runPredict(ctx context.Context, text string, f predictFlags) error {
	cfg := predictConfig{Source: p.sourceDefaults()}
	if err := p.parse(&cfg); err != nil {
		return err
	}
	rec := &kgo.Record{Topic: "millrace-model-predict", Timestamp: time.Now()}
	if f.contentType != "" {
		rec.Headers = []kgo.RecordHeader{{Key: wire.ContentType, Value: []byte(f.contentType)}}
	}
	if !f.tombstone {
		var err error
		if rec.Value, err = io.ReadAll(p.in); err != nil {
			return fmt.Errorf("read the request from standard input: %w", err)
		}
	}
	snap, err := p.open(ctx, cfg.Source, text)
	if err != nil {
		return err
	}
	answer, err := answerOne(ctx, cfg.Worker, snap, rec, p.toolLogger())
	err = errors.Join(err, snap.Release())
	if err != nil {
		return err
	}
	if _, err := p.out.Write(answer.Value); err != nil {
		return fmt.Errorf("write the answer: %w", err)
	}
	if !answer.OK() {
		return exitError(exitFailed)
	}
	return nil
}

// open loads what a reference names, for calls of one row.
func (p *program) open(ctx context.Context, cfg sourceConfig, text string) (*model.Snapshot, error) {
	if remote.IsRef(text) {
		src, c, r, err := p.resolveRemote(ctx, cfg, text)
		if err != nil {
			return nil, err
		}
		return src.openRemote(ctx, c, r, 1)
	}
	src, r, err := p.resolve(ctx, cfg, text)
	if err != nil {
		return nil, err
	}
	snap, err := src.open(ctx, r, 1)
	return snap, advise(err)
}

// answerOne runs a worker's pool for one record.
func answerOne(ctx context.Context, cfg worker.Config, snap *model.Snapshot, rec *kgo.Record, log *slog.Logger) (*wire.Answer, error) {
	cfg.Executors = 1
	box := new(letterbox)
	pool := worker.New(cfg, worker.Deps{
		Logger: log, Metrics: metrics.NewWorker(prometheus.NewRegistry()), Source: only{snap}, Publisher: box,
	})
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	var running sync.WaitGroup
	running.Go(func() { _ = pool.Run(ctx) }) // it returns nil, when ctx ends
	done := make(chan error, 1)
	pool.Submit(ctx, []*kgo.Record{rec}, func(_ *kgo.Record, err error) { done <- err })
	err := <-done
	stop()
	running.Wait()
	if err != nil {
		return nil, fmt.Errorf("no answer: %w", err)
	}
	return box.answer, nil
}

// only is a source of one model.
type only struct{ snap *model.Snapshot }

func (o only) Acquire(string) (*model.Snapshot, error) {
	if !o.snap.Acquire() {
		return nil, errors.New("the model is closed")
	}
	return o.snap, nil
}

// letterbox is a publisher that keeps the answer. The pool publishes before it
// resolves the record, on one goroutine.
type letterbox struct{ answer *wire.Answer }

func (b *letterbox) Publish(_ context.Context, a *wire.Answer, acked func(status string, err error)) {
	b.answer = a
	acked(a.Status, nil)
}
