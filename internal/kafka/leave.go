package kafka

import (
	"context"
	"errors"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// LeaveStatic takes a static member out of its group, which the client's own
// leaving does not. member is the id that the group had given it; serverSide
// says that the group is one of the broker's own assignor (KIP-848).
func LeaveStatic(ctx context.Context, cl *kgo.Client, group, instance, member string, serverSide bool) error {
	if !serverSide {
		leave := kadm.LeaveGroup(group).InstanceIDs(instance).Reason("the worker stops for good")
		resp, err := kadm.NewClient(cl).LeaveGroup(ctx, leave)
		if err != nil {
			return err
		}
		return resp.Error()
	}
	if member == "" {
		return nil
	}
	req := kmsg.NewPtrConsumerGroupHeartbeatRequest()
	req.Group, req.MemberID, req.InstanceID = group, member, &instance
	req.MemberEpoch = -1 // for good; the client's own -2 keeps the member's place
	resp, err := req.RequestWith(ctx, cl)
	if err != nil {
		return err
	}
	err = kerr.ErrorForCode(resp.ErrorCode)
	if errors.Is(err, kerr.UnknownMemberID) || errors.Is(err, kerr.GroupIDNotFound) {
		return nil
	}
	return err
}
