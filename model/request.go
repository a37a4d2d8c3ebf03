package model

import (
	"strconv"
	"unsafe"
)

// Request is one decoded request. It is reused: Decode resets it and keeps its
// memory, so Inputs are valid until the next Decode into it. Of the zero
// Request, ContentType and EncodeError are those of MLflow's dialect.
type Request struct {
	Inputs []Tensor // in the order of Info.Inputs, ready for Model.Predict
	Rows   int      // the first dimension of the inputs; 1 when the model does not batch or they have no common one

	dialect dialect
	records bool   // MLflow answers with a record a row, as the request was a data frame
	id      []byte // of a V2 request, in JSON; empty when it had none
	outputs []int  // that a V2 request asks for; none for all

	tail, rest []byte // what follows a V2 request's JSON: all, and what no input has taken
	allBytes   bool   // V2's outputs are to follow the answer's JSON as bytes
	asBytes    []int  // these are
	asJSON     []int  // these are not
	head       int    // of the answer: how many of its bytes are JSON, 0 for all

	mem    [][]uint64 // behind Inputs' numbers, as words so that they are aligned
	texts  [][]string // behind Inputs' strings
	shapes [][]int64  // behind Inputs' shapes
	keys   [][]byte   // the scanner's: names of columns, in the body
	cells  []cell     // the scanner's: where columns go
	order  []int      // the scanner's: which columns came
	flags  []bool     // the scanner's: whether a number of an input had a fraction
}

// dialect is the protocol that a request came in.
type dialect uint8

const (
	mlflowDialect dialect = iota
	v2Dialect
)

// ContentType is that of the answer that was encoded last.
func (r *Request) ContentType() string {
	if r.head > 0 {
		return ContentBinary
	}
	return RawJSON
}

// HeaderLength is how many bytes of the answer that was encoded last are JSON, where
// tensors follow it; else 0.
func (r *Request) HeaderLength() int { return r.head }

// Undecoded makes the request one of which no more is known than what came beside its
// body: that is enough to answer with an error in the right form.
func (r *Request) Undecoded(contentType, headerLength string) {
	*r = Request{}
	if m, _ := parseMediaType(contentType); m.told {
		r.dialect = m.dialect
	}
	if headerLength != "" {
		r.dialect = v2Dialect
	}
}

// reset makes the request ready for another body of a model with n inputs.
func (r *Request) reset(n int) {
	r.Rows, r.dialect, r.records = 1, mlflowDialect, false
	r.id, r.outputs = r.id[:0], r.outputs[:0]
	r.rest, r.allBytes, r.asBytes, r.asJSON, r.head = r.tail, false, r.asBytes[:0], r.asJSON[:0], 0
	if cap(r.Inputs) < n {
		r.Inputs = make([]Tensor, n)
		r.mem, r.texts, r.shapes = make([][]uint64, n), make([][]string, n), make([][]int64, n)
	}
	r.Inputs = r.Inputs[:n]
	for i := range r.Inputs {
		r.Inputs[i].DType = Invalid // not there yet
	}
}

// tensor makes Inputs[i] one of n elements, whose contents are arbitrary and
// whose shape is to be appended.
func (r *Request) tensor(i int, spec *Spec, n int) *Tensor {
	t := &r.Inputs[i]
	t.Name, t.DType, t.Data, t.Strings = spec.Name, spec.DType, nil, nil
	if cap(r.shapes[i]) == 0 {
		r.shapes[i] = make([]int64, 0, 4)
	}
	t.Shape = r.shapes[i][:0]
	if spec.DType == String {
		if cap(r.texts[i]) < n {
			r.texts[i] = make([]string, n)
		}
		t.Strings = r.texts[i][:n]
		return t
	}
	t.Data = r.data(i, n*spec.DType.Size())
	return t
}

// data returns size bytes behind Inputs[i], never nil.
func (r *Request) data(i, size int) []byte { return BytesOf(r.words(i, size))[:size] }

// words returns all memory behind Inputs[i], size bytes at least. What was in
// it stays.
func (r *Request) words(i, size int) []uint64 {
	if words := max(1, (size+7)/8); len(r.mem[i]) < words {
		grown := make([]uint64, max(words, 2*len(r.mem[i])))
		copy(grown, r.mem[i])
		r.mem[i] = grown
	}
	return r.mem[i]
}

// viewWords returns words as elements of another type.
func viewWords[T Element](words []uint64) []T { return View[T](&Tensor{Data: BytesOf(words)}) }

func sizeOf[T Element]() int {
	var zero T
	return int(unsafe.Sizeof(zero))
}

// finish counts the rows and holds them against the limit.
func (r *Request) finish(c *Codec) *Error {
	r.Rows = 1
	if c.info.Batches {
		r.Rows = commonRows(r.Inputs)
	}
	rows := r.Rows
	if r.records { // rows of a data frame count even when they do not batch
		rows = max(rows, commonRows(r.Inputs))
	}
	if c.limits.MaxRows > 0 && rows > c.limits.MaxRows {
		return Errorf(TooLarge, "%d rows, more than %d", rows, c.limits.MaxRows)
	}
	return nil
}

// commonRows is the first dimension that all tensors share, 1 when they do not.
func commonRows(ts []Tensor) int {
	for i := range ts {
		if len(ts[i].Shape) == 0 || ts[i].Shape[0] != ts[0].Shape[0] {
			return 1
		}
	}
	if len(ts) == 0 {
		return 1
	}
	return int(ts[0].Shape[0])
}

// EncodeError appends the error's body in the request's dialect.
//
// MLflow: {"error_code":"INVALID_INPUT","message":"…","field":"…","retryable":false},
// the field only when there is one. V2: {"error":"INVALID_INPUT: field: message"}.
func (r *Request) EncodeError(dst []byte, err *Error) []byte {
	r.head = 0
	if r.dialect == v2Dialect {
		dst = appendString(append(dst, `{"error":`...), err.Error())
		return append(dst, '}')
	}
	dst = appendString(append(dst, `{"error_code":`...), string(err.Code))
	dst = appendString(append(dst, `,"message":`...), err.Message)
	if err.Field != "" {
		dst = appendString(append(dst, `,"field":`...), err.Field)
	}
	dst = strconv.AppendBool(append(dst, `,"retryable":`...), err.Code.Retryable())
	return append(dst, '}')
}
