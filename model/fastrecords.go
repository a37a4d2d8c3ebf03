package model

import (
	"bytes"
	"unicode/utf8"
)

// records reads a list of rows as objects. Every row has to have all columns,
// and without a signature those of the first row in its order.
func (f *fastBody) records() bool {
	p, ok := f.begin()
	if !ok || !f.listOf('{') {
		return false
	}
	f.open('[')
	f.space()
	for row := 0; ; row++ {
		if !f.open('{') {
			return false
		}
		f.space()
		if p.infer {
			ok = f.inferredRow(p, row)
		} else {
			ok = f.record(p, row)
		}
		if !ok {
			return false
		}
		more, ok := f.more(']')
		if !ok {
			return false
		}
		if !more {
			return f.end(p, row+1, p.width(f.req))
		}
		if !f.at('{') {
			return false
		}
	}
}

// record reads a row by the signature's names, in any order.
func (f *fastBody) record(p *columns, row int) bool {
	if row == 0 {
		f.req.order = f.req.order[:0]
		for range p.cells {
			f.req.order = append(f.req.order, -1) // the row in which a column came last
		}
	}
	next, seen := 0, 0
	for {
		name, ok := f.key()
		if !ok {
			return false
		}
		switch j := p.find(name, next); {
		case j >= 0:
			if f.req.order[j] == row || !f.cell(&p.cells[j], row, p.width(f.req)) {
				return false
			}
			f.req.order[j] = row
			next, seen = j+1, seen+1
		case f.strict || !ascii(name) || !f.skip():
			return false
		}
		more, ok := f.more('}')
		if !ok || !more {
			return ok && seen == len(p.cells)
		}
	}
}

// find returns the column of a name, -1 when there is none. It looks first
// where rows that keep the signature's order have it.
func (p *columns) find(name []byte, next int) int {
	if next < len(p.cells) && p.cells[next].name == string(name) {
		return next
	}
	if j, ok := p.at[string(name)]; ok {
		return j
	}
	return -1
}

// inferredRow reads a row when there is no signature.
func (f *fastBody) inferredRow(p *columns, row int) bool {
	for j := 0; ; j++ {
		name, ok := f.key()
		if !ok {
			return false
		}
		switch {
		case row == 0:
			ok = f.addColumn(p, name)
		case j >= len(f.req.keys):
			return false
		default:
			ok = bytes.Equal(f.req.keys[j], name)
		}
		if !ok || !f.inferredCell(j, row) {
			return false
		}
		more, ok := f.more('}')
		if !ok || !more {
			return ok && j+1 == len(f.req.keys)
		}
	}
}

func (f *fastBody) inferredCell(j, row int) bool {
	to := &f.req.cells[j]
	if to.input < 0 {
		return f.skip()
	}
	return f.cell(to, row, f.codec.fast.frame.width(f.req)) // in row 0 the width grows, and matters not
}

// addColumn notes a column of the request that the model may take.
func (f *fastBody) addColumn(p *columns, name []byte) bool {
	const most = 256 // for which looking at all others is still little
	if len(f.req.keys) == most || !utf8.Valid(name) {
		return false
	}
	for _, k := range f.req.keys {
		if bytes.Equal(k, name) {
			return false
		}
	}
	to := cell{at: len(f.req.keys)}
	if !p.single {
		to.input, to.at = f.codec.inputNamed(name), 0
	}
	f.req.keys, f.req.cells = append(f.req.keys, name), append(f.req.cells, to)
	return true
}
