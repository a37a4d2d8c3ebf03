package worker

import (
	"context"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// reply answers with a prediction. It returns what made it an error instead.
func (e *executor) reply(ctx context.Context, t task, outputs []model.Tensor) error {
	if err := expired(t.item); err != nil {
		e.refuse(ctx, t, err)
		return err
	}
	from := len(e.values)
	err := e.guard(func() (err error) {
		values, err := e.codec(e.snap).Encode(e.values, t.req, outputs, e.snap.Name, e.snap.Version)
		if err == nil {
			e.values = values
		}
		return err
	})
	if err != nil {
		e.refuse(ctx, t, err)
		return err
	}
	if e.deps.Witness != nil && e.deps.Witness.Wants(t.rec, e.snap) {
		t.outputs = outputs
	}
	kind, head := e.codec(e.snap).Form(t.req)
	e.send(ctx, t, wire.Answer{
		Status: string(model.OK), ContentType: kind, HeaderLength: head, Value: e.values[from:len(e.values):len(e.values)],
	})
	return nil
}

// refuse answers with an error.
func (e *executor) refuse(ctx context.Context, t task, err error) {
	if ctx.Err() != nil { // a shutdown is nobody's error
		e.finish(ctx, t.item, context.Cause(ctx))
		return
	}
	verdict := model.AsError(err)
	e.complain(t, verdict)
	if e.instead(ctx, t, verdict) {
		return
	}
	from := len(e.values)
	e.values = e.codec(e.snap).EncodeError(e.values, t.req, verdict)
	kind, _ := e.codec(e.snap).Form(t.req)
	e.send(ctx, t, wire.Answer{
		Status: string(verdict.Code), ContentType: kind, Message: verdict.Error(),
		Value: e.values[from:len(e.values):len(e.values)],
	})
}

func (e *executor) send(ctx context.Context, t task, a wire.Answer) {
	if ctx.Err() != nil {
		e.finish(ctx, t.item, context.Cause(ctx))
		return
	}
	a.Request, a.Final = t.rec, e.snap == nil
	if e.snap != nil {
		a.ModelName, a.ModelVersion = e.snap.Name, e.snap.Version
	}
	a.TraceParent = t.trace.Parent()
	e.answer = append(e.answer, a) // capacity is the batch's: pointers stay
	t.answer, t.answered, t.series = &e.answer[len(e.answer)-1], e.answered, e.series
	e.finish(ctx, t.item, nil)
}
