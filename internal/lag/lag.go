// Package lag says how far a worker is behind on the partitions that it holds,
// whichever way it takes records in.
package lag

import (
	"context"
	"fmt"
	"iter"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/millrace/millrace/metrics"
)

// Ends are the bounds of topics' partitions, as read_committed sees them.
type Ends struct{ starts, ends kadm.ListedOffsets }

// Read asks the broker for the bounds of topics' partitions.
func Read(ctx context.Context, admin *kadm.Client, topics []string) (Ends, error) {
	starts, err := admin.ListStartOffsets(ctx, topics...)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return Ends{}, fmt.Errorf("first offsets: %w", err)
	}
	// The last stable offset: what read_committed can see.
	ends, err := admin.ListCommittedOffsets(ctx, topics...)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return Ends{}, fmt.Errorf("last stable offsets: %w", err)
	}
	return Ends{starts, ends}, nil
}

// Of are the first offset of a partition and the last stable one.
func (e Ends) Of(topic string, id int32) (start, end int64, ok bool) {
	s, _ := e.starts.Lookup(topic, id)
	last, ok := e.ends.Lookup(topic, id)
	return s.Offset, last.Offset, ok
}

// Records is the number of offsets that have no acknowledged answer. watermark
// is the first of them; while it is below 0, from is where consuming begins.
// Offsets below 0 are not known yet.
func Records(watermark, from, start, end int64) int64 {
	if watermark < 0 {
		watermark = from
	}
	if watermark = max(watermark, min(start, end)); watermark < 0 {
		return 0
	}
	return max(0, end-watermark)
}

// Partition is the lag of one that is held. Since is the timestamp of the first
// record taken in that has no acknowledged answer; zero when there is none.
type Partition struct {
	Topic   string
	ID      int32
	Records int64
	Since   time.Time
}

// Export sets the gauges of what is held.
func Export(m *metrics.Consumer, held iter.Seq[Partition]) {
	now := time.Now()
	var sum int64
	var oldest float64
	for p := range held {
		age := 0.0
		if !p.Since.IsZero() {
			age = max(0, now.Sub(p.Since).Seconds()) // clocks may differ
		}
		sum += p.Records
		oldest = max(oldest, age)
		id := strconv.Itoa(int(p.ID))
		m.LagRecords.WithLabelValues(p.Topic, id).Set(float64(p.Records))
		m.LagSeconds.WithLabelValues(p.Topic, id).Set(age)
	}
	m.QueueLen.Set(float64(sum))
	m.OldestRecord.Set(oldest)
}

// Forget removes the series of a partition: a held one alone has a lag.
func Forget(m *metrics.Consumer, topic string, id int32) {
	n := strconv.Itoa(int(id))
	m.LagRecords.DeleteLabelValues(topic, n)
	m.LagSeconds.DeleteLabelValues(topic, n)
}
