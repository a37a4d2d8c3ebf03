package torture

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
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
	RuleHang      = "a worker whose model hangs is not ended"
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
	defer l.pass(r.Topic, r.Partition, r.Offset+1)
	if !r.Attrs.IsControl() { // which are the ends of transactions
		switch r.Topic {
		case l.topics.Requests:
			l.request(r)
		case l.topics.Results, l.topics.Replies:
			l.answer(r)
		case l.topics.DeadLetters:
			l.letter(r)
		}
	}
}

// pass notes how far a partition has been read; l.mu is held.
func (l *Ledger) pass(topic string, partition int32, next int64) {
	l.positions[at{topic, partition}] = next
	l.audit()
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
	return slices.Clone(l.violations), maps.Clone(l.counts)
}
