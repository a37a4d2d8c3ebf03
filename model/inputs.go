package model

import (
	"fmt"
	"slices"
)

// parseInputs reads the form "inputs".
func (c *Codec) parseInputs(data *value, path string) (payload, *Error) {
	if data.kind == object {
		return c.parseDict(data)
	}
	if s := c.columns; s != nil && s.inputs[0].named && len(s.inputs) == 1 && data.kind == list &&
		!slices.ContainsFunc(data.items, func(v value) bool { return v.kind == object }) {
		in := &s.inputs[0]
		e, err := in.convert(in.name, data, path)
		return payload{dict: []entry{e}, named: true}, err
	}
	if data.kind == list && !slices.ContainsFunc(data.items, func(v value) bool { return v.kind != object }) {
		return c.parseObjects(data, path)
	}
	if c.columns == nil {
		a, err := newArray(data, Invalid, path)
		return payload{array: &a}, err
	}
	if data.kind == none && !c.columns.inputs[0].named {
		return payload{}, Invalidf(path, "null, where a list or a single value should be")
	}
	e, err := c.columns.inputs[0].convert("", data, path)
	switch {
	case err != nil:
		return payload{}, err
	case e.scalar: // one row of one column
		col := column{name: intValue(0), dtype: e.array.dtype, cells: e.array.cells}
		return payload{frame: &frame{rows: 1, columns: []column{col}}}, nil
	case e.raw != nil:
		return payload{frame: newFrame([]value{intValue(0)}, [][]value{{*e.raw}}, 1)}, nil
	}
	return payload{array: &e.array}, nil
}

// parseDict reads named columns or tensors.
func (c *Codec) parseDict(data *value) (payload, *Error) {
	p := payload{named: true}
	if c.columns != nil && !c.columns.inputs[0].named {
		return p, Invalidf("inputs", "an object, where the signature names no inputs and so takes a list")
	}
	for i := 0; i < len(data.items); i += 2 {
		name := data.items[i].text
		e, err := c.input(name).convert(name, &data.items[i+1], name)
		if err != nil {
			return p, err
		}
		p.dict = append(p.dict, e)
	}
	return p, nil
}

// input returns what the signature says about a name, nil when nothing.
func (c *Codec) input(name string) *field {
	return c.byName[name]
}

// convert makes an array of a member, by what the signature says about it.
func (in *field) convert(name string, v *value, path string) (entry, *Error) {
	e := entry{name: name}
	var err *Error
	switch {
	case in == nil:
		e.array, err = newArray(v, Invalid, path)
	case in.tensor:
		e.array, err = newArray(v, in.dtype, path)
	case in.typ.plain():
		e.array, err = newArray(v, in.typ.dtype(), path)
		e.scalar = v.kind != list
	default:
		e.raw = v
		err = in.typ.enforce(v, in.required, path)
	}
	return e, err
}

// parseObjects reads a list of rows as objects. Every cell is converted by
// itself, and pandas then infers the columns' types anew: a column that has gaps
// is one of 64 bits, which the signature may refuse, as it does there.
func (c *Codec) parseObjects(data *value, path string) (payload, *Error) {
	if c.columns == nil || c.columns.inputs[0].tensor || len(data.items) == 0 && !c.columns.inputs[0].named {
		return payload{}, Invalidf(path, "a list of objects, where the model takes tensors")
	}
	for i := range c.columns.inputs {
		if in := &c.columns.inputs[i]; !in.named && in.typ.colType != colString && in.typ.colType != colBinary {
			return payload{}, Invalidf(path, "a list of objects, where the signature names no inputs")
		}
	}
	seen := make(map[string]int) // in how many rows
	for i := range data.items {
		items := data.items[i].items
		for k := 0; k < len(items); k += 2 {
			name, v := items[k].text, &items[k+1]
			seen[name]++
			e, err := c.input(name).convert(name, v, fmt.Sprintf("%s[%d].%s", path, i, name))
			if err != nil {
				return payload{}, err
			}
			if e.raw == nil {
				*v = e.array.nested()
			}
		}
	}
	f, err := frameOf(data, nil, c.limits.MaxElements)
	if err != nil {
		return payload{}, err
	}
	for i := range f.columns {
		col := &f.columns[i]
		in := c.input(col.name.text)
		if in == nil {
			col.dtype = objectType // as arrays without dimensions, which is what MLflow makes of the cells
		} else if in.typ.plain() && seen[in.name] == f.rows && classOf(col.dtype) > boolClass && classOf(col.dtype) == classOf(in.typ.dtype()) {
			col.dtype = in.typ.dtype() // of the same kind, of 32 bits
		}
	}
	return payload{frame: f}, nil
}

// parseInstances reads the form "instances", whose objects are turned into
// columns.
func (c *Codec) parseInstances(data *value) (payload, *Error) {
	const path = "instances"
	if data.kind != list || len(data.items) == 0 || data.items[0].kind != object {
		p, err := c.parseInputs(data, path)
		if err == nil && p.named {
			err = c.sameLengths(&p)
		}
		return p, err
	}
	columns := value{kind: object}
	at := make(map[string]int)
	for i := range data.items {
		row := &data.items[i]
		if row.kind != object {
			return payload{}, Invalidf(fmt.Sprintf("%s[%d]", path, i), "%s, where the first row is an object", row.describe())
		}
		for k := 0; k < len(row.items); k += 2 {
			j, ok := at[row.items[k].text]
			if !ok {
				j = len(columns.items) + 1
				at[row.items[k].text] = j
				columns.items = append(columns.items, row.items[k], value{kind: list})
			}
			columns.items[j].items = append(columns.items[j].items, row.items[k+1])
		}
	}
	p := payload{named: true}
	for i := 0; i < len(columns.items); i += 2 {
		name, v := columns.items[i].text, &columns.items[i+1]
		e, err := c.input(name).convertEach(name, v)
		if err != nil {
			return p, err
		}
		p.dict = append(p.dict, e)
	}
	return p, c.sameLengths(&p)
}

// convertEach is convert for a column whose cells each are a value.
func (in *field) convertEach(name string, v *value) (entry, *Error) {
	if in != nil && !in.tensor && !in.typ.plain() {
		for i := range v.items {
			if err := in.typ.enforce(&v.items[i], in.required, fmt.Sprintf("%s[%d]", name, i)); err != nil {
				return entry{name: name}, err
			}
		}
		in = nil
	}
	return in.convert(name, v, name)
}

// sameLengths is a check that MLflow makes of instances alone: of the required
// columns, or of all when there is no signature.
func (c *Codec) sameLengths(p *payload) *Error {
	n, first := -1, ""
	for i := range p.dict {
		e := &p.dict[i]
		if e.scalar || e.raw != nil {
			continue
		}
		if in := c.input(e.name); c.columns != nil && c.columns.inputs[0].named && (in == nil || !in.required || in.typ.colType == colArray) {
			continue
		}
		if len(e.array.shape) == 0 {
			return Invalidf(e.name, "a single value, where a list should be")
		}
		if n < 0 {
			n, first = e.array.rows(), e.name
		}
		if e.array.rows() != n {
			return Invalidf(e.name, "%d items, %s has %d", e.array.rows(), first, n)
		}
	}
	return nil
}
