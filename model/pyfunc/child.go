package pyfunc

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"runtime"
	"slices"
	"sync"
	"time"
)

// command makes the program of a process: its input and output, and the socket
// as its descriptor 3, are the launcher's to set.
type command func() *exec.Cmd

// launcher starts processes.
type launcher struct {
	opts    *Options
	command command
}

// child is a running process. Between start and the end of it, one goroutine at
// a time has it.
type child struct {
	opts  *Options
	pid   int
	about about
	conn  net.Conn
	stdin io.Closer
	lines *lines
	calls uint64

	done chan struct{} // closed when it has ended and is reaped
	exit string        // how; once done is closed

	mu     sync.Mutex
	reason Reason // guarded by mu: why it was ended; "" when it ended by itself
	useful bool   // guarded by mu: it has answered
	reaped bool   // guarded by mu: its id may be another's
}

// start runs a process until its model is loaded and warm.
func (l *launcher) start(ctx context.Context) (*child, error) {
	c, err := l.spawn()
	if err != nil {
		return nil, fmt.Errorf("start the model's process: %w", err)
	}
	ctx, cancel := context.WithTimeoutCause(ctx, l.opts.StartTimeout, &callError{
		TimedOut,
		fmt.Sprintf("the model was not loaded within %s (MILLRACE_PYFUNC_START_TIMEOUT)", l.opts.StartTimeout),
	})
	defer cancel()
	if err := c.load(ctx); err != nil {
		cause := context.Cause(ctx)
		c.kill(Crashed)
		if cause != nil {
			return nil, cause
		}
		return nil, err
	}
	return c, nil
}

// spawn starts the program, with a socket to it.
func (l *launcher) spawn() (*child, error) {
	conn, theirs, err := socketPair()
	if err != nil {
		return nil, err
	}
	defer theirs.Close()
	c := &child{opts: l.opts, conn: conn, lines: newLines(l.opts.Logger), done: make(chan struct{})}
	cmd := l.command()
	cmd.ExtraFiles = []*os.File{theirs}
	cmd.Stdout, cmd.Stderr = c.lines.stream("stdout"), c.lines.stream("stderr")
	cmd.WaitDelay = time.Second // for a grandchild that holds its output
	if c.stdin, err = cmd.StdinPipe(); err != nil {
		return nil, errors.Join(err, conn.Close())
	}
	ownGroup(cmd)
	started := make(chan error, 1)
	go func() {
		// The kernel ends a process with the thread that started it.
		runtime.LockOSThread()
		defer runtime.UnlockOSThread()
		err := cmd.Start()
		started <- err
		if err != nil {
			return
		}
		err = c.reap(cmd)
		if c.exit = cmd.ProcessState.String(); c.exit == "exit status 0" && err != nil {
			c.exit = err.Error()
		}
		c.lines.end()
		close(c.done)
	}()
	if err := <-started; err != nil {
		return nil, errors.Join(err, c.stdin.Close(), conn.Close())
	}
	c.pid = cmd.Process.Pid
	return c, nil
}

// reap waits for the end of the process, and ends what it has started itself.
func (c *child) reap(cmd *exec.Cmd) error {
	pid := cmd.Process.Pid
	held := awaitEnd(pid) // its id is still taken
	if held {
		c.mu.Lock()
		killGroup(pid)
		c.reaped = true
		c.mu.Unlock()
	}
	err := cmd.Wait()
	if !held {
		c.mu.Lock()
		killGroup(pid)
		c.reaped = true
		c.mu.Unlock()
	}
	return err
}

// load sends the settings and waits for the model.
func (c *child) load(ctx context.Context) error {
	defer c.bound(ctx)()
	var examples []string
	if own := c.opts.Example; own != nil {
		examples = append(examples, string(own))
	} else if c.opts.Probe != nil {
		examples = append(examples, string(c.opts.Probe))
	}
	err := writeFrame(c.conn, settings{
		Model: c.opts.Folder, MaxRows: c.opts.Limits.MaxRows, MaxBatch: c.opts.MaxBatch, Batch: c.opts.Batch,
		Own: c.opts.Example != nil, Sizes: sizes(examples),
	}, examples)
	rep := (*reply)(nil)
	if err == nil {
		rep, _, err = readFrame(c.conn)
	}
	switch {
	case err != nil:
		return c.broken(err)
	case rep.Failed != "":
		return errors.New(clip(rep.Failed))
	case rep.Loaded == nil:
		return &callError{Confused, "the model's process did not say that it has loaded"}
	}
	c.about = *rep.Loaded
	return nil
}

// bound ends what waits for the connection when ctx ends.
func (c *child) bound(ctx context.Context) (release func()) {
	ended := make(chan struct{})
	stop := context.AfterFunc(ctx, func() {
		defer close(ended)
		_ = c.conn.SetDeadline(time.Unix(1, 0)) // one that is closed waits for nothing
	})
	return func() {
		if !stop() {
			<-ended // the next call sets a deadline of its own
		}
	}
}

// call asks for what is left of a batch, and gives it the answers as they come.
// A longer silence than timeout ends the process, as does anything that is no
// answer: the error then says why.
func (c *child) call(ctx context.Context, b *batch, timeout time.Duration) error {
	defer c.bound(ctx)()
	c.calls++
	left := slices.Clone(b.left)
	kinds, bodies := make([]string, len(left)), make([]string, len(left))
	for k, i := range left {
		kinds[k], bodies[k] = b.kinds[i], b.bodies[i]
	}
	err := c.patient(ctx, timeout)
	if err == nil {
		err = writeFrame(c.conn, question{c.calls, b.alone, kinds, sizes(bodies)}, bodies)
	}
	for err == nil {
		if err = c.patient(ctx, timeout); err != nil {
			break
		}
		var rep *reply
		var parts []string
		if rep, parts, err = readFrame(c.conn); err != nil {
			break
		}
		if rep.End {
			if len(b.left) > 0 {
				err = &callError{Confused, fmt.Sprintf("it answered %d of %d requests", len(left)-len(b.left), len(left))}
				break
			}
			c.mu.Lock()
			c.useful = true
			c.mu.Unlock()
			return nil
		}
		err = c.take(b, left, rep, parts)
	}
	if ctx.Err() == nil && errors.Is(err, os.ErrDeadlineExceeded) {
		err = hang(timeout)
	}
	return c.broken(err)
}

// patient sets the time until which the connection may be silent.
func (c *child) patient(ctx context.Context, timeout time.Duration) error {
	if err := c.conn.SetDeadline(time.Now().Add(timeout)); err != nil {
		return err
	}
	return context.Cause(ctx) // which may have ended just before
}

// take gives the batch some answers.
func (c *child) take(b *batch, left []int, rep *reply, parts []string) error {
	if rep.Call != c.calls || len(rep.Rows) == 0 || len(rep.Rows) != len(rep.Status) || len(rep.Rows) != len(parts) || len(rep.Rows) != len(rep.Fields) {
		return &callError{Confused, "answers that do not belong together"}
	}
	for k, row := range rep.Rows {
		if row < 0 || row >= len(left) || rep.Status[k] == "" || !b.set(left[row], rep.Status[k], parts[k], rep.Fields[k]) {
			return &callError{Confused, fmt.Sprintf("an answer to request %d of %d that was not asked for", row, len(left))}
		}
	}
	c.mu.Lock()
	c.useful = true
	c.mu.Unlock()
	return nil
}
