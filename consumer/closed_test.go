package consumer

import (
	"errors"
	"sync/atomic"
	"testing"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kmsg"
)

// TestClosedBeforeAnswer holds that a broker, or a proxy before it, which closes
// connections before their first answer costs a member no partition.
func TestClosedBeforeAnswer(t *testing.T) {
	virtual(t, 1, func(b *bench) {
		b.fill(0, 10)
		m := b.start(config(), &answering{client: b.client})
		b.until("ready", m.Ready)
		var cut, closed, beats atomic.Int32
		b.cluster.ControlKey(int16(kmsg.Heartbeat), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			if cut.Add(1) == 1 {
				return nil, errors.New("close the connection"), true
			}
			beats.Add(1)
			return nil, nil, false
		})
		b.cluster.ControlKey(int16(kmsg.ApiVersions), func(kmsg.Request) (kmsg.Response, error, bool) {
			b.cluster.KeepControl()
			if cut.Load() > 0 && closed.Add(1) <= 3 {
				return nil, errors.New("close the connection"), true
			}
			return nil, nil, false
		})
		b.until("heartbeats", func() bool { return beats.Load() > 3 })
		require.Greater(t, closed.Load(), int32(3))
		_, lost := m.value(t, "millrace_rebalances_total", "lost")
		require.False(t, lost, "partitions were given up")
		m.halt(t)
	})
}
