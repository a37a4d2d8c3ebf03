package announce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
)

// spread bounds the time within which the members of a pool follow a change, not
// all at the same moment: each fetches a version of its own.
const spread = 5 * time.Second

// read reads the topic until ctx ends.
func (b *Board) read(ctx context.Context) {
	topic := kafka.SideTopic{
		Name: b.Topic, Patience: patience, Log: b.Log,
		Meanwhile: "this worker asks the registry by itself",
	}
	topic.Read(ctx, func(ctx context.Context) (bool, error) {
		worked, err := b.readOnce(ctx)
		b.writer.Store(nil)
		if errors.Is(err, kerr.UnknownTopicOrPartition) {
			b.settled() // waiting would not help
		}
		return worked, err
	})
}

// readOnce reads from the start until something fails, and says whether it came
// to the end of what was there.
func (b *Board) readOnce(ctx context.Context) (worked bool, err error) {
	start := map[string]map[int32]kgo.Offset{b.Topic: {0: kgo.NewOffset().AtStart()}}
	cl, err := kgo.NewClient(append(slices.Clip(b.Opts),
		kgo.ConsumePartitions(start), kgo.FetchMaxBytes(1<<20),
		kgo.RecordPartitioner(kgo.ManualPartitioner()), kgo.RecordDeliveryTimeout(writeLimit), kgo.ProducerLinger(0),
	)...)
	if err != nil {
		return false, fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	from, to, err := b.span(ctx, cl)
	if err != nil {
		return false, err
	}
	for ctx.Err() == nil {
		if !worked && from >= to {
			worked = true
			b.writer.Store(cl)
			b.settled()
		}
		fetches := cl.PollFetches(ctx)
		for _, r := range fetches.Records() {
			b.take(ctx, r, worked)
			from = r.Offset + 1
		}
		if err := fetches.Err(); err != nil {
			return worked, err
		}
	}
	return worked, ctx.Err()
}

// span is what the topic holds now.
func (b *Board) span(ctx context.Context, cl *kgo.Client) (from, to int64, err error) {
	ctx, cancel := context.WithTimeout(ctx, patience)
	defer cancel()
	adm := kadm.NewClient(cl)
	if err := kafka.Exists(ctx, adm, b.Topic); err != nil {
		return 0, 0, err
	}
	starts, err := adm.ListStartOffsets(ctx, b.Topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return 0, 0, err
	}
	ends, err := adm.ListEndOffsets(ctx, b.Topic)
	if err == nil {
		err = ends.Error()
	}
	first, _ := starts.Lookup(b.Topic, 0)
	last, _ := ends.Lookup(b.Topic, 0)
	return first.Offset, last.Offset, err
}

// take notes a record; live says that it was written just now.
func (b *Board) take(ctx context.Context, r *kgo.Record, live bool) {
	kind, reference, ok := b.meant(r)
	if !ok {
		return
	}
	heard := time.Now()
	if !live && r.Timestamp.Before(heard) {
		heard = r.Timestamp
	}
	result := "read"
	switch kind {
	case kindAnswer:
		result = b.takeAnswer(ctx, reference, r.Value, heard)
	case kindWant:
		b.takeWant(reference, r.Value, heard)
	case kindNudge:
		if live && b.leads() {
			b.hurry()
		}
	case kindWithdrawn:
		result = b.takeBack(reference, r.Value)
	default: // of a version to come
		return
	}
	b.Metrics.Records.WithLabelValues(kind, result).Inc()
}

func (b *Board) leads() bool {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.leading > 0
}

// hurry has this member, which is elected, ask now.
func (b *Board) hurry() {
	select {
	case b.ask <- struct{}{}:
	default:
	}
}

func (b *Board) takeAnswer(ctx context.Context, reference string, value []byte, heard time.Time) (result string) {
	const year = 365 * 24 * time.Hour // no clock is that far off
	a := &answer{heard: heard}
	if value != nil && (json.Unmarshal(value, a) != nil || a.Epoch <= 0 || a.Epoch > time.Now().Add(year).UnixMilli()) {
		return "unreadable"
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if value == nil {
		delete(b.answers, reference)
		return "read"
	}
	if a.Epoch < b.top {
		// Of a member that had lost its election and did not know. Since it comes
		// last it is what compaction keeps: the elected one writes again.
		if b.leading > 0 {
			b.hurry()
		}
		b.Log.WarnContext(ctx, "an announcement of a member that is no longer elected is not taken", "reference", reference, "by", a.By)
		return "stale"
	}
	b.top = a.Epoch
	before := b.answers[reference]
	if before == nil && len(b.answers) >= maxReferences {
		return "too many"
	}
	if before != nil && before.Epoch == a.Epoch && a.At.Before(before.At) {
		return "stale"
	}
	b.answers[reference] = a
	if before == nil || before.Error != a.Error || b.Identity(before.Answer) != b.Identity(a.Answer) {
		b.wake(reference, min(b.Poll/10, spread))
	}
	return "read"
}

func (b *Board) takeWant(reference string, value []byte, heard time.Time) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if value == nil {
		delete(b.wants, reference)
		return
	}
	at, known := b.wants[reference]
	if !known && len(b.wants) >= maxReferences {
		return
	}
	if heard.After(at) {
		b.wants[reference] = heard
	}
	if !known && b.answers[reference] == nil && b.leading > 0 {
		b.hurry()
	}
}

func (b *Board) takeBack(reference string, value []byte) (result string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if value == nil {
		if _, known := b.takes[reference]; known {
			delete(b.takes, reference)
			b.wake(reference, min(b.Poll/10, spread))
		}
		return "read"
	}
	var w Withdrawal
	if json.Unmarshal(value, &w) != nil || w.Identity == "" {
		return "unreadable"
	}
	if len(b.takes) < maxReferences {
		if old := b.takes[reference]; old == nil || old.Identity != w.Identity || !old.At.Equal(w.At) {
			b.takes[reference] = &taken{Withdrawal: w}
		}
		b.wake(reference, 0)
	}
	return "read"
}
