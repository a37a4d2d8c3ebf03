package gateway

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
)

// countWorkers keeps the number of the group's workers, which bounds how many
// requests may wait. While it cannot be read, the last one holds.
func (g *Gateway) countWorkers(ctx context.Context) {
	failing := false
	for {
		bounded, cancel := context.WithTimeout(ctx, max(g.cfg.LagInterval, 5*time.Second))
		n, err := g.workers(bounded)
		cancel()
		if ctx.Err() != nil {
			return
		}
		switch {
		case err == nil:
			g.admission.workers.Store(int64(n))
			g.metrics.Workers.Set(float64(n))
		case !failing:
			g.log.WarnContext(ctx, "counting the group's workers fails", "group", g.cfg.Group, "err", err)
		}
		failing = err != nil
		if !sleep(ctx, g.cfg.LagInterval) {
			return
		}
	}
}

// workers asks the broker for the members of the group. A worker that delivers at
// least once is one member; with the other deliveries it has several, which share
// a host.
func (g *Gateway) workers(ctx context.Context) (int, error) {
	hosts := make(map[string]bool)
	if g.cfg.Delivery == queue {
		groups, err := g.admin.DescribeShareGroups(ctx, g.cfg.Group)
		if err == nil {
			err = groups.Error()
		}
		if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
			return 0, fmt.Errorf("members of share group %s: %w", g.cfg.Group, err)
		}
		for _, m := range groups[g.cfg.Group].Members {
			hosts[m.ClientHost] = true
		}
		return len(hosts), nil
	}
	groups, err := g.admin.DescribeGroups(ctx, g.cfg.Group)
	if err == nil {
		err = groups.Error()
	}
	if err != nil && !errors.Is(err, kerr.GroupIDNotFound) {
		return 0, fmt.Errorf("members of group %s: %w", g.cfg.Group, err)
	}
	members := groups[g.cfg.Group].Members
	if g.cfg.Delivery == atLeastOnce {
		return len(members), nil
	}
	for i := range members {
		hosts[members[i].ClientHost] = true
	}
	return len(hosts), nil
}
