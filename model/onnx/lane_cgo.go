//go:build cgo

package onnx

import (
	"context"
	"errors"
	"fmt"
	"runtime"
	"slices"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace/millrace/model"
)

// copyLimit is up to how many bytes a tensor is copied into the lane's own
// memory, for which the runtime's views are kept: above it a new view of the
// caller's memory costs less than the copy.
const copyLimit = 4096

// maxViews bounds the views that a slot keeps.
const maxViews = 128

// lane is what one call at a time needs. It belongs to whoever took it from the
// model's channel.
type lane struct {
	opts    *ort.RunOptions
	ins     []slot
	outs    []slot
	inputs  []ort.Value
	outputs []ort.Value
	once    []ort.Value // to be destroyed after the call

	// pin holds the memory that the runtime sees, for the length of a call: a
	// pin that outlived it would bring the process down if a model were ever
	// dropped without being closed.
	pin runtime.Pinner
}

// slot is an input's or output's own memory, and the views of it by rows.
type slot struct {
	buf   []byte
	tail  []int64
	views map[int64]*ort.CustomDataTensor
}

func newLane(ins, outs int) (*lane, error) {
	opts, err := ort.NewRunOptions()
	if err != nil {
		return nil, fmt.Errorf("run options: %w", err)
	}
	return &lane{
		opts: opts, ins: make([]slot, ins), outs: make([]slot, outs),
		inputs: make([]ort.Value, ins), outputs: make([]ort.Value, outs),
	}, nil
}

func (l *lane) destroy() error {
	for i := range l.ins {
		l.ins[i].clear()
	}
	for i := range l.outs {
		l.outs[i].clear()
	}
	return l.opts.Destroy()
}

// own returns a tensor over the slot's own memory, pinned for the call. A nil
// interface comes with an error, not a nil tensor in one.
func (s *slot) own(pin *runtime.Pinner, d model.DType, shape []int64, size int) (ort.Value, error) {
	v, err := s.view(d, shape, size)
	if err != nil {
		return nil, err
	}
	pin.Pin(&s.buf[0])
	return v, nil
}

// view returns a tensor over the slot's own memory, at the wanted shape.
func (s *slot) view(d model.DType, shape []int64, size int) (*ort.CustomDataTensor, error) {
	if len(s.buf) < size || !slices.Equal(s.tail, shape[1:]) || len(s.views) >= maxViews {
		s.clear()
		s.buf = alignedBytes(max(copyLimit, size))
		s.tail = slices.Clone(shape[1:])
		s.views = map[int64]*ort.CustomDataTensor{}
	}
	if v := s.views[shape[0]]; v != nil {
		return v, nil
	}
	v, err := ort.NewCustomDataTensor(shape, s.buf[:max(1, size)], ort.TensorElementDataType(elemOf(d)))
	if err != nil {
		return nil, err
	}
	s.views[shape[0]] = v
	return v, nil
}

func (s *slot) clear() {
	for _, v := range s.views {
		_ = v.Destroy() // cannot fail
	}
	s.views = nil
	s.buf = nil
}

// setInputs makes the call's inputs. They fit the model.
func (l *lane) setInputs(ports []port, inputs []model.Tensor) error {
	for i := range inputs {
		v, err := l.input(i, ports[i].scalar, &inputs[i])
		if err != nil {
			return model.Errorf(model.Failed, "input %q: %w", ports[i].spec.Name, err)
		}
		l.inputs[i] = v
	}
	return nil
}

func (l *lane) input(i int, scalar bool, t *model.Tensor) (ort.Value, error) {
	shape := t.Shape
	switch {
	case scalar:
		shape = []int64{1}
	case len(shape) == 0:
		return nil, errors.New("a scalar, where the model does not declare one, is not supported")
	}
	if t.DType == model.String {
		s, err := ort.NewStringTensor(shape)
		if err != nil {
			return nil, err
		}
		l.once = append(l.once, s)
		return s, s.SetContents(t.Strings)
	}
	if len(t.Data) > copyLimit {
		return l.borrow(t.DType, shape, t.Data)
	}
	v, err := l.ins[i].own(&l.pin, t.DType, shape, len(t.Data))
	if err != nil {
		return nil, err
	}
	copy(l.ins[i].buf, t.Data)
	return v, nil
}

// borrow makes a view of memory that is not the lane's, for this call only.
func (l *lane) borrow(d model.DType, shape []int64, data []byte) (ort.Value, error) {
	l.pin.Pin(&data[0])
	v, err := ort.NewCustomDataTensor(shape, data, ort.TensorElementDataType(elemOf(d)))
	if err != nil {
		return nil, err
	}
	l.once = append(l.once, v)
	return v, nil
}

// reset forgets the call.
func (l *lane) reset() {
	for _, v := range l.once {
		_ = v.Destroy() // cannot fail
	}
	clear(l.once)
	l.once = l.once[:0]
	clear(l.inputs)
	clear(l.outputs)
	l.pin.Unpin()
}

// dropOutputs has the runtime allocate all of them in the next run.
func (l *lane) dropOutputs() { clear(l.outputs) }

// terminateWith ends the lane's call when ctx ends. The returned function has
// to be called after the call: it waits for a termination on its way, so that
// it cannot hit the lane's next one.
func (l *lane) terminateWith(ctx context.Context) func() {
	if ctx.Done() == nil {
		return func() {}
	}
	fired := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(fired)
		_ = l.opts.Terminate() // fails on closed options only
	})
	return func() {
		if !stop() {
			<-fired
			_ = l.opts.UnsetTerminate()
		}
	}
}

// alignedBytes allocates memory that starts at a multiple of 8 bytes, which
// small byte slices do not.
func alignedBytes(n int) []byte {
	return model.BytesOf(make([]uint64, (n+7)/8))[:n]
}
