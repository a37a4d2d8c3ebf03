package remote

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"slices"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/modeltest"
	"github.com/millrace/millrace/model/remote/remotetest"
)

func TestConformance(t *testing.T) {
	for _, binary := range []bool{false, true} {
		t.Run(fmt.Sprintf("binary %t", binary), func(t *testing.T) {
			s := remotetest.New(t, remotetest.Options{Binary: binary, Versions: []string{"1", "3", "2"}})
			modeltest.Conformance(t, modeltest.Case{
				Rows: rows,
				Open: func(t *testing.T) model.Model {
					t.Helper()
					c := newClient(t, testConfig(), s.Ref())
					r, err := c.Resolve(t.Context())
					require.NoError(t, err)
					m, err := c.Open(t.Context(), r)
					require.NoError(t, err)
					return m
				},
				Slow: func(t *testing.T) (model.Model, []model.Tensor) {
					t.Helper()
					stuck := remotetest.New(t, remotetest.Options{Binary: binary})
					c := newClient(t, testConfig(), stuck.Ref())
					r, err := c.Resolve(t.Context())
					require.NoError(t, err)
					m, err := c.Open(t.Context(), r)
					require.NoError(t, err)
					stuck.Break(func(_ http.ResponseWriter, r *http.Request) bool {
						_, _ = io.Copy(io.Discard, r.Body) // until then nobody hears of the client's going away
						<-r.Context().Done()
						return true
					})
					return m, rows(1)
				},
			})
		})
	}
}

// The newest version is asked for by its number, and another one that answers
// is not taken for it.
func TestVersions(t *testing.T) {
	s := remotetest.New(t, remotetest.Options{Binary: true, Versions: []string{"1", "10", "9"}})
	c := newClient(t, testConfig(), s.Ref())
	r, err := c.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, "affine", r.Name)
	require.Equal(t, "10", r.Version)
	require.Equal(t, s.URL+"/v2/models/affine/versions/10", r.Source)
	m := open(t, c)
	out, err := m.Predict(t.Context(), rows(1))
	require.NoError(t, err)
	require.InDelta(t, 10, model.View[float32](&out[0])[1], 0)

	same, err := c.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, r.Identity, same.Identity)
	s.Serve("9", "11")
	next, err := c.Resolve(t.Context())
	require.NoError(t, err)
	require.Equal(t, "11", next.Version)
	require.NotEqual(t, r.Identity, next.Identity)

	_, err = m.Predict(t.Context(), rows(1)) // version 10 is not there any more
	require.Equal(t, model.Unavailable, codeOf(t, err))
	<-c.Moved() // or the test hangs

	s.Break(func(w http.ResponseWriter, r *http.Request) bool {
		if strings.HasSuffix(r.URL.Path, "/infer") {
			_, _ = io.WriteString(w, `{"model_version": "12", "outputs": [{"name": "Y", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}`)
			return true
		}
		return false
	})
	_, err = open(t, c).Predict(t.Context(), rows(1))
	require.Equal(t, model.Unavailable, codeOf(t, err))
	<-c.Moved()
}

func TestVersionOfReference(t *testing.T) {
	s := remotetest.New(t, remotetest.Options{Versions: []string{"1", "2"}})
	c := newClient(t, testConfig(), s.Ref()+"/1")
	m := open(t, c)
	out, err := m.Predict(t.Context(), rows(1))
	require.NoError(t, err)
	require.InDelta(t, 1, model.View[float32](&out[0])[1], 0)
	s.Serve("2")
	_, err = m.Predict(t.Context(), rows(1))
	require.Equal(t, model.NotFound, codeOf(t, err))
	_, err = c.Resolve(t.Context())
	require.ErrorContains(t, err, "Request for unknown model")
}

// Without versions, what the model takes and gives is one.
func TestWithoutVersions(t *testing.T) {
	s := remotetest.New(t, remotetest.Options{})
	c := newClient(t, testConfig(), s.Ref())
	r, err := c.Resolve(t.Context())
	require.NoError(t, err)
	require.Len(t, r.Version, 12)
	require.Equal(t, s.URL+"/v2/models/affine", r.Source)
	_, err = open(t, c).Predict(t.Context(), rows(2))
	require.NoError(t, err)
}

func TestNewest(t *testing.T) {
	for want, versions := range map[string][]name{
		"": nil, "v1": {"v1"}, "12": {"3", "12", "9"}, "error": {"1", "v2"},
	} {
		got, err := newest(versions)
		if want == "error" {
			require.ErrorContains(t, err, "name one of")
			continue
		}
		require.NoError(t, err)
		require.Equal(t, want, got)
	}
}

func TestMetadataIsRefused(t *testing.T) {
	const x = `{"name": "X", "datatype": "FP32", "shape": [-1]}`
	for want, body := range map[string]string{
		"BF16":                 `{"inputs": [{"name": "X", "datatype": "BF16", "shape": [-1, 4]}], "outputs": [` + x + `]}`,
		"names none":           `{"inputs": [], "outputs": [` + x + `]}`,
		"outputs: the model's": `{"inputs": [` + x + `]}`,
		"comes twice":          `{"inputs": [` + x + `,` + x + `], "outputs": [` + x + `]}`,
		"is empty":             `{"inputs": [{"datatype": "FP32"}], "outputs": [` + x + `]}`,
		"the shape":            `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [-2]}], "outputs": [` + x + `]}`,
		"not the metadata":     `<html>welcome</html>`,
		"name one of":          `{"versions": ["blue", "green"], "inputs": [` + x + `], "outputs": [` + x + `]}`,
	} {
		url := serve(t, func(w http.ResponseWriter, r *http.Request) {
			if strings.HasSuffix(r.URL.Path, "ready") {
				return
			}
			_, _ = io.WriteString(w, body)
		})
		c := newClient(t, testConfig(), "v2+"+url+"/m")
		r, err := c.Resolve(t.Context())
		if err == nil {
			_, err = c.Open(t.Context(), r)
		}
		require.ErrorContains(t, err, want)
	}
}

func TestNotReady(t *testing.T) {
	for _, answer := range []func(w http.ResponseWriter){
		func(w http.ResponseWriter) { _, _ = io.WriteString(w, `{"name": "affine", "ready": false}`) },
		func(w http.ResponseWriter) { w.WriteHeader(http.StatusBadRequest) },
	} {
		s := remotetest.New(t, remotetest.Options{})
		c := newClient(t, testConfig(), s.Ref())
		r, err := c.Resolve(t.Context())
		require.NoError(t, err)
		s.Break(func(w http.ResponseWriter, r *http.Request) bool {
			if strings.HasSuffix(r.URL.Path, "/ready") {
				answer(w)
				return true
			}
			return false
		})
		_, err = c.Open(t.Context(), r)
		require.ErrorIs(t, err, ErrNotReady)
	}
}

// LimitRows cuts larger calls, whose answers are put together in order.
func TestLimitRows(t *testing.T) {
	s := remotetest.New(t, remotetest.Options{Binary: true, MaxBatch: 8})
	m := open(t, newClient(t, testConfig(), s.Ref()))
	_, err := m.Predict(t.Context(), rows(9))
	require.Equal(t, model.InvalidInput, codeOf(t, err))
	require.ErrorContains(t, err, "batch-size must be <= 8")

	v2, ok := m.(*v2Model)
	require.True(t, ok)
	v2.LimitRows(8)
	for _, n := range []int{8, 9, 16, 77} {
		s.Inferences.Store(0)
		out, err := m.Predict(t.Context(), rows(n))
		require.NoError(t, err)
		require.Equal(t, []int64{int64(n), 2}, out[0].Shape)
		require.EqualValues(t, (n+7)/8, s.Inferences.Load())
		want := model.View[float32](&rows(n)[0])
		for i := range n {
			sum := want[4*i] + want[4*i+1] + want[4*i+2] + want[4*i+3]
			require.InDelta(t, sum, model.View[float32](&out[0])[2*i], 0)
		}
	}
	s.Break(func(w http.ResponseWriter, _ *http.Request) bool {
		_, _ = io.WriteString(w, `{"outputs": [{"name": "Y", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}`)
		return true
	})
	_, err = m.Predict(t.Context(), rows(16)) // one row for eight
	require.Equal(t, model.Failed, codeOf(t, err))
}

func TestParallel(t *testing.T) {
	done := make([]bool, 100)
	require.NoError(t, parallel(t.Context(), len(done), 7, func(_ context.Context, i int) error {
		done[i] = true
		return nil
	}))
	require.False(t, slices.Contains(done, false))
	bad := errors.New("third")
	require.ErrorIs(t, parallel(t.Context(), len(done), 7, func(ctx context.Context, i int) error {
		if i == 3 {
			return bad
		}
		<-ctx.Done()
		return ctx.Err()
	}), bad)
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(bad)
	require.ErrorIs(t, parallel(ctx, 3, 2, func(context.Context, int) error { return nil }), bad)
}

// What the metadata declares becomes the signature that requests are cast by.
func TestSignature(t *testing.T) {
	s := remotetest.New(t, remotetest.Options{Binary: true, Versions: []string{"2"}})
	m := open(t, newClient(t, testConfig(), s.Ref()))
	sig, err := Signature(m.Info())
	require.NoError(t, err)
	require.Equal(t, "(X: float32[-1, 4]) -> (Y: float32[-1, 2])", sig.String())
	codec, err := model.NewCodec(sig, m.Info(), model.Limits{})
	require.NoError(t, err)
	var req model.Request
	require.NoError(t, codec.Decode(&req, "", []byte(`{"inputs": [[1, 2, 3, 4]]}`)))
	out, err := m.Predict(t.Context(), req.Inputs)
	require.NoError(t, err)
	body, err := codec.Encode(nil, &req, out, "affine", "2")
	require.NoError(t, err)
	require.JSONEq(t, `{"predictions": {"Y": [[10, 2]]}}`, string(body))

	none, err := Signature(model.Info{Inputs: []model.Spec{{Name: "X", DType: model.Float32}}})
	require.NoError(t, err)
	require.Nil(t, none)
}
