package model

import (
	"fmt"
)

// frame is a data frame as pandas has it.
type frame struct {
	rows    int
	columns []column
	noZero  bool // no row is labelled 0

	at map[string]int // where a name's column is, -1 when it comes twice; made when it is asked for
}

// column is one column with the type that pandas gave it. Its name is a text,
// or a number where there was none.
type column struct {
	name  value
	dtype DType
	cells []value
}

func (c *column) label() string { return c.name.toString() }

// find returns a column by name, nil when there is none; more than one of that
// name is an error.
func (f *frame) find(name string) (*column, *Error) {
	i, ok := f.index()[name]
	switch {
	case !ok:
		return nil, nil
	case i < 0:
		return nil, Invalidf(name, "the column comes twice")
	}
	return &f.columns[i], nil
}

func (f *frame) has(name string) bool { return hasKey(f.index(), name) }

// index must not be asked for before the columns are complete.
func (f *frame) index() map[string]int {
	if f.at == nil {
		f.at = make(map[string]int, len(f.columns))
		for i := range f.columns {
			if n := &f.columns[i].name; n.kind == text {
				if hasKey(f.at, n.text) {
					i = -1
				}
				f.at[n.text] = i
			}
		}
	}
	return f.at
}

// newFrame makes columns of cells, whose types are inferred.
func newFrame(names []value, cells [][]value, rows int) *frame {
	f := &frame{rows: rows, columns: make([]column, len(names))}
	for i := range names {
		f.columns[i] = column{name: names[i], dtype: inferColumn(cells[i]), cells: cells[i]}
		f.columns[i].convert()
	}
	return f
}

// convert makes the cells those of the type that was inferred.
func (c *column) convert() {
	for i := range c.cells {
		switch v := &c.cells[i]; {
		case c.dtype == Float64 && v.kind != number, c.dtype == String && v.kind == none:
			f, _ := v.toFloat() // the inferred type has room for every cell
			*v = floatValue(f)
		}
	}
}

// inferColumn is the type that pandas gives a column of Python values: None
// beside numbers is NaN, and whole numbers are floats then.
func inferColumn(cells []value) DType {
	var seen [stamp + 1]bool
	missing, negative := false, false
	for i := range cells {
		v := &cells[i]
		seen[v.kind] = true
		missing = missing || v.missing()
		negative = negative || v.kind == integer && v.int() < 0
	}
	numbers := seen[integer] || seen[natural] || seen[number]
	switch {
	case seen[list] || seen[object] || seen[huge] || seen[blob] || seen[stamp]:
		return objectType
	case seen[text]:
		if seen[boolean] || seen[integer] || seen[natural] || !onlyMissing(cells) {
			return objectType
		}
		return String
	case seen[boolean]:
		if numbers || missing {
			return objectType
		}
		return Bool
	case seen[natural] && negative:
		return objectType // they share no type of integers, which is looked for first
	case seen[number] || numbers && missing:
		return Float64
	case seen[natural]:
		return Uint64
	case seen[integer]:
		return Int64
	default:
		return objectType
	}
}

// onlyMissing says whether all cells besides texts are missing.
func onlyMissing(cells []value) bool {
	for i := range cells {
		if cells[i].kind != text && !cells[i].missing() {
			return false
		}
	}
	return true
}

// astype converts the column as pandas' Series.astype does.
func (c *column) astype(t DType) *Error {
	if t == objectType || t == c.dtype {
		if c.dtype != String { // which pandas keeps, as it is no narrower
			c.dtype = t
		}
		return nil
	}
	for i := range c.cells {
		if err := c.castCell(&c.cells[i], t); err != nil {
			return Invalidf(c.label(), "row %d: %w", i, err)
		}
	}
	c.dtype = t
	return nil
}

func (c *column) castCell(v *value, t DType) error {
	from, to := classOf(c.dtype), classOf(t)
	if to != signedClass && to != unsignedClass || from == otherClass {
		return v.cast(t)
	}
	if v.kind == number && to == unsignedClass && v.float() < 0 {
		return fmt.Errorf("%s is out of the range of %s", v.toString(), t)
	}
	i, err := v.toInt()
	if err != nil {
		return err
	}
	if v.kind == number && !holds(t, &i) { // numpy's result depends on the processor
		return fmt.Errorf("%s is out of the range of %s", v.toString(), t)
	}
	*v = wrap(t, &i)
	return nil
}

// values is the frame as one array of two dimensions, of the type that all
// columns convert to.
func (f *frame) values() array {
	n := len(f.columns)
	t := f.common()
	if t == String {
		t = objectType // which is numpy's for pandas' strings
	}
	a := array{dtype: t, shape: []int64{int64(f.rows), int64(n)}, cells: make([]value, f.rows*n)}
	for j := range f.columns {
		for i, v := range f.columns[j].cells {
			if classOf(a.dtype) == floatClass && v.kind != number {
				d, _ := v.toFloat() // the cells are numbers
				v = floatValue(roundTo(a.dtype, d))
			}
			a.cells[i*n+j] = v
		}
	}
	return a
}

// common is the type that pandas gives columns of different types together.
func (f *frame) common() DType {
	if len(f.columns) == 0 {
		return objectType
	}
	t := f.columns[0].dtype
	for _, c := range f.columns[1:] {
		switch {
		case t == c.dtype:
		case classOf(t) <= boolClass || classOf(c.dtype) <= boolClass:
			return objectType
		default:
			t = promote(t, c.dtype)
		}
	}
	return t
}

// column1 is one column as an array of one dimension.
func (c *column) array() array {
	return array{dtype: c.dtype, shape: []int64{int64(len(c.cells))}, cells: c.cells}
}
