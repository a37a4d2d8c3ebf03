package announce

import (
	"context"
	"encoding/json"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
)

// registry counts who asks, and answers with a version of each reference.
type registry struct {
	mu    sync.Mutex
	names map[string]int // versions
	err   error
	asked map[string]int // by reference
	held  string         // the member whose answers are on their way
	let   chan struct{}  // closed when they arrive

	waiting atomic.Int32 // answers that are on their way
}

// hold lets a member wait for the answers to what it asks from now on.
func (r *registry) hold(m *member) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.held, r.let = m.Self, make(chan struct{})
}

func (r *registry) release() {
	r.mu.Lock()
	defer r.mu.Unlock()
	close(r.let)
	r.held = ""
}

// holds says that an answer is on its way.
func (r *registry) holds() bool { return r.waiting.Load() > 0 }

// resolveFor is resolve over a way that may be long.
func (r *registry) resolveFor(ctx context.Context, self, reference string) (json.RawMessage, error) {
	found, err := r.resolve(ctx, reference)
	r.mu.Lock()
	wait := r.let
	if r.held != self {
		wait = nil
	}
	r.mu.Unlock()
	if wait != nil {
		r.waiting.Add(1)
		<-wait
		r.waiting.Add(-1)
	}
	return found, err
}

func (r *registry) set(reference string, version int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.names[reference] = version
}

func (r *registry) fail(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.err = err
}

func (r *registry) resolve(_ context.Context, reference string) (json.RawMessage, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.asked[reference]++
	if r.err != nil {
		return nil, r.err
	}
	return json.RawMessage(strconv.Itoa(r.names[reference])), nil
}

// count returns how often a reference was asked for since the last look.
func (r *registry) count(reference string) int {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := r.asked[reference]
	r.asked[reference] = 0
	return n
}

// gate stands for a process that is stopped and continued: what would move
// waits.
type gate struct {
	mu     sync.Mutex
	closed chan struct{} // nil while it moves
}

func (g *gate) freeze() {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.closed = make(chan struct{})
}

func (g *gate) thaw() {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.closed != nil {
		close(g.closed)
		g.closed = nil
	}
}

func (g *gate) pass() {
	g.mu.Lock()
	c := g.closed
	g.mu.Unlock()
	if c != nil {
		<-c
	}
}

// conn is a connection of a process that may stand still.
type conn struct {
	net.Conn
	still *gate
}

func (c *conn) Read(b []byte) (int, error) {
	n, err := c.Conn.Read(b)
	c.still.pass()
	return n, err
}

func (c *conn) Write(b []byte) (int, error) {
	c.still.pass()
	return c.Conn.Write(b)
}

func (m *member) dial(ctx context.Context, network, addr string) (net.Conn, error) {
	m.still.pass()
	c, err := m.w.net.DialContext(ctx, network, addr)
	if err != nil {
		return nil, err
	}
	return &conn{c, &m.still}, nil
}
