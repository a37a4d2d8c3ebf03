package procnode

import (
	"context"
	"encoding/json"
	"fmt"

	core "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
)

// tell changes the state, and patches the pod's status by it.
func (p *pod) tell(ctx context.Context, change func(*state)) {
	p.mu.Lock()
	defer p.mu.Unlock() // so that an older status never comes after a newer one
	before := p.state.ready
	if change != nil {
		change(&p.state)
	}
	if p.state.ready != before {
		p.state.readyAt = meta.Now()
	}
	patch, err := json.Marshal(map[string]any{"metadata": map[string]any{"uid": p.object.UID}, "status": p.status()})
	if err == nil {
		_, err = p.node.core.Pods(p.object.Namespace).Patch(ctx, p.object.Name, types.MergePatchType, patch, meta.PatchOptions{}, "status")
	}
	if err != nil && !apierrors.IsNotFound(err) && ctx.Err() == nil {
		p.node.cfg.Log.ErrorContext(ctx, "status is not told", "pod", p.object.Name, "err", err)
	}
}

// status is the whole of it. mu is held.
func (p *pod) status() core.PodStatus {
	s, c := &p.state, p.container()
	runs := s.pid != 0
	container := core.ContainerStatus{Name: c.Name, Image: c.Image, ImageID: c.Image, Ready: s.ready, RestartCount: s.restarts, Started: &runs}
	container.LastTerminationState.Terminated = s.last
	phase := core.PodRunning
	switch {
	case runs:
		container.ContainerID = fmt.Sprintf("procnode://%d", s.pid)
		container.State.Running = &core.ContainerStateRunning{StartedAt: s.started}
	case s.waiting == "":
		container.State.Terminated, container.LastTerminationState.Terminated = s.last, nil
	default:
		container.State.Waiting = &core.ContainerStateWaiting{Reason: s.waiting}
		if s.last == nil {
			phase = core.PodPending
		}
	}
	ready := core.ConditionFalse
	if s.ready {
		ready = core.ConditionTrue
	}
	return core.PodStatus{
		Phase: phase, HostIP: "127.0.0.1", PodIP: p.ip, PodIPs: []core.PodIP{{IP: p.ip}}, StartTime: &p.born,
		ContainerStatuses: []core.ContainerStatus{container},
		Conditions: []core.PodCondition{
			{Type: core.PodScheduled, Status: core.ConditionTrue, LastTransitionTime: p.born},
			{Type: core.PodInitialized, Status: core.ConditionTrue, LastTransitionTime: p.born},
			{Type: core.ContainersReady, Status: ready, LastTransitionTime: s.readyAt},
			{Type: core.PodReady, Status: ready, LastTransitionTime: s.readyAt},
		},
	}
}
