//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"

	"github.com/millrace/millrace/integration/torture"
)

// errSkipped says that a fault cannot be made on this machine.
var errSkipped = errors.New("not possible here")

// make does a fault, and returns when it is over.
func (b *bench) make(ctx context.Context, f torture.Fault) error {
	var s *slot
	if f.Worker >= 0 {
		s = b.slots[f.Worker]
	}
	switch f.Kind {
	case torture.Kill, torture.Term:
		return b.restart(ctx, s, f)
	case torture.Freeze, torture.Pause:
		s.signal(syscall.SIGSTOP)
		nap(ctx, f.Hold)
		s.signal(syscall.SIGCONT)
	case torture.Add:
		s.up(ctx)
	case torture.Remove:
		s.term(ctx)
	case torture.Storm:
		b.storm(ctx, f.Steps)
	case torture.BrokerKill:
		m := b.cluster.members[f.Broker]
		m.kill()
		nap(ctx, f.Hold)
		return errors.Join(m.back(ctx), b.whole(ctx))
	case torture.BrokerPause:
		m := b.cluster.members[f.Broker]
		m.stop()
		nap(ctx, f.Hold)
		m.cont()
		return b.whole(ctx)
	case torture.Leader:
		return b.moveLeaders(ctx, f)
	case torture.Cut, torture.Slow, torture.Stall:
		b.network(ctx, f)
	case torture.Registry:
		end := b.registry.Set(torture.Rule{Refuse: true})
		nap(ctx, f.Hold)
		end()
	case torture.DiskFull:
		return b.fillDisk(ctx, s, f)
	case torture.Hang:
		return b.hang(ctx, s, f)
	}
	return nil
}

// restart takes a worker away for a while. Its alias may move before.
func (b *bench) restart(ctx context.Context, s *slot, f torture.Fault) (err error) {
	if f.Version > 0 {
		err = b.point(ctx, s, f.Version)
	}
	if f.Kind == torture.Kill {
		s.kill()
	} else {
		s.term(ctx)
	}
	nap(ctx, f.Hold)
	s.up(ctx)
	return err
}

func (b *bench) storm(ctx context.Context, steps []torture.Step) {
	var leaving sync.WaitGroup
	for _, step := range steps {
		if s := b.slots[step.Worker]; step.Join {
			s.up(ctx)
		} else {
			leaving.Go(func() { s.term(ctx) })
		}
		nap(ctx, step.Pause)
	}
	leaving.Wait()
}

// whole waits until no partition lacks a replica: with one away, the loss of
// another broker is more than what is promised for.
func (b *bench) whole(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, 90*time.Second)
	defer cancel()
	return poll(ctx, b.cluster.inSync)
}

// moveLeaders makes the second replica of some partitions the first, and their
// leader.
func (b *bench) moveLeaders(ctx context.Context, f torture.Fault) error {
	ctx, cancel := context.WithTimeout(ctx, 10*time.Second)
	defer cancel()
	topics, err := b.cluster.admin.ListTopicsWithInternal(ctx, f.Topic)
	if err != nil {
		return err
	}
	var moves kadm.AlterPartitionAssignmentsReq
	moved := make(kadm.TopicsSet)
	ps := topics[f.Topic].Partitions
	for i := range f.Count {
		d, ok := ps[int32((f.Partition+i)%max(1, len(ps)))]
		if !ok || len(d.Replicas) < 2 {
			continue
		}
		moves.Assign(f.Topic, d.Partition, append(d.Replicas[1:len(d.Replicas):len(d.Replicas)], d.Replicas[0]))
		moved.Add(f.Topic, d.Partition)
	}
	if len(moved) == 0 {
		return fmt.Errorf("%s has no partitions yet", f.Topic)
	}
	if _, err := b.cluster.admin.AlterPartitionAssignments(ctx, moves); err != nil {
		return err
	}
	// The broker of the first replica may be away: then the leader stays.
	_, err = b.cluster.admin.ElectLeaders(ctx, kadm.ElectPreferredReplica, moved)
	return err
}

// network lets the connections of one worker suffer, or those to one broker.
func (b *bench) network(ctx context.Context, f torture.Fault) {
	rule := torture.Rule{Delay: f.Delay, Up: f.Direction == "up" || f.Direction == "both", Down: f.Direction == "down" || f.Direction == "both"}
	if f.Worker >= 0 {
		rule.Client = b.slots[f.Worker].name()
	}
	var ends []func()
	for i, m := range b.cluster.members {
		if f.Broker >= 0 && f.Broker != i {
			continue
		}
		if f.Kind == torture.Cut {
			m.proxy.Cut(rule.Client)
			continue
		}
		ends = append(ends, m.proxy.Set(rule))
		if f.Kind == torture.Stall {
			ends = append(ends, func() { m.proxy.Cut(rule.Client) })
		}
	}
	nap(ctx, f.Hold)
	for _, end := range slices.Backward(ends) { // what was held back is lost with its connection
		end()
	}
}

// point moves the alias that a slot's worker follows.
func (b *bench) point(ctx context.Context, s *slot, version int) error {
	err := b.mlflow.move(ctx, b.model, s.alias, strconv.Itoa(version))
	if err == nil {
		b.mu.Lock()
		b.pointed[s.n] = strconv.Itoa(version)
		b.mu.Unlock()
	}
	return err
}

// fillDisk takes the last space of the model cache and then asks for a version.
func (b *bench) fillDisk(ctx context.Context, s *slot, f torture.Fault) error {
	if b.disk == "" {
		return errSkipped
	}
	name := filepath.Join(b.disk, "taken")
	file, err := os.Create(name)
	if err != nil {
		return err
	}
	_, err = io.Copy(file, zeros{})
	if !errors.Is(err, syscall.ENOSPC) {
		return errors.Join(fmt.Errorf("the disk is not full: %w", err), file.Close(), os.Remove(name))
	}
	err = b.point(ctx, s, f.Version)
	nap(ctx, f.Hold)
	return errors.Join(err, file.Close(), os.Remove(name))
}

type zeros struct{}

func (zeros) Read(b []byte) (int, error) {
	clear(b)
	return len(b), nil
}

// smallDisk makes a file system of its own for the model caches, so small that
// it can be filled. It returns "" and the reason when it may not.
func smallDisk(t *testing.T) (dir, reason string) {
	t.Helper()
	if runtime.GOOS != "linux" || os.Geteuid() != 0 {
		return "", "disk-full is left out: it needs Linux, and root to mount a tmpfs"
	}
	dir = t.TempDir()
	out, err := exec.CommandContext(t.Context(), "mount", "-t", "tmpfs", "-o", "size=2m,mode=0700", "millrace-torture", dir).CombinedOutput()
	if err != nil {
		return "", fmt.Sprintf("disk-full is left out: mounting a tmpfs: %v: %s", err, out)
	}
	undo := func() { _ = exec.CommandContext(context.Background(), "umount", "-l", dir).Run() } // it may be done already
	processes.atEnd(undo)
	t.Cleanup(undo)
	return dir, ""
}

// hang lets a worker's alias name a model that never answers, until requests
// are stuck in it, and waits for the watchdog to end the worker.
func (b *bench) hang(ctx context.Context, s *slot, f torture.Fault) error {
	p := s.current()
	err := b.point(ctx, s, stuckVersion)
	if err == nil {
		seen, cancel := context.WithTimeout(ctx, 25*time.Second)
		err = poll(seen, s.stuck)
		cancel()
		nap(ctx, f.Hold)
		if err == nil {
			err = s.stuck(ctx) // by now it works on nothing else
		}
	}
	// Whatever happened, the alias must not stay there.
	back, cancel := context.WithTimeout(context.WithoutCancel(ctx), 30*time.Second)
	defer cancel()
	if e := poll(back, func(ctx context.Context) error { return b.point(ctx, s, f.Version) }); e != nil || err != nil || p == nil {
		return errors.Join(err, e)
	}
	timer := time.NewTimer(watchdog + 30*time.Second)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		b.ledger.Violate(torture.RuleHang, "%s: %s", f, p.log)
	case <-ctx.Done():
	}
	return nil
}

// stuck fails until the worker serves the model that hangs, and works on
// requests: a rebalance may leave it without any.
func (s *slot) stuck(ctx context.Context) error {
	v, err := s.serves(ctx)
	if err != nil {
		return err
	}
	if v != strconv.Itoa(stuckVersion) {
		return fmt.Errorf("version %s is served, not the one that hangs", v)
	}
	text, err := get(ctx, "http://"+s.addr+"/metrics")
	if err != nil {
		return err
	}
	if bytes.Contains(text, []byte("\nmillrace_running_records 0\n")) {
		return errors.New("no request has reached the model that hangs")
	}
	return nil
}
