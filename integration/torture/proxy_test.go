package torture

import (
	"bufio"
	"context"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"go.uber.org/goleak"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// echo is a server that answers each line with itself.
func echo(t *testing.T) string {
	t.Helper()
	l, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	require.NoError(t, err)
	done := make(chan struct{})
	go func() {
		defer close(done)
		for {
			conn, err := l.Accept()
			if err != nil {
				return
			}
			go func() {
				defer conn.Close()
				_, _ = io.Copy(conn, conn) // until either side ends
			}()
		}
	}()
	t.Cleanup(func() {
		require.NoError(t, l.Close())
		<-done
	})
	return l.Addr().String()
}

func proxy(t *testing.T, target string) *Proxy {
	t.Helper()
	p, err := NewProxy(t.Context(), target)
	require.NoError(t, err)
	ctx, cancel := context.WithCancel(context.WithoutCancel(t.Context()))
	ended := make(chan error, 1)
	go func() { ended <- p.Run(ctx) }()
	t.Cleanup(func() {
		cancel()
		require.NoError(t, <-ended)
	})
	return p
}

type conn struct {
	net.Conn
	in *bufio.Reader
}

// dial connects as a client of Kafka does: its first bytes are a request.
func dial(t *testing.T, p *Proxy, client string) *conn {
	t.Helper()
	c, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	require.NoError(t, err)
	t.Cleanup(func() { _ = c.Close() })
	require.NoError(t, c.SetDeadline(time.Now().Add(10*time.Second)))
	first := binary.BigEndian.AppendUint16(make([]byte, 12), uint16(len(client)))
	out := &conn{c, bufio.NewReader(c)}
	require.NoError(t, out.ask(string(first)+client))
	return out
}

// ask sends a line and wants it back.
func (c *conn) ask(line string) error {
	if _, err := fmt.Fprintln(c, line); err != nil {
		return err
	}
	got, err := c.in.ReadString('\n')
	if err == nil && got != line+"\n" {
		err = fmt.Errorf("%q came back as %q", line, got)
	}
	return err
}

func TestProxyCarries(t *testing.T) {
	p := proxy(t, echo(t))
	for range 3 {
		require.NoError(t, dial(t, p, "worker-1").ask("hello"))
	}
}

func TestProxyCutsOneClient(t *testing.T) {
	p := proxy(t, echo(t))
	one, two := dial(t, p, "worker-1"), dial(t, p, "worker-2")
	require.Equal(t, 1, p.Cut("worker-1"))
	require.Error(t, one.ask("gone"))
	require.NoError(t, two.ask("still here"))
	require.NoError(t, dial(t, p, "worker-1").ask("back"))
}

func TestProxyStalls(t *testing.T) {
	for name, rule := range map[string]Rule{"up": {Up: true}, "down": {Down: true}, "one": {Client: "worker-1", Up: true}} {
		t.Run(name, func(t *testing.T) {
			p := proxy(t, echo(t))
			c, other := dial(t, p, "worker-1"), dial(t, p, "worker-2")
			end := p.Set(rule)
			answered := make(chan error, 1)
			go func() { answered <- c.ask("hello") }()
			if rule.Client != "" {
				require.NoError(t, other.ask("not me"))
			}
			select {
			case err := <-answered:
				require.FailNow(t, "it came through", "%v", err)
			default:
			}
			end()
			require.NoError(t, <-answered)
			end = p.Set(rule)
			defer end()
			go func() { answered <- c.ask("hello") }()
			p.Cut("")
			require.Error(t, <-answered)
		})
	}
}

func TestProxyRefuses(t *testing.T) {
	p := proxy(t, echo(t))
	c := dial(t, p, "")
	end := p.Set(Rule{Refuse: true})
	require.Error(t, c.ask("gone"))
	again, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	require.NoError(t, err)
	defer again.Close()
	_, err = fmt.Fprintln(again, "hello")
	require.NoError(t, err)
	_, err = again.Read(make([]byte, 1))
	require.Error(t, err)
	end()
	require.NoError(t, dial(t, p, "").ask("back"))
}

func TestProxyGoesDownAndUp(t *testing.T) {
	p := proxy(t, echo(t))
	c := dial(t, p, "")
	p.Down()
	require.Error(t, c.ask("gone"))
	_, err := new(net.Dialer).DialContext(t.Context(), "tcp", p.Addr())
	require.Error(t, err)
	require.NoError(t, p.Up(t.Context()))
	require.NoError(t, dial(t, p, "").ask("back"))
}

func TestProxySlows(t *testing.T) {
	p := proxy(t, echo(t))
	c := dial(t, p, "")
	defer p.Set(Rule{Delay: 20 * time.Millisecond})()
	begun := time.Now()
	require.NoError(t, c.ask("hello"))
	require.GreaterOrEqual(t, time.Since(begun), 40*time.Millisecond) // both ways
}

func TestClientID(t *testing.T) {
	header := make([]byte, 12)
	for name, c := range map[string]struct {
		in   []byte
		want string
	}{
		"an id":     {append(binary.BigEndian.AppendUint16(header, 3), "abc and more"...), "abc"},
		"none":      {binary.BigEndian.AppendUint16(header, 0xffff), ""},
		"cut":       {append(binary.BigEndian.AppendUint16(header, 9), "abc"...), ""},
		"short":     {[]byte("GET /"), ""},
		"not Kafka": {[]byte("GET / HTTP/1.1\r\nHost: a\r\n\r\n"), ""},
	} {
		t.Run(name, func(t *testing.T) { require.Equal(t, c.want, clientID(c.in)) })
	}
}
