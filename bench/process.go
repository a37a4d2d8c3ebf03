package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"time"
)

// process is a child. Its log is a file, of which an error shows the end.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed when it has ended
	err  error         // why, once done is closed
}

// endLimit is the longest wait for a child that was asked to end.
const endLimit = 30 * time.Second

// launch starts a child that ends with ctx at the latest. begin may change the
// command before it starts.
func launch(ctx context.Context, dir, name string, argv, env []string, begin func(*exec.Cmd)) (*process, error) {
	p := &process{name: name, log: filepath.Join(dir, name+".log"), done: make(chan struct{})}
	log, err := os.Create(p.log)
	if err != nil {
		return nil, err
	}
	defer func() { _ = log.Close() }()
	p.cmd = exec.CommandContext(ctx, argv[0], argv[1:]...) //nolint:gosec // our own binaries
	p.cmd.Cancel = func() error { return p.cmd.Process.Signal(syscall.SIGTERM) }
	p.cmd.WaitDelay = endLimit
	p.cmd.Env, p.cmd.Stdout, p.cmd.Stderr = env, log, log
	if begin != nil {
		begin(p.cmd)
	}
	if err := p.cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the %s: %w", name, err)
	}
	go func() {
		p.err = p.cmd.Wait()
		close(p.done)
	}()
	return p, nil
}

// stop asks the child to end and waits for it.
func (p *process) stop() error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM) // it may have ended
	timer := time.NewTimer(endLimit)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		_ = p.cmd.Process.Kill()
		<-p.done
		return fmt.Errorf("the %s did not end within %s", p.name, endLimit)
	}
	if p.err != nil {
		return p.fault()
	}
	return nil
}

// fault says how a child failed.
func (p *process) fault() error {
	text, _ := os.ReadFile(p.log)
	lines := strings.Split(strings.TrimSpace(string(text)), "\n")
	return fmt.Errorf("the %s failed: %w\n%s", p.name, cmpErr(p.err, errors.New("it ended")), strings.Join(lines[max(0, len(lines)-10):], "\n"))
}

func cmpErr(err, otherwise error) error {
	if err != nil {
		return err
	}
	return otherwise
}

// cpu is the processor time that the child has taken so far, user and system,
// to a hundredth of a second.
func (p *process) cpu(ctx context.Context) (time.Duration, error) {
	pid := strconv.Itoa(p.cmd.Process.Pid)
	text, err := os.ReadFile(filepath.Join("/proc", pid, "stat")) //nolint:gosec // a number
	if err == nil {
		return parseStat(text)
	}
	out, err := exec.CommandContext(ctx, "ps", "-o", "time=", "-p", pid).Output() //nolint:gosec // a number
	if err != nil {
		return 0, fmt.Errorf("processor time of the %s: %w", p.name, err)
	}
	return parseTime(strings.TrimSpace(string(out)))
}

// parseStat reads proc(5)'s stat, whose 14th and 15th fields are ticks of 10 ms;
// the second is a name in parentheses that may hold spaces.
func parseStat(text []byte) (time.Duration, error) {
	f := strings.Fields(string(text[bytes.LastIndexByte(text, ')')+1:]))
	if len(f) < 13 {
		return 0, errors.New("/proc/pid/stat is too short")
	}
	user, err := strconv.ParseInt(f[11], 10, 64)
	system, err2 := strconv.ParseInt(f[12], 10, 64)
	return time.Duration(user+system) * 10 * time.Millisecond, errors.Join(err, err2)
}

// parseTime reads ps's [[h:]m:]s.hundredths.
func parseTime(text string) (time.Duration, error) {
	seconds := 0.0
	for part := range strings.SplitSeq(text, ":") {
		n, err := strconv.ParseFloat(part, 64)
		if err != nil {
			return 0, fmt.Errorf("ps told the time as %q", text)
		}
		seconds = seconds*60 + n
	}
	return time.Duration(seconds * float64(time.Second)), nil
}

// ownCPU is the processor time of this process.
func ownCPU() time.Duration {
	var u syscall.Rusage
	if syscall.Getrusage(syscall.RUSAGE_SELF, &u) != nil {
		return 0
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// measurement is what a stage took.
type measurement struct {
	Records int
	Wall    time.Duration
	CPU     time.Duration // of the process measured
	Broker  time.Duration // processor time of the broker meanwhile
	Bytes   int64
}

func (m measurement) rate() float64 { return float64(m.Records) / m.Wall.Seconds() }

// micros is processor time a record.
func (m measurement) micros(cpu time.Duration) float64 {
	return float64(cpu.Nanoseconds()) / 1e3 / float64(m.Records)
}

// tell hands a measurement from a child to its parent.
func tell(m measurement) { _ = json.NewEncoder(os.Stdout).Encode(m) }

// measured runs a child that tells one.
func measured(ctx context.Context, dir, name string, argv, env []string) (measurement, error) {
	var out bytes.Buffer
	p, err := launch(ctx, dir, name, argv, env, func(cmd *exec.Cmd) { cmd.Stdout = &out })
	if err != nil {
		return measurement{}, err
	}
	<-p.done
	if p.err != nil {
		return measurement{}, p.fault()
	}
	var m measurement
	if err := json.Unmarshal(out.Bytes(), &m); err != nil {
		return m, fmt.Errorf("the %s told %q: %w", name, out.String(), err)
	}
	return m, nil
}
