package model

import (
	"bytes"
	"encoding/csv"
	"errors"
	"fmt"
	"io"
	"math"
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
			if s.inputs[i].tensor || s.inputs[i].typ.colType > colDatetime {
				return Errorf(InvalidInput, "the model takes %s, which CSV cannot hold; send JSON", s.inputs[i].text())
			}
		}
	}
	names, cells, rows, err := c.readCSV(body)
	if err != nil {
		return err
	}
	f := &frame{rows: rows}
	for j, name := range names {
		col := column{name: textValue(name), dtype: objectType, cells: cells[j]}
		if in := c.input(name); in != nil {
			err = col.castText(in.typ.dtype())
		} else {
			col.inferText()
		}
		if err != nil {
			return err
		}
		f.columns = append(f.columns, col)
	}
	return c.deliver(req, &payload{frame: f})
}

// readCSV returns the names and, by column, the cells as texts, empty ones and
// the words that stand for missing as NaN. Rows with fewer cells than names end
// in missing ones; when the first row has more, the first cells of all rows are
// labels of the rows, which are dropped.
func (c *Codec) readCSV(body []byte) (names []string, cells [][]value, rows int, _ *Error) {
	r := csv.NewReader(bytes.NewReader(bytes.TrimPrefix(body, []byte("\ufeff"))))
	r.FieldsPerRecord, r.ReuseRecord, r.LazyQuotes = -1, true, true
	header, err := r.Read()
	if err != nil {
		return nil, nil, 0, Errorf(InvalidInput, "the CSV has no line of column names")
	}
	names = uniqueNames(header)
	cells = make([][]value, len(names))
	labels := 0
	for total := int64(0); ; rows++ {
		row, err := r.Read()
		if errors.Is(err, io.EOF) {
			return names, cells, rows, nil
		}
		if err != nil {
			return nil, nil, 0, Errorf(InvalidInput, "invalid CSV: %w", err)
		}
		if rows == 0 {
			labels = max(0, len(row)-len(names))
		}
		if len(row) > len(names)+labels {
			return nil, nil, 0, Errorf(InvalidInput, "row %d of the CSV has %d cells, the first line has %d", rows, len(row), len(names))
		}
		if total += int64(len(names)); total > c.budget() {
			return nil, nil, 0, Errorf(TooLarge, "the CSV holds too many cells")
		}
		row = row[min(labels, len(row)):]
		for j := range names {
			v := floatValue(math.NaN())
			if j < len(row) && !missingWords(row[j]) {
				v = textValue(row[j])
			}
			cells[j] = append(cells[j], v)
		}
	}
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
			seen[n] = k
		}
		seen[names[i]] = 1
	}
	return names
}

// missingWords says whether pandas reads a cell as missing.
func missingWords(s string) bool {
	switch s {
	case "", " ", "#N/A", "#N/A N/A", "#NA", "-1.#IND", "-1.#QNAN", "-NaN", "-nan", "1.#IND", "1.#QNAN",
		"<NA>", "N/A", "NA", "NULL", "NaN", "None", "n/a", "nan", "null":
		return s != " "
	}
	return false
}

// castText reads the texts as a type of the signature.
func (c *column) castText(t DType) *Error {
	for i := range c.cells {
		if err := c.cells[i].castText(t); err != nil {
			return Invalidf(c.label(), "row %d: %w", i, err)
		}
	}
	switch t { //nolint:exhaustive // the others are themselves
	case bytesType, String:
		c.dtype = String // CSV has no bytes: they stay text, as with MLflow
	default:
		c.dtype = t
	}
	return nil
}

func (v *value) castText(t DType) error {
	if v.kind != text {
		if t == Float32 || t == Float64 || t == String || t == bytesType {
			return nil
		}
		if t == timeType {
			return (&value{}).castTime()
		}
		return fmt.Errorf("missing, where %s has no such value", t)
	}
	switch t { //nolint:exhaustive // texts stay
	case Bool:
		b, ok := parseCSVBool(v.text)
		if !ok {
			return fmt.Errorf("%s is neither True nor False", v.describe())
		}
		*v = boolValue(b)
		return nil
	case Int32, Int64, Float32, Float64, timeType:
		return v.cast(t)
	}
	return nil
}

func parseCSVBool(s string) (b, ok bool) {
	switch s {
	case "True", "TRUE", "true":
		return true, true
	case "False", "FALSE", "false":
		return false, true
	}
	return false, false
}

// inferText finds the type of a column that the signature does not know: whole
// numbers, numbers, booleans, else texts.
func (c *column) inferText() {
	for _, t := range []DType{Int64, Float64, Bool} {
		cells := make([]value, len(c.cells))
		copy(cells, c.cells)
		ok := true
		for i := range cells {
			if ok = cells[i].castText(t) == nil; !ok {
				break
			}
		}
		if ok && len(cells) > 0 {
			c.dtype, c.cells = t, cells
			return
		}
	}
	c.dtype = inferColumn(c.cells)
	if c.dtype == objectType || strings.Contains(c.dtype.String(), "float") {
		c.convert()
	}
}
