// Package kafkatest holds what tests of several Kafka clients share.
package kafkatest

import (
	"context"
	"errors"
	"net"
	"sync"
)

// ErrCut is what a dial gets while the wires are cut.
var ErrCut = errors.New("cut off")

// Wires are a process's connections, which can be cut: a crash, or a broken
// network, as its peers see it. It is safe for concurrent use.
type Wires struct {
	dial func(ctx context.Context, network, addr string) (net.Conn, error)

	mu    sync.Mutex // guards what follows
	down  bool
	conns []net.Conn
}

// NewWires makes connections by dial.
func NewWires(dial func(ctx context.Context, network, addr string) (net.Conn, error)) *Wires {
	return &Wires{dial: dial}
}

// Dial is for kgo.Dialer.
func (w *Wires) Dial(ctx context.Context, network, addr string) (net.Conn, error) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if w.down {
		return nil, ErrCut
	}
	c, err := w.dial(ctx, network, addr)
	if err == nil {
		w.conns = append(w.conns, c)
	}
	return c, err
}

// Cut closes what is open, and lets nothing be opened.
func (w *Wires) Cut() { w.drop(true) }

// Hiccup closes what is open; new connections work.
func (w *Wires) Hiccup() { w.drop(false) }

func (w *Wires) drop(down bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = w.down || down
	for _, c := range w.conns {
		_ = c.Close()
	}
	w.conns = nil
}

// Mend lets new connections be opened again.
func (w *Wires) Mend() {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.down = false
}

// Down says that they are cut.
func (w *Wires) Down() bool {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.down
}
