package load

import (
	"context"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/remote"
	"github.com/millrace/millrace/model/remote/remotetest"
)

// A server's own bound of rows is found while it is warmed up.
func TestReadyFindsTheBoundOfRows(t *testing.T) {
	for _, c := range []struct {
		bound, largest int
		batches        bool
	}{{0, 64, true}, {24, 16, true}, {3, 2, true}, {2, 2, false}, {1, 1, false}} {
		s := remotetest.New(t, remotetest.Options{Binary: true, MaxBatch: c.bound, Versions: []string{"7"}})
		snap := ready(t, s)
		require.Equal(t, c.batches, snap.Model.Info().Batches, c.bound)
		require.Equal(t, "v2", snap.Flavor)
		if !c.batches {
			require.NoError(t, snap.Release())
			continue
		}
		s.Largest.Store(0)
		const rows = 100
		out, err := snap.Model.Predict(t.Context(), []model.Tensor{{Name: "X", DType: model.Float32, Shape: []int64{rows, 4}, Data: model.BytesOf(make([]float32, 4*rows))}})
		require.NoError(t, err)
		require.Equal(t, []int64{rows, 2}, out[0].Shape)
		require.EqualValues(t, c.largest, s.Largest.Load(), c.bound)
		require.NoError(t, snap.Release())
	}
}

func ready(t *testing.T, s *remotetest.Server) *model.Snapshot {
	t.Helper()
	m := openRemote(t, s)
	sig, err := remote.Signature(m.Info())
	require.NoError(t, err)
	snap, err := Ready(t.Context(), m, sig, "v2", Options{Name: "affine", Version: "7", MaxBatch: 64})
	require.NoError(t, err)
	return snap
}

func openRemote(t *testing.T, s *remotetest.Server) model.Model {
	t.Helper()
	ref, err := remote.ParseRef(s.Ref())
	require.NoError(t, err)
	c, err := remote.New(remote.Config{Timeout: 1e10, Attempts: 1, Concurrency: 2, MaxResponse: 1 << 20, BreakerFailures: 9, BreakerOpen: 1}, ref, remote.Observer{})
	require.NoError(t, err)
	r, err := c.Resolve(t.Context())
	require.NoError(t, err)
	m, err := c.Open(t.Context(), r)
	require.NoError(t, err)
	return m
}

// A model out of reach is not one that takes no made-up values.
func TestReadyOfWhatIsAway(t *testing.T) {
	s := remotetest.New(t, remotetest.Options{Binary: true})
	m := openRemote(t, s)
	s.Close()
	_, err := Ready(t.Context(), m, nil, "v2", Options{MaxBatch: 4})
	require.ErrorContains(t, err, "cannot be reached")
	require.NoError(t, m.Close())
}

// odd answers a call of an odd number of rows with a row more.
type odd struct{ model.Model }

func (o odd) Predict(ctx context.Context, in []model.Tensor) ([]model.Tensor, error) {
	out, err := o.Model.Predict(ctx, in)
	if err == nil && in[0].Shape[0]%2 == 1 {
		out[0].Shape[0]++
	}
	return out, err
}

func TestCounted(t *testing.T) {
	m := &counted{odd{openRemote(t, remotetest.New(t, remotetest.Options{Binary: true}))}}
	row := []model.Tensor{{Name: "X", DType: model.Float32, Shape: []int64{1, 4}, Data: model.BytesOf(make([]float32, 4))}}
	_, err := m.Predict(t.Context(), row)
	require.ErrorContains(t, err, "shape [2 2] for 1 rows")
	row[0].Shape, row[0].Data = []int64{2, 4}, model.BytesOf(make([]float32, 8))
	_, err = m.Predict(t.Context(), row)
	require.NoError(t, err)
	require.NoError(t, m.Close())
}
