package producer

import (
	"context"
	"errors"
	"net"
	"strconv"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kfake"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/wire"
)

// TestOrderAfterRefusal holds that answers keep their order when the client
// gives up all that it holds and it is sent again, those published meanwhile
// included.
func TestOrderAfterRefusal(t *testing.T) {
	const total = 40
	r := newRig(t)
	r.cfg.RetryBackoff = 50 * time.Millisecond
	refused := make(chan struct{})
	tries, self := 0, self(t, r.cluster)
	r.cluster.ControlKey(int16(kmsg.Metadata), func(kreq kmsg.Request) (kmsg.Response, error, bool) {
		r.cluster.KeepControl()
		req := kreq.(*kmsg.MetadataRequest)
		if len(req.Topics) != 1 || tries == 3 { // the reader asks for three
			return nil, nil, false
		}
		if tries++; tries == 2 {
			close(refused)
		}
		return forbidden(self, req), nil, true
	})
	var acked sync.WaitGroup
	publish := func(from, to int) {
		for i := from; i < to; i++ {
			acked.Add(1)
			r.Publish(t.Context(), numbered(i), func(_ string, err error) {
				defer acked.Done()
				require.NoError(t, err)
			})
		}
	}
	publish(0, total/2)
	<-refused
	publish(total/2, total)
	acked.Wait()
	require.Equal(t, sequence(total), r.offsets(t, total))
}

// TestClosedBeforeAnswer holds that a broker, or a proxy before it, which closes
// connections before their first answer fails no answer.
func TestClosedBeforeAnswer(t *testing.T) {
	r := newRig(t)
	var closed atomic.Int32
	r.cluster.ControlKey(int16(kmsg.ApiVersions), func(kmsg.Request) (kmsg.Response, error, bool) {
		if closed.Add(1) > 3 {
			return nil, nil, false
		}
		r.cluster.KeepControl()
		return nil, errors.New("close the connection"), true
	})
	require.Equal(t, "ok", r.publish(t, answer("out")))
	require.Greater(t, closed.Load(), int32(3))
	require.False(t, r.refused.Load(), "the client has not given up")
}

// self is the broker as its metadata names it.
func self(t *testing.T, c *kfake.Cluster) kmsg.MetadataResponseBroker {
	t.Helper()
	host, text, err := net.SplitHostPort(c.ListenAddrs()[0])
	require.NoError(t, err)
	port, err := strconv.ParseInt(text, 10, 32)
	require.NoError(t, err)
	b := kmsg.NewMetadataResponseBroker()
	b.Host, b.Port = host, int32(port)
	return b
}

// forbidden answers that the topic may not be seen, for which the client gives
// up all its records.
func forbidden(self kmsg.MetadataResponseBroker, req *kmsg.MetadataRequest) kmsg.Response {
	resp := req.ResponseKind().(*kmsg.MetadataResponse)
	resp.Brokers = append(resp.Brokers, self)
	for _, asked := range req.Topics {
		topic := kmsg.NewMetadataResponseTopic()
		topic.Topic, topic.TopicID, topic.ErrorCode = asked.Topic, asked.TopicID, kerr.TopicAuthorizationFailed.Code
		resp.Topics = append(resp.Topics, topic)
	}
	return resp
}

// numbered is an answer to the request at an offset of partition 4.
func numbered(offset int) *wire.Answer {
	a := answer("out")
	a.Request = &kgo.Record{Topic: "requests", Partition: 4, Offset: int64(offset)}
	return a
}

func sequence(n int) []string {
	all := make([]string, n)
	for i := range all {
		all[i] = "requests/4/" + strconv.Itoa(i)
	}
	return all
}

// offsets reads the ids of n results in their order.
func (r *rig) offsets(t *testing.T, n int) []string {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	var ids []string
	for len(ids) < n {
		fetches := r.read.PollFetches(ctx)
		require.NoError(t, fetches.Err())
		fetches.EachRecord(func(rec *kgo.Record) { ids = append(ids, headers(rec)[wire.ID]) })
	}
	return ids
}
