package model

// Tensors describes what the model takes and gives to who speaks the Open Inference
// Protocol. A raw model is described by its signature, a column of a data frame as a
// tensor of shape [-1, 1]; without one it has no tensors to tell.
func (c *Codec) Tensors() (inputs, outputs []Spec) {
	if !c.info.Raw {
		return c.info.Inputs, c.info.Outputs
	}
	if c.sig == nil {
		return nil, nil
	}
	return specsOf(c.sig.inputs), specsOf(c.sig.outputs)
}

func specsOf(fields []field) []Spec {
	out := make([]Spec, len(fields))
	for i := range fields {
		f := &fields[i]
		if f.tensor {
			out[i] = Spec{f.name, f.dtype, f.shape}
			continue
		}
		d := f.typ.dtype()
		if d > String || d == Invalid { // text, times, and whatever JSON holds
			d = String
		}
		out[i] = Spec{f.name, d, []int64{-1, 1}}
	}
	return out
}
