package consumer

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kmsg"
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
		if err := c.leaveStatic(ctx, member); err != nil {
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

// leaveStatic takes a static member out of the group, which the client's own
// leaving does not.
func (c *Consumer) leaveStatic(ctx context.Context, member string) error {
	if c.cfg.Protocol == protocolClassic {
		leave := kadm.LeaveGroup(c.cfg.Group).InstanceIDs(c.cfg.InstanceID).Reason("the worker stops for good")
		resp, err := c.admin.LeaveGroup(ctx, leave)
		if err != nil {
			return err
		}
		return resp.Error()
	}
	if member == "" {
		return nil
	}
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID = c.cfg.Group, member, &c.cfg.InstanceID
	req.MemberEpoch = -1 // for good; the client's own -2 keeps the member's place
	resp, err := req.RequestWith(ctx, c.cl)
	if err != nil {
		return err
	}
	err = kerr.ErrorForCode(resp.ErrorCode)
	if errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.GroupIDNotFound) {
		return nil
	}
	return err
}
