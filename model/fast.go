package model

// The scanner writes the numbers of a body straight into the request's memory.
// It knows the plain forms alone. Whatever it does not know, an error among it,
// is left to the other path, which reads the whole body again: so that one has
// all the rules, and this one has to agree with it wherever it answers at all.

// decodeFast reports false for a body that it does not know, with the request
// in a state to be reset.
func (c *Codec) decodeFast(req *Request, m mediaType, body []byte) bool {
	s := scanner{buf: body}
	s.space()
	if !s.open('{') {
		return false
	}
	f := fastBody{codec: c, req: req, scanner: s, v2: m.told && m.dialect == v2Dialect, mlflow: m.told && m.dialect == mlflowDialect}
	for first := true; ; first = false {
		f.space()
		if f.open('}') {
			break
		}
		if !first {
			if !f.open(',') {
				return false
			}
			f.space()
		}
		name, ok := f.key()
		if !ok || !f.member(name) {
			return false
		}
	}
	f.space()
	if f.pos != len(body) || !f.done || len(req.rest) > 0 || f.formed && !f.isV2 {
		return false
	}
	if f.isV2 {
		req.dialect = v2Dialect
	}
	return true
}

// fastBody is a body on its way.
type fastBody struct {
	scanner

	codec      *Codec
	req        *Request
	v2, mlflow bool // the dialect was named
	isV2       bool
	done       bool // the inputs were read
	selected   bool // the outputs were
	formed     bool // the form of the answer was
	strict     bool // rows may have no columns besides the signature's
}

// member reads one member of the body.
func (f *fastBody) member(name []byte) bool {
	switch string(name) {
	case "inputs":
		if f.done {
			return false
		}
		f.done = true
		if f.listOf('{') && !f.mlflow && f.v2Inputs() {
			f.isV2 = true
			return true
		}
		return !f.v2 && !f.isV2 && f.tensors(true)
	case "instances":
		if f.done || f.v2 {
			return false
		}
		f.done = true
		return f.tensors(false)
	case "dataframe_records":
		if f.done || f.v2 {
			return false
		}
		f.done = true
		return f.records()
	case "dataframe_split":
		if f.done || f.v2 {
			return false
		}
		f.done = true
		return f.split()
	case "id":
		return f.v2ID()
	case "outputs":
		return f.v2Outputs()
	case "parameters":
		if f.formed {
			return false
		}
		f.formed = true
		all, ok := f.v2Form("binary_data_output")
		f.req.allBytes = all
		return ok
	default:
		return false
	}
}

// open passes one character.
func (s *scanner) open(c byte) bool {
	if s.pos < len(s.buf) && s.buf[s.pos] == c {
		s.pos++
		return true
	}
	return false
}

// listOf says whether a list begins here whose first item begins with c.
func (s *scanner) listOf(c byte) bool {
	ahead := *s
	if !ahead.open('[') {
		return false
	}
	ahead.space()
	return ahead.at(c)
}

// plain reads a string without escapes, which may hold any bytes beyond ASCII.
func (s *scanner) plain() ([]byte, bool) {
	if !s.at('"') {
		return nil, false
	}
	from := s.pos + 1
	plain, ok := s.skipString()
	return s.buf[from:max(from, s.pos-1)], plain && ok
}

// key reads a member's name, and goes to its value.
func (s *scanner) key() ([]byte, bool) {
	name, ok := s.plain()
	if !ok {
		return nil, false
	}
	s.space()
	if !s.open(':') {
		return nil, false
	}
	s.space()
	return name, true
}

// more goes to the next item: it passes the comma, or the end, which it tells.
func (s *scanner) more(end byte) (more, ok bool) {
	s.space()
	if s.open(end) {
		return false, true
	}
	if !s.open(',') {
		return false, false
	}
	s.space()
	return true, true
}

func ascii(b []byte) bool {
	for _, c := range b {
		if c >= 0x80 {
			return false
		}
	}
	return true
}
