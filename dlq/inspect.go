package dlq

import (
	"cmp"
	"context"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// Source is a dead-letter topic, and how its brokers are reached.
type Source struct {
	Topic string
	Opts  []kgo.Opt
	Tell  Tell // of progress; may be nil
}

// Summary is what a topic's dead letters come to.
type Summary struct {
	Letters  int           // that the filter picks
	Replayed int           // of these, that were replayed
	Missing  int           // of these, without their payload
	Other    int           // records that are no dead letters; no filter is asked of them
	First    time.Time     // of the earliest
	Last     time.Time     // of the latest
	Codes    []Count       // most frequent first
	Models   []Count       // likewise
	Times    []Count       // by start of bucket, in order; none is left out between the first and the last
	Bucket   time.Duration // width of those
	Newest   []Letter      // latest first
}

// Count is a number of dead letters that have a name in common.
type Count struct {
	Name     string
	Start    time.Time // of a bucket of time
	Letters  int
	Replayed int
}

// Inspect reads a topic up to the end that it has now, and counts what the
// filter picks. It keeps the newest letters, as many as asked for.
func Inspect(ctx context.Context, s Source, f Filter, newest int) (*Summary, error) {
	cl, err := s.client(ctx)
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	t, err := open(ctx, cl, s.Opts, s.Topic, f)
	if err != nil {
		return nil, err
	}
	replayed, err := t.notes(ctx, s.Tell)
	if err != nil {
		return nil, err
	}
	sum := &Summary{}
	codes, models, minutes := make(map[string]Count), make(map[string]Count), make(map[time.Time]Count)
	err = t.letters(ctx, "counting", f, s.Tell, replayed, func(l *Letter) error {
		sum.add(l, newest)
		add(codes, l.Code, l)
		add(models, l.modelName(), l)
		add(minutes, l.Time.UTC().Truncate(time.Minute), l)
		return nil
	}, func() { sum.Other++ })
	if err != nil {
		return nil, err
	}
	sum.Codes, sum.Models = ranked(codes), ranked(models)
	sum.buckets(minutes)
	sum.keep(newest)
	return sum, nil
}

func (s *Summary) add(l *Letter, newest int) {
	s.Letters++
	if l.Replayed != "" {
		s.Replayed++
	}
	if l.Missing != "" {
		s.Missing++
	}
	if s.First.IsZero() || l.Time.Before(s.First) {
		s.First = l.Time
	}
	if l.Time.After(s.Last) {
		s.Last = l.Time
	}
	if newest == 0 {
		return
	}
	if s.Newest = append(s.Newest, *l); len(s.Newest) >= 2*newest+64 {
		s.keep(newest)
	}
}

// keep drops all but the newest.
func (s *Summary) keep(n int) {
	slices.SortFunc(s.Newest, func(a, b Letter) int {
		return cmp.Or(b.Time.Compare(a.Time), cmp.Compare(a.At.Partition, b.At.Partition), cmp.Compare(b.At.Offset, a.At.Offset))
	})
	if len(s.Newest) > n {
		clear(s.Newest[n:])
		s.Newest = s.Newest[:n]
	}
}

// modelName is the model that refused, or the one that was asked for in vain.
func (l *Letter) modelName() string {
	switch {
	case l.Model != "":
		return l.Model + "/" + l.Version
	case l.Wanted != "":
		return l.Wanted + " (not reached)"
	}
	return ""
}

func add[K comparable](to map[K]Count, name K, l *Letter) {
	c := to[name]
	c.Letters++
	if l.Replayed != "" {
		c.Replayed++
	}
	to[name] = c
}

func ranked(counts map[string]Count) []Count {
	list := make([]Count, 0, len(counts))
	for name, c := range counts {
		c.Name = name
		list = append(list, c)
	}
	slices.SortFunc(list, func(a, b Count) int {
		return cmp.Or(cmp.Compare(b.Letters, a.Letters), cmp.Compare(a.Name, b.Name))
	})
	return list
}

// mostBuckets is how many lines of time are still read at a glance.
const mostBuckets = 24

// buckets sums the minutes into buckets of the smallest width that makes few of
// the span.
func (s *Summary) buckets(minutes map[time.Time]Count) {
	if len(minutes) == 0 {
		return
	}
	widths := []time.Duration{
		time.Minute, 5 * time.Minute, 15 * time.Minute, time.Hour, 3 * time.Hour, 6 * time.Hour,
		12 * time.Hour, 24 * time.Hour, 7 * 24 * time.Hour, 28 * 24 * time.Hour,
	}
	times := slices.SortedFunc(maps.Keys(minutes), time.Time.Compare)
	first, last := times[0], times[len(times)-1]
	for _, s.Bucket = range widths {
		if last.Truncate(s.Bucket).Sub(first.Truncate(s.Bucket))/s.Bucket < mostBuckets {
			break
		}
	}
	for start := first.Truncate(s.Bucket); !start.After(last); start = start.Add(s.Bucket) {
		s.Times = append(s.Times, Count{Start: start})
	}
	for at, c := range minutes {
		b := &s.Times[at.Truncate(s.Bucket).Sub(s.Times[0].Start)/s.Bucket]
		b.Letters += c.Letters
		b.Replayed += c.Replayed
	}
}

// client answers, or there is an error within a bounded time.
func (s Source) client(ctx context.Context, more ...kgo.Opt) (*kgo.Client, error) {
	cl, err := kgo.NewClient(append(slices.Clip(s.Opts), more...)...)
	if err != nil {
		return nil, err
	}
	if err := reach(ctx, cl); err != nil {
		cl.Close()
		return nil, err
	}
	return cl, nil
}
