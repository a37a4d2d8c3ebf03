package model

import (
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// requireText compares every byte, where JSON alone would leave them free.
func requireText(t *testing.T, want string, got []byte) {
	t.Helper()
	require.Equal(t, want, string(got))
}

func TestV2(t *testing.T) {
	c := codecs(t)["none"]
	var req Request
	for _, body := range []string{
		`{"id":"r\u00e9q","inputs":[{"name":"X","shape":[2,2],"datatype":"FP32","data":[1,2.5,-3e-1,4]}],"outputs":[{"name":"L"}]}`,
		`{"id":"r\u00e9q","inputs":[{"data":[[1,2.5],[-3e-1,4]],"datatype":"FP32","parameters":{"x":1},"name":"X","shape":[2,2]}],"outputs":[{"name":"L","parameters":{}}],"parameters":{}}`,
	} {
		require.NoError(t, c.Decode(&req, "", []byte(body)))
		require.Equal(t, []float32{1, 2.5, -.3, 4}, View[float32](&req.Inputs[0]))
		require.Equal(t, []int64{2, 2}, req.Inputs[0].Shape)
		require.Equal(t, 2, req.Rows)
		out := []Tensor{
			{DType: Float32, Shape: []int64{2, 2}, Data: BytesOf([]float32{.1, float32(math.NaN()), 1e20, 2})},
			{DType: Int64, Shape: []int64{2}, Data: BytesOf([]int64{-1, 7})},
		}
		answer, err := c.Encode([]byte("x"), &req, out, `m"`, "3")
		require.NoError(t, err)
		requireText(t, `x{"model_name":"m\"","model_version":"3","id":"r\u00e9q","outputs":[{"name":"L","shape":[2],"datatype":"INT64","data":[-1,7]}]}`, answer)
	}
	require.NoError(t, c.Decode(&req, "", []byte(`{"inputs":[{"name":"X","shape":[1,2],"datatype":"FP32","data":[1,NaN]}]}`)))
	out := []Tensor{
		{DType: Float32, Shape: []int64{1, 2}, Data: BytesOf([]float32{.1, float32(math.NaN())})},
		{DType: Int64, Shape: []int64{1}, Data: BytesOf([]int64{1})},
	}
	answer, err := c.Encode(nil, &req, out, "m", "3")
	require.NoError(t, err)
	requireText(t, `{"model_name":"m","model_version":"3","outputs":[{"name":"Y","shape":[1,2],"datatype":"FP32","data":[0.1,null]},{"name":"L","shape":[1],"datatype":"INT64","data":[1]}]}`, answer)
}

func TestV2Types(t *testing.T) {
	for d := Bool; d <= String; d++ {
		data := map[bool]string{true: `["a","b"]`, false: "[1,0]"}[d == String]
		if d == Bool {
			data = "[true,false]"
		}
		info := Info{Inputs: []Spec{spec("X", d, -1)}, Outputs: []Spec{spec("Y", d, -1)}, Batches: true}
		c, err := NewCodec(nil, info, Limits{})
		require.NoError(t, err)
		var req Request
		body := `{"inputs":[{"name":"X","shape":[2],"datatype":"` + d.V2() + `","data":` + data + `}]}`
		require.NoError(t, c.Decode(&req, "", []byte(body)), body)
		answer, err := c.Encode(nil, &req, slices.Clone(req.Inputs), "m", "1")
		require.NoError(t, err)
		require.Contains(t, string(answer), `"datatype":"`+d.V2()+`","data":`+data, d)
	}
}

func TestEncodeMLflow(t *testing.T) {
	c, err := NewCodec(nil, Info{Inputs: []Spec{spec("X", Float32, -1)}, Outputs: []Spec{spec("ä", Float64), spec("p", Float32, -1, 2)}}, Limits{})
	require.NoError(t, err)
	out := []Tensor{
		{DType: Float64, Shape: []int64{}, Data: BytesOf([]float64{1e16})},
		{DType: Float32, Shape: []int64{2, 2}, Data: BytesOf([]float32{1, .5, 1e-7, float32(math.Inf(-1))}), Labels: []string{"no", "\U0001f600"}},
	}
	answer, err := c.Encode(nil, &Request{}, out, "m", "1")
	require.NoError(t, err)
	requireText(t, `{"predictions": {"\u00e4": 1e+16, "p": [{"no": 1.0, "\ud83d\ude00": 0.5}, {"no": 1.0000000116860974e-07, "\ud83d\ude00": null}]}}`, answer)

	_, err = c.Encode(nil, &Request{records: true}, out, "m", "1")
	require.ErrorContains(t, err, "INVALID_INPUT: the outputs have different lengths")
	out[1].Data, out[1].Shape = out[1].Data[:8], []int64{1, 2}
	answer, err = c.Encode(nil, &Request{records: true}, out, "m", "1")
	require.NoError(t, err)
	requireText(t, `{"predictions": [{"\u00e4": 1e+16, "p": {"no": 1.0, "\ud83d\ude00": 0.5}}]}`, answer)

	_, err = c.Encode(nil, &Request{}, out[:1], "m", "1")
	require.ErrorContains(t, err, "MODEL_FAILED: 1 outputs, where the model has 2")
	out[1].Shape = []int64{3, 2}
	_, err = c.Encode(nil, &Request{}, out, "m", "1")
	require.ErrorContains(t, err, "MODEL_FAILED: output")
	known := (*Error)(nil)
	require.ErrorAs(t, err, &known)
}
