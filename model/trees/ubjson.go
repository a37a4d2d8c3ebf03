package trees

import (
	"errors"
	"fmt"
	"strconv"
)

// ubjson reads Universal Binary JSON (draft 12) as XGBoost writes it: plain
// objects, and lists that may say the type and number of their items.
type ubjson struct {
	data  []byte
	pos   int
	depth int
}

// take returns the next n bytes.
func (u *ubjson) take(n int) ([]byte, error) {
	if n < 0 || n > len(u.data)-u.pos {
		return nil, errEnd
	}
	b := u.data[u.pos : u.pos+n]
	u.pos += n
	return b, nil
}

// marker returns the next type.
func (u *ubjson) marker() (byte, error) {
	b, err := u.take(1)
	if err != nil {
		return 0, err
	}
	return b[0], nil
}

func (u *ubjson) wrong(marker byte, want string) error {
	return fmt.Errorf("byte %d: type %q, where %s should be", u.pos-1, marker, want)
}

// length reads the number of bytes or items that follow, which take at least
// size bytes each.
func (u *ubjson) length(size int) (int, error) {
	n, err := u.whole(0)
	if err != nil {
		return 0, err
	}
	if n < 0 || n > int64((len(u.data)-u.pos)/size) {
		return 0, errEnd
	}
	return int(n), nil
}

func (u *ubjson) enter() error {
	if u.depth++; u.depth > maxDepth {
		return errDeep
	}
	return nil
}

func (u *ubjson) object(member func(key string) error) error {
	m, err := u.marker()
	if err != nil {
		return err
	}
	if m != '{' {
		return u.wrong(m, "an object")
	}
	return u.members(member)
}

// members reads an object behind its brace.
func (u *ubjson) members(member func(key string) error) error {
	if err := u.enter(); err != nil {
		return err
	}
	defer func() { u.depth-- }()
	for {
		if u.pos < len(u.data) && u.data[u.pos] == '}' {
			u.pos++
			return nil
		}
		n, err := u.length(1)
		if err != nil {
			return err
		}
		key, err := u.take(n)
		if err != nil {
			return err
		}
		if err := member(string(key)); err != nil {
			return err
		}
	}
}

// items goes through a list behind its bracket. item gets the type that the list
// says of its items, 0 when each says its own.
func (u *ubjson) items(item func(typ byte) error) error {
	if err := u.enter(); err != nil {
		return err
	}
	defer func() { u.depth-- }()
	typ, n, err := u.head()
	if err != nil {
		return err
	}
	for ; n != 0; n-- {
		if n < 0 && u.pos < len(u.data) && u.data[u.pos] == ']' {
			u.pos++
			return nil
		}
		if err := item(typ); err != nil {
			return err
		}
	}
	return nil
}

// head reads what a list says of its items: their type, 0 when each says its
// own, and their number, -1 when a bracket ends them.
func (u *ubjson) head() (typ byte, n int, err error) {
	if u.pos < len(u.data) && u.data[u.pos] == '$' {
		u.pos++
		if typ, err = u.marker(); err != nil {
			return 0, 0, err
		}
		if sizeOf(typ) < 1 {
			return 0, 0, fmt.Errorf("byte %d: a list of type %q", u.pos-1, typ)
		}
	}
	if u.pos < len(u.data) && u.data[u.pos] == '#' {
		u.pos++
		n, err = u.length(max(1, sizeOf(typ)))
		return typ, n, err
	}
	if typ != 0 {
		return 0, 0, errors.New("a list with a type and no number of items")
	}
	return 0, -1, nil
}

func (u *ubjson) openList() error {
	m, err := u.marker()
	if err == nil && m != '[' {
		err = u.wrong(m, "a list")
	}
	return err
}

func (u *ubjson) list(item func() error) error {
	if err := u.openList(); err != nil {
		return err
	}
	return u.items(func(typ byte) error {
		if typ != 0 {
			return u.wrong(typ, "items that say their own type")
		}
		return item()
	})
}

func (u *ubjson) text() (string, error) {
	m, err := u.marker()
	if err != nil {
		return "", err
	}
	if m != 'S' {
		n, err := u.whole(m)
		return strconv.FormatInt(n, 10), err
	}
	n, err := u.length(1)
	if err != nil {
		return "", err
	}
	b, err := u.take(n)
	return string(b), err
}

func (u *ubjson) floats() (out []float32, err error) {
	if err := u.openList(); err != nil {
		return nil, err
	}
	err = u.items(func(typ byte) error {
		x, err := u.real(typ)
		out = append(out, x)
		return err
	})
	return out, err
}

func (u *ubjson) ints() (out []int32, err error) {
	if err := u.openList(); err != nil {
		return nil, err
	}
	err = u.items(func(typ byte) error {
		n, err := u.whole(typ)
		if err == nil && n != int64(int32(n)) { //nolint:gosec // that is the question
			err = fmt.Errorf("byte %d: %d is no whole number of 32 bits", u.pos, n)
		}
		out = append(out, int32(n)) //nolint:gosec // checked
		return err
	})
	return out, err
}

func (u *ubjson) skip() error { return u.skipOf(0) }

// skipOf passes a value of a type, 0 for one that says it.
func (u *ubjson) skipOf(m byte) (err error) {
	if m == 0 {
		if m, err = u.marker(); err != nil {
			return err
		}
	}
	size := sizeOf(m)
	switch m {
	case '{':
		return u.members(func(string) error { return u.skip() })
	case '[':
		return u.items(u.skipOf)
	case 'S', 'H':
		if size, err = u.length(1); err != nil {
			return err
		}
	}
	if size < 0 {
		return u.wrong(m, "a value")
	}
	_, err = u.take(size)
	return err
}

func (u *ubjson) end() error {
	if u.pos < len(u.data) {
		return fmt.Errorf("byte %d: the file goes on behind the model", u.pos)
	}
	return nil
}
