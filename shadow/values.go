package shadow

import (
	"bytes"
	"encoding/json"
	"io"
	"strings"
)

// compareValues compares the bodies of two answers, decoded: texts, whole
// numbers and what is there at all exactly, other numbers with the tolerance.
func compareValues(got, given []byte, tolerance float64) difference {
	a, errA := decode(got)
	b, errB := decode(given)
	if errA != nil || errB != nil { // JSON does not know Python's bare NaN
		return difference{differs: !bytes.Equal(got, given)}
	}
	var d difference
	if !d.value(a, b, tolerance) {
		return apart()
	}
	return d
}

// decode reads an answer without what only names who answered and whom: of the
// Open Inference Protocol model_name, model_version and id.
func decode(body []byte) (any, error) {
	dec := json.NewDecoder(bytes.NewReader(body))
	dec.UseNumber()
	var v any
	if err := dec.Decode(&v); err != nil {
		return nil, err
	}
	if _, err := dec.Token(); err != io.EOF {
		return nil, errTrailing
	}
	if object, ok := v.(map[string]any); ok && object["outputs"] != nil {
		delete(object, "model_name")
		delete(object, "model_version")
		delete(object, "id")
	}
	return v, nil
}

// value compares two values, and says whether they have the same form.
func (d *difference) value(got, given any, tolerance float64) bool {
	switch given := given.(type) {
	case map[string]any:
		object, ok := got.(map[string]any)
		if !ok || len(object) != len(given) {
			return false
		}
		for key, v := range given {
			if other, ok := object[key]; !ok || !d.value(other, v, tolerance) {
				return false
			}
		}
		return true
	case []any:
		list, ok := got.([]any)
		if !ok || len(list) != len(given) {
			return false
		}
		for i := range given {
			if !d.value(list[i], given[i], tolerance) {
				return false
			}
		}
		return true
	case json.Number:
		other, ok := got.(json.Number)
		if ok {
			d.literal(other, given, tolerance)
		}
		return ok
	default: // a text, a truth value or null
		if got != given {
			d.differs = true
		}
		_, list := got.([]any)
		_, object := got.(map[string]any)
		return !list && !object
	}
}

// literal compares two numbers as they are written. They are whole ones when
// both are written so.
func (d *difference) literal(got, given json.Number, tolerance float64) {
	a, errA := got.Float64()
	b, errB := given.Float64()
	if errA != nil || errB != nil { // beyond float64
		d.differs = d.differs || got != given
		return
	}
	exact := !strings.ContainsAny(string(got)+string(given), ".eE")
	d.number(a, b, tolerance, exact)
	d.differs = d.differs || exact && got != given
}
