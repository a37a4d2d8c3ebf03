package model

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"
)

// colType is the type of a column, of MLflow's own set.
type colType uint8

const (
	noType colType = iota
	colBoolean
	colInteger // 32 bits
	colLong
	colFloat // 32 bits
	colDouble
	colString
	colBinary
	colDatetime
	colArray // of items
	colObject
	colMap // from strings to items
	colAny
)

//nolint:gochecknoglobals // a constant table
var colTypes = [...]struct {
	name  string
	dtype DType // of the array that a column becomes
}{
	noType:      {"", Invalid},
	colBoolean:  {"boolean", Bool},
	colInteger:  {"integer", Int32},
	colLong:     {"long", Int64},
	colFloat:    {"float", Float32},
	colDouble:   {"double", Float64},
	colString:   {"string", String},
	colBinary:   {"binary", bytesType},
	colDatetime: {"datetime", timeType},
	colArray:    {"array", objectType},
	colObject:   {"object", objectType},
	colMap:      {"map", objectType},
	colAny:      {"any", objectType},
}

func (t colType) String() string { return colTypes[t].name }

// dtype is the type of the array that a column of plain values becomes.
func (t colType) dtype() DType { return colTypes[t].dtype }

// plain says whether the type is one of single values, which excludes any.
func (t colType) plain() bool { return t < colArray }

// nestedType is a column's type with what is inside.
type nestedType struct {
	colType
	items *nestedType // of an array or a map
	props []property  // of an object, in the order they were logged
}

type property struct {
	name     string
	required bool
	typ      nestedType
}

// rawType is a type as it stands in the JSON.
type rawType struct {
	Type       string          `json:"type"`
	Items      *rawType        `json:"items"`
	Values     *rawType        `json:"values"`
	Properties json.RawMessage `json:"properties"`
	Required   *bool           `json:"required"`
	Optional   bool            `json:"optional"` // what MLflow 2 wrote before there was required
}

func (r *rawType) required() bool {
	if r.Required != nil {
		return *r.Required
	}
	return !r.Optional
}

func (r *rawType) parse() (nestedType, error) {
	t := nestedType{}
	for c := colBoolean; c <= colAny; c++ {
		if colTypes[c].name == r.Type {
			t.colType = c
		}
	}
	var err error
	switch t.colType { //nolint:exhaustive // the others hold none
	case noType:
		if r.Type == "" {
			return t, errors.New("a type is missing")
		}
		return t, fmt.Errorf("unknown type %q", r.Type)
	case colArray:
		t.items, err = r.Items.inside("array", "items")
	case colMap:
		t.items, err = r.Values.inside("map", "values")
	case colObject:
		t.props, err = parseProperties(r.Properties)
	default:
	}
	return t, err
}

func (r *rawType) inside(what, member string) (*nestedType, error) {
	if r == nil {
		return nil, fmt.Errorf("type %s without %s", what, member)
	}
	t, err := r.parse()
	return &t, err
}

// parseProperties keeps the order of the members, which Go's maps do not.
func parseProperties(text json.RawMessage) ([]property, error) {
	const most = 1 << 20
	v, bad := parseJSON(text, most)
	if bad != nil || v.kind != object {
		return nil, errors.New("type object without properties")
	}
	var raw map[string]*rawType
	if err := json.Unmarshal(text, &raw); err != nil {
		return nil, err
	}
	var props []property
	for i := 0; i < len(v.items); i += 2 {
		name := v.items[i].text
		r := raw[name]
		if r == nil {
			return nil, fmt.Errorf("property %q has no type", name)
		}
		t, err := r.parse()
		if err != nil {
			return nil, fmt.Errorf("property %q: %w", name, err)
		}
		props = append(props, property{name, r.required(), t})
	}
	return props, nil
}

// String writes the type as "array(long)" or "{a: double, b?: string}".
func (t *nestedType) String() string {
	switch t.colType { //nolint:exhaustive // the others hold none
	case colArray:
		return "array(" + t.items.String() + ")"
	case colMap:
		return "map(" + t.items.String() + ")"
	case colObject:
		var b strings.Builder
		b.WriteByte('{')
		for i, p := range t.props {
			if i > 0 {
				b.WriteString(", ")
			}
			b.WriteString(nameOf(p.name))
			if !p.required {
				b.WriteByte('?')
			}
			b.WriteString(": " + p.typ.String())
		}
		b.WriteByte('}')
		return b.String()
	default:
		return t.colType.String()
	}
}

// takes says whether whatever fits old fits t as well: an integer is a long
// and a double too, and everything is any.
func (t *nestedType) takes(old *nestedType) bool {
	switch {
	case t.colType == colAny:
		return true
	case t.colType != old.colType:
		return old.colType == colInteger && (t.colType == colLong || t.colType == colDouble) ||
			old.colType == colFloat && t.colType == colDouble
	case t.colType == colArray || t.colType == colMap:
		return t.items.takes(old.items)
	case t.colType == colObject:
		return t.takesProps(old)
	}
	return true
}

func (t *nestedType) takesProps(old *nestedType) bool {
	before := make(map[string]*property, len(old.props))
	for i := range old.props {
		before[old.props[i].name] = &old.props[i]
	}
	for i := range t.props {
		p := &t.props[i]
		o := before[p.name]
		delete(before, p.name)
		if o == nil && p.required || o != nil && (p.required && !o.required || !p.typ.takes(&o.typ)) {
			return false
		}
	}
	return len(before) == 0 // a property that is not known is refused
}
