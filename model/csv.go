package model

import (
	"bytes"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// decodeCSV makes the request of a body in CSV, a line of column names first,
// by the types of the signature. Source: pandas.read_csv as MLflow calls it, by
// its behaviour.
func (c *Codec) decodeCSV(req *Request, body []byte) *Error {
	if !utf8.Valid(body) {
		return Errorf(InvalidInput, "the body is not UTF-8")
	}
	if s := c.columns; s != nil {
		for i := range s.inputs {
			if s.inputs[i].tensor || s.inputs[i].typ.colType >= colDatetime {
				return Errorf(InvalidInput, "the model takes %s, which is not read from CSV; send JSON", s.inputs[i].text())
			}
		}
	}
	t, err := readCSV(body, c.budget())
	if err != nil {
		return err
	}
	f := &frame{rows: t.rows}
	for j, name := range t.names {
		col := column{name: textValue(name), cells: t.cells[j]}
		in := c.input(name)
		if s := c.columns; s != nil && !s.inputs[0].named && j+t.labels < len(s.inputs) {
			in = &s.inputs[j+t.labels]
		}
		switch {
		case in == nil && col.tooWide():
			col.dtype = objectType
		case in == nil:
			col.inferText()
		case in.typ.colType == colString || in.typ.colType == colBinary:
			col.dtype = String // there are no bytes in CSV: they stay text, as with MLflow
		default:
			col.inferText()
			err = col.lossless(in.typ.dtype())
		}
		if err != nil {
			return err
		}
		f.columns = append(f.columns, col)
	}
	return c.deliver(req, &payload{frame: f})
}

// table is a CSV's cells as texts, by column; those that are missing are NaN.
type table struct {
	names  []string
	cells  [][]value
	rows   int
	labels int // columns before the first name, which are labels of the rows and dropped
}

// readCSV reads a table of at most budget cells. Rows with fewer cells than
// names end in missing ones; when the first row has more, its first cells are
// labels.
func readCSV(body []byte, budget int64) (*table, *Error) {
	l := csvLines{rest: string(bytes.TrimPrefix(body, []byte(bom)))}
	header, err := l.next()
	if err != nil {
		return nil, err
	}
	if header == nil {
		return nil, Errorf(InvalidInput, "the CSV has no line of column names")
	}
	t := &table{names: uniqueNames(header), cells: make([][]value, len(header))}
	for ; ; t.rows++ {
		row, err := l.next()
		if row == nil || err != nil {
			return t, err
		}
		if t.rows == 0 {
			t.labels = max(0, len(row)-len(header))
		}
		if len(row) > len(header)+t.labels {
			return nil, Errorf(InvalidInput, "row %d of the CSV has %d cells, the first line has %d", t.rows, len(row), len(header))
		}
		if budget -= int64(len(header)); budget < 0 {
			return nil, Errorf(TooLarge, "the CSV holds too many cells")
		}
		row = row[min(t.labels, len(row)):]
		for j := range t.cells {
			v := floatValue(math.NaN())
			if j < len(row) && !missingWord(row[j]) {
				v = textValue(row[j])
			}
			t.cells[j] = append(t.cells[j], v)
		}
	}
}

// csvLines cuts a CSV into rows, as leniently as pandas: what follows a closing
// quote belongs to the cell, a quote inside of one is itself.
type csvLines struct {
	rest string
	row  []string
}

// next returns the cells of the next line that is not blank, valid until the
// next call; nil at the end.
func (l *csvLines) next() ([]string, *Error) {
	for l.rest != "" {
		end := strings.IndexAny(l.rest, "\r\n")
		if end < 0 {
			end = len(l.rest)
		}
		if strings.Trim(l.rest[:end], " \t") != "" {
			break
		}
		l.rest = l.rest[min(end+1, len(l.rest)):]
	}
	if l.rest == "" {
		return nil, nil
	}
	l.row = l.row[:0]
	for {
		cell, ok := l.cell()
		if !ok {
			return nil, Errorf(InvalidInput, "the CSV ends inside of quotes")
		}
		l.row = append(l.row, cell)
		if l.rest == "" {
			return l.row, nil
		}
		c := l.rest[0]
		if l.rest = l.rest[1:]; c != ',' {
			return l.row, nil // of \r\n the \n is a blank line
		}
	}
}

// cell reads up to the comma or the end of the line.
func (l *csvLines) cell() (string, bool) {
	quoted := ""
	if strings.HasPrefix(l.rest, `"`) {
		l.rest = l.rest[1:]
		for {
			q := strings.IndexByte(l.rest, '"')
			if q < 0 {
				return "", false
			}
			quoted += l.rest[:q]
			if l.rest = l.rest[q+1:]; !strings.HasPrefix(l.rest, `"`) {
				break
			}
			quoted, l.rest = quoted+`"`, l.rest[1:]
		}
	}
	end := strings.IndexAny(l.rest, ",\r\n")
	if end < 0 {
		end = len(l.rest)
	}
	plain := l.rest[:end]
	l.rest = l.rest[end:]
	return quoted + plain, true
}

// uniqueNames numbers names that come again, as pandas does, and names those
// that are empty.
func uniqueNames(header []string) []string {
	names, seen := make([]string, len(header)), make(map[string]int, len(header))
	for i, n := range header {
		if n == "" {
			n = "Unnamed: " + strconv.Itoa(i)
		}
		names[i] = n
		for k := seen[n]; hasKey(seen, names[i]); k++ {
			names[i] = fmt.Sprintf("%s.%d", n, k)
			seen[n] = k + 1
		}
		seen[names[i]] = 1
	}
	return names
}

// missingWord says whether pandas reads a cell as missing.
func missingWord(s string) bool {
	switch s {
	case "", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
		"<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null":
		return true
	}
	return false
}

// inferText finds the type of a column of texts: whole numbers, numbers,
// booleans, else it stays what it is.
func (c *column) inferText() {
	for _, read := range []func(string) (value, bool){readInt, readFloat, readBool} {
		cells := make([]value, len(c.cells))
		ok := len(cells) > 0
		for i := 0; ok && i < len(cells); i++ {
			if cells[i] = c.cells[i]; cells[i].kind == text {
				cells[i], ok = read(cells[i].text)
			}
		}
		if !ok {
			continue
		}
		if c.dtype = inferColumn(cells); c.dtype != objectType {
			c.cells = cells
			c.convert()
			return
		}
	}
	c.dtype = inferColumn(c.cells)
}

// tooWide says whether the column has a whole number of more than 64 bits, with
// which pandas makes no numbers of any.
func (c *column) tooWide() bool {
	return slices.ContainsFunc(c.cells, func(v value) bool {
		digits := strings.TrimLeft(strings.Trim(v.text, " "), "+-")
		if v.kind != text || digits == "" || strings.Trim(digits, "0123456789") != "" {
			return false
		}
		_, ok := readInt(v.text)
		return !ok
	})
}

func readInt(s string) (value, bool) {
	s = strings.Trim(s, " ")
	digits := strings.TrimPrefix(s, "+")
	if digits == "" || strings.Trim(strings.TrimPrefix(s, "-"), "+0123456789") != "" {
		return value{}, false
	}
	v := wholeValue(digits)
	return v, v.kind != huge
}

func readFloat(s string) (value, bool) {
	if strings.ContainsAny(s, "_xXpP") {
		return value{}, false
	}
	f, err := parsePythonFloat(s)
	return floatValue(f), err == nil
}

func readBool(s string) (value, bool) {
	switch s {
	case "True", "TRUE", "true":
		return boolValue(true), true
	case "False", "FALSE", "false":
		return boolValue(false), true
	}
	return value{}, false
}

// lossless converts the column's numbers or booleans to a type that holds them
// all as they are. A number becomes a float of any width.
func (c *column) lossless(t DType) *Error {
	if c.dtype == objectType || c.dtype == String {
		i := 0
		for i < len(c.cells)-1 && c.cells[i].missing() {
			i++
		}
		if len(c.cells) > 0 {
			return Invalidf(c.label(), "row %d: %s is no %s", i, c.cells[i].describe(), t)
		}
	}
	for i := range c.cells {
		v := c.cells[i]
		if v.missing() && classOf(t) != floatClass {
			return Invalidf(c.label(), "row %d: missing, where %s has no such value", i, t)
		}
		if err := v.cast(t); err != nil {
			return Invalidf(c.label(), "row %d: %w", i, err)
		}
		before, _ := c.cells[i].toFloat() // numbers and booleans are floats
		after, _ := v.toFloat()
		if classOf(t) != floatClass && before != after {
			return Invalidf(c.label(), "row %d: %s is no %s", i, c.cells[i].toString(), t)
		}
		c.cells[i] = v
	}
	c.dtype = t
	return nil
}
