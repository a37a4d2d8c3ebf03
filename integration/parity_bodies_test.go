//go:build integration

package integration

import (
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
)

// column is an input of a model, and what a good cell of it is.
type column struct {
	name string
	cell func(*rand.Rand) string
}

func whole(r *rand.Rand) string { return strconv.Itoa(r.IntN(19) - 9) }
func truth(r *rand.Rand) string { return strconv.FormatBool(r.IntN(2) == 0) }

// vector is an input of n numbers, not all of them whole.
func vector(n int) func(*rand.Rand) string {
	return func(r *rand.Rand) string {
		cells := make([]string, n)
		for i := range cells {
			cells[i] = number(r)
		}
		cells[n-1] = fmt.Sprintf("%d.25", r.IntN(7))
		return "[" + strings.Join(cells, ", ") + "]"
	}
}

// oddCells are what a column may have instead of its own kind, the first ones
// often.
var oddCells = []string{
	"null", "true", "1.5", "3", `"2.5"`, `"x"`, "NaN", "-0.0", "3.0", "1e-310", "-7", "16777217", "2147483648", "9007199254740993",
	"12345678901234567890", "-9223372036854775809", "123456789012345678901234567890", "1e16", "1e300", "Infinity", "-Infinity",
	"1e999", `""`, `"grün ✓"`, `"\u00e9\ud83d\ude00"`, `"\ud800"`, `"2026-11-24"`, "[1]", "[]", "[[1, 2]]", "[1, [2]]", `{"x": 1}`, "{}", "01", "1.", "+1",
}

// oddCSV are cells of CSV files.
var oddCSV = []string{"", "x", "1.5", "true", "NaN", "inf", `"a,b"`, `"a""b"`, "grün", " 3", "1e5", "12345678901234567890", "NA", "None", "-0.0"}

// bodies makes requests of a model, good and bad, the same ones each time: those
// that are written down here, each odd cell in each column, and n drawn ones.
func bodies(model string, columns []column, n int) []asked {
	r := rand.New(rand.NewPCG(4, uint64(len(columns))))
	all := writtenBodies(model, columns, r)
	for col := range columns {
		for _, odd := range oddCells {
			names, row := good(columns, r)
			row[col] = odd
			all = append(all, asked{model, "application/json", inForm([]string{"split", "records"}[col%2], names, [][]string{row})})
		}
	}
	for range n {
		all = append(all, drawnBody(model, columns, r))
	}
	return all
}

// drawnBody is a table in which at most one thing is odd.
func drawnBody(model string, columns []column, r *rand.Rand) asked {
	names, rows := make([]string, len(columns)), make([][]string, 1+r.IntN(3))
	for i, c := range columns {
		names[i] = c.name
		for k := range rows {
			rows[k] = append(rows[k], c.cell(r))
		}
	}
	form, odd := forms[r.IntN(len(forms))], oddCells
	if form == "csv" {
		odd = oddCSV
	}
	row, col := r.IntN(len(rows)), r.IntN(len(names))
	switch r.IntN(20) {
	case 0, 1, 2, 3:
		rows[row][col] = odd[r.IntN(len(odd))]
	case 4: // in each row
		cell := odd[r.IntN(len(odd))]
		for k := range rows {
			rows[k][col] = cell
		}
	case 5: // a column less
		names = slices.Delete(slices.Clone(names), col, col+1)
		for k := range rows {
			rows[k] = slices.Delete(rows[k], col, col+1)
		}
	case 6: // a column more
		names = append(names, "ünknown")
		for k := range rows {
			rows[k] = append(rows[k], odd[r.IntN(len(odd))])
		}
	case 7: // a row of another length
		rows[row] = append(rows[row], "1")
	case 8: // a column twice
		names[col] = names[(col+1)%len(names)]
	case 9: // another order
		names[0], names[len(names)-1] = names[len(names)-1], names[0]
		for k := range rows {
			last := len(rows[k]) - 1
			rows[k][0], rows[k][last] = rows[k][last], rows[k][0]
		}
	case 10, 11, 12: // in a list
		if _, rest, ok := strings.Cut(rows[row][col], ","); ok {
			rows[row][col] = "[" + odd[r.IntN(len(odd))] + "," + rest
		}
	case 13: // a shorter list
		if _, rest, ok := strings.Cut(rows[row][col], ","); ok {
			rows[row][col] = "[" + rest
		}
	}
	kind := "application/json"
	if form == "csv" {
		kind = "text/csv"
	}
	return asked{model, kind, inForm(form, names, rows)}
}

var forms = []string{"split", "split", "bare split", "records", "records", "inputs columns", "inputs rows", "inputs records", "instances columns", "instances rows", "instances records", "csv"}

// inForm writes a table as MLflow takes it.
func inForm(form string, names []string, rows [][]string) string {
	switch form {
	case "csv":
		lines := []string{strings.Join(names, ",")}
		for _, row := range rows {
			lines = append(lines, strings.ReplaceAll(strings.Join(row, ","), `"`, ""))
		}
		return strings.Join(lines, "\n") + "\n"
	case "split":
		return fmt.Sprintf(`{"dataframe_split": {"columns": %s, "data": %s}}`, quoted(names), list(rows))
	case "bare split":
		return fmt.Sprintf(`{"dataframe_split": {"data": %s}}`, list(rows))
	case "records":
		return fmt.Sprintf(`{"dataframe_records": %s}`, records(names, rows))
	}
	key, shape, _ := strings.Cut(form, " ")
	value := list(rows)
	if len(names) == 1 { // it has no name in lists
		value = strings.TrimSuffix(strings.TrimPrefix(strings.ReplaceAll(value, "]], [[", "], ["), "["), "]")
	}
	switch shape {
	case "records":
		value = records(names, rows)
	case "columns":
		value = inColumns(names, rows)
	}
	return fmt.Sprintf(`{"%s": %s}`, key, value)
}

func quoted(names []string) string { return `["` + strings.Join(names, `", "`) + `"]` }

func list(rows [][]string) string {
	parts := make([]string, len(rows))
	for i, row := range rows {
		parts[i] = "[" + strings.Join(row, ", ") + "]"
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

// records names what the names go for.
func records(names []string, rows [][]string) string {
	parts := make([]string, len(rows))
	for i, row := range rows {
		var cells []string
		for k, cell := range row[:min(len(row), len(names))] {
			cells = append(cells, fmt.Sprintf(`"%s": %s`, names[k], cell))
		}
		parts[i] = "{" + strings.Join(cells, ", ") + "}"
	}
	return "[" + strings.Join(parts, ", ") + "]"
}

func inColumns(names []string, rows [][]string) string {
	parts := make([]string, len(names))
	for k, name := range names {
		var cells []string
		for _, row := range rows {
			cells = append(cells, row[k])
		}
		parts[k] = fmt.Sprintf(`"%s": [%s]`, name, strings.Join(cells, ", "))
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// good is a row of what the columns take.
func good(columns []column, r *rand.Rand) (names, row []string) {
	for _, c := range columns {
		names, row = append(names, c.name), append(row, c.cell(r))
	}
	return names, row
}

// writtenBodies are what no table is, around a good one.
func writtenBodies(model string, columns []column, r *rand.Rand) []asked {
	names, row := good(columns, r)
	split := strings.TrimSuffix(strings.TrimPrefix(inForm("split", names, [][]string{row}), `{"dataframe_split": `), "}")
	in := inForm("inputs columns", names, [][]string{row})
	var all []asked
	for _, body := range []string{
		"", " ", "null", "7", `"x"`, "[]", "[1]", "{}", "{", `{"inputs"`, `{"inputs": }`, "not json", in + "x", in + " \n", "\ufeff" + in, in[:len(in)-2],
		`{"inputs": null}`, `{"inputs": []}`, `{"inputs": {}}`, `{"inputs": [[]]}`, `{"inputs": 1}`, `{"inputs": "x"}`, `{"inputs": true}`, `{"instances": null}`,
		`{"instances": []}`, `{"instances": {}}`, `{"instances": [[]]}`, `{"instances": [{}]}`, `{"instances": [1, [2]]}`, `{"instances": [[1, 2], [3]]}`, `{"instances": 1}`,
		`{"inputs": [1, 2, 3, 4]}`, `{"inputs": [[[1, 2, 3, 4]]]}`, `{"inputs": [[1, 2, 3, 4, 5]]}`, `{"inputs": ["a", "b"]}`, `{"other": 1}`,
		`{"dataframe_split": null}`, `{"dataframe_split": []}`, `{"dataframe_split": {}}`, `{"dataframe_split": {"data": []}}`, `{"dataframe_split": 1}`,
		`{"dataframe_split": {"columns": ` + quoted(names) + `}}`, `{"dataframe_split": {"columns": ` + quoted(names) + `, "data": []}}`,
		`{"dataframe_split": {"columns": ` + quoted(names) + `, "data": [[]]}}`, `{"dataframe_split": {"columns": "a", "data": [[1]]}}`,
		`{"dataframe_split": {"columns": [], "data": []}}`, `{"dataframe_split": {"index": [7], ` + split[1:] + `}`,
		`{"dataframe_split": {"index": [7, 8], ` + split[1:] + `}`, `{"dataframe_split": {"more": 1, ` + split[1:] + `}`,
		`{"dataframe_records": null}`, `{"dataframe_records": []}`, `{"dataframe_records": {}}`, `{"dataframe_records": [{}]}`, `{"dataframe_records": [1]}`, `{"dataframe_records": [[1]]}`,
		`{"dataframe_split": 1, "dataframe_split": ` + split + `}`, `{"dataframe_split": ` + split + `, "dataframe_split": 1}`,
		`{"dataframe_split": ` + split + `, "inputs": [1]}`, `{"dataframe_split": ` + split + `, "other": 1}`,
		`{"dataframe_split": ` + split + `, "params": {}}`, `{"dataframe_split": ` + split + `, "params": {"x": 1}}`, `{"dataframe_split": ` + split + `, "params": null}`,
		`{"dataframe_split": ` + split + `, "params": []}`, `{"dataframe_split": ` + split + `, "params": "x"}`,
		`{"params": {}}`, `{"messages": []}`, `{"prompt": "x"}`, `{"input": "x"}`, `{"columns": ["a"], "data": [[1]]}`, "{\"inputs\": \"\xff\"}",
		`{"dataframe_split": ` + split + `, "other": ` + strings.Repeat("[", 100) + strings.Repeat("]", 100) + `}`,
		`{"dataframe_split": ` + split + `, "other": ` + strings.Repeat("[", 200) + strings.Repeat("]", 200) + `}`,
		`{"inputs": [{"name": "X", "shape": [1, 4], "datatype": "FP32", "data": [1, 2, 3, 4]}]}`,
		`{"inputs": {"ä": [1]}}`, `{"dataframe_records": [{"` + names[0] + `": 1, "` + names[0] + `": ` + row[0] + `}]}`,
	} {
		all = append(all, asked{model, "application/json", body})
	}
	for _, form := range []string{"split", "records", "instances records"} {
		all = append(all, asked{model, "application/json", inForm(form, append(slices.Clone(names), "ünknown"), [][]string{append(slices.Clone(row), `"\ud800"`)})})
	}
	table := inForm("csv", names, [][]string{row})
	for _, body := range []string{"", "\n", strings.Join(names, ","), strings.Join(names, ",") + "\n", table + table, "x\n1\n", table + "1\n", table + "1,2,3,4,5,6\n", strings.ReplaceAll(table, "\n", "\r\n"), "\xff"} {
		all = append(all, asked{model, "text/csv", body})
	}
	for _, kind := range []string{"application/json; charset=utf-8", "application/json;charset=UTF-8", "application/json; charset=latin-1", "application/json; format=pandas-split", "text/plain", "", "Application/JSON", `application/json; charset="utf-8"`, "application/vnd.apache.parquet", "application/x-www-form-urlencoded"} {
		all = append(all, asked{model, kind, in})
	}
	return all
}
