package model

import (
	"slices"
	"strings"
)

// payload is what a request turns into before the signature is enforced:
// exactly one of a data frame, named arrays, and an array.
type payload struct {
	frame *frame
	dict  []entry
	named bool // dict is meant, even when it is empty
	array *array
}

// entry is a member of a dict: an array, one number or text, or a value that
// was left as it came, for types that no array has.
type entry struct {
	name   string
	array  array
	scalar bool
	raw    *value
}

// formats are the members that can hold a request's data.
//
//nolint:gochecknoglobals // a constant table
var formats = []string{"inputs", "instances", "dataframe_split", "dataframe_records"}

// decodeMLflow makes the request of a body in MLflow's scoring protocol.
// Source: mlflow.pyfunc.scoring_server and mlflow.utils.proto_json_utils, by
// their behaviour.
func (c *Codec) decodeMLflow(req *Request, body *value) *Error {
	if body.kind != object {
		return Errorf(InvalidInput, "the body has to be an object with exactly one of %s, not %s", strings.Join(formats, ", "), body.describe())
	}
	for _, name := range []string{"messages", "prompt", "input"} {
		if body.get(name) != nil {
			return Invalidf(name, "MLflow's unwrapped form for language models is not supported")
		}
	}
	var format string
	var data *value
	for _, f := range formats {
		v := body.get(f)
		if v == nil {
			continue
		}
		if data != nil {
			return Errorf(InvalidInput, "the body has both %s and %s, where one of them should be", format, f)
		}
		format, data = f, v
	}
	if data == nil {
		return Errorf(InvalidInput, "the body has none of %s", strings.Join(formats, ", "))
	}
	p, err := c.parseFormat(format, data)
	if err != nil {
		return err
	}
	if err := c.deliver(req, &p); err != nil {
		return err
	}
	return c.checkParams(body.get("params"))
}

func (c *Codec) parseFormat(format string, data *value) (payload, *Error) {
	switch format {
	case "inputs":
		return c.parseInputs(data, format)
	case "instances":
		return c.parseInstances(data)
	case "dataframe_split":
		return c.parseSplit(data)
	default:
		return c.parseRecords(data)
	}
}

func (c *Codec) parseRecords(data *value) (payload, *Error) {
	if data.kind != list {
		return payload{}, Invalidf("dataframe_records", "%s, where a list of rows should be", data.describe())
	}
	return c.castFrame(frameOf(data, nil, c.limits.MaxElements))
}

func (c *Codec) castFrame(f *frame, err *Error) (payload, *Error) {
	if err == nil && c.columns != nil {
		err = c.columns.castFrame(f)
	}
	return payload{frame: f}, err
}

func (c *Codec) parseSplit(data *value) (payload, *Error) {
	const path = "dataframe_split"
	if data.kind != object {
		return payload{}, Invalidf(path, "%s, where an object should be", data.describe())
	}
	for i := 0; i < len(data.items); i += 2 {
		if name := data.items[i].text; name != "columns" && name != "index" && name != "data" {
			return payload{}, Invalidf(path, "%q is none of columns, index and data", name)
		}
	}
	cells, columns, index := data.get("data"), data.get("columns"), data.get("index")
	if columns != nil && columns.kind == none {
		columns = nil
	}
	switch {
	case cells == nil:
		return payload{}, Invalidf(path, "data is missing")
	case cells.kind != list && cells.kind != none && cells.kind != object:
		return payload{}, Invalidf(path+".data", "%s, where a list of rows should be", cells.describe())
	case columns != nil && (columns.kind != list || slices.ContainsFunc(columns.items, func(v value) bool { return !v.scalar() })):
		return payload{}, Invalidf(path+".columns", "not a list of names")
	}
	f, err := frameOf(cells, columns, c.limits.MaxElements)
	if err == nil && index != nil && index.kind != none {
		err = checkIndex(f, index)
	}
	if err != nil {
		err.Field = path + strings.TrimPrefix(err.Field, path)
		return payload{}, err
	}
	return c.castFrame(f, nil)
}

// checkIndex holds the index against the rows. All else that is made of it is
// whether there is a row 0: by that label MLflow looks at a column which is to
// be a tensor.
func checkIndex(f *frame, index *value) *Error {
	if index.kind != list || len(index.items) != f.rows {
		return Invalidf("dataframe_split.index", "not a list of %d labels", f.rows)
	}
	f.noZero = !slices.ContainsFunc(index.items, func(v value) bool { return v.kind == integer && v.bits == 0 })
	return nil
}
