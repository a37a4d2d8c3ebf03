package torture

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"net"
	"sync"
	"time"
)

// Rule is what a proxy does to connections. The zero rule does nothing.
type Rule struct {
	Client string // the client id whose connections it is for, "" for all
	Refuse bool   // close them, and new ones
	Up     bool   // carry nothing from the client to the server
	Down   bool   // carry nothing from the server to the client
	Delay  time.Duration
}

// Proxy carries TCP connections to one address. It knows the clients of Kafka
// by the id in their first request.
type Proxy struct {
	addr   string
	target string

	mu       sync.Mutex   // guards what follows
	listener net.Listener // nil while it is down
	ended    bool
	rules    map[int]Rule
	next     int
	changed  chan struct{} // closed and replaced when the rules change
	links    map[*link]bool
}

// link is one connection and its other half.
type link struct {
	client, server net.Conn
	once           sync.Once
	gone           chan struct{}
	name           string // the client's id; guarded by the proxy's mu
}

func (l *link) close() {
	l.once.Do(func() {
		close(l.gone)
		_ = l.client.Close() // both halves end with the link, whatever they say
		_ = l.server.Close()
	})
}

// NewProxy listens on a free loopback port. Run carries what comes to target.
func NewProxy(ctx context.Context, target string) (*Proxy, error) {
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return nil, fmt.Errorf("proxy to %s: %w", target, err)
	}
	return &Proxy{addr: l.Addr().String(), listener: l, target: target, rules: make(map[int]Rule), changed: make(chan struct{}), links: make(map[*link]bool)}, nil
}

// Addr is where the proxy listens.
func (p *Proxy) Addr() string { return p.addr }

// Run carries connections until ctx ends, and returns when all have ended.
func (p *Proxy) Run(ctx context.Context) error {
	stop := context.AfterFunc(ctx, func() {
		p.Down() // it ends Accept
		p.mu.Lock()
		defer p.mu.Unlock()
		p.ended = true
		p.news()
	})
	defer stop()
	var all sync.WaitGroup
	defer all.Wait()
	for {
		p.mu.Lock()
		l, changed := p.listener, p.changed
		p.mu.Unlock()
		if ctx.Err() != nil {
			return nil
		}
		if l == nil {
			<-changed
			continue
		}
		client, err := l.Accept()
		if err == nil {
			all.Go(func() { p.carry(ctx, client) })
		} else if !errors.Is(err, net.ErrClosed) {
			return fmt.Errorf("proxy to %s: %w", p.target, err)
		}
	}
}

// Down takes the proxy away as a machine that is off: connections break and new
// ones are refused.
func (p *Proxy) Down() {
	p.mu.Lock()
	if p.listener != nil {
		_ = p.listener.Close()
		p.listener = nil
		p.news()
	}
	p.mu.Unlock()
	p.Cut("")
}

// Up listens again. The port may have been taken meanwhile, by somebody's
// connection: then it is to be tried again.
func (p *Proxy) Up(ctx context.Context) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.listener != nil || p.ended {
		return nil
	}
	l, err := new(net.ListenConfig).Listen(ctx, "tcp", p.addr)
	if err != nil {
		return fmt.Errorf("proxy to %s: %w", p.target, err)
	}
	p.listener = l
	p.news()
	return nil
}

func (p *Proxy) carry(ctx context.Context, client net.Conn) {
	dialer := net.Dialer{Timeout: 5 * time.Second}
	server, err := dialer.DialContext(ctx, "tcp", p.target)
	if err != nil {
		_ = client.Close() // as a server that is not there
		return
	}
	l := &link{client: client, server: server, gone: make(chan struct{})}
	defer l.close()
	p.mu.Lock()
	p.links[l] = true
	p.mu.Unlock()
	defer func() {
		p.mu.Lock()
		delete(p.links, l)
		p.mu.Unlock()
	}()
	if ctx.Err() != nil { // its end has cut what was there before
		return
	}
	var both sync.WaitGroup
	both.Go(func() { p.pump(l, true) })
	both.Go(func() { p.pump(l, false) })
	both.Wait()
}

// pump carries one direction, under the rules as they are for each piece.
func (p *Proxy) pump(l *link, up bool) {
	defer l.close()
	from, to := l.server, l.client
	if up {
		from, to = to, from
	}
	buf := make([]byte, 32<<10)
	for first := up; ; first = false {
		n, err := from.Read(buf)
		if first && n > 0 {
			p.mu.Lock()
			l.name = clientID(buf[:n])
			p.mu.Unlock()
		}
		if n > 0 && (!p.hold(l, up) || !write(to, buf[:n])) || err != nil {
			return
		}
	}
}

func write(to io.Writer, b []byte) bool {
	_, err := to.Write(b)
	return err == nil
}

// hold returns when a piece may pass, false when the link is to end.
func (p *Proxy) hold(l *link, up bool) bool {
	for {
		p.mu.Lock()
		var all Rule
		for _, r := range p.rules {
			if r.Client == "" || r.Client == l.name {
				all.Refuse = all.Refuse || r.Refuse
				all.Up, all.Down = all.Up || r.Up, all.Down || r.Down
				all.Delay += r.Delay
			}
		}
		changed := p.changed
		p.mu.Unlock()
		switch {
		case all.Refuse:
			return false
		case up && all.Up, !up && all.Down:
			select {
			case <-changed:
			case <-l.gone:
				return false
			}
		case all.Delay > 0:
			timer := time.NewTimer(all.Delay)
			defer timer.Stop()
			select {
			case <-timer.C:
				return true
			case <-l.gone:
				return false
			}
		default:
			return true
		}
	}
}

// Set puts a rule in force, and returns what ends it.
func (p *Proxy) Set(r Rule) (end func()) {
	p.mu.Lock()
	n := p.next
	p.next++
	p.rules[n] = r
	p.news()
	p.mu.Unlock()
	if r.Refuse {
		p.Cut(r.Client)
	}
	return func() {
		p.mu.Lock()
		defer p.mu.Unlock()
		delete(p.rules, n)
		p.news()
	}
}

// news is called under mu.
func (p *Proxy) news() {
	close(p.changed)
	p.changed = make(chan struct{})
}

// Cut closes the connections of a client, of all for "", and counts them.
func (p *Proxy) Cut(client string) (n int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for l := range p.links {
		if client == "" || client == l.name {
			l.close()
			n++
		}
	}
	return n
}

// clientID reads it from a request of Kafka's protocol: its header has the
// size, the key and version of the request, the correlation id, and then the
// client's id with its length (KIP-511 keeps that so in all versions). It is
// empty for anything else.
func clientID(b []byte) string {
	const at = 4 + 2 + 2 + 4
	if len(b) < at+2 {
		return ""
	}
	n := int(int16(binary.BigEndian.Uint16(b[at:]))) //nolint:gosec // as the protocol has it: -1 is no id
	if n < 0 || len(b) < at+2+n {
		return ""
	}
	return string(b[at+2 : at+2+n])
}
