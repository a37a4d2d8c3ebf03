package model

import (
	"encoding/binary"
	"math"
	"slices"
	"strconv"
	"strings"
	"unsafe"
)

// The Open Inference Protocol's binary tensor data extension: a body is JSON, of which
// the header Inference-Header-Content-Length tells the length, and behind it the
// elements of those tensors that have binary_data_size in the place of data, in the
// order of the JSON, little-endian and without padding. A string is its length as a u32
// and its bytes. Tensors are in the machine's byte order, which is the same on all that
// this runs on.

// ContentBinary is the content type of a body whose tensors follow its JSON.
const ContentBinary = "application/octet-stream"

// DecodeBinary is [Codec.Decode] of a body whose first headerLength bytes, a decimal
// number, are the JSON of a V2 request, and the rest its tensors. Where the body's memory
// is aligned the inputs are views of it, so that it has to stay as it is until the next
// Decode into req.
func (c *Codec) DecodeBinary(req *Request, contentType, headerLength string, body []byte) error {
	req.tail = nil
	req.reset(len(c.info.Inputs))
	req.dialect = v2Dialect
	head, tail, err := cutHead(contentType, headerLength, body)
	if err == nil {
		req.tail = tail
		err = c.decode(req, mediaType{dialect: v2Dialect, told: true}, head)
	}
	if err == nil && len(req.rest) > 0 {
		err = Invalidf("inputs", "%d bytes follow the last input's", len(req.rest))
	}
	if err == nil {
		err = req.finish(c)
	}
	if err != nil {
		err.clip()
		return err
	}
	return nil
}

func cutHead(contentType, headerLength string, body []byte) (head, tail []byte, err *Error) {
	switch kind, _, _ := strings.Cut(contentType, ";"); strings.TrimSpace(strings.ToLower(kind)) {
	case "", ContentBinary, RawJSON:
	default:
		return nil, nil, Errorf(UnsupportedMediaType, "content type %q is neither %s nor %s, for a body that tensors follow", clip(kind), ContentBinary, RawJSON)
	}
	n, bad := strconv.ParseUint(headerLength, 10, 31)
	if bad != nil || n == 0 || n > uint64(len(body)) {
		return nil, nil, Errorf(InvalidInput, "the header's length is %q, of a body of %d bytes", clip(headerLength), len(body))
	}
	return body[:n], body[n:], nil
}

// take cuts the next bytes off those that follow the JSON.
func (r *Request) take(size int64) ([]byte, bool) {
	if size < 0 || size > int64(len(r.rest)) {
		return nil, false
	}
	raw := r.rest[:size:size]
	r.rest = r.rest[size:]
	return raw, true
}

// view makes Inputs[i] the tensor of n elements that raw holds.
func (r *Request) view(i int, spec *Spec, dims []int64, n int, raw []byte) *Error {
	if spec.DType == String {
		if n > len(raw)/4 { // each has its length at least
			return Invalidf(spec.Name, "%d bytes do not hold the %d strings of shape %s", len(raw), n, shapeText(dims))
		}
		t := r.tensor(i, spec, n)
		t.Shape = append(t.Shape, dims...)
		return t.readStrings(raw)
	}
	size := spec.DType.Size()
	if len(raw) != n*size {
		return Invalidf(spec.Name, "%d bytes, where shape %s of %s has %d", len(raw), shapeText(dims), spec.DType.V2(), n*size)
	}
	if spec.DType == Bool || len(raw) == 0 || uintptr(unsafe.Pointer(unsafe.SliceData(raw)))%8 != 0 { //nolint:gosec // only to see whether it is aligned
		t := r.tensor(i, spec, n)
		t.Shape = append(t.Shape, dims...)
		copy(t.Data, raw)
		if spec.DType == Bool {
			for k, b := range t.Data {
				t.Data[k] = min(b, 1)
			}
		}
		return nil
	}
	t := r.tensor(i, spec, 0)
	t.Shape, t.Data = append(t.Shape, dims...), raw
	return nil
}

// readStrings fills the tensor; they share one piece of memory.
func (t *Tensor) readStrings(raw []byte) *Error {
	text := string(raw)
	for i := range t.Strings {
		if len(text) < 4 {
			return Invalidf(t.Name, "the bytes end within string %d of %d", i, len(t.Strings))
		}
		size := binary.LittleEndian.Uint32([]byte(text[:4]))
		if text = text[4:]; uint64(size) > uint64(len(text)) {
			return Invalidf(t.Name, "string %d is said to have %d bytes, %d are left", i, size, len(text))
		}
		t.Strings[i], text = text[:size], text[size:]
	}
	if len(text) > 0 {
		return Invalidf(t.Name, "%d bytes follow the last string", len(text))
	}
	return nil
}

// v2Data fills an input from where its data is: in the JSON, or behind it.
func (c *Codec) v2Data(req *Request, i int, in *value, dims []int64, n int64) *Error {
	spec := &c.info.Inputs[i]
	data, raw, err := req.dataOf(in, spec.Name)
	if err != nil {
		return err
	}
	if raw != nil {
		return req.view(i, spec, dims, int(n), raw)
	}
	if have := data.leaves(); int64(have) != n {
		return Invalidf(spec.Name, "%d elements, where shape %s has %d", have, shapeText(dims), n)
	}
	t := req.tensor(i, spec, int(n))
	t.Shape = append(t.Shape, dims...)
	if data.items != nil && data.items[0].kind == list && !slices.Equal(shapeOf(data), dims) {
		return Invalidf(spec.Name, "nested as %s, where the shape is %s", shapeText(shapeOf(data)), shapeText(dims))
	}
	at := 0
	return t.fill(data, spec.Name, &at)
}

// dataOf returns an input's list of elements, or else the bytes that hold them, which
// are not nil then.
func (r *Request) dataOf(in *value, path string) (data *value, raw []byte, err *Error) {
	data = in.get("data")
	var size *value
	if p := in.get("parameters"); p != nil {
		if p.get("shared_memory_region") != nil {
			return nil, nil, Invalidf(path, "shared memory is not served; send the data")
		}
		size = p.get("binary_data_size")
	}
	switch {
	case size == nil && (data == nil || data.kind != list):
		return nil, nil, Invalidf(path, "no list of elements: neither data nor binary_data_size")
	case size == nil:
		return data, nil, nil
	case data != nil:
		return nil, nil, Invalidf(path, "both data and binary_data_size")
	case r.tail == nil:
		return nil, nil, Invalidf(path, "binary_data_size, and no header inference-header-content-length says where the bytes begin")
	case size.kind != integer:
		return nil, nil, Invalidf(path, "binary_data_size is %s", size.describe())
	}
	left := len(r.rest)
	raw, ok := r.take(size.int())
	if !ok {
		return nil, nil, Invalidf(path, "binary_data_size is %s, %d bytes are left", size.describe(), left)
	}
	return nil, raw, nil
}

// wants says whether an output is to follow the answer's JSON as bytes.
func (r *Request) wants(output int) bool {
	if slices.Contains(r.asBytes, output) {
		return true
	}
	return r.allBytes && !slices.Contains(r.asJSON, output)
}

// takeForm reads the parameters of a V2 request, and those of its outputs.
func (r *Request) takeForm(v *value, path, name string) (yes, told bool, err *Error) {
	if v == nil || v.kind == none {
		return false, false, nil
	}
	if v.kind != object {
		return false, false, Invalidf(path, "%s, where an object should be", v.describe())
	}
	for _, other := range []string{"classification", "shared_memory_region"} {
		if v.get(other) != nil {
			return false, false, Invalidf(path+"."+other, "this extension is not served")
		}
	}
	form := v.get(name)
	switch {
	case form == nil:
		return false, false, nil
	case form.kind != boolean:
		return false, false, Invalidf(path+"."+name, "%s, where true or false should be", form.describe())
	}
	return form.bits != 0, true, nil
}

// bytesOf is how many bytes an output takes behind the JSON.
func (t *Tensor) bytesOf() int64 {
	if t.DType != String {
		return int64(len(t.Data))
	}
	n := int64(0)
	for _, s := range t.Strings {
		n += 4 + int64(len(s))
	}
	return n
}

// appendBytes appends an output as it follows the JSON.
func (t *Tensor) appendBytes(dst []byte) ([]byte, *Error) {
	if t.DType != String {
		return append(dst, t.Data...), nil
	}
	for _, s := range t.Strings {
		if int64(len(s)) > math.MaxUint32 {
			return dst, Errorf(Failed, "output %q: a string of %d bytes", t.Name, len(s))
		}
		dst = append(binary.LittleEndian.AppendUint32(dst, uint32(len(s))), s...) //nolint:gosec // its length was checked
	}
	return dst, nil
}
