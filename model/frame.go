package model

import (
	"fmt"
	"math"
	"slices"
)

// frame is a data frame as pandas has it.
type frame struct {
	rows    int
	columns []column
	noZero  bool // no row is labelled 0
}

// column is one column with the type that pandas gave it. Its name is a text,
// or a number where there was none.
type column struct {
	name  value
	dtype DType
	cells []value
}

func (c *column) label() string { return c.name.toString() }

// find returns a column by name; more than one of that name is an error.
func (f *frame) find(name string) (*column, *Error) {
	var found *column
	for i := range f.columns {
		if c := &f.columns[i]; c.name.kind == text && c.name.text == name {
			if found != nil {
				return nil, Invalidf(name, "the column comes twice")
			}
			found = c
		}
	}
	return found, nil
}

func (f *frame) has(name string) bool {
	return slices.ContainsFunc(f.columns, func(c column) bool { return c.name.kind == text && c.name.text == name })
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
			f, _ := v.toFloat() //nolint:errcheck // the inferred type has room for every cell
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
	case seen[number] || numbers && missing:
		return Float64
	case seen[natural]:
		if negative {
			return objectType
		}
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
				d, _ := v.toFloat() //nolint:errcheck // the cells are numbers
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

// frameOf is DataFrame(data, columns=columns) for a list that came as JSON:
// of rows as lists, of rows as objects, or of single values.
func frameOf(data, columns *value, limit int64) (*frame, *Error) {
	var names []value
	if columns != nil {
		names = columns.items
	}
	if len(data.items) == 0 {
		return newFrame(names, make([][]value, len(names)), 0), nil
	}
	if data.kind == object {
		return frameOfColumns(data, names, columns != nil)
	}
	switch data.items[0].kind {
	case object:
		return frameOfObjects(data, names, columns != nil, limit)
	case list:
		return frameOfLists(data, names, columns != nil, limit)
	default:
		if columns != nil && len(names) != 1 {
			return nil, Invalidf("dataframe_split.columns", "%d names for rows of one value", len(names))
		}
		if columns == nil {
			names = []value{intValue(0)}
		}
		return newFrame(names, [][]value{data.items}, len(data.items)), nil
	}
}

// room refuses a frame of more cells than a request may have. Rows need not
// have all the columns, so it may be far larger than its text.
func room(rows, columns int, limit int64) *Error {
	if limit > 0 && int64(rows)*int64(columns) > limit {
		return Errorf(TooLarge, "%d rows of %d columns are more than %d elements", rows, columns, limit)
	}
	return nil
}

func frameOfObjects(data *value, names []value, fixed bool, limit int64) (*frame, *Error) {
	at := make(map[string]int)
	for i, name := range names {
		if name.kind == text {
			at[name.text] = i
		}
	}
	for i := range data.items {
		row := &data.items[i]
		if row.kind != object {
			return nil, Invalidf(fmt.Sprintf("[%d]", i), "%s, where the first row is an object", row.describe())
		}
		for k := 0; k < len(row.items) && !fixed; k += 2 {
			if name := row.items[k].text; !hasKey(at, name) {
				at[name] = len(names)
				names = append(names, row.items[k])
			}
		}
	}
	if err := room(len(data.items), len(names), limit); err != nil {
		return nil, err
	}
	cells := make([][]value, len(names))
	for j := range cells {
		cells[j] = make([]value, len(data.items))
		for i := range cells[j] {
			cells[j][i] = floatValue(math.NaN())
		}
	}
	for i := range data.items {
		items := data.items[i].items
		for k := 0; k < len(items); k += 2 {
			if j, ok := at[items[k].text]; ok {
				cells[j][i] = items[k+1]
			}
		}
	}
	return newFrame(names, cells, len(data.items)), nil
}

// frameOfColumns is of an object of columns, which have to be lists of one
// length.
func frameOfColumns(data *value, names []value, fixed bool) (*frame, *Error) {
	rows := len(data.items[1].items)
	for i := 0; i < len(data.items); i += 2 {
		if c := &data.items[i+1]; c.kind != list || len(c.items) != rows {
			return nil, Invalidf(data.items[i].text, "not a list of %d cells", rows)
		}
		if !fixed {
			names = append(names, data.items[i])
		}
	}
	cells := make([][]value, len(names))
	for j := range names {
		c := data.get(names[j].text)
		if c == nil || names[j].kind != text {
			return nil, Invalidf(names[j].toString(), "the column is missing")
		}
		cells[j] = slices.Clone(c.items)
	}
	return newFrame(names, cells, rows), nil
}

func hasKey(m map[string]int, k string) bool { _, ok := m[k]; return ok }

func frameOfLists(data *value, names []value, fixed bool, limit int64) (*frame, *Error) {
	width := 0
	for i := range data.items {
		row := &data.items[i]
		if row.kind != list {
			return nil, Invalidf(fmt.Sprintf("[%d]", i), "%s, where the first row is a list", row.describe())
		}
		width = max(width, len(row.items))
	}
	if fixed && width != len(names) {
		return nil, Invalidf("", "%d columns are named, the rows have %d", len(names), width)
	}
	for !fixed && len(names) < width {
		names = append(names, intValue(int64(len(names))))
	}
	if err := room(len(data.items), width, limit); err != nil {
		return nil, err
	}
	cells := make([][]value, width)
	for j := range cells {
		cells[j] = make([]value, len(data.items)) // None where a row is short
		for i := range data.items {
			if row := data.items[i].items; j < len(row) {
				cells[j][i] = row[j]
			}
		}
	}
	return newFrame(names, cells, len(data.items)), nil
}
