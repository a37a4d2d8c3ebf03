package main

import (
	"context"
	"fmt"
	"time"
)

// A measurement leaves out the start, when a group is joined and the first
// records are fetched, and the end, when partitions run dry one by one.
const (
	fromShare = 0.05
	toShare   = 0.97
)

// look is how far a process was at a moment.
type look struct {
	at     time.Time
	count  int
	cpu    time.Duration
	broker time.Duration
}

// counter tells how much a process has done.
type counter func(ctx context.Context) (int, error)

// observer watches a process from outside, in the same way for all.
type observer struct {
	count  counter
	broker *process
}

func (o *observer) look(ctx context.Context, p *process) (look, error) {
	n, err := o.count(ctx)
	if err != nil {
		return look{}, err
	}
	l := look{at: time.Now(), count: n}
	if l.cpu, err = p.cpu(ctx); err == nil {
		l.broker, err = o.broker.cpu(ctx)
	}
	return l, err
}

// watch waits until total records are done, and measures the part between
// the start and the end.
func (o *observer) watch(ctx context.Context, p *process, total int) (measurement, error) {
	const limit = 2 * time.Minute
	ctx, cancel := context.WithTimeoutCause(ctx, limit, fmt.Errorf("the %s took longer than %s", p.name, limit))
	defer cancel()
	tick := time.NewTicker(25 * time.Millisecond)
	defer tick.Stop()
	var from, to *look
	for {
		select {
		case <-ctx.Done():
			return measurement{}, context.Cause(ctx)
		case <-p.done:
			return measurement{}, p.fault()
		case <-tick.C:
		}
		l, err := o.look(ctx, p)
		if err != nil {
			return measurement{}, fmt.Errorf("look at the %s: %w", p.name, err)
		}
		if from == nil && l.count >= int(fromShare*float64(total)) {
			from = &l
		}
		if to == nil && l.count >= int(toShare*float64(total)) {
			to = &l
		}
		if l.count < total {
			continue
		}
		if l.count > total || from == to || to.count == from.count {
			return measurement{}, fmt.Errorf("the %s wrote %d records for %d, or too fast to be measured: more --records help", p.name, l.count, total)
		}
		return measurement{
			Records: to.count - from.count, Wall: to.at.Sub(from.at), CPU: to.cpu - from.cpu, Broker: to.broker - from.broker,
		}, nil
	}
}
