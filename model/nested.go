package model

import (
	"fmt"
	"slices"
)

// enforce holds a nested value, or a cell of one, against its type.
func (t *nestedType) enforce(v *value, required bool, path string) *Error {
	switch t.colType { //nolint:exhaustive // the others are plain
	case colAny:
		return nil
	case colArray:
		return t.enforceItems(v, required, path)
	case colObject:
		return t.enforceObject(v, required, path)
	case colMap:
		if (!required || t.items.colType == colAny) && (v.kind == none || v.kind == object && len(v.items) == 0) {
			return nil
		}
		if v.kind != object {
			return Invalidf(path, "%s, where an object should be", v.describe())
		}
		for i := 0; i < len(v.items); i += 2 {
			if err := t.items.enforce(&v.items[i+1], required, path+"."+v.items[i].text); err != nil {
				return err
			}
		}
		return nil
	default:
		return t.enforceScalar(v, required, path)
	}
}

func (t *nestedType) enforceScalar(v *value, required bool, path string) *Error {
	if !required && v.missing() {
		*v = value{}
		return nil
	}
	if !v.scalar() || v.kind == none {
		return Invalidf(path, "%s, where a single value should be", v.describe())
	}
	one := column{name: textValue(path), cells: []value{*v}}
	one.dtype = inferColumn(one.cells)
	if err := one.enforce(t.colType); err != nil {
		return err
	}
	*v = one.cells[0]
	return nil
}

func (t *nestedType) enforceItems(v *value, required bool, path string) *Error {
	if (!required || t.items.colType == colAny) && (v.kind == none || v.kind == list && len(v.items) == 0) {
		return nil
	}
	if v.kind != list {
		return Invalidf(path, "%s, where a list should be", v.describe())
	}
	if t.items.plain() {
		if len(v.items) == 0 {
			return nil
		}
		all := column{name: textValue(path), dtype: inferColumn(v.items), cells: v.items}
		all.convert()
		return all.enforce(t.items.colType)
	}
	for i := range v.items {
		if err := t.items.enforce(&v.items[i], required, fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

func (t *nestedType) enforceObject(v *value, required bool, path string) *Error {
	if !required && (v.kind == none || v.kind == object && len(v.items) == 0) {
		return nil
	}
	if v.kind != object {
		return Invalidf(path, "%s, where an object should be", v.describe())
	}
	for i := range t.props {
		if p := &t.props[i]; p.required && v.get(p.name) == nil {
			return Invalidf(path, "property %q is missing", p.name)
		}
	}
	for i := 0; i < len(v.items); i += 2 {
		name := v.items[i].text
		k := slices.IndexFunc(t.props, func(p property) bool { return p.name == name })
		if k < 0 {
			return Invalidf(path, "property %q is not in the signature", name)
		}
		p := &t.props[k]
		if err := p.typ.enforce(&v.items[i+1], p.required, path+"."+name); err != nil {
			return err
		}
	}
	return nil
}
