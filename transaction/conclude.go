package transaction

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// conclude says that the leases of partitions end, and that their worker lives.
// It is a plain commit, the last of this member for them: what comes of it
// later is refused. Without it the next worker goes on with more care.
func (l *lane) conclude(ctx context.Context, cl *kgo.Client, gone map[string][]int32) {
	offsets := make(map[string]map[int32]kgo.EpochOffset)
	texts := make(map[partition]string)
	var ended []*part
	l.mu.Lock()
	// While a commit is under way, or when its end is not known, an offset said
	// here could be one before it.
	sure := !l.doubt && (!l.ending || l.writes.ends.Load() == l.ends)
	for topic, ids := range gone {
		for _, id := range ids {
			p := partition{topic, id}
			held := l.parts[p]
			if held == nil || held.committed < 0 || held.concluded || held.stuck || !sure || !l.marking() {
				continue
			}
			held.concluded = true
			if !held.marked && held.said == held.guard.Ended() {
				continue // that is what the broker has
			}
			ended = append(ended, held)
			if offsets[topic] == nil {
				offsets[topic] = make(map[int32]kgo.EpochOffset)
			}
			offsets[topic][id] = kgo.EpochOffset{Epoch: held.epoch, Offset: held.committed}
			texts[p] = held.text(held.guard.Ended(), held.committed, held.epoch, l.space)
		}
	}
	l.mu.Unlock()
	if len(texts) == 0 {
		return
	}
	ctx = kgo.PreCommitFnContext(ctx, func(req *kmsg.OffsetCommitRequest) error {
		for i := range req.Topics {
			for j := range req.Topics[i].Partitions {
				p := &req.Topics[i].Partitions[j]
				p.Metadata = new(texts[partition{req.Topics[i].Topic, p.Partition}])
			}
		}
		return nil
	})
	cl.CommitOffsetsSync(ctx, offsets, func(_ *kgo.Client, _ *kmsg.OffsetCommitRequest, resp *kmsg.OffsetCommitResponse, err error) {
		for i := 0; err == nil && i < len(resp.Topics); i++ {
			for _, p := range resp.Topics[i].Partitions {
				err = errors.Join(err, kerr.ErrorForCode(p.ErrorCode))
			}
		}
		if err != nil {
			l.Log.Info("the clean end of partitions could not be committed; another worker takes it for a crash", "lane", l.n, "error", err)
			return
		}
		l.mu.Lock()
		for _, held := range ended {
			held.said = held.guard.Ended()
		}
		l.mu.Unlock()
	})
}
