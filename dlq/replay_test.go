package dlq

import (
	"context"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"github.com/twmb/franz-go/pkg/kmsg"

	"github.com/millrace/millrace/internal/kafka/kafkatest"
	"github.com/millrace/millrace/internal/wire"
)

func TestWhatIsReplayed(t *testing.T) {
	virtual(t, func(b *bench) {
		past, future := time.Now().Add(-time.Hour).Format(time.RFC3339), time.Now().Add(time.Hour).Format(time.RFC3339)
		b.write(b.letter(2, "DEADLINE_EXCEEDED", header("x", "y"), header(wire.CorrelationID, "c"), header(wire.ReplyTopic, "replies"),
			header(wire.ReplyPartition, "1"), header(wire.ExpiryTime, past)),
			b.letter(1, "UNAVAILABLE", header(wire.ExpiryTime, future)),
			b.letter(0, "INVALID_INPUT", header(wire.ExpiryTime, "soon"), header(wire.ReplayOf, "dead/0/9"), header(wire.OriginalID, "requests/0/8")))
		var sent []Sent
		res, err := b.replay(func(r *Replay) { r.Each = func(s Sent) { sent = append(sent, s) } })
		require.NoError(t, err)
		require.Equal(t, Result{Picked: 3, Sent: 3, Expired: 1}, res)

		byPartition := make(map[int32]*kgo.Record)
		for _, r := range b.read(requests) {
			byPartition[r.Partition] = r
			require.Equal(t, "key", string(r.Key))
			require.WithinDuration(t, time.Now(), r.Timestamp, time.Minute)
		}
		require.JSONEq(t, `{"inputs": [1]}`, string(byPartition[2].Value))
		require.Equal(t, map[string]string{"x": "y", wire.CorrelationID: "c", wire.ReplayOf: "dead/2/0", wire.OriginalID: "requests/2/1"}, headers(byPartition[2]))
		require.Equal(t, map[string]string{wire.ExpiryTime: future, wire.ReplayOf: "dead/1/0", wire.OriginalID: "requests/1/2"}, headers(byPartition[1]))
		require.Equal(t, map[string]string{wire.ExpiryTime: "soon", wire.ReplayOf: "dead/0/0", wire.OriginalID: "requests/0/8"}, headers(byPartition[0]),
			"the first original stays the original")
		for _, s := range sent {
			require.Equal(t, positionOf(byPartition[s.Request.Partition]).String(), s.As)
			if s.Request.Partition == 2 {
				require.Equal(t, []string{wire.ReplyTopic, wire.ReplyPartition, wire.ExpiryTime + " (" + past + " is past)"}, s.Dropped)
			}
		}

		res, err = b.replay()
		require.NoError(t, err)
		require.Equal(t, Result{Picked: 3, Replayed: 3}, res, "nothing is replayed twice")
		b.requireEachOnce(3)
	})
}

func TestReplayKeepsReplyHeadersWhenAsked(t *testing.T) {
	virtual(t, func(b *bench) {
		b.write(b.letter(0, "UNAVAILABLE", header(wire.ReplyTopic, "replies"), header(wire.ReplyPartition, "1")))
		_, err := b.replay(func(r *Replay) { r.KeepReply = true })
		require.NoError(t, err)
		got := headers(b.read(requests)[0])
		require.Equal(t, []string{"replies", "1"}, []string{got[wire.ReplyTopic], got[wire.ReplyPartition]})
	})
}

func TestWhatIsNotReplayed(t *testing.T) {
	virtual(t, func(b *bench) {
		twice := b.letter(1, "INTERNAL")
		again := *twice // as after a crash between the dead letter and the commit
		b.write(twice, &again, b.letter(0, "TOO_LARGE", header(wire.DeadPayloadOmitted, "large")), &kgo.Record{Topic: dead, Value: []byte("else")})
		for range 2 {
			res, err := b.replay(func(r *Replay) { r.DryRun = true })
			require.NoError(t, err)
			require.Equal(t, Result{Picked: 3, Sent: 1, Repeated: 1, Missing: 1}, res)
		}
		require.Empty(t, b.read(requests), "a dry run sends nothing")
		require.Len(t, b.read(dead), 4, "and notes nothing")
		res, err := b.replay()
		require.NoError(t, err)
		require.Equal(t, Result{Picked: 3, Sent: 1, Repeated: 1, Missing: 1}, res)
		b.requireEachOnce(1)

		// The replay is refused too: that is another dead letter.
		as := b.read(requests)[0]
		third := b.letter(1, "INTERNAL", as.Headers...)
		b.write(third)
		res, err = b.replay()
		require.NoError(t, err)
		require.Equal(t, 1, res.Sent)
		got := b.read(requests)
		require.Equal(t, headers(got[0])[wire.OriginalID], headers(got[1])[wire.OriginalID])
		require.NotEqual(t, headers(got[0])[wire.ReplayOf], headers(got[1])[wire.ReplayOf])
	})
}

func TestARequestsTopicMadeAnewIsAnother(t *testing.T) {
	virtual(t, func(b *bench) {
		b.write(b.letter(0, "INTERNAL"))
		_, err := b.replay()
		require.NoError(t, err)
		b.asked = 0
		time.Sleep(time.Hour)
		b.write(b.letter(0, "INTERNAL"))
		res, err := b.replay()
		require.NoError(t, err)
		require.Equal(t, []int{1, 1}, []int{res.Sent, res.Replayed})
	})
}

func TestTooLargeIsLeftOut(t *testing.T) {
	virtual(t, func(b *bench) {
		b.fill(4)
		large := b.letter(0, "INTERNAL")
		large.Value = make([]byte, 1_000_000) // with our headers on top, the batch is beyond what the client sends
		large.Headers = append([]kgo.RecordHeader{header("h", "0123456789")}, without(large, wire.DeadMessage).Headers...)
		wide, err := kgo.NewClient(append(b.opts(), kgo.ProducerBatchMaxBytes(2<<20), kgo.RecordPartitioner(kgo.ManualPartitioner()))...)
		require.NoError(t, err)
		defer wide.Close()
		large.Value = make([]byte, 1_000_012)
		require.NoError(t, wide.ProduceSync(b.ctx, large).FirstErr())
		res, err := b.replay()
		require.NoError(t, err)
		require.Equal(t, Result{Picked: 5, Sent: 4, TooLarge: 1}, res)
		b.requireEachOnce(4)
		res, err = b.replay()
		require.NoError(t, err)
		require.Equal(t, Result{Picked: 5, Replayed: 4, TooLarge: 1}, res)
	})
}

// What has a prediction by now is passed over: the request's own, taken in again
// after a crash, or that of another replay of the same original.
func TestWhatWasAnsweredSinceIsNotReplayed(t *testing.T) {
	virtual(t, func(b *bench) {
		const results = "results"
		require.NoError(t, b.cluster.CreateTopic(results, partitions, nil))
		old := &kgo.Record{Topic: results, Headers: []kgo.RecordHeader{header(wire.Status, "ok"), header(wire.ID, "requests/2/3")}}
		b.write(old)
		time.Sleep(time.Second)
		b.write(b.letter(0, "UNAVAILABLE"), b.letter(1, "INTERNAL", header(wire.OriginalID, "requests/1/9")), b.letter(2, "INTERNAL"), b.letter(0, "INTERNAL"))
		for _, h := range [][]kgo.RecordHeader{
			{header(wire.Status, "UNAVAILABLE"), header(wire.ID, "requests/0/4")},
			{header(wire.Status, "ok"), header(wire.ID, "requests/0/1")},
			{header(wire.Status, "ok"), header(wire.ID, "requests/1/77"), header(wire.OriginalID, "requests/1/9")},
			{header(wire.Status, "ok"), header(wire.ID, "requests/1/78")},
		} {
			b.write(&kgo.Record{Topic: results, Headers: h})
		}
		res, err := b.replay(func(r *Replay) { r.Results = results })
		require.NoError(t, err)
		require.Equal(t, Result{Picked: 4, Sent: 2, Answered: 2}, res)
		res, err = b.replay()
		require.NoError(t, err)
		require.Equal(t, Result{Picked: 4, Sent: 2, Replayed: 2}, res, "unless it is not looked for")
	})
}

func TestLimitAndFilters(t *testing.T) {
	virtual(t, func(b *bench) {
		b.fill(6)
		b.write(b.letter(0, "INTERNAL"))
		res, err := b.replay(func(r *Replay) { r.Filter.Codes = []string{"INTERNAL"} })
		require.NoError(t, err)
		require.Equal(t, 1, res.Sent)
		for sent := 1; sent < 7; sent += 2 {
			res, err = b.replay(func(r *Replay) { r.Limit = 2 })
			require.NoError(t, err)
			require.Equal(t, 2, res.Sent, "what was replayed does not count")
			b.requireEachOnce(sent + 2)
		}
	})
}

func TestRate(t *testing.T) {
	virtual(t, func(b *bench) {
		b.fill(31)
		start := time.Now()
		var at []time.Duration
		res, err := b.replay(func(r *Replay) {
			r.Rate = 10
			r.Each = func(Sent) { at = append(at, time.Since(start)) }
		})
		require.NoError(t, err)
		require.Equal(t, 31, res.Sent)
		require.GreaterOrEqual(t, time.Since(start), 3*time.Second)
		require.LessOrEqual(t, time.Since(start), 4*time.Second)
		for i, d := range at {
			require.GreaterOrEqual(t, d, time.Duration(i)*100*time.Millisecond)
			require.LessOrEqual(t, d, time.Duration(i)*100*time.Millisecond+2*time.Second, "what is due is not kept for long")
		}
		// A slow one commits each before it waits for the next.
		b.fill(2)
		at, start = nil, time.Now()
		_, err = b.replay(func(r *Replay) {
			r.Rate = 0.01
			r.Each = func(Sent) { at = append(at, time.Since(start)) }
		})
		require.NoError(t, err)
		require.Less(t, at[0], time.Second)
		require.GreaterOrEqual(t, at[1], 100*time.Second)
	})
}

func TestWithoutTheRequestsTopicNothingIsSent(t *testing.T) {
	virtual(t, func(b *bench) {
		r := without(b.letter(0, "INTERNAL"), wire.DeadTopic)
		r.Headers = append(r.Headers, header(wire.DeadTopic, "gone"))
		b.write(b.letter(0, "INTERNAL"), r)
		res, err := b.replay()
		require.ErrorIs(t, err, ErrNoTopic)
		require.ErrorContains(t, err, "dead letters came from gone")
		require.Zero(t, res.Sent)
		require.Empty(t, b.read(requests))
	})
}

// Two at the same time: the second ends the first, and nothing is sent twice.
func TestASecondReplayEndsTheFirst(t *testing.T) {
	virtual(t, func(b *bench) {
		b.fill(9)
		first := make(chan error, 1)
		begun := make(chan struct{})
		var res Result
		go func() {
			var err error
			res, err = b.replay(func(r *Replay) {
				r.Rate = 1
				r.Each = func(s Sent) {
					if s.Request.Offset == 1 {
						close(begun)
					}
				}
			})
			first <- err
		}()
		<-begun
		second, err := b.replay()
		require.NoError(t, err)
		require.ErrorIs(t, <-first, ErrFenced)
		require.Equal(t, 9, res.Sent+second.Sent)
		b.requireEachOnce(9)
	})
}

// A run is killed at each of its requests to the broker in turn, before the
// broker sees it and behind it, and another takes up from there.
func TestKilledAnywhereNothingIsLostOrSentTwice(t *testing.T) {
	for _, key := range []kmsg.Key{kmsg.InitProducerID, kmsg.AddPartitionsToTxn, kmsg.Produce, kmsg.EndTxn} {
		for _, seen := range []bool{false, true} {
			for n := range 4 {
				t.Run(key.Name()+map[bool]string{true: " behind ", false: " before "}[seen]+string(rune('1'+n)), func(t *testing.T) {
					virtual(t, func(b *bench) { killedAt(b, key, n, seen) })
				})
			}
		}
	}
}

func killedAt(b *bench, key kmsg.Key, n int, seen bool) {
	const letters = 20
	b.fill(letters)
	// What is killed neither goes on nor cleans up: its wires are cut.
	ctx, stop := context.WithCancel(b.ctx)
	defer stop()
	net := kafkatest.NewWires(b.dial)
	count := 0
	b.cluster.ControlKey(key.Int16(), func(kmsg.Request) (kmsg.Response, error, bool) {
		b.cluster.KeepControl()
		if net.Down() {
			return nil, nil, false
		}
		if count++; count-1 < n {
			return nil, nil, false
		}
		net.Cut()
		stop()
		if seen {
			return nil, nil, false // the broker does it, and nobody hears of it
		}
		return nil, kafkatest.ErrCut, true
	})
	r := Replay{Source: b.source(), Filter: Everything(), Rate: 5} // several transactions
	r.Opts = append(r.Opts, kgo.Dialer(net.Dial))
	_, err := r.Run(ctx)
	if !net.Down() {
		require.NoError(b.t, err, "it has not that many requests")
	} else if err == nil {
		require.True(b.t, seen)
	}
	res, err := b.replay()
	require.NoError(b.t, err)
	require.Equal(b.t, letters, res.Sent+res.Replayed)
	b.requireEachOnce(letters)
	res, err = b.replay()
	require.NoError(b.t, err)
	require.Equal(b.t, Result{Picked: letters, Replayed: letters}, res)
}
