package dlq

import (
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

func TestPositions(t *testing.T) {
	p, err := ParsePosition("a.b-c_d/12/9223372036854775807")
	require.NoError(t, err)
	require.Equal(t, Position{"a.b-c_d", 12, 9223372036854775807}, p)
	for _, bad := range []string{"", "a", "a/1", "/1/2", "a/1/2/3", "a/x/2", "a/-1/2", "a/1/-2", "a/1/x", "a/4294967296/1"} {
		_, err := ParsePosition(bad)
		require.Error(t, err, bad)
	}
}

func FuzzPosition(f *testing.F) {
	f.Add("inference.requests/3/17")
	f.Add("//")
	f.Fuzz(func(t *testing.T, text string) {
		p, err := ParsePosition(text)
		if err != nil {
			return
		}
		again, err := ParsePosition(p.String())
		require.NoError(t, err)
		require.Equal(t, p, again)
	})
}

func TestReadLetter(t *testing.T) {
	b := &bench{}
	own := header("x", "y")
	bare := []string{wire.DeadCode, wire.DeadModel, wire.DeadModelVersion, wire.DeadTime, wire.DeadRequestTime, wire.DeadMessage}
	noValue := func(r *kgo.Record) *kgo.Record { r.Value = nil; return r }
	for name, c := range map[string]struct {
		rec   *kgo.Record
		check func(*testing.T, Letter)
		none  bool
	}{
		"ours": {rec: b.letter(2, "MODEL_FAILED", own, header(wire.Model, "n@a")), check: func(t *testing.T, l Letter) {
			t.Helper()
			require.Equal(t, Position{requests, 2, 1}, Position{l.Request.Topic, l.Request.Partition, 1})
			require.Equal(t, Headers{own, header(wire.Model, "n@a")}, l.Headers)
			require.Equal(t, []string{"MODEL_FAILED", "m", "3", "n@a", "g", "1", ""}, []string{l.Code, l.Model, l.Version, l.Wanted, l.Group, l.Tries, l.Missing})
			require.WithinDuration(t, time.Now().Add(-time.Minute), l.Asked, 10*time.Second)
		}},
		// Who sends a request must not choose where its replay goes.
		"headers forged by the request": {rec: b.letter(1, "INTERNAL", header(wire.DeadTopic, "secrets"), header(wire.DeadOffset, "99")), check: func(t *testing.T, l Letter) {
			t.Helper()
			require.Equal(t, requests, l.Request.Topic)
			require.NotEqual(t, int64(99), l.Request.Offset)
			require.Empty(t, l.Headers)
		}},
		"the broker's, with payload": {rec: without(b.letter(0, ""), bare...), check: func(t *testing.T, l Letter) {
			t.Helper()
			require.Empty(t, l.Missing)
			require.True(t, l.Asked.IsZero())
		}},
		"the broker's, without": {rec: noValue(without(b.letter(0, ""), bare...)), check: func(t *testing.T, l Letter) {
			t.Helper()
			require.Contains(t, l.Missing, "errors.deadletterqueue.copy.record.enable")
		}},
		"a tombstone that was refused": {rec: noValue(b.letter(0, "INVALID_INPUT")), check: func(t *testing.T, l Letter) {
			t.Helper()
			require.Empty(t, l.Missing)
		}},
		"without its payload": {rec: noValue(b.letter(0, "TOO_LARGE", header(wire.DeadPayloadOmitted, "large"))), check: func(t *testing.T, l Letter) {
			t.Helper()
			require.Equal(t, "large", l.Missing)
		}},
		"something else":     {rec: &kgo.Record{Value: []byte("x")}, none: true},
		"without its offset": {rec: without(b.letter(0, "INTERNAL"), wire.DeadOffset), none: true},
		"a note":             {rec: note(&Letter{Request: Position{requests, 1, 2}}, "requests/1/3"), none: true},
	} {
		t.Run(name, func(t *testing.T) {
			l, ok := readLetter(c.rec)
			require.Equal(t, !c.none, ok)
			if ok {
				c.check(t, l)
			}
		})
	}
}

func TestNotesAreReadBack(t *testing.T) {
	for _, asked := range []time.Time{{}, time.UnixMilli(1_700_000_000_123)} {
		l := Letter{At: Position{dead, 1, 5}, Request: Position{requests, 2, 7}, Asked: asked}
		n := note(&l, "requests/2/9")
		require.Equal(t, int32(1), n.Partition)
		k, as, ok := readNote(n)
		require.True(t, ok)
		require.Equal(t, l.key(), k)
		require.Equal(t, "requests/2/9", as)
	}
	_, _, ok := readNote(&kgo.Record{Headers: []kgo.RecordHeader{header(wire.ReplayedID, "nonsense")}})
	require.False(t, ok)
}

func TestFilter(t *testing.T) {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	l := &Letter{
		At: Position{dead, 1, 5}, Time: at, Request: Position{requests, 2, 7},
		Code: "INTERNAL", Model: "m", Version: "3", Wanted: "n@champion",
	}
	with := func(change func(*Filter)) Filter {
		f := Everything()
		change(&f)
		return f
	}
	for name, c := range map[string]struct {
		f    Filter
		want bool
	}{
		"everything":        {Everything(), true},
		"code":              {with(func(f *Filter) { f.Codes = []string{"X", "INTERNAL"} }), true},
		"other code":        {with(func(f *Filter) { f.Codes = []string{"X"} }), false},
		"model":             {with(func(f *Filter) { f.Models = []string{"m"} }), true},
		"version":           {with(func(f *Filter) { f.Models = []string{"m/3"} }), true},
		"other version":     {with(func(f *Filter) { f.Models = []string{"m/2"} }), false},
		"asked for":         {with(func(f *Filter) { f.Models = []string{"n"} }), true},
		"asked for, alias":  {with(func(f *Filter) { f.Models = []string{"n@champion"} }), true},
		"another's alias":   {with(func(f *Filter) { f.Models = []string{"n@other"} }), false},
		"no model":          {with(func(f *Filter) { f.Models = []string{""} }), false},
		"since":             {with(func(f *Filter) { f.Since = at }), true},
		"since later":       {with(func(f *Filter) { f.Since = at.Add(1) }), false},
		"until":             {with(func(f *Filter) { f.Until = at }), false},
		"until later":       {with(func(f *Filter) { f.Until = at.Add(1) }), true},
		"partition":         {with(func(f *Filter) { f.Partition = 1 }), true},
		"other partition":   {with(func(f *Filter) { f.Partition = 0 }), false},
		"offset":            {with(func(f *Filter) { f.Partition, f.Offset = 1, 5 }), true},
		"other offset":      {with(func(f *Filter) { f.Partition, f.Offset = 1, 4 }), false},
		"the letter's id":   {with(func(f *Filter) { f.ID = l.At }), true},
		"the request's id":  {with(func(f *Filter) { f.ID = l.Request }), true},
		"another's id":      {with(func(f *Filter) { f.ID = Position{requests, 1, 5} }), false},
		"code and no model": {with(func(f *Filter) { f.Codes, f.Models = []string{"INTERNAL"}, []string{"z"} }), false},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, c.f.match(l)) })
	}
}
