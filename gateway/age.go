package gateway

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// lags is the group's lag as it was last seen, by topic.
type lags struct {
	mu      sync.Mutex
	records map[string]int64   // under mu
	seconds map[string]float64 // under mu
}

// set notes a topic's lag; nil is one that is not known.
func (l *lags) set(topic string, records *int64, seconds *float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.records == nil {
		l.records, l.seconds = make(map[string]int64), make(map[string]float64)
	}
	delete(l.records, topic)
	delete(l.seconds, topic)
	if records != nil {
		l.records[topic] = *records
	}
	if seconds != nil {
		l.seconds[topic] = *seconds
	}
}

// all is the lag over all topics; nil where none is known.
func (l *lags) all() (records *int64, seconds *float64) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, n := range l.records {
		if records == nil {
			records = new(int64)
		}
		*records += n
	}
	for _, age := range l.seconds {
		if seconds == nil {
			seconds = new(float64)
		}
		*seconds = max(*seconds, age)
	}
	return records, seconds
}

// exportAge tells for how long the oldest request of a topic has waited: lag in
// seconds, seen from outside the group. heads are where the partitions with a lag go
// on; nil says that nobody knows.
func (g *Gateway) exportAge(ctx context.Context, topic string, heads map[int32]int64) *float64 {
	series := g.metrics.GroupLagSeconds
	if heads == nil {
		series.DeleteLabelValues(g.cfg.Group, topic)
		return nil
	}
	age, err := g.oldest(ctx, topic, heads)
	if err != nil { // the lag in records is told nevertheless
		g.log.DebugContext(ctx, "the oldest request cannot be read", "topic", topic, "err", err)
		series.DeleteLabelValues(g.cfg.Group, topic)
		return nil
	}
	seconds := age.Seconds()
	series.WithLabelValues(g.cfg.Group, topic).Set(seconds)
	return &seconds
}

// oldest reads the first record of each partition, by a client of its own, which is
// done then. It returns how old the oldest is, 0 when nothing waits.
func (g *Gateway) oldest(ctx context.Context, topic string, heads map[int32]int64) (time.Duration, error) {
	if len(heads) == 0 {
		return 0, nil
	}
	offsets := make(map[int32]kgo.Offset, len(heads))
	for partition, at := range heads {
		offsets[partition] = kgo.NewOffset().At(at)
	}
	client, err := kgo.NewClient(append([]kgo.Opt{
		kgo.ConsumePartitions(map[string]map[int32]kgo.Offset{topic: offsets}),
		kgo.FetchIsolationLevel(kgo.ReadCommitted()), kgo.FetchMaxBytes(1 << 20), kgo.FetchMaxPartitionBytes(16 << 10), // a few batches a partition
		kgo.FetchMaxWait(time.Second), kgo.DisableClientMetrics(),
	}, g.deps.Kafka...)...)
	if err != nil {
		return 0, fmt.Errorf("kafka client: %w", err)
	}
	defer client.Close()
	var first time.Time
	for len(heads) > 0 {
		fetches := client.PollFetches(ctx)
		if err := fetches.Err(); err != nil {
			return 0, err
		}
		fetches.EachRecord(func(r *kgo.Record) {
			if _, unread := heads[r.Partition]; !unread {
				return
			}
			delete(heads, r.Partition)
			// Else all that waits would be read, and for as long as the lag grows.
			client.PauseFetchPartitions(map[string][]int32{topic: {r.Partition}})
			if first.IsZero() || r.Timestamp.Before(first) {
				first = r.Timestamp
			}
		})
	}
	return max(0, time.Since(first)), nil
}
