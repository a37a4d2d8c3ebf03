package pyfunc

import (
	"context"
	"net"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
)

// deadlines is a connection that notes the deadline that was set last.
type deadlines struct {
	net.Conn

	mu   sync.Mutex
	last time.Time // guarded by mu
}

func (d *deadlines) SetDeadline(t time.Time) error {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.last = t
	return nil
}

// TestBoundIsReleased: the end of a call's context does not reach the next call.
func TestBoundIsReleased(t *testing.T) {
	for range 1000 {
		d := &deadlines{}
		c := &child{conn: d}
		ctx, cancel := context.WithCancel(t.Context())
		release := c.bound(ctx)
		cancel()
		release()
		d.mu.Lock()
		require.Equal(t, time.Unix(1, 0), d.last)
		d.mu.Unlock()
	}
}
