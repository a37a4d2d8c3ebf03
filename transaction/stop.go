package transaction

import (
	"context"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/kafka"
)

// leave gives the partitions back at once. A lane that comes back keeps its
// memo, and its place when it is a static member.
func (l *lane) leave(comesBack bool) {
	if l.session == nil {
		return
	}
	l.mu.Lock()
	l.returning = comesBack
	l.mu.Unlock()
	l.cl.AllowRebalance()
	l.endLeases(comesBack)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.stops.work), leaveBound)
	defer cancel()
	member, _ := l.cl.GroupMetadata()
	if err := l.cl.LeaveGroupContext(ctx); err != nil {
		l.Log.Warn("leaving the group failed; its session has to end", "lane", l.n, "group", l.member.Group, "error", err)
	}
	if id := l.instance(); id != "" && !comesBack {
		if err := kafka.LeaveStatic(ctx, l.cl, l.member.Group, id, member, l.member.Protocol == protocolConsumer); err != nil {
			l.Log.Warn("static member could not leave; its session has to end",
				"group", l.member.Group, "instance_id", id, "error", err)
		}
	}
	l.dropAll()
	l.joined.Store(false)
	l.session.CloseAllowingRebalance()
	l.cl.AllowRebalance() // closing polls what is left, and its own leaving may come after that
	l.session, l.cl = nil, nil
}

// leaveBound is the longest wait for the broker to let a lane go.
const leaveBound = 5 * time.Second

func (l *lane) dropAll() {
	l.drop(l.all(), ErrStopped)
	l.loosen()
	l.mu.Lock()
	l.moved, l.returning, l.doubt = false, false, false
	l.mu.Unlock()
}

func (l *lane) all() map[string][]int32 {
	l.mu.Lock()
	defer l.mu.Unlock()
	all := make(map[string][]int32)
	for p := range l.parts {
		all[p.topic] = append(all[p.topic], p.id)
	}
	return all
}

// endLeases commits that the lane's leases end cleanly.
func (l *lane) endLeases(comesBack bool) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(l.stops.work), leaveBound)
	defer cancel()
	l.settle(ctx, comesBack)
	l.conclude(ctx, l.cl, l.all())
}

// settle learns what became of a commit that the broker did not confirm, so that
// the clean end of the lane can be said. A lane that comes back takes its
// transactional id anew, as its next client does: that ends what is open.
func (l *lane) settle(ctx context.Context, comesBack bool) {
	l.mu.Lock()
	doubt := l.doubt
	l.mu.Unlock()
	for doubt && ctx.Err() == nil {
		if comesBack {
			l.takeID(ctx)
		} else {
			_, _, _ = l.cl.ProducerID(ctx) // the same, but not when another worker has the id
		}
		at, err := l.admin.FetchOffsets(kadm.RequireStable(ctx), l.member.Group)
		if err == nil {
			doubt = !l.settled(at)
		}
		if doubt {
			pause(ctx, 100*time.Millisecond)
		}
	}
}

// takeID has the broker end what a client of this id left open. What it answers
// is seen by what is stable then.
func (l *lane) takeID(ctx context.Context) {
	req := kmsg.NewPtrInitProducerIDRequest()
	req.TransactionalID = new(l.id())
	req.TransactionTimeoutMillis = int32(l.cfg.Timeout.Milliseconds()) //nolint:gosec // The broker takes no more than 15 minutes.
	_, _ = req.RequestWith(ctx, l.cl)
}

// settled takes over what is committed, when that is stable.
func (l *lane) settled(at kadm.OffsetResponses) bool {
	l.mu.Lock()
	defer l.mu.Unlock()
	for p := range l.parts {
		if o, ok := at.Lookup(p.topic, p.id); ok && o.Err != nil {
			return false
		}
	}
	for p, held := range l.parts {
		if o, ok := at.Lookup(p.topic, p.id); ok && o.At >= 0 {
			held.committed, held.epoch = o.At, o.LeaderEpoch
		}
	}
	l.doubt = false
	return true
}
