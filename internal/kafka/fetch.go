package kafka

import (
	"context"
	"errors"
	"log/slog"

	"github.com/twmb/franz-go/pkg/kgo"
)

// FetchErrors notes what goes wrong with fetching, for one poll loop: a
// partition's error is logged when it changes.
type FetchErrors struct{ last map[partition]string }

type partition struct {
	topic string
	id    int32
}

// Note looks at what a poll returned, calls count for each error, and says
// whether there was one. The end of the poll's context and of the client are
// none.
func (f *FetchErrors) Note(fetches kgo.Fetches, log *slog.Logger, count func()) bool {
	failing := false
	if len(f.last) > 0 {
		fetches.EachPartition(func(p kgo.FetchTopicPartition) {
			if p.Err == nil {
				delete(f.last, partition{p.Topic, p.Partition})
			}
		})
	}
	fetches.EachError(func(topic string, id int32, err error) {
		if errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded) || errors.Is(err, kgo.ErrClientClosed) {
			return
		}
		failing = true
		count()
		p := partition{topic, id}
		if f.last[p] == err.Error() {
			return
		}
		if f.last == nil {
			f.last = make(map[partition]string)
		}
		f.last[p] = err.Error()
		if loss, ok := errors.AsType[*kgo.ErrDataLoss](err); ok {
			log.Error("the broker has lost records of the partition",
				"topic", topic, "partition", id, "consumed_to", loss.ConsumedTo, "reset_to", loss.ResetTo)
			return
		}
		log.Warn("fetching fails; the client goes on trying", "topic", topic, "partition", id, "error", err)
	})
	return failing
}
