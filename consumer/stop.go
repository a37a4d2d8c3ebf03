package consumer

import (
	"context"

	"github.com/millrace/millrace/internal/kafka"
)

// closeLeases gives back what is queued: whoever has the partition next has it
// sooner than a pool that stops.
func (c *Consumer) closeLeases(cause error) {
	for _, l := range c.held() {
		c.closeLease(l, cause)
	}
}

// waitRunning waits for what executors had taken when the leases were closed,
// while heartbeats and commits go on. After a stall there is nothing to wait
// for.
func (c *Consumer) waitRunning(ctx context.Context) {
	defer c.waited.Store(true)
	if c.stalled.Load() {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), c.cfg.DrainTimeout)
	defer cancel()
	if !c.budget.waitZero(ctx) {
		c.Log.Warn("records are running after the stop's limit; they will be answered again", "limit", c.cfg.DrainTimeout)
	}
}

// leave commits for the last time and gives the partitions back at once: the
// client would keep those of a static member until its session ends.
func (c *Consumer) leave(ctx context.Context) {
	c.commitLast(ctx, c.held())
	c.cl.AllowRebalance()
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), commitBound)
	defer cancel()
	member, _ := c.cl.GroupMetadata()
	if err := c.cl.LeaveGroupContext(ctx); err != nil {
		c.Log.Warn("leaving the group failed; its session has to end", "group", c.cfg.Group, "error", err)
	}
	if c.cfg.InstanceID != "" {
		if err := kafka.LeaveStatic(ctx, c.cl, c.cfg.Group, c.cfg.InstanceID, member, c.cfg.Protocol == protocolConsumer); err != nil {
			c.Log.Warn("static member could not leave; its session has to end",
				"group", c.cfg.Group, "instance_id", c.cfg.InstanceID, "error", err)
		}
	}
	c.drop(c.held())
	c.joined.Store(false)
	c.cl.CloseAllowingRebalance()
	// Closing polls once more, to empty the client, and so blocks the end of
	// its second leaving, which nobody waits for.
	c.cl.AllowRebalance()
}
