package main

import (
	"context"
	"fmt"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// send writes requests in bursts until ctx ends.
func (c *changing) send(ctx context.Context) {
	defer close(c.stopped)
	tick := time.NewTicker(swapBurst)
	defer tick.Stop()
	began := time.Now()
	for i := 0; ; {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
		}
		for due := int(time.Since(began).Seconds() * float64(c.rate)); i < due; i++ {
			r := &kgo.Record{
				Topic: c.in, Partition: int32(i % partitions), Value: mlpBody(nil, i),
				Headers: []kgo.RecordHeader{{Key: wire.CorrelationID, Value: strconv.AppendInt(nil, int64(i), 10)}},
			}
			c.mu.Lock()
			c.at, c.took = append(c.at, time.Now()), append(c.took, 0)
			c.mu.Unlock()
			c.sent.Add(1)
			c.cl.Produce(context.WithoutCancel(ctx), r, func(_ *kgo.Record, err error) {
				if err != nil {
					c.fault(err)
				}
			})
		}
	}
}

// read notes answers until ctx ends.
func (c *changing) read(ctx context.Context) {
	for ctx.Err() == nil {
		fetches := c.cl.PollFetches(ctx)
		now := time.Now()
		if err := fetches.Err(); err != nil && ctx.Err() == nil {
			c.fault(err)
		}
		fetches.EachRecord(func(r *kgo.Record) { c.note(r, now) })
	}
}

func (c *changing) note(r *kgo.Record, now time.Time) {
	id, _ := wire.Header(r, wire.CorrelationID)
	status, _ := wire.Header(r, wire.Status)
	version, _ := wire.Header(r, wire.ModelVersion)
	i, err := strconv.Atoi(string(id))
	c.mu.Lock()
	defer c.mu.Unlock()
	switch {
	case err != nil || i < 0 || i >= len(c.at):
		c.faults = append(c.faults, fmt.Errorf("an answer to no request: %q", id))
	case string(status) != "ok":
		c.faults = append(c.faults, fmt.Errorf("request %d was answered %s: %s", i, status, r.Value))
	case c.took[i] != 0:
		c.faults = append(c.faults, fmt.Errorf("request %d was answered twice", i))
	default:
		c.took[i] = now.Sub(c.at[i])
		c.versions[string(version)] = true
	}
}

func (c *changing) fault(err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.faults = append(c.faults, err)
}
