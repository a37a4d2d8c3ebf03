package model

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"
	"unicode/utf8"
)

// This file is what Python's float(), int(), bool() and str() make of a value,
// since MLflow casts by them.

var (
	errNaN  = errors.New("NaN and infinity are no whole numbers")
	errWide = errors.New("out of the range of the type")
)

// toFloat is float(v). None is NaN, as numpy has it.
func (v *value) toFloat() (float64, error) {
	switch v.kind { //nolint:exhaustive // the default has the others
	case none:
		return math.NaN(), nil
	case boolean, integer:
		return float64(v.int()), nil
	case natural:
		return float64(v.bits), nil
	case huge:
		f, err := strconv.ParseFloat(v.text, 64)
		if err != nil {
			return 0, errWide
		}
		return f, nil
	case number:
		return v.float(), nil
	case text:
		return parsePythonFloat(v.text)
	default:
		return 0, fmt.Errorf("%s is no number", v.describe())
	}
}

func parsePythonFloat(s string) (float64, error) {
	t := strings.TrimSpace(s)
	switch strings.ToLower(strings.TrimLeft(t, "+-")) {
	case "inf", "infinity", "nan":
		f, err := strconv.ParseFloat(t, 64)
		if err != nil { // a sign before NaN, or two
			return 0, fmt.Errorf("%q is no number", clip(s))
		}
		return f, nil
	}
	digits, ok := dropUnderscores(t)
	if !ok || strings.ContainsAny(digits, "xXpPnN") {
		return 0, fmt.Errorf("%q is no number", clip(s))
	}
	f, err := strconv.ParseFloat(digits, 64)
	if err != nil && !math.IsInf(f, 0) {
		return 0, fmt.Errorf("%q is no number", clip(s))
	}
	return f, nil
}

// dropUnderscores takes out underscores, which Python allows between digits.
func dropUnderscores(s string) (string, bool) {
	if !strings.Contains(s, "_") {
		return s, true
	}
	digit := func(i int) bool { return i >= 0 && i < len(s) && s[i]-'0' <= 9 }
	for i := range len(s) {
		if s[i] == '_' && (!digit(i-1) || !digit(i+1)) {
			return "", false
		}
	}
	return strings.ReplaceAll(s, "_", ""), true
}

// toInt is int(v) as a value of kind integer or natural.
func (v *value) toInt() (value, error) {
	switch v.kind { //nolint:exhaustive // the default has the others
	case boolean:
		return intValue(v.int()), nil
	case integer, natural:
		return *v, nil
	case huge:
		return value{}, errWide
	case number:
		return truncate(v.float())
	case text:
		digits, ok := dropUnderscores(strings.TrimSpace(v.text))
		bare := strings.TrimLeft(digits, "+-")
		if !ok || bare == "" || len(digits)-len(bare) > 1 || strings.Trim(bare, "0123456789") != "" {
			return value{}, fmt.Errorf("%q is no whole number", clip(v.text))
		}
		w := wholeValue(strings.TrimPrefix(digits, "+"))
		if w.kind == huge {
			return value{}, errWide
		}
		return w, nil
	default:
		return value{}, fmt.Errorf("%s is no whole number", v.describe())
	}
}

func truncate(f float64) (value, error) {
	if math.IsNaN(f) || math.IsInf(f, 0) {
		return value{}, errNaN
	}
	if f >= 1<<63 || f < -1<<63 {
		return value{}, errWide
	}
	return intValue(int64(f)), nil
}

// toBool is bool(v).
func (v *value) toBool() bool {
	switch v.kind { //nolint:exhaustive // the default has the others
	case none:
		return false
	case boolean, integer, natural:
		return v.bits != 0
	case huge:
		return true
	case number:
		return v.float() != 0
	case text, blob, stamp:
		return v.text != ""
	default:
		return len(v.items) > 0
	}
}

// toString is str(v).
func (v *value) toString() string {
	if v.kind == text {
		return v.text
	}
	return string(v.appendRepr(nil))
}

// appendRepr appends repr(v).
func (v *value) appendRepr(dst []byte) []byte {
	switch v.kind { //nolint:exhaustive // the default has the others
	case none:
		return append(dst, "None"...)
	case boolean:
		if v.bits != 0 {
			return append(dst, "True"...)
		}
		return append(dst, "False"...)
	case integer:
		return strconv.AppendInt(dst, v.int(), 10)
	case natural:
		return strconv.AppendUint(dst, v.bits, 10)
	case huge, stamp:
		return append(dst, v.text...)
	case number:
		return appendPythonFloat(dst, v.float())
	case text:
		return appendQuoted(dst, v.text, false)
	case blob:
		return appendQuoted(append(dst, 'b'), v.text, true)
	default:
		return v.appendNested(dst)
	}
}

func (v *value) appendNested(dst []byte) []byte {
	brackets := "[]"
	if v.kind == object {
		brackets = "{}"
	}
	dst = append(dst, brackets[0])
	for i := range v.items {
		switch {
		case i == 0:
		case v.kind == object && i%2 == 1:
			dst = append(dst, ": "...)
		default:
			dst = append(dst, ", "...)
		}
		dst = v.items[i].appendRepr(dst)
	}
	return append(dst, brackets[1])
}

// appendQuoted writes a string or bytes as Python's repr does: in single
// quotes unless those alone are in it.
func appendQuoted(dst []byte, s string, bytes bool) []byte {
	quote := byte('\'')
	if strings.Contains(s, "'") && !strings.Contains(s, `"`) {
		quote = '"'
	}
	dst = append(dst, quote)
	for i := 0; i < len(s); {
		r, n := rune(s[i]), 1
		if !bytes {
			r, n = utf8.DecodeRuneInString(s[i:])
		}
		i += n
		switch {
		case r == '\\' || r == rune(quote):
			dst = append(dst, '\\', s[i-1])
		case r == '\n':
			dst = append(dst, `\n`...)
		case r == '\r':
			dst = append(dst, `\r`...)
		case r == '\t':
			dst = append(dst, `\t`...)
		case r < ' ' || r == 0x7f || r < 0x100 && (bytes && r > 0x7f || !strconv.IsPrint(r)):
			dst = fmt.Appendf(dst, `\x%02x`, r)
		case strconv.IsPrint(r):
			dst = utf8.AppendRune(dst, r)
		case r <= 0xffff:
			dst = fmt.Appendf(dst, `\u%04x`, r)
		default:
			dst = fmt.Appendf(dst, `\U%08x`, r)
		}
	}
	return append(dst, quote)
}

// appendPythonFloat writes a float as Python's repr does: the shortest digits
// that read back as the same float64, with an exponent below 1e-4 and from
// 1e16 on.
func appendPythonFloat(dst []byte, f float64) []byte {
	switch {
	case math.IsNaN(f):
		return append(dst, "nan"...)
	case math.IsInf(f, 1):
		return append(dst, "inf"...)
	case math.IsInf(f, -1):
		return append(dst, "-inf"...)
	}
	return appendFinite(dst, f)
}

// appendFinite is appendPythonFloat for what JSON can hold.
func appendFinite(dst []byte, f float64) []byte {
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		return strconv.AppendFloat(dst, f, 'e', -1, 64)
	}
	from := len(dst)
	dst = strconv.AppendFloat(dst, f, 'f', -1, 64)
	if slices.Contains(dst[from:], '.') {
		return dst
	}
	return append(dst, '.', '0')
}

// describe names what a value is, with its text when that is short, for an
// error's message.
func (v *value) describe() string {
	switch v.kind { //nolint:exhaustive // the default has the others
	case none:
		return "null"
	case list:
		return "a list"
	case object:
		return "an object"
	case text:
		return strconv.Quote(clip(v.text))
	default:
		return clip(v.toString())
	}
}

// clip shortens what goes into a message.
func clip(s string) string { return clipTo(s, 40) }

func clipTo(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for most > 0 && !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most] + "…"
}
