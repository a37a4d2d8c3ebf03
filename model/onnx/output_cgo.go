//go:build cgo

package onnx

import (
	"fmt"
	"math"
	"slices"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace/millrace/model"
)

func (m *Model) check(inputs []model.Tensor) error { return checkInputs(m.info.Inputs, inputs) }

// runInto runs with outputs of known shapes: small ones into the lane's own
// memory, others straight into what the caller gets.
func (l *lane) runInto(m *Model, shapes []outShape, rows int64) ([]model.Tensor, error) {
	outs := make([]model.Tensor, len(shapes))
	for i, s := range shapes {
		p := &m.outs[i]
		shape := s.tail
		if s.rows {
			shape = append(append(make([]int64, 0, len(s.tail)+1), rows), s.tail...)
		}
		n, err := model.Elements(shape, math.MaxInt32)
		if err != nil {
			return nil, err
		}
		d := p.sessionDType()
		size := int(n) * d.Size()
		outs[i] = model.Tensor{Name: p.spec.Name, DType: d, Shape: slices.Clip(shape), Labels: p.labels, Data: alignedBytes(size)}
		if p.scalar {
			shape = []int64{1}
		}
		if size > copyLimit {
			l.outputs[i], err = l.borrow(d, shape, outs[i].Data)
		} else {
			l.outputs[i], err = l.outs[i].own(&l.pin, d, shape, size)
		}
		if err != nil {
			return nil, err
		}
	}
	if err := m.session.RunWithOptions(l.inputs, l.outputs, l.opts); err != nil {
		return nil, err
	}
	for i := range outs {
		if len(outs[i].Data) <= copyLimit {
			copy(outs[i].Data, l.outs[i].buf)
		}
		m.outs[i].finish(&outs[i])
	}
	return outs, nil
}

// runDynamic runs with outputs that the runtime allocates.
func (l *lane) runDynamic(m *Model) ([]model.Tensor, error) {
	err := m.session.RunWithOptions(l.inputs, l.outputs, l.opts)
	for _, v := range l.outputs {
		if v != nil {
			l.once = append(l.once, v)
		}
	}
	if err != nil {
		return nil, &model.Error{Code: model.Failed, Message: reason(err), Err: err}
	}
	outs := make([]model.Tensor, len(l.outputs))
	for i, v := range l.outputs {
		p := &m.outs[i]
		outs[i] = model.Tensor{Name: p.spec.Name, DType: p.sessionDType(), Labels: p.labels, Shape: v.GetShape()}
		if err := take(&outs[i], v); err != nil {
			return nil, model.Errorf(model.Failed, "output %q: %w", p.spec.Name, err)
		}
		if p.scalar {
			outs[i].Shape = []int64{}
		}
		p.finish(&outs[i])
	}
	return outs, nil
}

func (p *port) sessionDType() model.DType {
	if p.half {
		return model.Float32
	}
	return p.spec.DType
}

// finish turns the session's tensor into the caller's.
func (p *port) finish(t *model.Tensor) {
	if !p.half {
		return
	}
	wide := model.View[float32](t)
	data := alignedBytes(2 * len(wide))
	narrow := model.View[uint16](&model.Tensor{Data: data})
	for i, f := range wide {
		narrow[i] = halfBits(f)
	}
	t.DType, t.Data = model.Float16, data
}

// take moves a value that the binding made into a tensor. Its numbers are in
// memory of Go that outlives the value.
func take(t *model.Tensor, v ort.Value) error {
	var d model.DType
	switch v := v.(type) {
	case *ort.StringTensor:
		d = model.String
		var err error
		if t.Strings, err = v.GetContents(); err != nil {
			return err
		}
	case *ort.Tensor[float32]:
		d, t.Data = model.Float32, model.BytesOf(v.GetData())
	case *ort.Tensor[float64]:
		d, t.Data = model.Float64, model.BytesOf(v.GetData())
	case *ort.Tensor[int8]:
		d, t.Data = model.Int8, model.BytesOf(v.GetData())
	case *ort.Tensor[int16]:
		d, t.Data = model.Int16, model.BytesOf(v.GetData())
	case *ort.Tensor[int32]:
		d, t.Data = model.Int32, model.BytesOf(v.GetData())
	case *ort.Tensor[int64]:
		d, t.Data = model.Int64, model.BytesOf(v.GetData())
	case *ort.Tensor[uint8]:
		d, t.Data = model.Uint8, model.BytesOf(v.GetData())
	case *ort.Tensor[uint16]:
		d, t.Data = model.Uint16, model.BytesOf(v.GetData())
	case *ort.Tensor[uint32]:
		d, t.Data = model.Uint32, model.BytesOf(v.GetData())
	case *ort.Tensor[uint64]:
		d, t.Data = model.Uint64, model.BytesOf(v.GetData())
	case *ort.Tensor[bool]:
		d, t.Data = model.Bool, model.BytesOf(v.GetData())
	default:
		return fmt.Errorf("a value of type %T is not supported", v)
	}
	if d != t.DType {
		return fmt.Errorf("type %s, where the model declares %s", d, t.DType)
	}
	if len(t.Data)%8 != 0 { // small allocations may not start at a multiple of 8
		data := alignedBytes(len(t.Data))
		copy(data, t.Data)
		t.Data = data
	}
	return nil
}
