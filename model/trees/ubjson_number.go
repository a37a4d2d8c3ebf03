package trees

import (
	"encoding/binary"
	"math"
)

// sizeOf is how many bytes a value of a fixed size takes, -1 for other types.
func sizeOf(marker byte) int {
	switch marker {
	case 'Z', 'T', 'F', 'N':
		return 0
	case 'i', 'U', 'C':
		return 1
	case 'I':
		return 2
	case 'l', 'd':
		return 4
	case 'L', 'D':
		return 8
	default:
		return -1
	}
}

// whole reads an integer of a type, 0 for one that says it.
func (u *ubjson) whole(marker byte) (int64, error) {
	if marker == 0 {
		m, err := u.marker()
		if err != nil {
			return 0, err
		}
		if m == 0 {
			return 0, u.wrong(m, "an integer")
		}
		return u.whole(m)
	}
	switch marker {
	case 'T':
		return 1, nil
	case 'F':
		return 0, nil
	case 'i', 'U', 'I', 'l', 'L':
	default:
		return 0, u.wrong(marker, "an integer")
	}
	b, err := u.take(sizeOf(marker))
	if err != nil {
		return 0, err
	}
	switch marker {
	case 'i':
		return int64(int8(b[0])), nil //nolint:gosec // two's complement
	case 'U':
		return int64(b[0]), nil
	case 'I':
		return int64(int16(binary.BigEndian.Uint16(b))), nil //nolint:gosec // likewise
	case 'l':
		return int64(int32(binary.BigEndian.Uint32(b))), nil //nolint:gosec // likewise
	default:
		return int64(binary.BigEndian.Uint64(b)), nil //nolint:gosec // likewise
	}
}

// real reads a number of a type, 0 for one that says it.
func (u *ubjson) real(marker byte) (float32, error) {
	switch marker {
	case 0:
		m, err := u.marker()
		if err != nil {
			return 0, err
		}
		if m == 0 {
			return 0, u.wrong(m, "a number")
		}
		return u.real(m)
	case 'd':
		b, err := u.take(4)
		if err != nil {
			return 0, err
		}
		return math.Float32frombits(binary.BigEndian.Uint32(b)), nil
	case 'D':
		b, err := u.take(8)
		if err != nil {
			return 0, err
		}
		return float32(math.Float64frombits(binary.BigEndian.Uint64(b))), nil
	default:
		n, err := u.whole(marker)
		return float32(n), err
	}
}
