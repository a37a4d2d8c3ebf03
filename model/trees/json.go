package trees

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"strconv"
)

// jsonText reads JSON as XGBoost writes it: with the bare words NaN, Infinity
// and -Infinity for numbers.
type jsonText struct {
	data  []byte
	pos   int
	depth int
}

// peek goes to the next character and returns it, 0 at the end.
func (j *jsonText) peek() byte {
	for j.pos < len(j.data) && space(j.data[j.pos]) {
		j.pos++
	}
	if j.pos == len(j.data) {
		return 0
	}
	return j.data[j.pos]
}

func (j *jsonText) expect(c byte) error {
	switch got := j.peek(); got {
	case c:
		j.pos++
		return nil
	case 0:
		return errEnd
	default:
		return fmt.Errorf("byte %d: %q, where %q should be", j.pos, got, c)
	}
}

// items goes through a list or an object.
func (j *jsonText) items(open, end byte, item func() error) error {
	if err := j.expect(open); err != nil {
		return err
	}
	if j.depth++; j.depth > maxDepth {
		return errDeep
	}
	defer func() { j.depth-- }()
	if j.peek() == end {
		j.pos++
		return nil
	}
	for {
		if err := item(); err != nil {
			return err
		}
		if j.peek() == end {
			j.pos++
			return nil
		}
		if err := j.expect(','); err != nil {
			return err
		}
	}
}

func (j *jsonText) object(member func(key string) error) error {
	return j.items('{', '}', func() error {
		if j.peek() != '"' {
			return j.expect('"')
		}
		key, err := j.text()
		if err == nil {
			err = j.expect(':')
		}
		if err == nil {
			err = member(key)
		}
		return err
	})
}

func (j *jsonText) list(item func() error) error { return j.items('[', ']', item) }

func (j *jsonText) text() (string, error) {
	if j.peek() != '"' {
		w, err := j.word()
		return string(w), err
	}
	from := j.pos
	for j.pos++; j.pos < len(j.data); j.pos++ {
		switch j.data[j.pos] {
		case '\\':
			j.pos++
		case '"':
			j.pos++
			quoted := j.data[from:j.pos]
			if bytes.IndexByte(quoted, '\\') < 0 {
				return string(quoted[1 : len(quoted)-1]), nil
			}
			var s string
			if err := json.Unmarshal(quoted, &s); err != nil {
				return "", fmt.Errorf("byte %d: %w", from, err)
			}
			return s, nil
		}
	}
	return "", errEnd
}

// word is a number, or a bare word.
func (j *jsonText) word() ([]byte, error) {
	j.peek()
	from := j.pos
	for j.pos < len(j.data) {
		c := j.data[j.pos]
		if (c < '0' || c > '9') && (c|0x20 < 'a' || c|0x20 > 'z') && c != '-' && c != '+' && c != '.' {
			break
		}
		j.pos++
	}
	switch {
	case j.pos == len(j.data):
		return nil, errEnd
	case j.pos == from:
		return nil, fmt.Errorf("byte %d: %q, where a number should be", from, j.data[from])
	}
	return j.data[from:j.pos], nil
}

func (j *jsonText) floats() (out []float32, err error) {
	err = j.list(func() error {
		w, err := j.word()
		if err != nil {
			return err
		}
		x, err := strconv.ParseFloat(string(w), 32)
		if err != nil && !errors.Is(err, strconv.ErrRange) {
			return fmt.Errorf("byte %d: %q is no number", j.pos, clip(string(w)))
		}
		out = append(out, float32(x))
		return nil
	})
	return out, err
}

func (j *jsonText) ints() (out []int32, err error) {
	err = j.list(func() error {
		w, err := j.word()
		if err != nil {
			return err
		}
		var n int64
		switch string(w) {
		case "false":
		case "true":
			n = 1
		default:
			if n, err = strconv.ParseInt(string(w), 10, 32); err != nil {
				return fmt.Errorf("byte %d: %q is no whole number of 32 bits", j.pos, clip(string(w)))
			}
		}
		out = append(out, int32(n))
		return nil
	})
	return out, err
}

func (j *jsonText) skip() (err error) {
	switch j.peek() {
	case '{':
		return j.object(func(string) error { return j.skip() })
	case '[':
		return j.list(j.skip)
	case '"':
		_, err = j.text()
	default:
		_, err = j.word()
	}
	return err
}

func (j *jsonText) end() error {
	if j.peek() != 0 || j.pos < len(j.data) {
		return fmt.Errorf("byte %d: the file goes on behind the model", j.pos)
	}
	return nil
}
