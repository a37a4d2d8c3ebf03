package main

import (
	"bytes"
	"context"
	"io"
	"net"
	"net/http"
	"regexp"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// patience is how long a test waits for what has to come.
const patience = 30 * time.Second

// buffer is written by a process while a test reads it.
type buffer struct {
	mu  sync.Mutex
	all bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.all.String()
}

// process is a command that serves, run by [run] as main does.
type process struct {
	out, err buffer
	signal   context.CancelFunc // what SIGTERM is
	ended    chan struct{}
	code     int // once ended is closed
}

// start runs a command with nothing but env in its environment. It is stopped
// with the test.
func start(t *testing.T, env []string, args ...string) *process {
	t.Helper()
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	p := &process{signal: cancel, ended: make(chan struct{})}
	go func() {
		defer close(p.ended)
		p.code = run(ctx, args, env, strings.NewReader(""), &p.out, &p.err)
	}()
	t.Cleanup(func() {
		p.stop(t)
		if t.Failed() {
			t.Logf("millrace %s:\n%s%s", strings.Join(args, " "), p.err.String(), p.out.String())
		}
	})
	return p
}

// home is an environment with folders of its own.
func home(t *testing.T, more ...string) []string {
	t.Helper()
	return append([]string{"HOME=" + t.TempDir(), "TMPDIR=" + t.TempDir(), "MILLRACE_ADMIN_ADDR=127.0.0.1:0", "MILLRACE_GATEWAY_ADDR=127.0.0.1:0", "MILLRACE_GATEWAY_GRPC_ADDR=127.0.0.1:0"}, more...)
}

// stop sends the signal and returns the exit code.
func (p *process) stop(t *testing.T) int {
	t.Helper()
	p.signal()
	return p.wait(t)
}

func (p *process) wait(t *testing.T) int {
	t.Helper()
	timer := time.NewTimer(2 * patience)
	defer timer.Stop()
	select {
	case <-p.ended:
	case <-timer.C:
		require.FailNow(t, "the process does not end", p.err.String())
	}
	return p.code
}

// find waits until the process has printed or logged what expr matches, and
// returns its first group.
func (p *process) find(t *testing.T, expr string) string {
	t.Helper()
	re := regexp.MustCompile(expr)
	var found []string
	eventually(t, func() bool {
		found = re.FindStringSubmatch(p.err.String() + p.out.String())
		select {
		case <-p.ended:
			return true
		default:
			return found != nil
		}
	}, "%s in the output", expr)
	require.NotNil(t, found, "the process has ended, without %s: %s", expr, p.err.String())
	return found[len(found)-1]
}

// probes and gateway are where a process listens, once it does.
func (p *process) probes(t *testing.T) string {
	t.Helper()
	return "http://" + p.find(t, `probes and metrics are served" addr=(\S+)`)
}

func (p *process) gateway(t *testing.T) string {
	t.Helper()
	return "http://" + p.find(t, `gateway is served" addr=(\S+)`)
}

func eventually(t *testing.T, ok func() bool, format string, args ...any) {
	t.Helper()
	require.Eventuallyf(t, ok, patience, 20*time.Millisecond, format, args...)
}

// reply is what an HTTP request came to; code 0 is no response.
type reply struct {
	code   int
	body   string
	header http.Header
}

func send(ctx context.Context, method, url, body string, header ...string) reply {
	req, err := http.NewRequestWithContext(ctx, method, url, strings.NewReader(body))
	if err != nil {
		return reply{body: err.Error()}
	}
	for i := 0; i+1 < len(header); i += 2 {
		req.Header.Set(header[i], header[i+1])
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}}
	resp, err := client.Do(req)
	if err != nil {
		return reply{body: err.Error()}
	}
	defer func() { _ = resp.Body.Close() }()
	text, err := io.ReadAll(resp.Body)
	if err != nil {
		return reply{body: err.Error()}
	}
	return reply{resp.StatusCode, string(text), resp.Header}
}

func get(t *testing.T, url string) reply {
	t.Helper()
	return send(t.Context(), http.MethodGet, url, "")
}

// ready waits for a process's probe.
func ready(t *testing.T, url string) {
	t.Helper()
	eventually(t, func() bool { return get(t, url+"/readyz").code == http.StatusOK }, "%s is ready", url)
}

// freePort is a loopback port that nothing listens on.
func freePort(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	require.NoError(t, l.Close())
	_, port, err := net.SplitHostPort(l.Addr().String())
	require.NoError(t, err)
	return port
}
