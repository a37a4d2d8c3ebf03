//go:build integration

package integration

import (
	"bytes"
	"context"
	"errors"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// running are the processes to be ended before this one.
type running struct {
	mu    sync.Mutex
	all   map[*process]bool
	after []func() // what else is to be undone
}

var processes = running{all: make(map[*process]bool)}

func (r *running) set(p *process, on bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if on {
		r.all[p] = true
	} else {
		delete(r.all, p)
	}
}

// atEnd adds what is undone with the processes.
func (r *running) atEnd(undo func()) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.after = append(r.after, undo)
}

func (r *running) killAll() {
	r.mu.Lock()
	defer r.mu.Unlock()
	for p := range r.all {
		p.signal(syscall.SIGKILL)
	}
	for _, undo := range r.after {
		undo()
	}
}

// process is one that a test started, with its children in a process group of
// its own, and its output in a file.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // why, once done is closed
}

// start runs a command. It is ended with the test, and when the test has failed
// the end of its log is shown.
func start(t *testing.T, name string, env []string, argv ...string) *process {
	t.Helper()
	p := launch(t, name, filepath.Join(logDir(t), name+".log"), env, argv...)
	t.Cleanup(func() {
		p.stop()
		if t.Failed() {
			t.Logf("%s: the end of %s:\n%s", p.name, p.log, tail(p.log, 40))
		}
	})
	return p
}

// launch is start without the end.
func launch(t *testing.T, name, log string, env []string, argv ...string) *process {
	t.Helper()
	p, err := spawn(t.Context(), name, log, env, argv...)
	require.NoError(t, err, name)
	return p
}

// spawn is launch for goroutines that cannot fail the test.
func spawn(ctx context.Context, name, log string, env []string, argv ...string) (*process, error) {
	out, err := os.Create(log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = out.Close() }()
	p := &process{name: name, log: log, done: make(chan struct{})}
	p.cmd = exec.CommandContext(context.WithoutCancel(ctx), argv[0], argv[1:]...)
	p.cmd.Env = env
	p.cmd.Stdout, p.cmd.Stderr = out, out
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	processes.set(p, true)
	go func() {
		p.err = p.cmd.Wait()
		processes.set(p, false)
		close(p.done)
	}()
	return p, nil
}

// signal reaches the process and its children.
func (p *process) signal(s syscall.Signal) { _ = syscall.Kill(-p.cmd.Process.Pid, s) }

// kill ends it as a crash does, and waits for that.
func (p *process) kill() {
	p.signal(syscall.SIGKILL)
	<-p.done
}

// stop asks it to end, then makes it.
func (p *process) stop() {
	if p.ended() {
		return
	}
	p.signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(30 * time.Second): //nolint:forbidigo // once, and the wait for a real process
	}
	p.kill()
}

func (p *process) ended() bool {
	select {
	case <-p.done:
		return true
	default:
		return false
	}
}

// ready waits until ask says nil, and fails the test when the process ends
// first or the time is over.
func (p *process) ready(t *testing.T, within time.Duration, ask func(ctx context.Context) error) {
	t.Helper()
	begun, said := time.Now(), time.Now()
	for {
		ctx, cancel := context.WithTimeout(t.Context(), 2*time.Second)
		err := ask(ctx)
		cancel()
		if err == nil {
			t.Logf("%s is ready after %.1f s", p.name, time.Since(begun).Seconds())
			return
		}
		if time.Since(said) > 10*time.Second {
			said = time.Now()
			t.Logf("%s: still waiting after %.0f s: %v", p.name, time.Since(begun).Seconds(), err)
		}
		select {
		case <-p.done:
			require.FailNow(t, p.name+" has ended", "%v\n%s", p.err, tail(p.log, 40))
		case <-time.After(200 * time.Millisecond): //nolint:forbidigo // a real process is polled
		}
		require.Less(t, time.Since(begun), within, "%s: %v\n%s", p.name, err, tail(p.log, 40))
	}
}

// exit waits for the process to end by itself and returns its code.
func (p *process) exit(t *testing.T, within time.Duration) int {
	t.Helper()
	select {
	case <-p.done:
	case <-time.After(within): //nolint:forbidigo // once
		require.FailNow(t, p.name+" does not end", tail(p.log, 40))
	}
	if e := (*exec.ExitError)(nil); errors.As(p.err, &e) {
		return e.ExitCode()
	}
	require.NoError(t, p.err)
	return 0
}

func tail(path string, lines int) string {
	data, err := os.ReadFile(path)
	if err != nil {
		return err.Error()
	}
	all := bytes.Split(bytes.TrimSpace(data), []byte("\n"))
	return string(bytes.Join(all[max(0, len(all)-lines):], []byte("\n")))
}

// freeAddrs returns n loopback addresses that nothing listens on, taken
// together so that they differ.
func freeAddrs(t *testing.T, n int) []string {
	t.Helper()
	addrs := make([]string, n)
	for i := range addrs {
		l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
		require.NoError(t, err)
		defer func() { _ = l.Close() }()
		addrs[i] = l.Addr().String()
	}
	return addrs
}

func freeAddr(t *testing.T) string {
	t.Helper()
	return freeAddrs(t, 1)[0]
}

// inherited is this process's environment with more on top.
func inherited(more ...string) []string {
	return append(os.Environ(), more...) //nolint:forbidigo // for servers that are not ours, which need the machine's settings
}
