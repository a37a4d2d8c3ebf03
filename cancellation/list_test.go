package cancellation

import (
	"encoding/binary"
	"testing"
	"testing/synctest"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

func request(id string, reply bool) *kgo.Record {
	r := &kgo.Record{Headers: []kgo.RecordHeader{{Key: wire.CorrelationID, Value: []byte(id)}}}
	if reply {
		r.Headers = append(r.Headers, kgo.RecordHeader{Key: wire.ReplyTopic, Value: []byte("replies")})
	}
	return r
}

func TestWhatIsCancelled(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, now := New(Deps{}), time.Now()
		require.False(t, l.Cancelled(request("a", true)))
		l.add([]*kgo.Record{
			Record("c", []byte("a"), now.Add(time.Minute)), Record("c", []byte("late"), now), Record("c", make([]byte, 65), now.Add(time.Hour)),
			Record("c", []byte("long"), now.Add(100*time.Hour)),
			{Topic: "c"},
			{Topic: "c", Headers: request("untimed", false).Headers},
		}, now)
		require.Len(t, l.until, 2)
		require.True(t, l.Cancelled(request("a", true)))
		require.False(t, l.Cancelled(request("a", false)), "its answer has other readers")
		require.False(t, l.Cancelled(request("b", true)))
		require.False(t, l.Cancelled(&kgo.Record{Headers: request("a", true).Headers[1:]}))
		time.Sleep(time.Minute)
		require.False(t, l.Cancelled(request("a", true)), "it has expired by now")
		require.True(t, l.Cancelled(request("long", true)))
		time.Sleep(maxAge)
		require.False(t, l.Cancelled(request("long", true)))
		l.add(nil, time.Now())
		require.Empty(t, l.until)
		require.Empty(t, l.order)
	})
}

func TestTheListIsBounded(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, now := New(Deps{}), time.Now()
		id := func(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) }
		for i := range maxIDs + 10 {
			l.add([]*kgo.Record{Record("c", id(i), now.Add(time.Minute)), Record("c", id(i), now.Add(time.Minute))}, now)
		}
		require.Len(t, l.until, maxIDs)
		require.Len(t, l.order, maxIDs)
		require.False(t, l.Cancelled(request(string(id(9)), true)), "the oldest are forgotten")
		require.True(t, l.Cancelled(request(string(id(10)), true)))
		require.True(t, l.Cancelled(request(string(id(maxIDs+9)), true)))
	})
}
