package remote

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/millrace/millrace/model"
)

// Open makes a model of what was resolved, after asking the endpoint whether it
// is ready. It fails on a model that this package cannot serve: one whose
// metadata names no inputs or outputs, or a type that no tensor has.
func (c *Client) Open(ctx context.Context, r Resolved) (model.Model, error) {
	if c.ref.Protocol == Scoring {
		return c.openScoring(ctx)
	}
	if err := c.ready(ctx, r.path); err != nil {
		return nil, err
	}
	m, err := c.metadata(ctx, r.path)
	if err != nil {
		return nil, err
	}
	info, err := m.info()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", r.Source, err)
	}
	binary, err := c.binary(ctx)
	if err != nil {
		return nil, err
	}
	v := &v2Model{life: newLife(), client: c, info: info, binary: binary, path: r.path, pin: r.pin}
	v.url = c.ref.url(append(slices.Clip(r.path), "infer")...)
	return v, nil
}

// life is that of a model: calls end when it does.
type life struct {
	done chan struct{}
	once sync.Once
}

func newLife() life { return life{done: make(chan struct{})} }

// within is ctx for one call, which the end of the model ends.
func (l *life) within(ctx context.Context) (context.Context, context.CancelFunc) {
	ctx, cancel := context.WithCancelCause(ctx)
	var watch sync.WaitGroup
	watch.Go(func() {
		select {
		case <-l.done:
			cancel(ErrClosed)
		case <-ctx.Done():
		}
	})
	return ctx, func() {
		cancel(context.Canceled)
		watch.Wait()
	}
}

func (l *life) check(ctx context.Context) error {
	if ctx.Err() != nil {
		return fmt.Errorf("predict: %w", context.Cause(ctx))
	}
	select {
	case <-l.done:
		return ErrClosed
	default:
		return nil
	}
}

func (l *life) end() { l.once.Do(func() { close(l.done) }) }

// v2Model is a version of a model behind a V2 endpoint.
type v2Model struct {
	life

	client *Client
	info   model.Info
	binary bool // the endpoint takes tensors as bytes
	path   []string
	pin    string
	url    string

	rows atomic.Int64 // of the largest call, 0 for no bound
}

// Info implements [model.Model].
func (m *v2Model) Info() model.Info { return m.info }

// LimitRows bounds the rows of one call from now on: larger ones are cut, and
// run at the same time. It is for models whose rows do not depend on each
// other.
func (m *v2Model) LimitRows(n int) { m.rows.Store(int64(n)) }

// Close ends the calls that run and the idle connections.
func (m *v2Model) Close() error {
	m.end()
	m.client.Close()
	return nil
}

// Predict runs one call. An answer other than the metadata declares is the
// model's failure.
func (m *v2Model) Predict(ctx context.Context, inputs []model.Tensor) ([]model.Tensor, error) {
	if err := model.CheckInputs(m.info.Inputs, inputs); err != nil {
		return nil, err
	}
	if err := m.check(ctx); err != nil {
		return nil, err
	}
	ctx, cancel := m.within(ctx)
	defer cancel()
	most := int(m.rows.Load())
	if most == 0 || len(inputs[0].Shape) == 0 || int(inputs[0].Shape[0]) <= most {
		return m.call(ctx, inputs)
	}
	return m.cut(ctx, inputs, int(inputs[0].Shape[0]), most)
}

// cut runs a call of too many rows as several.
func (m *v2Model) cut(ctx context.Context, inputs []model.Tensor, rows, most int) ([]model.Tensor, error) {
	parts := make([][]model.Tensor, (rows+most-1)/most)
	err := parallel(ctx, len(parts), m.client.cfg.Concurrency, func(ctx context.Context, i int) error {
		n := min(most, rows-i*most)
		outputs, err := m.call(ctx, slice(inputs, i*most, n, rows))
		if err != nil {
			return err
		}
		for k := range outputs {
			if s := outputs[k].Shape; len(s) == 0 || s[0] != int64(n) {
				return failed("output %q has shape %v for %d rows", outputs[k].Name, s, n)
			}
		}
		parts[i] = outputs
		return nil
	})
	if err != nil {
		return nil, err
	}
	return join(parts)
}

// call sends one request.
func (m *v2Model) call(ctx context.Context, inputs []model.Tensor) ([]model.Tensor, error) {
	k := &call{method: http.MethodPost, url: m.url, largest: m.client.cfg.MaxResponse}
	var err error
	if m.binary {
		k.body, k.header, err = binaryRequest(inputs)
	} else {
		k.body, k.header, err = jsonRequest(inputs)
	}
	if err != nil {
		return nil, err
	}
	a, f := m.client.do(ctx, k)
	if f != nil {
		return nil, m.blame(ctx, f)
	}
	outputs, version, err := readAnswer(m.info.Outputs, a)
	if err != nil {
		return nil, err
	}
	if m.pin != "" && version != "" && version != m.pin {
		m.client.signalMoved()
		return nil, &model.Error{
			Code: model.Unavailable, Message: "the remote model is changing its version",
			Err: fmt.Errorf("version %q answered, where %q was asked", version, m.pin),
		}
	}
	return outputs, nil
}

// blame finds out what the endpoint found fault with: servers answer with the
// statuses of bad requests also when they no longer serve the model's version.
// Sentences are not told apart; the model's readiness is asked instead.
func (m *v2Model) blame(ctx context.Context, f *failure) error {
	e := (*model.Error)(nil)
	if !errors.As(f.err, &e) || e.Code != model.InvalidInput && e.Code != model.NotFound {
		return f.err
	}
	if m.client.serving(ctx, m.path) {
		if e.Code == model.NotFound { // the model, but not its inference
			return failed("%w", e.Err)
		}
		return e
	}
	m.client.signalMoved()
	if e.Code == model.NotFound && (m.client.ref.Version != "" || m.pin == "") { // no other version will take its place
		return &model.Error{Code: model.NotFound, Message: "the endpoint does not serve the model any more", Err: e.Err}
	}
	return &model.Error{Code: model.Unavailable, Message: "the endpoint does not serve this version of the model at the moment", Err: e.Err}
}

// serving asks whether the model is ready, once a second at most. When that
// cannot be found out it is held to be.
func (c *Client) serving(ctx context.Context, path []string) bool {
	select {
	case c.asking <- struct{}{}:
		defer func() { <-c.asking }()
	case <-ctx.Done():
		return true
	}
	if !c.checked.IsZero() && time.Since(c.checked) < time.Second {
		return c.serves
	}
	a := c.ready(ctx, path)
	if ctx.Err() != nil {
		return true
	}
	c.checked, c.serves = time.Now(), a == nil
	return c.serves
}
