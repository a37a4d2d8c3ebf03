package gateway

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/internal/wire"
)

// id correlates an answer with its request: the instance's four bytes, then
// 96 random bits. The prefix tells our late replies from those of a gateway
// that shares the partition, without remembering anything.
type id [16]byte

// replies holds who waits for which answer.
type replies struct {
	instance [4]byte
	orphans  prometheus.Counter

	mu      sync.Mutex
	waiting map[id]chan<- arrival // under mu; each takes one answer without blocking
}

func newReplies(instance [4]byte, orphans prometheus.Counter) *replies {
	return &replies{instance: instance, orphans: orphans, waiting: make(map[id]chan<- arrival)}
}

// String is the id as callers see it.
func (i id) String() string {
	var text [2 * len(i)]byte
	hex.Encode(text[:], i[:])
	return string(text[:])
}

// await registers a new id, whose answer is put into the channel, at most once. The
// caller forgets it when it no longer waits.
func (r *replies) await(answer chan<- arrival) id {
	var i id
	copy(i[:], r.instance[:])
	_, _ = rand.Read(i[len(r.instance):]) // never fails
	r.mu.Lock()
	defer r.mu.Unlock()
	r.waiting[i] = answer
	return i
}

func (r *replies) forget(i id) {
	r.mu.Lock()
	defer r.mu.Unlock()
	delete(r.waiting, i)
}

// take hands a record to who waits for it. One of ours that nobody waits for is
// an orphan: it came late, or a second time.
func (r *replies) take(rec *kgo.Record) {
	v, _ := wire.Header(rec, wire.CorrelationID)
	if len(v) != len(id{}) || [4]byte(v[:4]) != r.instance {
		return
	}
	i := id(v)
	r.mu.Lock()
	defer r.mu.Unlock()
	answer, ok := r.waiting[i]
	if !ok {
		r.orphans.Inc()
		return
	}
	delete(r.waiting, i)
	answer <- arrival{answer: rec}
}

// readReplies polls until ctx is done. The client reconnects by itself; a turn
// without records only shows that the loop is alive.
func (g *Gateway) readReplies(ctx context.Context) {
	failing := false
	for ctx.Err() == nil {
		turn, cancel := context.WithTimeout(ctx, pollTurn)
		fetches := g.client.PollFetches(turn)
		cancel()
		g.polled.Store(time.Now().UnixNano())
		fetches.EachRecord(g.replies.take)
		err := fetches.Err()
		if errors.Is(err, context.DeadlineExceeded) || errors.Is(err, context.Canceled) {
			continue
		}
		if err != nil && !failing {
			g.log.WarnContext(ctx, "reading replies fails, going on", "err", err)
		}
		failing = err != nil
	}
}

// The pace of probes: fast until one comes back, so that a start or a broker's
// return is seen soon.
const (
	probeFast    = 500 * time.Millisecond
	probeSlow    = 5 * time.Second
	probeTimeout = 3 * time.Second
)

// keepProbing sends a record to the own reply partition now and then: what
// comes back has passed through all that an answer passes through.
func (g *Gateway) keepProbing(ctx context.Context) {
	last := errStarting
	for {
		err := g.probe(ctx)
		if ctx.Err() != nil {
			return
		}
		g.setUnready(err)
		switch {
		case err == nil && last != nil:
			g.log.InfoContext(ctx, "ready", "topic", g.cfg.ReplyTopic, "partition", g.partition.Load())
		case err != nil && last == nil:
			g.log.WarnContext(ctx, "no longer ready", "err", err)
		}
		last = err
		pace := probeSlow
		if err != nil {
			pace = probeFast
		}
		if !sleep(ctx, pace) {
			return
		}
	}
}

func (g *Gateway) probe(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	partitions, err := g.topics(ctx)
	if err != nil {
		return err
	}
	if g.partition.Load() < 0 {
		if err := g.assign(partitions); err != nil {
			return err
		}
	}
	answer := make(chan arrival, 1)
	i := g.replies.await(answer)
	defer g.replies.forget(i)
	rec := &kgo.Record{
		Topic: g.cfg.ReplyTopic, Partition: g.partition.Load(),
		Headers: []kgo.RecordHeader{{Key: wire.CorrelationID, Value: i[:]}},
	}
	sent := make(chan error, 1)
	// Without cancel: one cancelled record fails the batch that it is in.
	g.client.TryProduce(context.WithoutCancel(ctx), rec, func(_ *kgo.Record, err error) { sent <- err })
	for {
		select {
		case <-answer:
			return nil
		case err := <-sent:
			if err != nil {
				return fmt.Errorf("publish a probe: %w", err)
			}
			sent = nil
		case <-ctx.Done():
			return fmt.Errorf("no probe came back in %s on %s/%d", probeTimeout, rec.Topic, rec.Partition)
		}
	}
}

// topics asks the broker for the topics and returns the number of the reply
// topic's partitions.
func (g *Gateway) topics(ctx context.Context) (int, error) {
	names := []string{g.cfg.RequestTopic, g.cfg.ReplyTopic}
	if g.cfg.CancelTopic != "" {
		names = append(names, g.cfg.CancelTopic)
	}
	if g.cfg.Async.Topic != kafka.NoTopic {
		names = append(names, g.cfg.Async.Topic)
	}
	found, err := g.admin.ListTopics(ctx, names...)
	if err != nil {
		return 0, fmt.Errorf("ask for the topics: %w", err)
	}
	g.seeCancellations(ctx, found)
	g.seePredictions(ctx, found)
	for _, name := range names[:2] {
		topic, ok := found[name]
		switch {
		case !ok:
			return 0, fmt.Errorf("topic %s is missing", name)
		case topic.Err != nil:
			return 0, fmt.Errorf("topic %s: %w", name, topic.Err)
		case len(topic.Partitions) == 0:
			return 0, fmt.Errorf("topic %s has no partition", name)
		}
	}
	return len(found[g.cfg.ReplyTopic].Partitions), nil
}

func (g *Gateway) assign(partitions int) error {
	p, err := g.pick(partitions)
	if err != nil {
		return err
	}
	g.client.AddConsumePartitions(map[string]map[int32]kgo.Offset{
		g.cfg.ReplyTopic: {p: kgo.NewOffset().AtEnd()},
	})
	g.partition.Store(p)
	return nil
}

func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}
