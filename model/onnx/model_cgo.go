//go:build cgo

package onnx

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"sync/atomic"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace/millrace/model"
)

// Model is a [model.Model] that ONNX Runtime runs.
type Model struct {
	info    model.Info
	ins     []port
	outs    []port
	session *ort.DynamicAdvancedSession

	lanes   chan *lane // the free ones; holding a lane keeps the session alive
	count   int
	closing chan struct{}
	once    sync.Once

	// learned is what outputs look like, found out by a run whose outputs the
	// runtime allocated; nil until then. dynamic is set when that proved
	// wrong: the shapes depend on the data.
	learned atomic.Pointer[[]outShape]
	dynamic atomic.Bool
}

// outShape is an output's shape: the batch's rows and then tail, or just tail.
type outShape struct {
	rows bool
	tail []int64
}

func newModel(ins, outs []port) *Model {
	return &Model{info: infoOf(ins, outs), ins: ins, outs: outs, closing: make(chan struct{})}
}

func (m *Model) addLanes(n int) error {
	m.lanes = make(chan *lane, n)
	for range n {
		l, err := newLane(len(m.ins), len(m.outs))
		if err != nil {
			return err
		}
		m.lanes <- l
		m.count++
	}
	return nil
}

// Info says what the model takes and gives. A nil Shape is one of any rank.
func (m *Model) Info() model.Info { return m.info }

// Close waits for the calls that run, and frees the model. Destroying a session
// under a call would end the process, so every lane is taken in first.
func (m *Model) Close() error {
	var err error
	m.once.Do(func() {
		close(m.closing)
		for range m.count {
			l := <-m.lanes
			err = errors.Join(err, l.destroy())
		}
		err = errors.Join(err, m.session.Destroy())
	})
	return err
}

// Predict runs one call on a free lane, waiting for one if need be. Inputs that
// do not fit what the model declares are [model.InvalidInput]; whatever the
// runtime says after that is the model's failure.
func (m *Model) Predict(ctx context.Context, inputs []model.Tensor) ([]model.Tensor, error) {
	if err := m.check(inputs); err != nil {
		return nil, err
	}
	l, err := m.acquire(ctx)
	if err != nil {
		return nil, err
	}
	defer func() { m.lanes <- l }()
	return m.run(ctx, l, inputs)
}

func (m *Model) acquire(ctx context.Context) (*lane, error) {
	if ctx.Err() != nil {
		return nil, fmt.Errorf("predict: %w", context.Cause(ctx))
	}
	select {
	case l := <-m.lanes:
		select {
		case <-m.closing: // Close counts on every lane coming back
			m.lanes <- l
			return nil, ErrClosed
		default:
			return l, nil
		}
	case <-m.closing:
		return nil, ErrClosed
	case <-ctx.Done():
		return nil, fmt.Errorf("predict: %w", context.Cause(ctx))
	}
}

// run calls the session, with the outputs' memory handed to it when their shape
// is known. When that fails it tries once more with outputs the runtime
// allocates: the shape may depend on the data after all.
func (m *Model) run(ctx context.Context, l *lane, inputs []model.Tensor) ([]model.Tensor, error) {
	defer l.reset()
	if err := l.setInputs(m.ins, inputs); err != nil {
		return nil, err
	}
	stop := l.terminateWith(ctx)
	defer stop()

	rows, common := commonRows(m.ins, inputs)
	shapes := m.learned.Load()
	if shapes != nil && common && !m.dynamic.Load() {
		outs, err := l.runInto(m, *shapes, rows)
		if err == nil {
			return outs, nil
		}
		if ctx.Err() != nil {
			return nil, fmt.Errorf("predict: %w", context.Cause(ctx))
		}
		l.dropOutputs()
	}
	outs, err := l.runDynamic(m)
	switch {
	case err == nil && shapes != nil && common:
		m.dynamic.Store(true)
	case err == nil && common && rows > 1:
		m.learn(outs, rows)
	case err != nil && ctx.Err() != nil:
		return nil, fmt.Errorf("predict: %w", context.Cause(ctx))
	}
	return outs, err
}

// learn notes the shapes of a call's outputs. One row tells too little: a
// dimension of 1 may be the rows or not.
func (m *Model) learn(outs []model.Tensor, rows int64) {
	shapes := make([]outShape, len(outs))
	for i, t := range outs {
		shape := t.Shape
		if t.DType == model.String {
			return // strings are the runtime's to allocate
		}
		declared := m.outs[i].spec.Shape
		variable := len(declared) == 0 || declared[0] < 0
		if variable && len(shape) > 0 && shape[0] == rows {
			shapes[i] = outShape{rows: true, tail: shape[1:]}
		} else {
			shapes[i] = outShape{tail: shape}
		}
	}
	m.learned.CompareAndSwap(nil, &shapes)
}

// commonRows returns the first dimension that all inputs share.
func commonRows(ins []port, inputs []model.Tensor) (int64, bool) {
	rows := int64(-1)
	for i, t := range inputs {
		if ins[i].scalar || len(t.Shape) == 0 || rows >= 0 && t.Shape[0] != rows {
			return 0, false
		}
		rows = t.Shape[0]
	}
	return rows, rows > 0
}
