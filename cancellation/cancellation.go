// Package cancellation tells workers which requests nobody waits for any more.
// A gateway whose caller goes away writes the request's correlation id to a
// small topic; every worker reads all of that topic, without a group, and
// answers such a request without running the model. A cancellation
// that is lost costs an inference and nothing else, so nothing waits for the
// topic and nothing fails with it.
package cancellation

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/internal/wire"
)

// The bounds of what is remembered: the newest ids, each until its request's
// deadline and no longer than the limit.
const (
	maxIDs   = 1 << 16
	maxBytes = 64 // of an id
	maxAge   = 10 * time.Minute
)

// Deps is what a list works with.
type Deps struct {
	Topic string // "" is none: nothing is ever cancelled
	Log   *slog.Logger
	Opts  []kgo.Opt // how brokers are reached
}

// List holds the cancelled requests. It is safe for concurrent use.
type List struct {
	Deps
	size  atomic.Int64         // of until: mostly 0, which needs no lock to see
	mu    sync.RWMutex         // guards what follows
	until map[string]time.Time // by correlation id
	order []string             // the keys of until, oldest first
}

// New returns an empty list, which Run fills.
func New(deps Deps) *List {
	return &List{Deps: deps, until: make(map[string]time.Time)}
}

// Record is a cancellation for the topic.
func Record(topic string, correlation []byte, deadline time.Time) *kgo.Record {
	return &kgo.Record{Topic: topic, Key: correlation, Headers: []kgo.RecordHeader{
		{Key: wire.CorrelationID, Value: correlation},
		{Key: wire.ExpiryTime, Value: deadline.UTC().AppendFormat(nil, time.RFC3339Nano)},
	}}
}

// Cancelled says whether nobody waits for a request any more. It is only asked
// of one that wants a reply: the answers of others have other readers.
func (l *List) Cancelled(r *kgo.Record) bool {
	if l.size.Load() == 0 {
		return false
	}
	if _, ok := wire.Header(r, wire.ReplyTopic); !ok {
		return false
	}
	id, ok := wire.Header(r, wire.CorrelationID)
	if !ok {
		return false
	}
	l.mu.RLock()
	defer l.mu.RUnlock()
	until, ok := l.until[string(id)]
	return ok && time.Now().Before(until)
}

// Run reads the topic until ctx ends, and returns nil. A topic that is missing
// or cannot be read is looked for again and again.
func (l *List) Run(ctx context.Context) error {
	if l.Topic == "" {
		<-ctx.Done()
		return nil
	}
	topic := kafka.SideTopic{
		Name: l.Topic, Patience: 5 * time.Second, Log: l.Log,
		Meanwhile: "requests whose caller went away are run all the same",
	}
	topic.Read(ctx, l.read)
	return nil
}

// read reads until something fails, and says whether there was something to read
// from before. It begins a while back: a worker that comes
// when many wait knows who has gone since.
func (l *List) read(ctx context.Context) (worked bool, err error) {
	cl, err := kgo.NewClient(append(slices.Clip(l.Opts),
		kgo.ConsumeTopics(l.Topic),
		kgo.ConsumeResetOffset(kgo.NewOffset().AfterMilli(time.Now().Add(-maxAge).UnixMilli())),
		kgo.FetchMaxBytes(1<<20),
	)...)
	if err != nil {
		return false, fmt.Errorf("client: %w", err)
	}
	defer cl.Close()
	for err = kafka.Exists(ctx, kadm.NewClient(cl), l.Topic); err == nil; {
		fetches := cl.PollRecords(ctx, 1000)
		l.add(fetches.Records(), time.Now())
		err = fetches.Err()
		worked = worked || err == nil
	}
	return worked, err
}

// add remembers cancellations, and forgets what is over.
func (l *List) add(recs []*kgo.Record, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, r := range recs {
		id, ok := wire.Header(r, wire.CorrelationID)
		deadline, timed, err := wire.Expiry(r)
		if !ok || !timed || err != nil || len(id) > maxBytes || !now.Before(deadline) {
			continue
		}
		if _, known := l.until[string(id)]; !known {
			l.order = append(l.order, string(id))
		}
		if latest := now.Add(maxAge); deadline.After(latest) {
			deadline = latest
		}
		l.until[string(id)] = deadline
	}
	for len(l.order) > 0 && (len(l.order) > maxIDs || !now.Before(l.until[l.order[0]])) {
		delete(l.until, l.order[0])
		l.order = l.order[1:]
	}
	l.size.Store(int64(len(l.until)))
}
