package worker

import (
	"cmp"
	"container/heap"
	"slices"
)

// queue is what no executor has taken: a line a model, first in first out, and
// among the lines the one whose head has waited for longest comes first. So a
// batch costs what it holds, however many models' requests wait, and a rare
// model's request has its turn when it would have had it alone. The pool's mu
// guards it.
type queue struct {
	lines map[string]*line
	ready readyLines // those that an executor may take from
	len   int        // records in ready
	turn  uint64     // of the next record
}

// line is what waits for one model.
type line struct {
	items []*item // by turn
	place int     // in ready; notReady while it is empty or its model loads
	loads bool    // its model loads: nothing of it is taken
}

const notReady = -1

// keptLines is how many lines without a record are kept for the next one: the
// names in requests are anybody's.
const keptLines = 64

// push appends a record.
func (q *queue) push(it *item) {
	it.turn = q.turn
	q.turn++
	l := q.line(it.model)
	l.items = append(l.items, it)
	if l.loads {
		return
	}
	q.len++
	if l.place == notReady {
		heap.Push(&q.ready, l)
	}
}

func (q *queue) line(model string) *line {
	l := q.lines[model]
	if l == nil {
		if q.lines == nil {
			q.lines = make(map[string]*line)
		}
		l = &line{place: notReady}
		q.lines[model] = l
	}
	return l
}

// head is the record whose turn it is; there is one when len is above 0.
func (q *queue) head() *item { return q.ready[0].items[0] }

// take appends to batch up to n records of the model whose turn it is.
func (q *queue) take(batch []*item, n int) []*item {
	l := q.ready[0]
	n = min(n, len(l.items))
	name := l.items[0].model
	batch = append(batch, l.items[:n]...)
	clear(l.items[:n])
	l.items = l.items[n:]
	q.len -= n
	q.settle(name, l)
	return batch
}

// settle puts a line whose head has changed where it belongs.
func (q *queue) settle(model string, l *line) {
	switch {
	case len(l.items) > 0 && !l.loads && l.place == notReady:
		heap.Push(&q.ready, l)
	case len(l.items) > 0 && !l.loads:
		heap.Fix(&q.ready, l.place)
	case l.place != notReady:
		heap.Remove(&q.ready, l.place)
	}
	if len(l.items) == 0 {
		l.items = nil
		if !l.loads && len(q.lines) > keptLines {
			delete(q.lines, model)
		}
	}
}

// putBack puts a record into the line of the model that it is for now, by its
// turn: it has waited for longer than what is there.
func (q *queue) putBack(it *item) {
	l := q.line(it.model)
	l.insert(it)
	if !l.loads {
		q.len++
	}
	q.settle(it.model, l)
}

// insert puts records that were taken in turn back where they were.
func (l *line) insert(items ...*item) {
	at, _ := slices.BinarySearchFunc(l.items, items[0].turn, func(it *item, turn uint64) int {
		return cmp.Compare(it.turn, turn)
	})
	l.items = slices.Insert(l.items, at, items...)
}

// hold puts records of one model back where they were, and keeps its line until
// release. It says whether the line was not held before. Executors hold back
// one after the other what they took in turn.
func (q *queue) hold(items []*item) bool {
	l := q.line(items[0].model)
	first := !l.loads
	if first {
		l.loads = true
		q.len -= len(l.items)
	}
	l.insert(items...)
	q.settle(items[0].model, l)
	return first
}

// release lets a line go on.
func (q *queue) release(model string) {
	l := q.lines[model]
	if l == nil || !l.loads {
		return
	}
	l.loads = false
	q.len += len(l.items)
	q.settle(model, l)
}

// withdraw takes out what leaves says.
func (q *queue) withdraw(leaves func(*item) bool) {
	for model, l := range q.lines {
		before := len(l.items)
		l.items = slices.DeleteFunc(l.items, leaves)
		if len(l.items) == before {
			continue
		}
		if !l.loads {
			q.len -= before - len(l.items)
		}
		q.settle(model, l)
	}
}

// empty takes out everything, in turn.
func (q *queue) empty() []*item {
	var all []*item
	for _, l := range q.lines {
		all = append(all, l.items...)
	}
	*q = queue{turn: q.turn}
	slices.SortFunc(all, func(a, b *item) int { return cmp.Compare(a.turn, b.turn) })
	return all
}

// readyLines is a heap, the line with the earliest head first.
type readyLines []*line

func (r readyLines) Len() int           { return len(r) }
func (r readyLines) Less(i, j int) bool { return r[i].items[0].turn < r[j].items[0].turn }

func (r readyLines) Swap(i, j int) {
	r[i], r[j] = r[j], r[i]
	r[i].place, r[j].place = i, j
}

// Push implements [heap.Interface].
func (r *readyLines) Push(x any) {
	l, _ := x.(*line)
	l.place = len(*r)
	*r = append(*r, l)
}

// Pop implements [heap.Interface].
func (r *readyLines) Pop() any {
	last := len(*r) - 1
	l := (*r)[last]
	(*r)[last] = nil
	*r = (*r)[:last]
	l.place = notReady
	return l
}
