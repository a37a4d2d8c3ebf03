package torture

import (
	"fmt"
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

var (
	topics   = Topics{Requests: "in", Results: "out", Replies: "re", DeadLetters: "dlq"}
	requests = Requests{Seed: 1, Topic: "in", Replies: "re", Poisoned: 100}
)

// scene is a ledger and what was written to its topics.
type scene struct {
	*Ledger
	next map[string]int64
}

func newScene(once, ordered bool) *scene {
	l := NewLedger(topics, requests, once, ordered)
	clock := time.Unix(0, 0)
	l.now = func() time.Time { clock = clock.Add(time.Second); return clock }
	return &scene{l, make(map[string]int64)}
}

func (s *scene) put(topic string, value []byte, h ...kgo.RecordHeader) {
	s.Read(&kgo.Record{Topic: topic, Value: value, Headers: h, Offset: s.next[topic]})
	s.next[topic]++
}

// ask writes request i, at the next offset.
func (s *scene) ask(i int) {
	r := requests.Record(i, 0)
	s.put("in", r.Value, r.Headers...)
}

// answer answers request i, said to be at an offset, as version 2 of the model.
func (s *scene) answer(i int, offset int64, change ...func(*kgo.Record)) {
	req := requests.Of(i)
	r := row(i)
	rec := &kgo.Record{
		Topic: s.topicOf(i), Value: fmt.Appendf(nil, `{"predictions": {"Y": [[%v, 2]]}}`, r[0]+r[1]+r[2]+r[3]),
		Headers: []kgo.RecordHeader{
			{Key: wire.ID, Value: fmt.Appendf(nil, "in/0/%d", offset)},
			{Key: wire.CorrelationID, Value: strconv.AppendInt(nil, int64(i), 10)},
			{Key: wire.ModelVersion, Value: []byte("2")},
			{Key: wire.Status, Value: []byte(req.Status)},
		},
	}
	if req.Status != StatusOK {
		rec.Value = []byte(`{"error_code": "` + req.Status + `"}`)
	}
	for _, c := range change {
		c(rec)
	}
	s.put(rec.Topic, rec.Value, rec.Headers...)
}

func (s *scene) bury(i int, offset int64) {
	r := requests.Record(i, 0)
	h := slices.Concat(r.Headers, []kgo.RecordHeader{
		{Key: "__dlq.errors.topic", Value: []byte("in")},
		{Key: "__dlq.errors.partition", Value: []byte("0")},
		{Key: "__dlq.errors.offset", Value: strconv.AppendInt(nil, offset, 10)},
		{Key: "__dlq.errors.code", Value: []byte(requests.Of(i).Status)},
	})
	s.put("dlq", r.Value, h...)
}

// fair and poisoned are the first requests of their sort, which do not ask for
// a reply.
func pick(poisoned bool, n int) []int {
	var found []int
	for i := 0; len(found) < n; i++ {
		if req := requests.Of(i); !req.Reply && (req.Status != StatusOK) == poisoned {
			found = append(found, i)
		}
	}
	return found
}

func TestLedgerOfAGoodRun(t *testing.T) {
	s := newScene(true, true)
	const total = 500
	for i := range total {
		s.ask(i)
	}
	for i := range total {
		s.answer(i, int64(i))
		if requests.Of(i).Status != StatusOK {
			s.bury(i, int64(i))
		}
	}
	require.True(t, s.Whole(map[int32]int64{0: total}))
	s.Audit(map[int32]int64{0: total}, Ends{"out": {0: s.next["out"]}, "re": {0: s.next["re"]}, "dlq": {0: s.next["dlq"]}})
	require.Zero(t, s.Close())
	broken, _ := s.Broken()
	require.Empty(t, broken)
	c := s.Counts()
	require.Equal(t, total, c.Asked)
	require.Equal(t, total, c.Answered)
	require.Equal(t, 1, c.Audited)
	require.Equal(t, s.next["dlq"], int64(c.Letters))
	require.Positive(t, s.next["re"])
	require.Greater(t, c.Letters, 20)
}

// TestLedgerFinds holds that each broken promise is found, and nothing else.
func TestLedgerFinds(t *testing.T) {
	good, bad := pick(false, 3), pick(true, 1)[0]
	value := func(text string) func(*kgo.Record) { return func(r *kgo.Record) { r.Value = []byte(text) } }
	header := func(key, text string) func(*kgo.Record) {
		return func(r *kgo.Record) {
			for i := range r.Headers {
				if r.Headers[i].Key == key {
					r.Headers[i].Value = []byte(text)
				}
			}
		}
	}
	for name, c := range map[string]struct {
		run  func(*scene)
		want map[string]int
	}{
		"lost":                  {func(s *scene) { s.answer(good[1], 1); s.answer(good[2], 2) }, map[string]int{RuleLost: 1}},
		"twice":                 {func(s *scene) { s.all(good); s.answer(good[0], 0) }, map[string]int{RuleTwice: 1}},
		"twice, and not alike":  {func(s *scene) { s.all(good); s.answer(good[0], 0, value(`{"predictions":{"Y":[]}}`)) }, map[string]int{RuleTwice: 1, RuleWrong: 1, RuleDiffers: 1}},
		"twice, in other words": {func(s *scene) { s.all(good); s.answer(good[0], 0, spaced) }, map[string]int{RuleTwice: 1, RuleDiffers: 1}},
		"never asked":           {func(s *scene) { s.all(good); s.answer(good[0], 3) }, map[string]int{RuleUnasked: 1}},
		"somebody else's":       {func(s *scene) { s.all(good); s.answer(good[0], 3, header(wire.ID, "other/0/1")) }, map[string]int{RuleUnasked: 1}},
		"wrong sum":             {func(s *scene) { s.all(good[:2]); s.answer(good[2], 2, value(`{"predictions":{"Y":[[1,2]]}}`)) }, map[string]int{RuleWrong: 1}},
		"other version":         {func(s *scene) { s.all(good[:2]); s.answer(good[2], 2, header(wire.ModelVersion, "3")) }, map[string]int{RuleWrong: 1}},
		"refused":               {func(s *scene) { s.all(good[:2]); s.answer(good[2], 2, header(wire.Status, "INTERNAL")) }, map[string]int{RuleWrong: 1}},
		"exchanged":             {func(s *scene) { s.answer(good[1], 0); s.answer(good[0], 1); s.answer(good[2], 2) }, map[string]int{RuleWrong: 2}},
		"order":                 {func(s *scene) { s.answer(good[1], 1); s.answer(good[0], 0); s.answer(good[2], 2) }, map[string]int{RuleOrder: 1}},
		"other topic":           {func(s *scene) { s.all(good[:2]); s.answer(good[2], 2, func(r *kgo.Record) { r.Topic = "re" }) }, map[string]int{RuleWrong: 1}},
		"beyond": {func(s *scene) {
			s.Audit(map[int32]int64{0: 2}, Ends{"out": {0: 1}})
			s.all(good)
		}, map[string]int{RuleBeyond: 1}},
		"not beyond": {func(s *scene) {
			s.Audit(map[int32]int64{0: 2}, Ends{"out": {0: 2}})
			s.all(good)
		}, map[string]int{}},
		"no letter":     {func(s *scene) { s.all(good); s.ask(bad); s.answer(bad, 3) }, map[string]int{RuleNoLetter: 1}},
		"two letters":   {func(s *scene) { s.all(good); s.ask(bad); s.answer(bad, 3); s.bury(bad, 3); s.bury(bad, 3) }, map[string]int{RuleLetters: 1}},
		"a good letter": {func(s *scene) { s.all(good); s.bury(good[0], 0) }, map[string]int{RuleLetter: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newScene(true, true)
			for _, i := range good {
				s.ask(i)
			}
			c.run(s)
			s.Close()
			broken, counts := s.Broken()
			require.Equal(t, c.want, counts, "%v", broken)
		})
	}
}

func (s *scene) all(numbers []int) {
	for at, i := range numbers {
		s.answer(i, int64(at))
	}
}

func spaced(r *kgo.Record) { r.Value = append([]byte(" "), r.Value...) }

// TestLedgerTakesRepeats holds what at-least-once and queue allow.
func TestLedgerTakesRepeats(t *testing.T) {
	good := pick(false, 2)
	s := newScene(false, false)
	s.ask(good[0])
	s.ask(good[1])
	s.answer(good[1], 1)
	s.answer(good[0], 0)
	s.answer(good[0], 0)
	require.Zero(t, s.Close())
	broken, _ := s.Broken()
	require.Empty(t, broken)
	require.Equal(t, 1, s.Counts().Repeated)
}

// TestLedgerWaitsForTransactions holds that offsets are looked at when the
// transaction that the answers are in has ended: its marker is read.
func TestLedgerWaitsForTransactions(t *testing.T) {
	good := pick(false, 1)
	s := newScene(true, true)
	s.ask(good[0])
	s.Audit(map[int32]int64{0: 1}, Ends{"out": {0: 2}})
	require.Zero(t, s.Counts().Audited)
	s.answer(good[0], 0)
	require.Zero(t, s.Counts().Audited)
	s.pass("out", 0, 2)
	require.Equal(t, 1, s.Counts().Audited)
	broken, _ := s.Broken()
	require.Empty(t, broken)
}

func TestReportTells(t *testing.T) {
	s := newScene(false, true)
	s.ask(pick(false, 1)[0])
	s.Close()
	r := &Report{Mode: "queue", Seed: 7, Faults: 3, ByKind: map[Kind]int{Kill: 2, Cut: 1}}
	r.Fill(s.Ledger)
	require.Equal(t, 1, r.Lost)
	text := r.String()
	require.Contains(t, text, "kill 2, cut 1")
	require.Contains(t, text, RuleLost+": 1 times")
	_, line := r.Row()
	require.Equal(t, "| `queue` | 7 | 3 | 1 | 1 | 0 | 0.0 | 0 |", line)
	require.NoError(t, r.Write(t.TempDir(), Plan(7, 3, shape())))
}
