package worker

import (
	"context"
	"errors"
	"fmt"
	"runtime/debug"
	"time"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// codec is what an executor asks of a snapshot's [model.Codec] and of a
// decoded request, which knows its dialect.
type codec interface {
	// Form is the content type of what was encoded last, and how many bytes of it are
	// JSON where tensors follow.
	Form(req *model.Request) (contentType string, head int)
	EncodeError(dst []byte, req *model.Request, err *model.Error) []byte
	// Decode reads a record's body. headerLength is its header of that name, "" for none.
	Decode(req *model.Request, contentType, headerLength string, body []byte) error
	Encode(dst []byte, req *model.Request, outputs []model.Tensor, name, version string) ([]byte, error)
}

type dialects struct{ *model.Codec }

func (dialects) Form(req *model.Request) (contentType string, head int) {
	return req.ContentType(), req.HeaderLength()
}

func (d dialects) Decode(req *model.Request, contentType, headerLength string, body []byte) error {
	if headerLength != "" {
		return d.DecodeBinary(req, contentType, headerLength, body)
	}
	return d.Codec.Decode(req, contentType, body)
}

func (dialects) EncodeError(dst []byte, req *model.Request, err *model.Error) []byte {
	return req.EncodeError(dst, err)
}

// snapshotCodec speaks errors alone when there is no snapshot.
func snapshotCodec(s *model.Snapshot) codec {
	if s == nil {
		return dialects{}
	}
	return dialects{s.Codec}
}

// task is one record of a batch with its decoded request.
type task struct {
	*item
	req *model.Request
}

// executor runs batch after batch; all of it belongs to one goroutine.
type executor struct {
	*Pool
	batch  []*item
	tasks  []task
	reqs   []*model.Request // reused, one a record of a batch
	joined []*model.Request
	join   model.Batch
	values []byte        // the batch's values; handed on, so never reused
	answer []wire.Answer // likewise
	series *series
	// When the answers at hand came to be: once a call, for a look at the
	// clock costs as much as the smallest model's row.
	answered time.Time
	took     time.Duration   // of the last call of the model
	snap     *model.Snapshot // nil when none was reached
	size     int             // of the last batch's values: a good guess for the next
}

func newExecutor(p *Pool) *executor { return &executor{Pool: p} }

func (e *executor) run(ctx context.Context) {
	for {
		clear(e.batch)
		if e.batch = e.take(e.batch[:0]); e.batch == nil {
			return
		}
		e.execute(ctx)
	}
}

// execute gives every record of the batch its verdict, on one snapshot. Those
// whose model is being loaded go back into the queue.
func (e *executor) execute(ctx context.Context) {
	start := time.Now()
	snap, err := e.deps.Source.Acquire(e.batch[0].model)
	if err != nil {
		snap = nil
		if e.batch = e.hold(ctx, e.batch, err, start); len(e.batch) == 0 {
			return
		}
	}
	e.snap = snap
	e.waited(start)
	e.follow(e.batch, start)
	e.values, e.answer = make([]byte, 0, e.size), make([]wire.Answer, 0, len(e.batch))
	name, version := "", ""
	if snap != nil {
		name, version = snap.Name, snap.Version
		defer e.release(snap)
	}
	e.series = newSeries(e.deps.Metrics, name, version)
	if e.deps.Router != nil {
		e.deps.Router.Ran(e.batch[0].model, len(e.batch))
	}
	e.decode(ctx, err)
	e.deps.Metrics.Phase.WithLabelValues(metrics.PhaseDecode).Observe(time.Since(start).Seconds())
	e.followDecode(start)
	e.calls(ctx)
	e.size = len(e.values)
}

// waited observes how long the records of a batch that begins now have waited.
func (e *executor) waited(start time.Time) {
	wait := e.deps.Metrics.Phase.WithLabelValues(metrics.PhaseWait)
	for _, it := range e.batch {
		wait.Observe(start.Sub(it.queued).Seconds())
		e.deps.Metrics.QueueLatency.Observe(max(start.Sub(it.rec.Timestamp).Seconds(), 0))
		if it.held != 0 {
			e.deps.Metrics.Phase.WithLabelValues(metrics.PhaseLoad).Observe(start.Sub(time.Unix(0, it.held)).Seconds())
		}
	}
}

func (e *executor) release(s *model.Snapshot) {
	if err := s.Release(); err != nil {
		e.deps.Logger.Warn("model did not close", "model", s.Name, "version", s.Version, "err", err)
	}
}

// decode fills e.tasks with what can run and resolves the rest. failed says
// why no model was reached.
func (e *executor) decode(ctx context.Context, failed error) {
	clear(e.tasks)
	e.tasks = e.tasks[:0]
	e.answered = time.Now()
	for i, it := range e.batch {
		if i == len(e.reqs) {
			e.reqs = append(e.reqs, new(model.Request))
		}
		t := task{it, e.reqs[i]}
		if it.seq.lease.Err() != nil {
			e.finish(ctx, it, context.Cause(it.seq.lease)) //nolint:contextcheck // The cause is the lease's own.
			continue
		}
		err := e.admit(it)
		if err == nil && failed != nil {
			err = failed
		}
		kind, head := form(it)
		if err == nil {
			err = e.guard(func() error { return e.codec(e.snap).Decode(t.req, kind, head, it.rec.Value) })
		} else {
			t.req.Undecoded(kind, head) // it holds an earlier record
		}
		if err != nil || ctx.Err() != nil {
			e.refuse(ctx, t, err)
			continue
		}
		e.tasks = append(e.tasks, t)
	}
}

// form is what a record says of its body, beside it.
func form(it *item) (contentType, headerLength string) {
	kind, _ := wire.Header(it.rec, wire.ContentType)
	head, _ := wire.Header(it.rec, wire.HeaderLength)
	return string(kind), string(head)
}

// admit checks what needs no model.
func (e *executor) admit(it *item) error {
	if d := wire.DeliveryOf(it.rec); d.Code != "" { // the intake's verdict
		return &model.Error{Code: model.Code(d.Code), Message: d.Message}
	}
	switch {
	case it.rec.Value == nil:
		return model.Errorf(model.InvalidInput, "the record has no value")
	case len(it.rec.Value) > e.cfg.MaxRequestBytes:
		return model.Errorf(model.TooLarge, "the request has %d bytes, more than %d", len(it.rec.Value), e.cfg.MaxRequestBytes)
	}
	if err := expired(it); err != nil {
		return err
	}
	if e.deps.Cancellations != nil && e.deps.Cancellations.Cancelled(it.rec) {
		e.deps.Metrics.Cancelled.Inc()
		return model.Errorf(model.DeadlineExceeded, "the caller went away")
	}
	return nil
}

// calls cuts the tasks into calls of at most MAX_BATCH rows.
func (e *executor) calls(ctx context.Context) {
	for tasks := e.tasks; len(tasks) > 0; {
		n, rows := 1, tasks[0].req.Rows
		if e.snap.Model.Info().Batches {
			for n < len(tasks) && rows+tasks[n].req.Rows <= e.cfg.MaxBatch {
				rows += tasks[n].req.Rows
				n++
			}
		}
		e.predict(ctx, tasks[:n], e.cfg.PredictTimeout)
		tasks = tasks[n:]
	}
}

func transient(err error) bool {
	e := (*model.Error)(nil)
	return errors.As(err, &e) && e.Code == model.Unavailable
}

// retry tries again what may pass, a bounded number of times.
func (e *executor) retry(ctx context.Context, f func() error) error {
	pause := e.cfg.PredictBackoff
	for try := 1; ; try++ {
		err := f()
		if err == nil || !transient(err) || try >= e.cfg.PredictAttempts {
			return err
		}
		e.deps.Metrics.Retries.Inc()
		timer := time.NewTimer(pause)
		select {
		case <-ctx.Done():
			timer.Stop()
			return err
		case <-timer.C:
		}
		pause *= 2
	}
}

// guard turns a panic into the answer of the record that it is about.
func (e *executor) guard(f func() error) (err error) {
	defer func() {
		if r := recover(); r != nil {
			err = &model.Error{Code: model.Internal, Message: "internal error", Err: fmt.Errorf("panic: %v\n%s", r, debug.Stack())}
		}
	}()
	return f()
}
