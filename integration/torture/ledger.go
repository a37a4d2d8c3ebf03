package torture

import (
	"cmp"
	"fmt"
	"hash/fnv"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// The rules that a run may break.
const (
	RuleLost      = "a request is not answered"
	RuleTwice     = "a request is answered twice"
	RuleUnasked   = "an answer to no request"
	RuleWrong     = "an answer is wrong"
	RuleDiffers   = "a repeated answer differs"
	RuleOrder     = "answers of a partition are out of order"
	RuleBeyond    = "a committed offset is beyond the answered prefix"
	RuleNoLetter  = "a poisoned request has no dead letter"
	RuleLetter    = "a dead letter is wrong"
	RuleLetters   = "a poisoned request has two dead letters"
	RuleLag       = "the lag does not return to 0"
	RuleCrash     = "a worker crashed"
	RuleStop      = "a worker does not stop"
	RuleVersion   = "a worker does not serve what its alias names"
	RuleUnhandled = "the bench could not go on"
)

// Violation is a rule that was broken, with the evidence.
type Violation struct {
	Rule   string `json:"rule"`
	Detail string `json:"detail"`
}

// maxEvidence is how many violations of one rule are kept in words.
const maxEvidence = 50

// Topics are those that the ledger reads.
type Topics struct{ Requests, Results, Replies, DeadLetters string }

// at is a place in a topic.
type at struct {
	topic     string
	partition int32
}

// entry is what is known of one offset of the requests topic.
type entry struct {
	number  int // of the request, -1 while it has not been read
	told    int // the number that the first answer says, -1 while there is none
	answers int
	letters int
	status  string
	bodies  map[string]uint64 // hash of an answer by its version
}

// ledger of one partition of the requests topic, by offset.
type account struct {
	entries []*entry
	prefix  int64 // everything below is answered, and dead-lettered when poisoned
	last    time.Time
}

// Ledger holds requests against their answers. It is safe for concurrent use.
type Ledger struct {
	topics   Topics
	requests Requests
	once     bool // answers may not be repeated
	ordered  bool
	now      func() time.Time

	mu         sync.Mutex // guards what follows
	accounts   map[int32]*account
	positions  map[at]int64   // offset after the last that was read, control records included
	order      map[at][]int64 // by answers' partition: the highest first answer for each requests' partition
	audits     []audit
	audited    int
	asked      int
	answered   int
	repeated   int
	letters    int
	reletters  int
	versions   map[string]int
	gap        time.Duration // longest between two first answers
	gapAt      time.Time
	partGap    time.Duration // of one partition
	last       time.Time
	violations []Violation
	counts     map[string]int
}

// NewLedger makes an empty one. once says that answers may not be repeated,
// ordered that those of a partition come in the order of its requests.
func NewLedger(t Topics, q Requests, once, ordered bool) *Ledger {
	return &Ledger{
		topics: t, requests: q, once: once, ordered: ordered, now: time.Now,
		accounts: make(map[int32]*account), positions: make(map[at]int64), order: make(map[at][]int64),
		versions: make(map[string]int), counts: make(map[string]int),
	}
}

// Read takes a record of any of the topics, in the order of its partition.
func (l *Ledger) Read(r *kgo.Record) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.positions[at{r.Topic, r.Partition}] = r.Offset + 1
	if !r.Attrs.IsControl() {
		switch r.Topic {
		case l.topics.Requests:
			l.request(r)
		case l.topics.Results, l.topics.Replies:
			l.answer(r)
		case l.topics.DeadLetters:
			l.letter(r)
		}
	}
	l.audit()
}

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

// advance moves a partition's prefix over what is answered.
func (l *Ledger) advance(partition int32) {
	a := l.account(partition)
	for a.prefix < int64(len(a.entries)) {
		e := a.entries[a.prefix]
		if e == nil || e.number < 0 || e.answers == 0 || e.letters == 0 && l.requests.Of(e.number).Status != StatusOK {
			return
		}
		a.prefix++
	}
}

// pace notes the time between first answers.
func (l *Ledger) pace(partition int32) {
	now, a := l.now(), l.account(partition)
	if d := now.Sub(l.last); !l.last.IsZero() && d > l.gap {
		l.gap, l.gapAt = d, now
	}
	if !a.last.IsZero() {
		l.partGap = max(l.partGap, now.Sub(a.last))
	}
	l.last, a.last = now, now
}

func (l *Ledger) account(partition int32) *account {
	a := l.accounts[partition]
	if a == nil {
		a = new(account)
		l.accounts[partition] = a
	}
	return a
}

func (l *Ledger) entry(partition int32, offset int64) *entry {
	a := l.account(partition)
	for offset >= int64(len(a.entries)) {
		a.entries = append(a.entries, nil)
	}
	if a.entries[offset] == nil {
		a.entries[offset] = &entry{number: -1, told: -1}
	}
	return a.entries[offset]
}

// parse reads an answer's id, "topic/partition/offset".
func (l *Ledger) parse(id string) (partition int32, offset int64, err error) {
	rest, ok := strings.CutPrefix(id, l.topics.Requests+"/")
	p, o, cut := strings.Cut(rest, "/")
	if !ok || !cut {
		return 0, 0, fmt.Errorf("%q is not the id of a request", id)
	}
	n, err := strconv.ParseInt(p, 10, 32)
	if err != nil {
		return 0, 0, fmt.Errorf("%q is not the id of a request", id)
	}
	offset, err = strconv.ParseInt(o, 10, 64)
	if err != nil || n < 0 || offset < 0 || offset > 1<<24 {
		return 0, 0, fmt.Errorf("%q is not the id of a request", id)
	}
	return int32(n), offset, nil
}

// Violate notes what somebody else found.
func (l *Ledger) Violate(rule, format string, args ...any) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.violate(rule, format, args...)
}

func (l *Ledger) violate(rule, format string, args ...any) {
	l.counts[rule]++
	if l.counts[rule] <= maxEvidence {
		l.violations = append(l.violations, Violation{rule, l.now().Format("15:04:05.000 ") + fmt.Sprintf(format, args...)})
	}
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

// Counts are the ledger's figures.
type Counts struct {
	Asked, Answered, Repeated, Letters, Reletters, Audited int
	Versions                                               map[string]int
	Gap, PartitionGap                                      time.Duration
	GapAt                                                  time.Time
}

// Counts tells how far it is.
func (l *Ledger) Counts() Counts {
	l.mu.Lock()
	defer l.mu.Unlock()
	c := Counts{
		Asked: l.asked, Answered: l.answered, Repeated: l.repeated, Letters: l.letters, Reletters: l.reletters,
		Audited: l.audited, Gap: l.gap, PartitionGap: l.partGap, GapAt: l.gapAt, Versions: make(map[string]int),
	}
	for v, n := range l.versions {
		c.Versions[cmp.Or(v, "none")] += n
	}
	return c
}

// Broken are the violations so far, and how many there are of each rule.
func (l *Ledger) Broken() ([]Violation, map[string]int) {
	l.mu.Lock()
	defer l.mu.Unlock()
	counts := make(map[string]int, len(l.counts))
	for rule, n := range l.counts {
		counts[rule] = n
	}
	return slices.Clone(l.violations), counts
}
