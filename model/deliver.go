package model

import (
	"fmt"
	"slices"
)

// deliver enforces the signature and fills the model's inputs.
func (c *Codec) deliver(req *Request, p *payload) *Error {
	err := (*Error)(nil)
	switch s := c.columns; {
	case s == nil:
	case s.inputs[0].tensor:
		err = s.tensorInput(p)
	default:
		err = s.frameInput(p, c.limits.MaxElements)
	}
	if err != nil {
		return err
	}
	switch {
	case c.info.Matrix != nil:
		return c.deliverMatrix(req, p)
	case p.frame != nil:
		req.records = true
		return c.deliverFrame(req, p.frame)
	case p.named:
		return c.deliverDict(req, p.dict)
	default:
		if len(c.info.Inputs) != 1 {
			return Errorf(InvalidInput, "a list, where the model takes several inputs by name: %s", names(c.info.Inputs))
		}
		return c.put(req, 0, p.array, "inputs")
	}
}

// frameInput makes a data frame of whatever came, of at most limit cells, and
// enforces columns on it.
func (s *Signature) frameInput(p *payload, limit int64) *Error {
	err := (*Error)(nil)
	if p.frame == nil && p.named {
		p.frame, err = s.frameOfDict(p.dict, limit)
	} else if p.frame == nil {
		p.frame, err = frameOfArray(p.array)
	}
	if err == nil {
		p.frame, err = s.enforceColumns(p.frame)
	}
	return err
}

func frameOfArray(a *array) (*frame, *Error) {
	n := 1
	switch len(a.shape) {
	case 1:
	case 2:
		n = int(a.shape[1])
	default:
		return nil, Errorf(InvalidInput, "%d dimensions, where columns have 1 or 2", len(a.shape))
	}
	f := &frame{rows: a.rows(), columns: make([]column, n)}
	for j := range f.columns {
		col := &f.columns[j]
		*col = column{name: intValue(int64(j)), dtype: a.dtype, cells: make([]value, f.rows)}
		for i := range col.cells {
			col.cells[i] = a.cells[i*n+j]
		}
	}
	return f, nil
}

// frameOfDict is the data frame of named arrays. When all are single values it
// has one row, as it has when the signature has lists or objects for cells.
func (s *Signature) frameOfDict(dict []entry, limit int64) (*frame, *Error) {
	one := slices.ContainsFunc(s.inputs, func(in field) bool { return in.typ.colType == colArray || in.typ.colType == colObject }) ||
		!slices.ContainsFunc(dict, func(e entry) bool { return !e.single() })
	rows := 1
	if !one {
		if rows = commonLength(dict); rows < 0 {
			return nil, Errorf(InvalidInput, "the columns have different lengths")
		}
	}
	if err := room(rows, len(dict), limit); err != nil { // single values are repeated
		return nil, err
	}
	f := &frame{rows: rows}
	for i := range dict {
		col, err := dict[i].column(one, rows)
		if err != nil {
			return nil, err
		}
		f.columns = append(f.columns, col)
	}
	return f, nil
}

// single says whether pandas would take the member for one cell.
func (e *entry) single() bool {
	if e.raw != nil {
		return e.raw.scalar() || e.raw.kind == list && !slices.ContainsFunc(e.raw.items, func(v value) bool { return v.kind != text })
	}
	return e.scalar
}

// commonLength is how many rows the members have that are no single values; -1
// when they do not agree.
func commonLength(dict []entry) int {
	n := -1
	for i := range dict {
		var m int
		switch e := &dict[i]; {
		case e.raw != nil && e.raw.kind == list:
			m = len(e.raw.items)
		case e.raw != nil || len(e.array.shape) == 0:
			continue
		default:
			m = e.array.rows()
		}
		if n >= 0 && n != m {
			return -1
		}
		n = m
	}
	return n
}

func (e *entry) column(one bool, rows int) (column, *Error) {
	col := column{name: textValue(e.name)}
	switch {
	case one && e.raw != nil:
		col.cells = []value{*e.raw}
	case one && e.scalar:
		col.dtype, col.cells = e.array.dtype, e.array.cells
		return col, nil
	case one:
		col.cells = []value{e.array.nested()}
	case e.raw != nil && e.raw.kind == list:
		col.cells = e.raw.items
	case e.raw != nil && e.raw.kind == object:
		return col, Invalidf(e.name, "an object, where a column should be")
	case e.raw != nil:
		col.cells = slices.Repeat([]value{*e.raw}, rows)
	case len(e.array.shape) == 0:
		col.dtype, col.cells = e.array.dtype, slices.Repeat(e.array.cells, rows)
		return col, nil
	case len(e.array.shape) == 1:
		col.dtype, col.cells = e.array.dtype, e.array.cells
		return col, nil
	default:
		col.dtype, col.cells = objectType, e.array.nested().items
		return col, nil
	}
	col.dtype = inferColumn(col.cells)
	col.convert()
	return col, nil
}

// deliverFrame maps a data frame to the model: its values to a single input,
// its columns by name to several.
func (c *Codec) deliverFrame(req *Request, f *frame) *Error {
	if len(c.info.Inputs) == 1 {
		a := f.values()
		return c.put(req, 0, &a, "the columns")
	}
	for i := range c.info.Inputs {
		name := c.info.Inputs[i].Name
		col, err := f.find(name)
		if err != nil {
			return err
		}
		if col == nil {
			return Invalidf(name, "the model takes this column, which is not there")
		}
		a := col.array()
		if err := c.put(req, i, &a, name); err != nil {
			return err
		}
	}
	return nil
}

func (c *Codec) deliverDict(req *Request, dict []entry) *Error {
	for k := range dict {
		if !slices.ContainsFunc(c.info.Inputs, func(s Spec) bool { return s.Name == dict[k].name }) {
			return Invalidf(dict[k].name, "the model has no such input; it has %s", names(c.info.Inputs))
		}
	}
	for i := range c.info.Inputs {
		name := c.info.Inputs[i].Name
		k := slices.IndexFunc(dict, func(e entry) bool { return e.name == name })
		if k < 0 {
			return Invalidf(name, "the model's input is missing")
		}
		if err := c.put(req, i, &dict[k].array, name); err != nil {
			return err
		}
	}
	return nil
}

func names(specs []Spec) string {
	s := make([]string, len(specs))
	for i := range specs {
		s[i] = specs[i].Name
	}
	return fmt.Sprintf("%q", s)
}
