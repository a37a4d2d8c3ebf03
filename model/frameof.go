package model

import (
	"fmt"
	"math"
	"slices"
)

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
	switch data.items[0].kind { //nolint:exhaustive // the others are single values
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
