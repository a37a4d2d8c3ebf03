package worker

import (
	"context"
	"errors"
	"time"

	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// predict runs one call. When it fails the tasks are split until the one at
// fault stands alone.
func (e *executor) predict(ctx context.Context, tasks []task, limit time.Duration) {
	e.joined = e.joined[:0]
	for _, t := range tasks {
		e.joined = append(e.joined, t.req)
	}
	if !e.join.Join(e.joined) {
		for i := range tasks {
			e.predict(ctx, tasks[i:i+1], e.cfg.PredictTimeout)
		}
		return
	}
	outputs, err := e.call(ctx, tasks, limit)
	e.answered = time.Now()
	var cut [][]model.Tensor
	if err == nil {
		if cut, err = e.join.Cut(outputs); err != nil {
			for i := range tasks {
				e.predict(ctx, tasks[i:i+1], e.cfg.PredictTimeout)
			}
			return
		}
	}
	if err == nil {
		failed := 0
		for i, t := range tasks {
			if faulty(e.reply(ctx, t, cut[i])) {
				failed++
			}
		}
		e.observe(len(tasks)-failed, failed)
		return
	}
	if len(tasks) == 1 || ctx.Err() != nil || transient(err) {
		if ctx.Err() == nil && faulty(err) {
			e.observe(0, len(tasks))
		}
		for _, t := range tasks {
			e.refuse(ctx, t, err)
		}
		return
	}
	e.deps.Metrics.BatchSplits.Inc()
	limit = e.narrowed(limit, err)
	e.predict(ctx, tasks[:len(tasks)/2], limit)
	e.predict(ctx, tasks[len(tasks)/2:], limit)
}

// call runs the joined tasks.
func (e *executor) call(ctx context.Context, tasks []task, limit time.Duration) (outputs []model.Tensor, err error) {
	e.deps.Metrics.BatchRecords.Observe(float64(len(tasks)))
	e.deps.Metrics.BatchRows.Observe(float64(e.join.Rows))
	err = e.retry(ctx, func() error {
		start := time.Now()
		err := e.guard(func() (err error) {
			outputs, err = e.bounded(ctx, e.limitOf(tasks, limit))
			return err
		})
		e.took = time.Since(start)
		e.deps.Metrics.Phase.WithLabelValues(metrics.PhasePredict).Observe(e.took.Seconds())
		e.followCall(tasks, start, err)
		return err
	})
	if known := (*model.Error)(nil); err != nil && !errors.As(err, &known) {
		err = &model.Error{Code: model.Failed, Message: "the model failed", Err: err}
	}
	return outputs, err
}

// errSlow ends a call that takes too long.
var errSlow = errors.New("the call took longer than MILLRACE_PREDICT_TIMEOUT")

// bounded runs a call for as long as it may take. A runtime that does not heed
// the end of its context is the watchdog's.
func (e *executor) bounded(ctx context.Context, limit time.Duration) ([]model.Tensor, error) {
	if limit == 0 {
		return e.snap.Model.Predict(ctx, e.join.Inputs)
	}
	bound, cancel := context.WithTimeoutCause(ctx, limit, errSlow)
	defer cancel()
	outputs, err := e.snap.Model.Predict(bound, e.join.Inputs)
	if err == nil || ctx.Err() != nil || !errors.Is(context.Cause(bound), errSlow) {
		return outputs, err
	}
	e.deps.Metrics.PredictTimeouts.Inc()
	if known := (*model.Error)(nil); errors.As(err, &known) {
		return nil, err
	}
	return nil, &model.Error{Code: model.Failed, Message: "the model took longer than it may", Err: errSlow}
}

// A call that took too long is halved to find the request that hangs. Its
// halves get half of the time, down to a quarter of what is configured: they
// only tell where to look, and all of them have to be over before the watchdog
// takes the worker for stuck. What a request is judged by is a call of its own,
// which has the whole time.
const leastShare = 4

func (e *executor) narrowed(limit time.Duration, err error) time.Duration {
	if !errors.Is(err, errSlow) {
		return limit
	}
	return max(limit/2, e.cfg.PredictTimeout/leastShare)
}

func (e *executor) limitOf(tasks []task, limit time.Duration) time.Duration {
	if len(tasks) == 1 {
		return e.cfg.PredictTimeout
	}
	return limit
}
