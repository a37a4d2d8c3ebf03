package gateway

import (
	"context"
	"encoding/binary"
	"errors"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// journey is one request's way to the workers and back: what belongs to it, as one
// piece of memory, which another request uses when it is over.
type journey struct {
	arrived chan arrival // the answer, or that there will be none; takes both without blocking
	timer   *time.Timer
	record  kgo.Record
	headers [10]kgo.RecordHeader
	text    [192]byte // of the headers
	traced  func(*kgo.Record, error)
	settled func(*kgo.Record, error) // settle, made once
	taken   atomic.Bool              // the broker has acknowledged it
}

// arrival is what ends a wait: the answer, or why the request is not in its topic.
type arrival struct {
	answer *kgo.Record
	err    error
}

func newJourney() *journey {
	j := &journey{arrived: make(chan arrival, 2)}
	j.settled = j.settle
	return j
}

// settle is told what became of the request's record. That it was taken wakes nobody:
// who waits asks for it when the time for it is over.
func (j *journey) settle(rec *kgo.Record, err error) {
	j.traced(rec, err)
	if err != nil {
		j.arrived <- arrival{err: err}
		return
	}
	j.taken.Store(true) // j may be another's from here on
}

// wait sets the timer.
func (j *journey) wait(d time.Duration) {
	if j.timer == nil {
		j.timer = time.NewTimer(d)
		return
	}
	j.timer.Reset(d)
}

// errKilled is of who waited for longer than the drain.
var errKilled = model.Errorf(model.Unavailable, "the gateway is stopping")

// roundTrip publishes the request and waits for its answer until its deadline, or until
// ctx ends, which is that its client went away. The error is a [*model.Error].
func (g *Gateway) roundTrip(ctx context.Context, req *request) (*kgo.Record, id, error) {
	j, _ := g.journeys.Get().(*journey)
	if j == nil {
		j = newJourney()
	}
	i := g.replies.await(j.arrived)
	answer, err := g.travel(ctx, j, i, req)
	g.replies.forget(i)
	if err == nil && j.taken.Load() { // nothing more can arrive, and the client is done with the record
		j.record, j.headers, j.traced = kgo.Record{}, [10]kgo.RecordHeader{}, nil
		j.taken.Store(false)
		g.journeys.Put(j)
	}
	return answer, i, err
}

func (g *Gateway) travel(ctx context.Context, j *journey, i id, req *request) (*kgo.Record, error) {
	partition := g.partition.Load()
	if partition < 0 {
		return nil, model.Errorf(model.Unavailable, "the gateway is not connected to Kafka yet")
	}
	j.record = g.record(i, g.cfg.ReplyTopic, partition, req, j.headers[:0], j.text[:0])
	j.traced = g.deps.Traces.Send(ctx, &j.record)
	g.gather.add(j)
	left := time.Until(req.deadline)
	j.wait(min(left, g.cfg.PublishTimeout))
	defer j.timer.Stop()
	for {
		select {
		case a := <-j.arrived:
			if a.err != nil {
				return nil, g.unpublished(ctx, a.err)
			}
			return a.answer, nil
		case <-j.timer.C:
			over := left <= g.cfg.PublishTimeout
			switch {
			case over:
				return nil, g.late(j)
			case !j.taken.Load():
				return nil, model.Errorf(model.Unavailable, "the broker did not acknowledge the request within %s", g.cfg.PublishTimeout)
			}
			left = 0 // the second time
			j.wait(time.Until(req.deadline))
		case <-g.killed.Done():
			return nil, errKilled
		case <-ctx.Done():
			return nil, g.late(j)
		}
	}
}

// publishJourney hands a request to the client. Its context is nobody's: one cancelled
// record fails the batch that it is in.
func (g *Gateway) publishJourney(j *journey) {
	g.client.TryProduce(context.Background(), &j.record, j.settled)
}

// late is a request whose time is over.
func (g *Gateway) late(j *journey) *model.Error {
	if !j.taken.Load() {
		return model.Errorf(model.Unavailable, "the broker did not acknowledge the request before its deadline")
	}
	return model.Errorf(model.DeadlineExceeded, "no answer came before the request's deadline")
}

// unpublished says why a request did not get into its topic. The broker has a limit
// of its own, and sending the same again does not help there.
func (g *Gateway) unpublished(ctx context.Context, err error) *model.Error {
	if errors.Is(err, kerr.MessageTooLarge) {
		return model.Errorf(model.TooLarge, "the request is larger than the broker takes")
	}
	g.log.WarnContext(ctx, "publishing a request fails", "err", err)
	return model.Errorf(model.Unavailable, "the request could not be published")
}

// record is the request as it goes to the workers, its body untouched. Its headers go
// into the memory given, as far as they fit.
func (g *Gateway) record(i id, topic string, partition int32, req *request, headers []kgo.RecordHeader, text []byte) kgo.Record {
	add := func(key string, grow func([]byte) []byte) {
		from := len(text)
		text = grow(text)
		headers = append(headers, kgo.RecordHeader{Key: key, Value: text[from:len(text):len(text)]})
	}
	add(wire.CorrelationID, func(b []byte) []byte { return append(b, i[:]...) })
	add(wire.ReplyTopic, func(b []byte) []byte { return append(b, topic...) })
	add(wire.ReplyPartition, func(b []byte) []byte { return binary.BigEndian.AppendUint32(b, uint32(partition)) }) //nolint:gosec // not negative
	add(wire.ExpiryTime, func(b []byte) []byte { return req.deadline.UTC().AppendFormat(b, time.RFC3339Nano) })
	for _, h := range []struct{ key, value string }{
		{wire.ContentType, req.way.contentType},
		{wire.HeaderLength, req.way.headerLength},
		{wire.Model, req.way.model},
		{wire.TraceParent, req.header.Get("Traceparent")},
		{wire.TraceState, req.header.Get("Tracestate")},
		{wire.Client, req.client},
	} {
		if h.value != "" {
			add(h.key, func(b []byte) []byte { return append(b, h.value...) })
		}
	}
	rec := kgo.Record{Topic: g.cfg.RequestTopic, Value: req.body, Headers: headers}
	if key := req.header.Get(headerKey); key != "" {
		rec.Key = []byte(key)
	}
	return rec
}
