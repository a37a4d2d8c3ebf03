package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"

	"github.com/millrace/millrace/internal/kafka"
)

// exportLag reads the group's lag from outside of it, so that it is right with
// no worker alive: that is what wakes a pool which was scaled to zero.
func (g *Gateway) exportLag(ctx context.Context) {
	topics := g.cfg.Routes.With(g.cfg.RequestTopic)
	failing := make(map[string]bool)
	for {
		for _, topic := range topics {
			g.exportTopic(ctx, topic, failing)
		}
		if !sleep(ctx, g.cfg.LagInterval) {
			return
		}
	}
}

// exportTopic notes in failing what is logged once.
func (g *Gateway) exportTopic(ctx context.Context, topic string, failing map[string]bool) {
	bounded, cancel := context.WithTimeout(ctx, max(g.cfg.LagInterval, 5*time.Second))
	lag, heads, err := g.groupLag(bounded, topic)
	var age *float64
	if err == nil {
		age = g.exportAge(bounded, topic, heads)
	}
	cancel()
	switch {
	case ctx.Err() != nil:
		return
	case err == nil:
		g.metrics.GroupLag.WithLabelValues(g.cfg.Group, topic).Set(float64(lag))
		g.lags.set(topic, &lag, age)
	default:
		// No value is better than one that has stopped to be true.
		g.metrics.LagErrs.Inc()
		g.metrics.GroupLag.DeleteLabelValues(g.cfg.Group, topic)
		g.metrics.GroupLagSeconds.DeleteLabelValues(g.cfg.Group, topic)
		g.lags.set(topic, nil, nil)
		if !failing[topic] {
			g.log.WarnContext(ctx, "reading the group's lag fails", "group", g.cfg.Group, "topic", topic, "err", err)
		}
	}
	failing[topic] = err != nil
}

// groupLag returns the group's lag, and where each partition that has one goes on:
// nil for a queue, in which that is not known.
func (g *Gateway) groupLag(ctx context.Context, topic string) (int64, map[int32]int64, error) {
	if g.cfg.Delivery != queue {
		return committedLag(ctx, g.admin, g.cfg.Group, topic)
	}
	var sum int64
	lag, err := kafka.ShareLag(ctx, g.admin, g.cfg.Group, topic, false)
	for _, records := range lag {
		sum += records
	}
	return sum, nil, err
}

// committedLag counts the records of a topic that the group has not committed. A
// partition without a commit counts from its start, where a new member begins.
// The end is what read_committed sees. heads are the first offsets of the partitions
// that have a lag.
func committedLag(ctx context.Context, adm *kadm.Client, group, topic string) (lag int64, heads map[int32]int64, err error) {
	// Commits first: the other way round, a commit in between gives a lag
	// below 0.
	commits, err := adm.FetchOffsetsForTopics(ctx, group, topic)
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return 0, nil, fmt.Errorf("committed offsets of %s: %w", group, err)
	}
	starts, err := adm.ListStartOffsets(ctx, topic)
	if err == nil {
		err = starts.Error()
	}
	if err != nil {
		return 0, nil, fmt.Errorf("start offsets of %s: %w", topic, err)
	}
	ends, err := adm.ListCommittedOffsets(ctx, topic)
	if err == nil {
		err = ends.Error()
	}
	if err != nil {
		return 0, nil, fmt.Errorf("end offsets of %s: %w", topic, err)
	}
	heads = make(map[int32]int64)
	for partition, end := range ends[topic] {
		from := int64(0)
		if start, ok := starts.Lookup(topic, partition); ok {
			from = start.Offset
		}
		if commit, ok := commits.Lookup(topic, partition); ok {
			if commit.Err != nil {
				return 0, nil, fmt.Errorf("committed offset of %s/%d: %w", topic, partition, commit.Err)
			}
			from = max(from, commit.At) // -1 when there is none
		}
		if end.Offset > from {
			lag += end.Offset - from
			heads[partition] = from
		}
	}
	return lag, heads, nil
}
