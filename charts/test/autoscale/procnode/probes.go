package procnode

import (
	"context"
	"errors"
	"fmt"
	"net/http"
	"sync"
	"time"

	core "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
)

// probe asks the container how it does until ctx is done: the startup probe goes before
// the others, readiness tells whether the pod is ready, and stop is called when the
// process is taken for lost.
func (p *pod) probe(ctx context.Context, stop func()) {
	c := p.container()
	if !p.started(ctx, c.StartupProbe) {
		if ctx.Err() == nil {
			stop()
		}
		return
	}
	var both sync.WaitGroup
	defer both.Wait()
	if c.LivenessProbe != nil {
		both.Go(func() {
			p.watch(ctx, c.LivenessProbe, func(alive bool) {
				if !alive {
					p.node.cfg.Log.ErrorContext(ctx, "liveness failed", "pod", p.object.Name)
					stop()
				}
			})
		})
	}
	if c.ReadinessProbe == nil {
		p.tell(ctx, func(s *state) { s.ready = true })
		return
	}
	p.watch(ctx, c.ReadinessProbe, func(ready bool) { p.tell(ctx, func(s *state) { s.ready = ready }) })
}

// started waits until the startup probe has passed, and says whether it has.
func (p *pod) started(ctx context.Context, pr *core.Probe) bool {
	if pr == nil {
		return true
	}
	pause(ctx, time.Duration(pr.InitialDelaySeconds)*time.Second)
	for fails := int32(0); ctx.Err() == nil; pause(ctx, period(pr)) {
		if p.ask(ctx, pr) == nil {
			return true
		}
		if fails++; fails >= pr.FailureThreshold {
			return false
		}
	}
	return false
}

// watch says how a probe goes whenever that changes, by its two thresholds.
func (p *pod) watch(ctx context.Context, pr *core.Probe, says func(ok bool)) {
	pause(ctx, time.Duration(pr.InitialDelaySeconds)*time.Second)
	said, good, bad := false, int32(0), int32(0)
	for first := true; ctx.Err() == nil; pause(ctx, period(pr)) {
		if p.ask(ctx, pr) == nil {
			good, bad = good+1, 0
		} else {
			good, bad = 0, bad+1
		}
		var now bool
		switch {
		case good >= pr.SuccessThreshold:
			now = true
		case bad >= pr.FailureThreshold:
			now = false
		default:
			continue
		}
		if (now != said || first) && ctx.Err() == nil {
			says(now)
			said, first = now, false
		}
	}
}

// ask probes once.
func (p *pod) ask(ctx context.Context, pr *core.Probe) error {
	if pr.HTTPGet == nil {
		return errors.New("probes are over HTTP here")
	}
	ctx, cancel := context.WithTimeout(ctx, time.Duration(pr.TimeoutSeconds)*time.Second)
	defer cancel()
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, fmt.Sprintf("http://%s:%d%s", p.ip, p.port(pr.HTTPGet.Port), pr.HTTPGet.Path), http.NoBody)
	if err != nil {
		return err
	}
	resp, err := http.DefaultClient.Do(req)
	if err != nil {
		return err
	}
	_ = resp.Body.Close()
	if resp.StatusCode >= http.StatusBadRequest {
		return errors.New(resp.Status)
	}
	return nil
}

func period(pr *core.Probe) time.Duration { return time.Duration(pr.PeriodSeconds) * time.Second }

// port is a probe's, by its number or by the name of one of the container's.
func (p *pod) port(of intstr.IntOrString) int32 {
	for _, q := range p.container().Ports {
		if of.Type == intstr.String && q.Name == of.StrVal {
			return q.ContainerPort
		}
	}
	return of.IntVal
}
