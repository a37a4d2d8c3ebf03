//go:build autoscale

package autoscale

import (
	"bufio"
	"context"
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"sync/atomic"
	"syscall"
	"testing"

	"github.com/stretchr/testify/require"
)

// users call without pause but for what --think says.
const users = 300

// load is a `millrace load` that runs.
type load struct {
	cmd      *exec.Cmd
	read     chan error // what became of its output, once
	json     string
	failures atomic.Int64 // so far
}

// result is what it says at its end.
type result struct {
	Requests int64              `json:"requests"`
	Failures int64              `json:"failures"`
	Elapsed  float64            `json:"elapsed_seconds"`
	Latency  map[string]float64 `json:"latency_ms"`
	Reasons  map[string]int64   `json:"reasons"`
}

var failing = regexp.MustCompile(`failures (\d+)`)

// load puts the users onto the gateway.
func (l *lab) load(t *testing.T) *load {
	t.Helper()
	name := filepath.Join(l.dir, "load-"+filepath.Base(t.Name()))
	p := &load{json: name + ".json", read: make(chan error, 1)}
	log, err := os.Create(name + ".log")
	require.NoError(t, err)
	p.cmd = exec.CommandContext(context.WithoutCancel(t.Context()), filepath.Join(l.root, "bin/millrace"), "load", "--url", "http://"+l.gateway(t)+"/predict",
		"--users", strconv.Itoa(users), "--spawn-rate", "50", "--think", "5s", "--timeout", "60s", "--duration", "0", "--json", p.json)
	p.cmd.Stderr = log
	out, err := p.cmd.StdoutPipe()
	require.NoError(t, err)
	require.NoError(t, p.cmd.Start())
	go func() {
		lines := bufio.NewScanner(io.TeeReader(out, log))
		for lines.Scan() {
			if m := failing.FindStringSubmatch(lines.Text()); m != nil {
				n, _ := strconv.ParseInt(m[1], 10, 64) // digits
				p.failures.Store(n)
			}
		}
		p.read <- lines.Err()
	}()
	t.Cleanup(func() {
		if p.cmd.ProcessState == nil {
			_ = p.cmd.Process.Kill()
			require.NoError(t, <-p.read)
			_ = p.cmd.Wait()
		}
		_ = log.Close()
	})
	return p
}

// end has the users go, and returns what they saw.
func (p *load) end(t *testing.T) result {
	t.Helper()
	require.NoError(t, p.cmd.Process.Signal(syscall.SIGINT))
	require.NoError(t, <-p.read)
	_ = p.cmd.Wait() // with 1 when requests failed, which its report says
	text, err := os.ReadFile(p.json)
	require.NoError(t, err)
	var r result
	require.NoError(t, json.Unmarshal(text, &r))
	return r
}

// gateway is the address of the one there is, once it is ready.
func (l *lab) gateway(t *testing.T) (addr string) {
	t.Helper()
	await(t, "the gateway is ready", func(ctx context.Context) bool {
		addr = l.address(ctx)
		return addr != "" && ok(ctx, "http://"+addr+"/readyz")
	})
	return addr
}
