package model

import (
	"bytes"
	"encoding/json"
	"math"
	"slices"
	"strconv"
	"unicode/utf8"
)

// kind is what a value is to Python, whose json module MLflow reads with.
type kind uint8

const (
	none    kind = iota
	boolean      // bits is 0 or 1
	integer      // bits is an int64
	natural      // bits is a uint64 beyond int64
	huge         // text is the digits of an integer beyond both
	number       // bits is a float64's
	text
	list   // items
	object // items: name, value, name, value, …
	blob   // text is bytes
	stamp  // text is a time as Python prints it
)

// value is a JSON value, or what became of it.
type value struct {
	kind  kind
	bits  uint64
	text  string
	items []value
}

func floatValue(f float64) value { return value{kind: number, bits: math.Float64bits(f)} }
func intValue(i int64) value     { return value{kind: integer, bits: uint64(i)} } //nolint:gosec // the same bits
func textValue(s string) value   { return value{kind: text, text: s} }

func boolValue(b bool) value {
	if b {
		return value{kind: boolean, bits: 1}
	}
	return value{kind: boolean}
}

func (v *value) float() float64 { return math.Float64frombits(v.bits) }
func (v *value) int() int64     { return int64(v.bits) } //nolint:gosec // the same bits

// missing says whether pandas counts the cell as missing.
func (v *value) missing() bool {
	return v.kind == none || v.kind == number && math.IsNaN(v.float())
}

// scalar says whether the value is no list and no object.
func (v *value) scalar() bool { return v.kind != list && v.kind != object }

// get returns an object's member, nil when there is none.
func (v *value) get(name string) *value {
	if v.kind != object {
		return nil
	}
	for i := 0; i < len(v.items); i += 2 {
		if v.items[i].text == name {
			return &v.items[i+1]
		}
	}
	return nil
}

// bom is the mark that some programs put before UTF-8; it is skipped.
const bom = "\ufeff"

// maxDepth bounds the nesting of a body. Arrays of numpy have at most 64
// dimensions.
const maxDepth = 128

// parser makes values of a body. It takes what Python's json takes: JSON, and
// the bare words NaN, Infinity and -Infinity.
type parser struct {
	scanner
	depth  int
	budget int64 // how many values more it may make
}

// parseJSON reads a whole body of at most budget values.
func parseJSON(body []byte, budget int64) (value, *Error) {
	if !utf8.Valid(body) {
		return value{}, Errorf(InvalidInput, "the body is not UTF-8")
	}
	p := parser{scanner: scanner{buf: body}, budget: budget}
	if bytes.HasPrefix(body, []byte(bom)) {
		p.pos = len(bom)
	}
	p.space()
	v, err := p.value()
	if err != nil {
		return v, err
	}
	p.space()
	if p.pos < len(p.buf) {
		return v, p.wrong("one value")
	}
	return v, nil
}

// wrong says what was expected where the parser stands.
func (p *parser) wrong(want string) *Error {
	if p.pos >= len(p.buf) {
		return Errorf(InvalidInput, "invalid JSON: it ends where %s should be", want)
	}
	return Errorf(InvalidInput, "invalid JSON: %q at byte %d, where %s should be", p.buf[p.pos], p.pos, want)
}

func (p *parser) value() (value, *Error) {
	if p.budget--; p.budget < 0 {
		return value{}, tooMany()
	}
	if p.pos >= len(p.buf) {
		return value{}, p.wrong("a value")
	}
	switch c := p.buf[p.pos]; c {
	case '{', '[':
		if p.depth++; p.depth > maxDepth {
			return value{}, Errorf(InvalidInput, "the body is nested deeper than %d levels", maxDepth)
		}
		v, err := p.nested(c)
		p.depth--
		return v, err
	case '"':
		s, err := p.str()
		return textValue(s), err
	case 'n':
		return p.word("null", value{})
	case 't':
		return p.word("true", boolValue(true))
	case 'f':
		return p.word("false", boolValue(false))
	case 'N':
		return p.word("NaN", floatValue(math.NaN()))
	case 'I':
		return p.word("Infinity", floatValue(math.Inf(1)))
	case '-':
		if p.pos+1 < len(p.buf) && p.buf[p.pos+1] == 'I' {
			return p.word("-Infinity", floatValue(math.Inf(-1)))
		}
	}
	return p.number()
}

func (p *parser) word(w string, v value) (value, *Error) {
	if !bytes.HasPrefix(p.buf[p.pos:], []byte(w)) {
		return value{}, p.wrong("a value")
	}
	p.pos += len(w)
	return v, nil
}

func (p *parser) nested(open byte) (value, *Error) {
	v, end := value{kind: list}, byte(']')
	if open == '{' {
		v, end = value{kind: object}, '}'
	}
	p.pos++
	p.space()
	if p.pos < len(p.buf) && p.buf[p.pos] == end {
		p.pos++
		return v, nil
	}
	for {
		if open == '{' {
			if err := p.name(&v); err != nil {
				return v, err
			}
		}
		item, err := p.value()
		if err != nil {
			return v, err
		}
		v.items = append(v.items, item)
		p.space()
		switch {
		case p.pos < len(p.buf) && p.buf[p.pos] == end:
			p.pos++
			if open == '{' {
				v.items = lastWins(v.items)
			}
			return v, nil
		case p.pos >= len(p.buf) || p.buf[p.pos] != ',':
			return v, p.wrong("a comma or '" + string(end) + "'")
		}
		p.pos++
		p.space()
	}
}

func (p *parser) name(v *value) *Error {
	if p.pos >= len(p.buf) || p.buf[p.pos] != '"' {
		return p.wrong("a name in double quotes")
	}
	s, err := p.str()
	if err != nil {
		return err
	}
	v.items = append(v.items, textValue(s))
	p.space()
	if p.pos >= len(p.buf) || p.buf[p.pos] != ':' {
		return p.wrong("a colon")
	}
	p.pos++
	p.space()
	return nil
}

// lastWins drops members that a later one of the same name replaces, as
// Python does: the value is the last one's, the place the first one's.
func lastWins(items []value) []value {
	const few = 16
	if len(items) <= 2*few {
		for i := 2; i < len(items); i += 2 {
			for j := 0; j < i; j += 2 {
				if items[i].text == items[j].text {
					items[j+1] = items[i+1]
					items = slices.Delete(items, i, i+2)
					i -= 2
					break
				}
			}
		}
		return items
	}
	at, kept := make(map[string]int, len(items)/2), items[:0]
	for i := 0; i < len(items); i += 2 {
		if j, ok := at[items[i].text]; ok {
			kept[j+1] = items[i+1]
			continue
		}
		at[items[i].text] = len(kept)
		kept = append(kept, items[i], items[i+1])
	}
	return kept
}

// str reads a string, by the standard library when there is anything in it
// besides plain characters.
func (p *parser) str() (string, *Error) {
	from := p.pos
	plain, ok := p.skipString()
	if !ok {
		return "", p.wrong("the end of a string")
	}
	raw := p.buf[from:p.pos]
	if plain {
		return string(raw[1 : len(raw)-1]), nil
	}
	var s string
	if err := json.Unmarshal(raw, &s); err != nil {
		return "", Errorf(InvalidInput, "invalid JSON: the string at byte %d: %w", from, err)
	}
	return s, nil
}

func (p *parser) number() (value, *Error) {
	from := p.pos
	whole, ok := p.skipNumber()
	if !ok {
		return value{}, p.wrong("a value")
	}
	digits := p.buf[from:p.pos]
	if !whole {
		f, err := strconv.ParseFloat(string(digits), 64)
		if err != nil && !math.IsInf(f, 0) {
			return value{}, Errorf(InvalidInput, "invalid JSON: the number at byte %d: %w", from, err)
		}
		return floatValue(f), nil // Python, too, takes 1e999 for infinity
	}
	return wholeValue(string(digits)), nil
}

func wholeValue(digits string) value {
	if i, err := strconv.ParseInt(digits, 10, 64); err == nil {
		return intValue(i)
	}
	if u, err := strconv.ParseUint(digits, 10, 64); err == nil {
		return value{kind: natural, bits: u}
	}
	return value{kind: huge, text: digits}
}
