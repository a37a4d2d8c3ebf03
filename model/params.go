package model

import (
	"fmt"
	"time"
)

// checkParams holds a request's params against the signature's. They have no
// effect on a model that takes tensors alone; but MLflow refuses bad ones. Those
// that the signature does not have are ignored, as there.
func (c *Codec) checkParams(v *value) *Error {
	if c.sig == nil || len(c.sig.params) == 0 || v == nil || v.kind == none {
		return nil
	}
	if v.kind != object {
		return Invalidf("params", "%s, where an object should be", v.describe())
	}
	for i := range c.sig.params {
		p := &c.sig.params[i]
		if given := v.get(p.name); given != nil {
			if err := p.check(given, "params."+p.name); err != nil {
				return err
			}
		}
	}
	return nil
}

func (p *param) check(v *value, path string) *Error {
	if !p.list {
		return p.checkOne(v, path)
	}
	if v.kind != list {
		return Invalidf(path, "%s, where a list should be", v.describe())
	}
	if _, err := newArray(v, Invalid, path); err != nil {
		return err
	}
	for i := range v.items {
		if v.items[i].kind == list {
			return Invalidf(fmt.Sprintf("%s[%d]", path, i), "a list, where a single value should be")
		}
		if err := p.checkOne(&v.items[i], fmt.Sprintf("%s[%d]", path, i)); err != nil {
			return err
		}
	}
	return nil
}

// checkOne takes only what is of the type already, or a whole number where a
// fraction may be.
func (p *param) checkOne(v *value, path string) *Error {
	ok := false
	switch p.typ.colType { //nolint:exhaustive // no parameter is of another type
	case colBoolean:
		ok = v.kind == boolean
	case colInteger, colLong:
		ok = v.kind == integer || v.kind == natural || v.kind == huge
	case colFloat, colDouble:
		ok = v.kind == number || v.kind == integer || v.kind == natural || v.kind == huge
	case colString:
		ok = v.kind == text
	case colDatetime:
		_, parsed := parseTime(v.text)
		ok = v.kind == text && parsed
	case colObject:
		return p.typ.enforce(v, true, path)
	}
	if !ok && v.kind != none {
		return Invalidf(path, "%s, where %s should be", v.describe(), p.typ.String())
	}
	return nil
}

// parseTime reads the forms of ISO 8601 that numpy and pandas share.
func parseTime(s string) (time.Time, bool) {
	for _, layout := range []string{
		time.DateOnly, "2006-01-02T15:04:05.999999999", "2006-01-02 15:04:05.999999999", time.RFC3339Nano,
		"2006-01-02T15:04", "2006-01-02 15:04", "2006-01", "2006",
	} {
		if t, err := time.Parse(layout, s); err == nil {
			return t, true
		}
	}
	return time.Time{}, false
}

// castTime makes a time of a value, in the words of Python's str().
func (v *value) castTime() error {
	switch v.kind { //nolint:exhaustive // the others are no times
	case stamp:
		return nil
	case none:
		*v = value{kind: stamp, text: "NaT"}
		return nil
	case text:
		if t, ok := parseTime(v.text); ok {
			layout := "2006-01-02 15:04:05"
			switch ns := t.Nanosecond(); {
			case ns%1000 != 0:
				layout += ".000000000"
			case ns != 0:
				layout += ".000000"
			}
			*v = value{kind: stamp, text: t.Format(layout)}
			return nil
		}
	}
	return fmt.Errorf("%s is no time in ISO 8601", v.describe())
}
