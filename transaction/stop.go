package transaction

import (
	"context"
	"time"

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
	l.mu.Lock()
	gone := make(map[string][]int32)
	for p := range l.parts {
		gone[p.topic] = append(gone[p.topic], p.id)
	}
	l.mu.Unlock()
	l.drop(gone, ErrStopped)
	l.mu.Lock()
	l.moved, l.returning = false, false
	l.mu.Unlock()
}
