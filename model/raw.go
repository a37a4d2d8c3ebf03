package model

import (
	"bytes"
	"slices"
	"unicode/utf8"
)

// The content types that a raw request is passed on with.
const (
	RawJSON = "application/json" // MLflow's scoring protocol
	RawCSV  = "text/csv"
	RawV2   = "application/json; dialect=v2" // Open Inference Protocol
)

// RawInfo is the [Info] of a [Model] that reads and writes bodies by itself, as
// python_function and a remote scoring server do: what MLflow makes of a body is
// then its own doing. A row is a whole request, whatever rows are in it.
//
// Inputs, each a String of shape [-1]: content_type ([RawJSON], [RawCSV] or
// [RawV2]) and body, which is UTF-8 and, when it is JSON, valid but for the bare
// words that Python takes (NaN, Infinity, -Infinity).
//
// Outputs, each a String of shape [-1]: status, [OK] or another [Code]; content,
// the answer's body in MLflow's dialect or, for V2, the JSON list of its
// outputs; of an error its message; and field, of an error what it is about.
// What may pass ([Unavailable]) is better the whole call's error, which is tried
// again.
func RawInfo() Info {
	column := func(name string) Spec { return Spec{Name: name, DType: String, Shape: []int64{-1}} }
	return Info{
		Inputs:  []Spec{column("content_type"), column("body")},
		Outputs: []Spec{column("status"), column("content"), column("field")},
		Batches: true, Raw: true,
	}
}

// NewRawCodec returns the codec of a model whose Info is [RawInfo]. Decode reads
// no more of a body than it takes to tell its dialect and to hold it against the
// limits' MaxElements; the rows are for the model to count. sig, which may be
// nil, is what Example goes by.
func NewRawCodec(sig *Signature, limits Limits) *Codec {
	c := &Codec{info: RawInfo(), sig: sig, limits: limits}
	if sig != nil && len(sig.inputs) > 0 {
		c.columns = sig
	}
	return c
}

// decodeRaw makes one row of the body.
func (c *Codec) decodeRaw(req *Request, m mediaType, body []byte) *Error {
	req.reset(len(c.info.Inputs))
	req.dialect = m.dialect
	if req.tail != nil {
		var err *Error
		if body, err = c.spellOut(req, body); err != nil {
			return err
		}
	}
	if !utf8.Valid(body) {
		return Errorf(InvalidInput, "the body is not UTF-8")
	}
	kind := RawCSV
	if !m.csv {
		body = bytes.TrimPrefix(body, []byte(bom))
		err := c.checkRaw(req, m, body)
		if err != nil {
			return err
		}
		if kind = RawJSON; req.dialect == v2Dialect {
			kind = RawV2
		}
	}
	for i, s := range []string{kind, string(body)} {
		t := req.tensor(i, &c.info.Inputs[i], 1)
		t.Shape, t.Strings[0] = append(t.Shape, 1), s
	}
	return nil
}

// checkRaw checks a JSON body and finds out its dialect. Only what may be V2 is
// parsed.
func (c *Codec) checkRaw(req *Request, m mediaType, body []byte) *Error {
	if req.dialect != v2Dialect && (m.told || !bytes.Contains(body, []byte(`"datatype"`))) {
		s := checker{parser{scanner: scanner{buf: body}, budget: c.budget()}}
		return s.check()
	}
	req.dialect = v2Dialect // should it prove not to be JSON
	v, err := parseJSON(body, c.budget())
	if err != nil {
		return err
	}
	if !m.told && !namesDatatype(&v) {
		req.dialect = mlflowDialect
		return nil
	}
	if v.kind != object {
		return Errorf(InvalidInput, "the body is %s, where an object should be", v.describe())
	}
	return req.takeID(&v)
}

// encodeRaw appends the row's own answer, or returns its error.
func (c *Codec) encodeRaw(dst []byte, req *Request, outputs []Tensor, name, version string) ([]byte, error) {
	for i := range outputs {
		if n := outputs[i].Len(); outputs[i].DType != String || n != 1 {
			return dst, Errorf(Failed, "output %q has %d elements of type %s for one request", c.info.Outputs[i].Name, n, outputs[i].DType)
		}
	}
	status, content, about := Code(outputs[0].Strings[0]), outputs[1].Strings[0], outputs[2].Strings[0]
	if status != OK {
		if !slices.Contains(Codes(), status) {
			return dst, Errorf(Failed, "the model answered with the unknown status %q", clip(string(status)))
		}
		err := &Error{Code: status, Message: content, Field: about}
		err.clip()
		return dst, err
	}
	if req.dialect != v2Dialect {
		return append(dst, content...), nil
	}
	dst = req.appendV2Head(dst, name, version)
	return append(append(dst, content...), '}'), nil
}

// clip keeps an error short: what it quotes of a body may be as long as it.
func (e *Error) clip() {
	const field, message = 256, 1024
	e.Field, e.Message = clipTo(e.Field, field), clipTo(e.Message, message)
}

// exampleRaw goes by the signature alone; nil without one.
func (c *Codec) exampleRaw() []byte {
	if c.columns == nil {
		return nil
	}
	known := *c
	known.info = Info{}
	for i := range c.columns.inputs {
		in := &c.columns.inputs[i]
		known.info.Inputs = append(known.info.Inputs, Spec{Name: in.name, DType: in.dtype, Shape: in.shape})
	}
	return known.exampleMLflow()
}

// checker is a parser that keeps nothing.
type checker struct{ parser }

// check passes a whole body.
func (s *checker) check() *Error {
	s.space()
	if err := s.skip(); err != nil {
		return err
	}
	s.space()
	if s.pos < len(s.buf) {
		return s.wrong("one value")
	}
	return nil
}

func (s *checker) skip() *Error {
	if s.pos < len(s.buf) {
		switch c := s.buf[s.pos]; c {
		case '"':
			return s.skipText()
		case '{', '[':
			if s.depth++; s.depth > maxDepth {
				return Errorf(InvalidInput, "the body is nested deeper than %d levels", maxDepth)
			}
			err := s.skipNested(c)
			s.depth--
			return err
		}
	}
	_, err := s.value() // a word or a number, which takes no memory
	return err
}

func (s *checker) skipText() *Error {
	if s.budget--; s.budget < 0 {
		return tooMany()
	}
	return s.pass()
}

// pass goes over a string. What has escapes is read, which checks them.
func (s *checker) pass() *Error {
	from := s.pos
	if plain, ok := s.skipString(); plain && ok {
		return nil
	}
	s.pos = from
	_, err := s.str()
	return err
}

func (s *checker) skipNested(open byte) *Error {
	if s.budget--; s.budget < 0 {
		return tooMany()
	}
	end := open + 2 // ']' and '}' are two after their openings
	s.pos++
	s.space()
	if s.at(end) {
		s.pos++
		return nil
	}
	for {
		if open == '{' {
			if err := s.skipName(); err != nil {
				return err
			}
		}
		if err := s.skip(); err != nil {
			return err
		}
		s.space()
		if s.at(end) {
			s.pos++
			return nil
		}
		if !s.at(',') {
			return s.wrong("a comma or '" + string(end) + "'")
		}
		s.pos++
		s.space()
	}
}

func (s *checker) skipName() *Error {
	if !s.at('"') {
		return s.wrong("a name in double quotes")
	}
	if err := s.pass(); err != nil {
		return err
	}
	s.space()
	if !s.at(':') {
		return s.wrong("a colon")
	}
	s.pos++
	s.space()
	return nil
}

func tooMany() *Error { return Errorf(TooLarge, "the body holds too many values") }

// takeID keeps the id of a V2 request.
func (r *Request) takeID(body *value) *Error {
	id := body.get("id")
	if id == nil || id.kind == none {
		return nil
	}
	if id.kind != text {
		return Invalidf("id", "%s, where a string should be", id.describe())
	}
	r.id = appendString(r.id, id.text)
	return nil
}

// appendV2Head begins a V2 answer, up to its outputs.
func (r *Request) appendV2Head(dst []byte, name, version string) []byte {
	dst = appendString(append(dst, `{"model_name":`...), name)
	dst = appendString(append(dst, `,"model_version":`...), version)
	if len(r.id) > 0 {
		dst = append(append(dst, `,"id":`...), r.id...)
	}
	return append(dst, `,"outputs":`...)
}
