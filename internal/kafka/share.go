package kafka

import (
	"context"
	"errors"
	"fmt"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
)

// ShareLag counts, by partition, the records of a topic that a share group has
// not done with: the broker's own count. For a partition that the group has
// never fetched, which the broker leaves out, it is what the log holds; none
// when latest says that the group begins at its end. The log's end is what
// read_committed sees.
func ShareLag(ctx context.Context, adm *kadm.Client, group, topic string, latest bool) (map[int32]int64, error) {
	// The group first: the other way round, a first fetch in between would be
	// counted twice.
	described, err := adm.DescribeShareGroupOffsets(ctx, group)
	if err == nil {
		err = described.Error()
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return nil, fmt.Errorf("offsets of share group %s: %w", group, err)
	}
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("start offsets of %s: %w", topic, err)
	}
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return nil, fmt.Errorf("end offsets of %s: %w", topic, err)
	}
	lag := make(map[int32]int64, len(ends[topic]))
	for id, end := range ends[topic] {
		known, ok := described[group].Offsets.Lookup(topic, id)
		if ok && known.Err != nil {
			return nil, fmt.Errorf("share group %s at %s/%d: %w", group, topic, id, known.Err)
		}
		start, _ := starts.Lookup(topic, id)
		switch {
		case ok && known.Lag >= 0:
			lag[id] = known.Lag
		case ok && known.StartOffset >= 0:
			lag[id] = max(0, end.Offset-max(start.Offset, known.StartOffset))
		case latest:
			lag[id] = 0
		default:
			lag[id] = max(0, end.Offset-start.Offset)
		}
	}
	return lag, nil
}
