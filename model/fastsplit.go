package model

// split reads a data frame in pandas' form "split": columns, index, data, the
// data last.
func (f *fastBody) split() bool {
	p, ok := f.begin()
	if !ok || !f.open('{') {
		return false
	}
	f.space()
	labels, named := -1, false
	for {
		key, ok := f.key()
		if !ok {
			return false
		}
		switch string(key) {
		case "columns":
			if named || !f.columnNames(p) {
				return false
			}
			named = true
		case "index":
			if labels >= 0 {
				return false
			}
			if labels = f.labels(); labels < 0 {
				return false
			}
		case "data":
			rows := 0
			if named {
				rows = f.rows(p)
			}
			f.space()
			return rows > 0 && (labels < 0 || labels == rows) && f.open('}')
		default:
			return false
		}
		if more, ok := f.more('}'); !ok || !more {
			return false
		}
	}
}

// columnNames notes where each column of the data goes. All of the signature's
// have to be there.
func (f *fastBody) columnNames(p *columns) bool {
	if !f.listOf('"') {
		return false
	}
	f.open('[')
	f.space()
	f.req.order = f.req.order[:0]
	for range p.cells {
		f.req.order = append(f.req.order, 0) // how often a column came
	}
	next, seen := 0, 0
	for {
		name, ok := f.plain()
		if !ok {
			return false
		}
		if p.infer {
			if !f.addColumn(p, name) {
				return false
			}
		} else {
			to := cell{skip: true}
			if j := p.find(name, next); j >= 0 {
				if f.req.order[j]++; f.req.order[j] > 1 {
					return false
				}
				to, next, seen = p.cells[j], j+1, seen+1
			} else if !ascii(name) {
				return false
			}
			f.req.cells = append(f.req.cells, to)
		}
		more, ok := f.more(']')
		if !ok || !more {
			return ok && (p.infer || seen == len(p.cells))
		}
	}
}

// labels passes the labels of the rows and returns how many, -1 when they are
// not plain.
func (f *fastBody) labels() int {
	if !f.open('[') {
		return -1
	}
	f.space()
	for n := 1; ; n++ {
		if !f.skip() {
			return -1
		}
		more, ok := f.more(']')
		if !ok {
			return -1
		}
		if !more {
			return n
		}
	}
}

// rows reads the data, and makes the inputs of it. It returns how many rows
// there are, 0 when it is not plain.
func (f *fastBody) rows(p *columns) int {
	width := p.width(f.req)
	if !f.open('[') {
		return 0
	}
	f.space()
	for row := 0; ; row++ {
		if !f.open('[') {
			return 0
		}
		f.space()
		for j := range f.req.cells {
			to := &f.req.cells[j]
			if to.skip || p.infer && to.input < 0 {
				if !f.skip() {
					return 0
				}
			} else if !f.cell(to, row, width) {
				return 0
			}
			if more, ok := f.more(']'); !ok || more != (j+1 < len(f.req.cells)) {
				return 0
			}
		}
		more, ok := f.more(']')
		if !ok {
			return 0
		}
		if !more {
			if !f.end(p, row+1, width) {
				return 0
			}
			return row + 1
		}
	}
}
