package sharegroup

import (
	"context"
	"errors"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

const (
	// A lane fetches from one broker at a time: this bounds how long data of
	// one waits behind the silence of another.
	fetchWait = 100 * time.Millisecond
	// The broker releases what is held through a connection when it closes.
	idleTimeout = 5 * time.Minute
	leaveBound  = 5 * time.Second
)

// lane is one member of the group. All but what is said otherwise belongs to
// the goroutine of run.
type lane struct {
	*Queue
	id     int
	cl     *kgo.Client
	life   context.Context //nolint:containedctx // Of the client: it outlives the intake's.
	cut    context.CancelFunc
	joined atomic.Bool // has fetched, so that it has an assignment

	ackErrs   map[partition]string // said of each, until it is over
	fetchErrs map[partition]string // likewise

	mu    sync.Mutex // guards what follows
	batch *batch     // at work, nil for none; its fields have their own guard
	acked map[partition]error
}

type partition struct {
	topic string
	id    int32
}

func newLane(q *Queue, id int) *lane {
	life, cut := context.WithCancel(context.Background())
	return &lane{
		Queue: q, id: id, life: life, cut: cut, ackErrs: make(map[partition]string), fetchErrs: make(map[partition]string),
		acked: make(map[partition]error),
	}
}

func (l *lane) options() []kgo.Opt {
	return append(slices.Clone(l.Client),
		kgo.ShareGroup(l.member.Group),
		kgo.ConsumeTopics(l.Topics...),
		kgo.ShareMaxRecords(int32(l.cfg.Records)), //nolint:gosec // Validate bounds it.
		// Nothing is fetched ahead, whose locks would run while it waits; and
		// acknowledgements do not wait behind a fetch.
		kgo.ShareMaxRecordsStrict(),
		kgo.ShareAckCallback(l.acknowledged),
		kgo.FetchMaxWait(fetchWait),
		kgo.FetchMaxBytes(l.member.FetchMaxBytes),
		kgo.ConnIdleTimeout(idleTimeout),
		kgo.WithHooks(l),
		kgo.WithContext(l.life),
	)
}

// OnBrokerE2E implements [kgo.HookBrokerE2E]: a member without an assignment
// does not fetch.
func (l *lane) OnBrokerE2E(_ kgo.BrokerMetadata, key int16, e2e kgo.BrokerE2E) {
	if key == int16(kmsg.ShareFetch) && e2e.Err() == nil && !l.joined.Load() {
		l.joined.Store(true)
	}
}

// run takes requests in until intake ends. What the pool has lives under lease;
// when wait ends, what is not answered is released.
func (l *lane) run(intake, lease, wait context.Context) {
	for l.poll(intake, lease, wait) {
	}
	l.joined.Store(false)
	ctx, cancel := context.WithTimeout(context.WithoutCancel(intake), leaveBound)
	defer cancel()
	// The client releases what it fetched and was never polled.
	if err := l.cl.LeaveGroupContext(ctx); err != nil {
		l.Log.Warn("leaving the share group failed; the session has to end", "group", l.member.Group, "lane", l.id, "error", err)
	}
	l.cut() // a request that is not answered would hold up the closing
	l.cl.Close()
}

// poll takes in once and works it off. It returns false when intake has ended.
func (l *lane) poll(intake, lease, wait context.Context) bool {
	fetches := l.cl.PollRecords(intake, l.cfg.Records)
	failed := l.noteErrors(fetches)
	if b := l.take(fetches); b != nil {
		l.work(intake, lease, wait, b)
	} else if failed {
		pause(intake, 100*time.Millisecond)
	}
	return intake.Err() == nil && !fetches.IsClientClosed()
}

// work gets every record of the batch its outcome, and tells the broker.
func (l *lane) work(intake, lease, wait context.Context, b *batch) {
	l.mu.Lock()
	l.batch = b
	l.mu.Unlock()
	defer func() {
		l.mu.Lock()
		l.batch = nil
		l.mu.Unlock()
		l.hold(-len(b.slots), -b.bytes)
	}()
	l.solo.enter(b.alone)
	defer l.solo.leave(b.alone...)
	if len(b.together) > 0 && intake.Err() == nil {
		l.submit(lease, b, b.together)
		l.await(wait, b, b.idle, nil)
		l.tell(wait, b, false)
	}
	l.workAlone(intake, lease, wait, b)
	// What goes back is delivered again at once, and would use up its deliveries
	// while the trouble lasts.
	l.idle(intake, wait, b, b.cooling())
	l.tell(wait, b, true)
}

// workAlone runs what may end the worker, a record at a time over all lanes.
func (l *lane) workAlone(intake, lease, wait context.Context, b *batch) {
	if len(b.alone) > 0 {
		l.idle(intake, wait, b, gather)
	}
	for _, s := range b.alone {
		mine, changed := l.solo.turn(s)
		for !mine && intake.Err() == nil {
			l.await(wait, b, intake.Done(), changed)
			mine, changed = l.solo.turn(s)
		}
		if intake.Err() != nil {
			return
		}
		l.Series.Alone.Inc()
		l.submit(lease, b, []*slot{s})
		l.await(wait, b, b.idle, nil)
		l.tell(wait, b, false) // at once: the next may end the process
		l.solo.leave(s)
	}
}

// submit hands records to the pool, those of a partition together.
func (l *lane) submit(lease context.Context, b *batch, slots []*slot) {
	b.begin(len(slots), l.answered.Load())
	l.submitted.Add(int64(len(slots)))
	for len(slots) > 0 {
		n := 1
		for n < len(slots) && slots[n].rec.Partition == slots[0].rec.Partition && slots[n].rec.Topic == slots[0].rec.Topic {
			n++
		}
		recs := make([]*kgo.Record, n)
		for i, s := range slots[:n] {
			recs[i] = s.rec
		}
		l.Pool.Submit(lease, recs, func(r *kgo.Record, err error) { l.done(b, r, err) })
		slots = slots[n:]
	}
}

func (l *lane) done(b *batch, r *kgo.Record, err error) {
	l.answered.Add(1)
	l.submitted.Add(-1)
	b.finish(slotOf(r), err, l.answered.Load())
}

// await returns when one of done is closed or wait ends. Meanwhile it renews.
func (l *lane) await(wait context.Context, b *batch, done, or <-chan struct{}) {
	timer := time.NewTimer(time.Until(b.due))
	defer timer.Stop()
	for {
		select {
		case <-done:
			return
		case <-or:
			return
		case <-wait.Done():
			return
		case <-timer.C:
			l.renew(wait, b)
			timer.Reset(time.Until(b.due))
		}
	}
}

// idle waits for some time, or until intake ends.
func (l *lane) idle(intake, wait context.Context, b *batch, d time.Duration) {
	if d > 0 {
		over, cancel := context.WithTimeout(intake, d)
		defer cancel()
		l.await(wait, b, over.Done(), nil)
	}
}

// noteErrors logs a partition's error when it changes, and counts all.
func (l *lane) noteErrors(fetches kgo.Fetches) bool {
	failing := false
	fetches.EachPartition(func(p kgo.FetchTopicPartition) {
		if p.Err == nil {
			delete(l.fetchErrs, partition{p.Topic, p.Partition})
		}
	})
	if fetches.NumRecords() > 0 {
		delete(l.fetchErrs, partition{}) // the group's own
	}
	fetches.EachError(func(topic string, id int32, err error) {
		if errors.Is(err, context.Canceled) || errors.Is(err, kgo.ErrClientClosed) {
			return
		}
		failing = true
		l.Metrics.FetchErrors.Inc()
		p := partition{topic, id}
		if l.fetchErrs[p] == err.Error() {
			return
		}
		l.fetchErrs[p] = err.Error()
		if session, ok := errors.AsType[*kgo.ErrGroupSession](err); ok {
			l.Log.Warn("the share group does not take this member; the client goes on trying", "group", l.member.Group, "lane", l.id, "error", session.Err)
			return
		}
		l.Log.Warn("fetching fails; the client goes on trying", "topic", topic, "partition", id, "lane", l.id, "error", err)
	})
	return failing
}

func pause(ctx context.Context, d time.Duration) {
	timer := time.NewTimer(d)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	}
}
