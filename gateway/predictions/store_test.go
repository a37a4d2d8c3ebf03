package predictions_test

import (
	"context"
	"crypto/sha256"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/testutil"
	"github.com/stretchr/testify/require"
	"github.com/twmb/franz-go/pkg/kgo"
	"go.uber.org/goleak"

	"github.com/millrace/millrace/gateway/predictions"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const keep = time.Hour

func store(bytes int64) (*predictions.Store, *metrics.Predictions) {
	m := metrics.NewPredictions(prometheus.NewRegistry())
	return predictions.New(keep, bytes, m), m
}

func asked(id predictions.ID) *predictions.Prediction {
	return &predictions.Prediction{ID: id, Client: "alice", Body: sha256.Sum256([]byte("x")), Created: time.Now(), Deadline: time.Now().Add(time.Minute)}
}

func accept(s *predictions.Store, p *predictions.Prediction) (won bool) {
	nonce := predictions.NewID()
	read := s.Read(nonce)
	s.Take(predictions.Accepted(p, nonce))
	return <-read
}

func answer(id predictions.ID, value string) *kgo.Record {
	return &kgo.Record{Value: []byte(value), Headers: []kgo.RecordHeader{{Key: wire.CorrelationID, Value: id[:]}, {Key: wire.Status, Value: []byte("ok")}}}
}

func TestTheLifeOfAPrediction(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := store(1 << 20)
		id := predictions.NewID()
		_, ok := s.Get(id)
		require.False(t, ok)
		s.Take(answer(id, "before it was accepted"))
		require.True(t, accept(s, asked(id)))
		p, ok := s.Get(id)
		require.True(t, ok)
		require.Equal(t, predictions.Pending, p.State)
		require.Equal(t, "alice", p.Client)

		done := make(chan predictions.Prediction, 1)
		go func() { p, _ := s.Wait(t.Context(), id); done <- p }()
		synctest.Wait()
		s.Take(answer(id, "first"))
		p = <-done
		require.Equal(t, predictions.Done, p.State)
		require.Equal(t, "first", string(p.Answer.Value))
		s.Take(answer(id, "second"))
		p, _ = s.Get(id)
		require.Equal(t, "first", string(p.Answer.Value), "an answer that comes twice changes nothing")
		require.InDelta(t, 1, testutil.ToFloat64(m.Kept), 0)
		require.InDelta(t, 512+5, testutil.ToFloat64(m.Bytes), 0)

		s.Take(predictions.Dropped(id))
		_, ok = s.Get(id)
		require.False(t, ok, "it is not wanted any more")
		require.InDelta(t, 0, testutil.ToFloat64(m.Bytes), 0)
	})
}

func TestTheFirstOfAnIDCountsUntilItIsOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := store(1 << 20)
		id := predictions.KeyID("alice", "key")
		require.True(t, accept(s, asked(id)))
		second := asked(id)
		second.Body = sha256.Sum256([]byte("y"))
		require.False(t, accept(s, second))
		p, _ := s.Get(id)
		require.Equal(t, sha256.Sum256([]byte("x")), p.Body)

		time.Sleep(time.Minute + predictions.Grace + time.Second)
		p, _ = s.Get(id)
		require.Equal(t, predictions.Expired, p.State)
		require.True(t, accept(s, asked(id)), "nothing came of the first")
		s.Take(answer(id, "a"))
		time.Sleep(30 * time.Minute)
		require.False(t, accept(s, asked(id)))
		time.Sleep(31 * time.Minute)
		require.True(t, accept(s, asked(id)), "it is forgotten after its time")
	})
}

func TestCancelledAndExpiredEndTheWait(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := store(1 << 20)
		a, b, c := predictions.NewID(), predictions.NewID(), predictions.NewID()
		for _, id := range []predictions.ID{a, b, c} {
			require.True(t, accept(s, asked(id)))
		}
		states := make(chan predictions.State, 3)
		wait := func(ctx context.Context, id predictions.ID) { p, _ := s.Wait(ctx, id); states <- p.State }
		go wait(t.Context(), a)
		synctest.Wait()
		s.Take(predictions.Dropped(a))
		require.Equal(t, predictions.Cancelled, <-states)
		s.Take(answer(a, "too late"))
		p, _ := s.Get(a)
		require.Equal(t, predictions.Cancelled, p.State)

		short, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		wait(short, b)
		require.Equal(t, predictions.Pending, <-states)
		start := time.Now()
		wait(t.Context(), c)
		require.Equal(t, predictions.Expired, <-states)
		require.InDelta(t, 64, time.Since(start).Seconds(), 1.1)
	})
}

func TestWhatIsWithdrawnFreesItsID(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, _ := store(1 << 20)
		id := predictions.KeyID("alice", "key")
		require.True(t, accept(s, asked(id)))
		s.Take(predictions.Withdrawn(id))
		require.True(t, accept(s, asked(id)))
		s.Take(answer(id, "a"))
		s.Take(predictions.Withdrawn(id))
		_, ok := s.Get(id)
		require.True(t, ok, "what was answered was published")
	})
}

func TestTheOldestMakeRoom(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, m := store(3 * 512)
		var ids []predictions.ID
		for range 5 {
			ids = append(ids, predictions.NewID())
			require.True(t, accept(s, asked(ids[len(ids)-1])))
		}
		_, ok := s.Get(ids[1])
		require.False(t, ok)
		_, ok = s.Get(ids[2])
		require.True(t, ok)
		require.InDelta(t, 2, testutil.ToFloat64(m.Evicted), 0)
		time.Sleep(keep + time.Second)
		_, ok = s.Get(ids[4])
		require.False(t, ok)
		require.NoError(t, testutil.CollectAndCompare(m.Evicted, strings.NewReader(`# HELP millrace_gateway_predictions_evicted_total Asynchronous predictions forgotten before their time, for want of room.
# TYPE millrace_gateway_predictions_evicted_total counter
millrace_gateway_predictions_evicted_total 2
`)), "the time of the others was over")
	})
}

func TestAFenceIsReadAndStrangersAreNot(t *testing.T) {
	s, _ := store(1 << 20)
	nonce := predictions.NewID()
	read := s.Read(nonce)
	s.Take(predictions.Fence(predictions.NewID(), nonce))
	require.True(t, <-read)
	gone := predictions.NewID()
	s.Read(gone)
	s.Forget(gone)
	s.Take(predictions.Fence(predictions.NewID(), gone))
	for _, r := range []*kgo.Record{
		{},
		{Key: []byte("short"), Headers: predictions.Dropped(nonce).Headers},
		{Key: nonce[:], Headers: []kgo.RecordHeader{{Key: "millrace-prediction", Value: []byte("accepted")}}},
		{Key: nonce[:], Headers: []kgo.RecordHeader{{Key: "millrace-prediction", Value: []byte("unknown")}}},
		{Headers: []kgo.RecordHeader{{Key: wire.CorrelationID, Value: []byte("short")}}},
	} {
		s.Take(r)
	}
	_, ok := s.Get(nonce)
	require.False(t, ok)
}

func TestIDs(t *testing.T) {
	id := predictions.NewID()
	back, err := predictions.ParseID(id.String())
	require.NoError(t, err)
	require.Equal(t, id, back)
	for _, text := range []string{"", "xyz", id.String() + "00", id.String()[1:]} {
		_, err := predictions.ParseID(text)
		require.Error(t, err)
	}
	require.NotEqual(t, predictions.KeyID("a", "bc"), predictions.KeyID("ab", "c"), "names do not run together")
	require.Equal(t, "b4", predictions.KeyID("a", "bc").String()[:2], "gateways of all releases have to agree")
}
