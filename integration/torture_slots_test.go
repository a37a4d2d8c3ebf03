//go:build integration

package integration

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/millrace/millrace/integration/torture"
)

// slot is a place for a worker. What ends by itself is started again, as by a
// cluster's own supervisor.
type slot struct {
	*bench
	n     int
	alias string // that its worker follows
	addr  string // of its probes
	argv  []string
	env   []string

	mu     sync.Mutex // guards what follows
	want   bool       // there is to be a worker
	proc   *process   // the last one
	starts int
}

func (s *slot) name() string { return fmt.Sprintf("worker-%d", s.n) }

// up starts a worker, when there is none.
func (s *slot) up(ctx context.Context) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.want = true
	s.start(ctx)
}

// start is called under mu.
func (s *slot) start(ctx context.Context) {
	if !s.want || ctx.Err() != nil || s.proc != nil && !s.proc.ended() {
		return
	}
	s.starts++
	name := fmt.Sprintf("%s.%d", s.name(), s.starts)
	proc, err := spawn(ctx, name, filepath.Join(s.logs, name+".log"), s.env, s.argv...)
	if err != nil {
		s.ledger.Violate(torture.RuleUnhandled, "%s does not start: %v", name, err)
		return
	}
	s.proc = proc
	go s.watch(ctx, proc)
}

// watch starts the worker again when it ends unasked.
func (s *slot) watch(ctx context.Context, proc *process) {
	<-proc.done
	if crash := crashed(proc.log); crash != "" {
		s.ledger.Violate(torture.RuleCrash, "%s: %s", proc.log, crash)
	}
	s.mu.Lock()
	unasked := s.want && s.proc == proc && ctx.Err() == nil
	s.mu.Unlock()
	if !unasked {
		return
	}
	s.exited(proc)
	nap(ctx, 500*time.Millisecond)
	s.mu.Lock()
	defer s.mu.Unlock()
	s.start(ctx)
}

// current is the process that runs, or nil.
func (s *slot) current() *process {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.proc == nil || s.proc.ended() {
		return nil
	}
	return s.proc
}

// signal reaches the worker, if there is one.
func (s *slot) signal(sig syscall.Signal) {
	if p := s.current(); p != nil {
		p.signal(sig)
	}
}

// unwant keeps the worker from coming back, and returns it.
func (s *slot) unwant() *process {
	s.mu.Lock()
	s.want = false
	s.mu.Unlock()
	return s.current()
}

func (s *slot) kill() {
	if p := s.unwant(); p != nil {
		p.kill()
	}
}

// termLimit is the longest that a worker may take to stop: its drain, its
// commit and leaving, with brokers that do not answer.
const termLimit = 60 * time.Second

// term asks the worker to end, and waits for that.
func (s *slot) term(ctx context.Context) {
	p := s.unwant()
	if p == nil {
		return
	}
	p.signal(syscall.SIGTERM)
	timer := time.NewTimer(termLimit)
	defer timer.Stop()
	select {
	case <-p.done:
	case <-timer.C:
		s.ledger.Violate(torture.RuleStop, "%s runs %s after SIGTERM", p.log, termLimit)
		p.signal(syscall.SIGQUIT) // its goroutines, in its log
		nap(ctx, time.Second)
		p.kill()
	}
}

// serves tells which version of the model the worker serves now.
func (s *slot) serves(ctx context.Context) (string, error) {
	body, err := get(ctx, "http://"+s.addr+"/models")
	if err != nil {
		return "", err
	}
	var models []struct {
		State   string `json:"state"`
		Version string `json:"version"`
		Error   string `json:"last_error"`
	}
	if err := json.Unmarshal(body, &models); err != nil || len(models) != 1 {
		return "", fmt.Errorf("models: %s", body)
	}
	return models[0].Version, nil
}

// crashed finds in a log what no worker may say, whatever happens to it.
func crashed(log string) string {
	data, err := os.ReadFile(log)
	if err != nil {
		return err.Error()
	}
	for line := range bytes.Lines(data) {
		for _, word := range []string{"panic: ", "fatal error: ", "SIGSEGV", "request panicked"} {
			if bytes.Contains(line, []byte(word)) && !bytes.Contains(line, []byte("SIGQUIT")) {
				return strings.TrimSpace(string(line))
			}
		}
	}
	return ""
}
