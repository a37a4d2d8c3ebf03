package torture

import (
	"fmt"
	"hash/fnv"
	"strconv"
	"strings"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

func (l *Ledger) request(r *kgo.Record) {
	n, err := strconv.Atoi(header(r, wire.CorrelationID))
	if err != nil {
		l.violate(RuleUnhandled, "a request without a number: %s", place(r))
		return
	}
	l.asked++
	l.entry(r.Partition, r.Offset).number = n
	l.advance(r.Partition)
}

func (l *Ledger) answer(r *kgo.Record) {
	id, version, status := header(r, wire.ID), header(r, wire.ModelVersion), header(r, wire.Status)
	partition, offset, err := l.parse(id)
	if err != nil {
		l.violate(RuleUnasked, "%s: %v", place(r), err)
		return
	}
	n, err := strconv.Atoi(header(r, wire.CorrelationID))
	if err != nil {
		l.violate(RuleWrong, "%s of %s: correlation id: %v", place(r), id, err)
		return
	}
	e := l.entry(partition, offset)
	e.answers++
	if err := l.requests.Check(n, status, version, r.Value); err != nil {
		l.violate(RuleWrong, "%s of %s, request %d: %v", place(r), id, n, err)
	}
	if want := l.topicOf(n); r.Topic != want {
		l.violate(RuleWrong, "%s of %s, request %d: it belongs to %s", place(r), id, n, want)
	}
	if e.answers > 1 {
		l.again(r, e, id, n, version)
		return
	}
	e.told, e.status = n, status
	e.bodies = map[string]uint64{version: sum(r.Value)}
	l.answered++
	l.versions[version]++
	l.inOrder(r, partition, offset)
	l.advance(partition)
	l.pace(partition)
}

func (l *Ledger) topicOf(n int) string {
	if l.requests.Of(n).Reply {
		return l.topics.Replies
	}
	return l.topics.Results
}

func (l *Ledger) again(r *kgo.Record, e *entry, id string, n int, version string) {
	l.repeated++
	if e.told != n {
		l.violate(RuleDiffers, "%s of %s: request %d, and %d before", place(r), id, n, e.told)
	}
	if before, ok := e.bodies[version]; ok && before != sum(r.Value) {
		l.violate(RuleDiffers, "%s of %s by version %s: %s", place(r), id, version, r.Value)
	}
	e.bodies[version] = sum(r.Value)
	if l.once {
		l.violate(RuleTwice, "%s of %s, by version %s", place(r), id, version)
	}
}

// inOrder holds that first answers of a partition come in the order of its
// requests, on each partition that they come to.
func (l *Ledger) inOrder(r *kgo.Record, partition int32, offset int64) {
	to := at{r.Topic, r.Partition}
	for int(partition) >= len(l.order[to]) {
		l.order[to] = append(l.order[to], -1)
	}
	before := l.order[to][partition]
	if offset < before && l.ordered {
		l.violate(RuleOrder, "%s: the first answer to offset %d of partition %d after that to %d", place(r), offset, partition, before)
	}
	l.order[to][partition] = max(before, offset)
}

func (l *Ledger) letter(r *kgo.Record) {
	const prefix = "__dlq.errors."
	id := strings.Join([]string{header(r, prefix+"topic"), header(r, prefix+"partition"), header(r, prefix+"offset")}, "/")
	partition, offset, err := l.parse(id)
	if err != nil {
		l.violate(RuleLetter, "%s: %v", place(r), err)
		return
	}
	e := l.entry(partition, offset)
	e.letters++
	if e.letters > 1 {
		l.reletters++
		if l.once {
			l.violate(RuleLetters, "%s of %s", place(r), id)
		}
	} else {
		l.letters++
	}
	n, err := strconv.Atoi(header(r, wire.CorrelationID))
	if err != nil {
		l.violate(RuleLetter, "%s of %s: correlation id: %v", place(r), id, err)
		return
	}
	want := l.requests.Of(n)
	if code := header(r, prefix+"code"); code != want.Status || want.Status == StatusOK {
		l.violate(RuleLetter, "%s of %s, request %d: code %q is not %q: %s", place(r), id, n, code, want.Status, header(r, prefix+"message"))
	}
	if body := l.requests.Record(n, partition).Value; string(body) != string(r.Value) || (body == nil) != (r.Value == nil) {
		l.violate(RuleLetter, "%s of %s, request %d: its value is %q, not the request's", place(r), id, n, r.Value)
	}
	l.advance(partition)
}

func header(r *kgo.Record, key string) string {
	v, _ := wire.Header(r, key)
	return string(v)
}

func place(r *kgo.Record) string { return fmt.Sprintf("%s/%d/%d", r.Topic, r.Partition, r.Offset) }

func sum(b []byte) uint64 {
	h := fnv.New64a()
	_, _ = h.Write(b)
	return h.Sum64()
}
