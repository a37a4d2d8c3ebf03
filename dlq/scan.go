package dlq

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Progress is how far the reading of a topic is.
type Progress struct {
	What    string // is being done
	Read    int64  // offsets passed
	Total   int64  // offsets to pass
	Waiting bool   // for a transaction that somebody has open
}

// Tell is told of progress, about once a second. nil is not told.
type Tell func(Progress)

// topic is a dead-letter topic as it was when it was opened. What comes later
// is not read.
type topic struct {
	name  string
	opts  []kgo.Opt
	admin *kadm.Client
	spans map[int32]span
}

// span is the part of a partition that is read: first to end-1.
type span struct{ first, end int64 }

var (
	// ErrNoTopic says that there is no such topic.
	ErrNoTopic = errors.New("there is no such topic")
	// ErrNoBroker says that none answers in time.
	ErrNoBroker = errors.New("no broker answers")
)

// open finds out what there is to read. The end is the last record's, committed
// or not: a note beyond the last stable offset is of a letter below it, and must
// not be missed.
func open(ctx context.Context, cl *kgo.Client, opts []kgo.Opt, name string, f Filter) (*topic, error) {
	t := &topic{name: name, opts: opts, admin: kadm.NewClient(cl), spans: make(map[int32]span)}
	var firsts kadm.ListedOffsets
	var err error
	if f.Since.IsZero() {
		firsts, err = t.admin.ListStartOffsets(ctx, name)
	} else {
		firsts, err = t.admin.ListOffsetsAfterMilli(ctx, f.Since.UnixMilli(), name)
	}
	ends, endsErr := t.admin.ListEndOffsets(ctx, name)
	for _, err := range []error{err, endsErr, firsts.Error(), ends.Error()} {
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			return nil, fmt.Errorf("%s: %w", name, ErrNoTopic)
		}
		if err != nil {
			return nil, fmt.Errorf("offsets of %s: %w", name, err)
		}
	}
	partition, offset := f.start(name)
	ends.Each(func(end kadm.ListedOffset) {
		first, ok := firsts.Lookup(name, end.Partition)
		if ok && (partition < 0 || partition == end.Partition) {
			t.spans[end.Partition] = span{max(first.Offset, offset), end.Offset}
		}
	})
	if len(t.spans) == 0 {
		return nil, fmt.Errorf("%s has no partition %d", name, partition)
	}
	maps.DeleteFunc(t.spans, func(_ int32, s span) bool { return s.first >= s.end })
	return t, nil
}

// idle is how long the broker may give nothing before it is asked why.
const idle = 2 * time.Second

// scan reads the spans, committed records only, in the order of each partition,
// and stops at the first error of each.
func (t *topic) scan(ctx context.Context, what string, tell Tell, each func(*kgo.Record) error) error {
	left, offsets := maps.Clone(t.spans), make(map[int32]kgo.Offset)
	p := Progress{What: what}
	for id, s := range left {
		offsets[id] = kgo.NewOffset().At(s.first)
		p.Total += s.end - s.first
	}
	cl, err := kgo.NewClient(append(slices.Clip(t.opts),
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{t.name: offsets}),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()), // retention may pass what is read
		kgo.FetchIsolationLevel(kgo.ReadCommitted()),
		kgo.KeepControlRecords(), // the last record may be one
		kgo.FetchMaxBytes(16<<20),
	)...)
	if err != nil {
		return fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	told := time.Now()
	for len(left) > 0 {
		turn, cancel := context.WithTimeout(ctx, idle)
		fetches := cl.PollRecords(turn, 1000)
		cancel()
		if err := t.failure(ctx, fetches); err != nil {
			return err
		}
		if p.Waiting = false; fetches.NumRecords() == 0 {
			if p.Waiting, err = t.look(ctx, left); err != nil {
				return err
			}
		}
		for iter := fetches.RecordIter(); !iter.Done(); {
			if err := t.take(iter.Next(), left, each); err != nil {
				return err
			}
		}
		if tell != nil && (time.Since(told) > time.Second || p.Waiting) {
			told = time.Now()
			p.Read = p.Total
			for id, s := range left {
				p.Read -= s.end - max(s.first, t.spans[id].first)
			}
			tell(p)
		}
	}
	return nil
}

// take passes a record on, and keeps in left what is still to come.
func (t *topic) take(r *kgo.Record, left map[int32]span, each func(*kgo.Record) error) error {
	s, ok := left[r.Partition]
	if !ok {
		return nil
	}
	if r.Offset < s.end && !r.Attrs.IsControl() {
		if err := each(r); err != nil {
			return err
		}
	}
	if s.first = r.Offset + 1; s.first >= s.end {
		delete(left, r.Partition)
	} else {
		left[r.Partition] = s
	}
	return nil
}

// failure is what a poll could not do; an empty one is no failure.
func (t *topic) failure(ctx context.Context, fetches kgo.Fetches) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	for _, e := range fetches.Errors() {
		if loss := (*kgo.ErrDataLoss)(nil); !errors.Is(e.Err, context.DeadlineExceeded) && !errors.As(e.Err, &loss) {
			return fmt.Errorf("read %s/%d: %w", t.name, e.Partition, e.Err)
		}
	}
	return nil
}

// look asks the broker why nothing comes: what retention has removed is not
// waited for, what a transaction holds back is.
func (t *topic) look(ctx context.Context, left map[int32]span) (waiting bool, err error) {
	starts, err := t.admin.ListStartOffsets(ctx, t.name)
	if err != nil {
		return false, fmt.Errorf("offsets of %s: %w", t.name, err)
	}
	stable, err := t.admin.ListCommittedOffsets(ctx, t.name)
	if err != nil {
		return false, fmt.Errorf("offsets of %s: %w", t.name, err)
	}
	for id, s := range left {
		if first, ok := starts.Lookup(t.name, id); ok && first.Err == nil && first.Offset >= s.end {
			delete(left, id)
		}
		if last, ok := stable.Lookup(t.name, id); ok && last.Err == nil && last.Offset < s.end {
			waiting = true
		}
	}
	return waiting, nil
}
