package oip

import (
	"encoding/binary"
	"fmt"
	"strconv"
)

// write makes the body.
func (r *request) write() {
	const room = 96 // bytes of JSON a tensor, besides its name
	size := 128 + len(r.id)
	for i := range r.inputs {
		size += room + len(r.inputs[i].name) + 20*len(r.inputs[i].shape) + r.inputs[i].size
	}
	b := append(make([]byte, 0, size+32*len(r.outputs)), '{')
	if len(r.id) > 0 {
		b = append(appendText(append(b, `"id":`...), r.id), ',')
	}
	b = append(b, `"inputs":[`...)
	for i := range r.inputs {
		in := &r.inputs[i]
		if i > 0 {
			b = append(b, ',')
		}
		b = appendText(append(b, `{"name":`...), in.name)
		b = append(b, `,"shape":[`...)
		for d, n := range in.shape {
			if d > 0 {
				b = append(b, ',')
			}
			b = strconv.AppendInt(b, n, 10)
		}
		b = appendText(append(b, `],"datatype":`...), in.datatype)
		b = strconv.AppendInt(append(b, `,"parameters":{"binary_data_size":`...), int64(in.size), 10)
		b = append(b, "}}"...)
	}
	b = append(b, ']')
	for i, name := range r.outputs {
		b = append(b, map[bool]string{true: `,"outputs":[`, false: ","}[i == 0]...)
		b = append(appendText(append(b, `{"name":`...), name), '}')
	}
	if len(r.outputs) > 0 {
		b = append(b, ']')
	}
	b = append(b, `,"parameters":{"binary_data_output":true}}`...)
	r.Head = len(b)
	for i := range r.inputs {
		if len(r.raw) > 0 {
			b = append(b, r.raw[i]...)
		} else {
			b = r.inputs[i].append(b)
		}
	}
	r.Body = b
}

// appendText writes a JSON string.
func appendText(dst, s []byte) []byte {
	dst = append(dst, '"')
	for _, c := range s {
		switch {
		case c == '"' || c == '\\':
			dst = append(dst, '\\', c)
		case c < ' ':
			dst = fmt.Appendf(dst, `\u%04x`, c)
		default:
			dst = append(dst, c)
		}
	}
	return append(dst, '"')
}

// little is the byte order of raw contents.
var little = binary.LittleEndian //nolint:gochecknoglobals // a name
