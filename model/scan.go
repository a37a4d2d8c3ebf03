package model

// scanner goes through a body byte by byte. What it skips it has checked.
type scanner struct {
	buf []byte
	pos int
}

// space skips white space.
func (s *scanner) space() {
	for s.pos < len(s.buf) {
		switch s.buf[s.pos] {
		case ' ', '\n', '\r', '\t':
			s.pos++
		default:
			return
		}
	}
}

// skipString passes a string, and says whether it is plain: free of escapes.
// Characters beyond ASCII are left to be checked.
func (s *scanner) skipString() (plain, ok bool) {
	plain = true
	for i := s.pos + 1; i < len(s.buf); i++ {
		switch c := s.buf[i]; {
		case c == '"':
			s.pos = i + 1
			return plain, true
		case c == '\\':
			plain = false
			i++
		case c < ' ':
			s.pos = i
			return false, false
		}
	}
	s.pos = len(s.buf)
	return false, false
}

// skipNumber passes a number, and says whether it is a whole one: without
// fraction and exponent.
func (s *scanner) skipNumber() (whole, ok bool) {
	if s.at('-') {
		s.pos++
	}
	switch {
	case s.at('0'):
		s.pos++
	case !s.digits():
		return false, false
	}
	whole = true
	if s.at('.') {
		s.pos++
		if whole = false; !s.digits() {
			return false, false
		}
	}
	if s.at('e') || s.at('E') {
		s.pos++
		if s.at('+') || s.at('-') {
			s.pos++
		}
		if whole = false; !s.digits() {
			return false, false
		}
	}
	return whole, true
}

func (s *scanner) at(c byte) bool { return s.pos < len(s.buf) && s.buf[s.pos] == c }

// digits passes at least one digit.
func (s *scanner) digits() bool {
	from := s.pos
	for s.pos < len(s.buf) && s.buf[s.pos]-'0' <= 9 {
		s.pos++
	}
	return s.pos > from
}
