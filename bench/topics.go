package main

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

const partitions = 12

// topics is what the benchmark itself asks of the broker.
type topics struct {
	cl  *kgo.Client
	adm *kadm.Client
}

func newTopics(addr string) (*topics, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DisableClientMetrics(), kgo.MetadataMinAge(10*time.Millisecond),
		kgo.RecordPartitioner(kgo.ManualPartitioner()))
	if err != nil {
		return nil, err
	}
	return &topics{cl, kadm.NewClient(cl)}, nil
}

func (t *topics) create(ctx context.Context, names ...string) error {
	made, err := t.adm.CreateTopics(ctx, partitions, 1, nil, names...)
	return errors.Join(err, made.Error())
}

// remove makes room on the disk.
func (t *topics) remove(ctx context.Context, names ...string) error {
	gone, err := t.adm.DeleteTopics(ctx, names...)
	return errors.Join(err, gone.Error())
}

// count is the number of records in a topic.
func (t *topics) count(ctx context.Context, name string) (int, error) {
	ends, err := t.adm.ListEndOffsets(ctx, name)
	if err = errors.Join(err, ends.Error()); err != nil {
		return 0, err
	}
	n := 0
	ends.Each(func(o kadm.ListedOffset) { n += int(o.Offset) })
	return n, nil
}

// committed is the number of records that a group has committed; 0 while there
// is no such group.
func (t *topics) committed(ctx context.Context, group string) (int, error) {
	resp, err := t.adm.FetchOffsets(ctx, group)
	if errors.Is(err, kerr.GroupIDNotFound) {
		return 0, nil
	}
	n := 0
	resp.Each(func(o kadm.OffsetResponse) { n += int(max(0, o.At)) })
	return n, err
}

// fill writes the requests of a model, in turn to the partitions.
func (t *topics) fill(ctx context.Context, topic string, s *subject, n int) (mean int, err error) {
	size := 0
	var first kgo.FirstErrPromise
	for i := range n {
		body := s.body(nil, i)
		size += len(body)
		t.cl.Produce(ctx, &kgo.Record{Topic: topic, Partition: int32(i % partitions), Value: body}, first.Promise())
	}
	return size / n, first.Err()
}

// answer is what a result is like: the mean bytes of its value, and headers.
type answer struct {
	Value   int
	Headers []kgo.RecordHeader
}

// bytes are those of value and headers.
func (a *answer) bytes() int {
	size := a.Value
	for _, h := range a.Headers {
		size += len(h.Key) + len(h.Value)
	}
	return size
}

// sample reads the first results. It fails on one that is no prediction.
func (t *topics) sample(ctx context.Context, addr, topic string) (*answer, error) {
	cl, err := kgo.NewClient(kgo.SeedBrokers(addr), kgo.DisableClientMetrics(), kgo.ConsumeTopics(topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AtStart()))
	if err != nil {
		return nil, err
	}
	defer cl.Close()
	n, a := 0, new(answer)
	for n < 100 {
		fetches := cl.PollRecords(ctx, 1000)
		if err := fetches.Err(); err != nil {
			return nil, err
		}
		for r := range fetches.RecordsAll() {
			n++
			a.Value += len(r.Value)
			a.Headers = r.Headers
			for _, h := range r.Headers {
				if h.Key == wire.Status && string(h.Value) != "ok" {
					return nil, fmt.Errorf("an answer is %s: %s", h.Value, r.Value)
				}
			}
		}
	}
	a.Value /= n
	return a, nil
}
