package procnode

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	core "k8s.io/api/core/v1"
	meta "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// pod is one that runs here.
type pod struct {
	node   *Node
	object *core.Pod
	ip     string
	dir    string
	born   meta.Time

	ending sync.Once
	ended  chan struct{} // closed when the pod has to end
	grace  time.Duration // of its end; written before ended is closed

	mu    sync.Mutex
	state state // under mu
}

// state is what the API server is told.
type state struct {
	pid      int // 0 for no process
	ready    bool
	readyAt  meta.Time // since when it is, or is not
	started  meta.Time
	restarts int32
	waiting  string                         // why there is no process
	last     *core.ContainerStateTerminated // the process before
}

func newPod(n *Node, o *core.Pod, ip string) *pod {
	return &pod{
		node: n, object: o, ip: ip, born: meta.Now(), ended: make(chan struct{}),
		dir: filepath.Join(n.cfg.Dir, o.Namespace, o.Name), state: state{waiting: "ContainerCreating", readyAt: meta.Now()},
	}
}

// end has the pod end; the first call counts.
func (p *pod) end(grace time.Duration) {
	p.ending.Do(func() {
		p.grace = grace
		close(p.ended)
	})
}

func (p *pod) hasToEnd() bool {
	select {
	case <-p.ended:
		return true
	default:
		return false
	}
}

// run is the pod from its start until it is deleted, and its process has ended.
func (p *pod) run(ctx context.Context) {
	defer p.node.gone(p)
	p.tell(ctx, nil)
	for wait := time.Second; ; wait = min(2*wait, 30*time.Second) {
		err := p.once(ctx)
		if p.hasToEnd() {
			break
		}
		p.node.cfg.Log.ErrorContext(ctx, "container ended", "pod", p.object.Name, "err", err, "wait", wait)
		p.tell(ctx, func(s *state) { s.waiting = "CrashLoopBackOff" })
		timer := time.NewTimer(wait)
		select {
		case <-p.ended:
		case <-timer.C:
		}
		timer.Stop()
		if p.hasToEnd() {
			break
		}
		p.tell(ctx, func(s *state) { s.restarts++ })
	}
	p.node.remove(ctx, p.object)
}

// once runs the container's process until it ends.
func (p *pod) once(ctx context.Context) error {
	cmd, err := p.command(ctx)
	if err != nil {
		return err
	}
	out, err := os.OpenFile(filepath.Join(p.dir, "log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer func() { _ = out.Close() }()
	cmd.Stdout, cmd.Stderr = out, out
	if err := cmd.Start(); err != nil {
		return err
	}
	p.tell(ctx, func(s *state) { s.pid, s.started, s.waiting = cmd.Process.Pid, meta.Now(), "" })

	probing, stop := context.WithCancel(ctx)
	var probes sync.WaitGroup
	probes.Go(func() { p.probe(probing, func() { _ = cmd.Process.Signal(syscall.SIGTERM) }) })
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	select {
	case err = <-done:
	case <-p.ended:
		p.tell(ctx, func(s *state) { s.ready = false })
		err = p.terminate(ctx, cmd, done)
	}
	stop()
	probes.Wait()
	p.tell(ctx, func(s *state) {
		s.last = &core.ContainerStateTerminated{
			ExitCode: int32(cmd.ProcessState.ExitCode()), //nolint:gosec // -1 to 255
			Reason:   "Completed", StartedAt: s.started, FinishedAt: meta.Now(),
		}
		if s.last.ExitCode != 0 {
			s.last.Reason = "Error"
		}
		s.pid, s.ready = 0, false
	})
	return err
}

// terminate ends a process as a kubelet does: preStop, SIGTERM, and SIGKILL when the
// grace period is over.
func (p *pod) terminate(ctx context.Context, cmd *exec.Cmd, done <-chan error) error {
	limit := time.NewTimer(p.grace)
	defer limit.Stop()
	if hook := p.container().Lifecycle; hook != nil && hook.PreStop != nil && hook.PreStop.Sleep != nil {
		pause(ctx, min(p.grace, time.Duration(hook.PreStop.Sleep.Seconds)*time.Second))
	}
	if p.grace > 0 {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	}
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	case <-limit.C:
		p.node.cfg.Log.ErrorContext(ctx, "grace period is over", "pod", p.object.Name, "grace", p.grace)
	}
	_ = cmd.Process.Kill() // likewise
	return <-done
}

func (p *pod) container() *core.Container { return &p.object.Spec.Containers[0] }
