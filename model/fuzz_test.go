package model

import (
	"encoding/json"
	"maps"
	"math"
	"slices"
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzDecode holds the scanner against the path that has all the rules: where
// the scanner answers at all the requests are the same. And no body makes a
// request beyond the limits, or an error that cannot be written.
func FuzzDecode(f *testing.F) {
	all := codecs(f)
	kinds := slices.Sorted(maps.Keys(all))
	for _, body := range []string{
		`{"inputs": [[1.5, 2], [-0, 4e2]]}`, `{"inputs": {"X": [[1, 2.5]]}}`, `{"inputs": {"a": [1.5], "b": [2]}, "params": {"t": 1}}`,
		`{"instances": [{"a": 1.5, "b": 2}, {"b": 1, "a": 2}]}`, `{"instances": [[1, 2]]}`, `{"inputs": [{"a": 16777217, "b": 1, "c": 9007199254740993}]}`,
		`{"dataframe_records": [{"a": 1.5, "b": 2, "c": 3}, {"a": null, "b": 3, "c": "4"}]}`, `{"dataframe_records": [{"b": 1, "a": 1.5, "c": 9007199254740993}]}`,
		`{"dataframe_split": {"columns": ["a", "b", "zz"], "index": [0, 1], "data": [[1.5, 2, "x"], [3, 4, null]]}}`, `{"dataframe_split": {"data": [[1.5, 2]]}}`,
		`{"inputs": [{"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [[1, 2]]}], "id": "7", "outputs": [{"name": "Y"}]}`,
		`{"dataframe_records": [{"a": "x", "b": "aGVsbG8="}, {"a": 5, "b": "!aGVsbG8"}]}`, `{"dataframe_records": [{"a": [{"p": 1}], "b": {"k": []}}]}`,
		"a,b,c\n1,2,3\n\"4\",,NA\n", "a,a\n\r\n1,\"2\"x\n", `{"inputs": [[NaN, Infinity]]}`, `{"inputs": 1.5}`, `{"inputs": [[[[[[[[[1.5]]]]]]]]]}`,
	} {
		for kind := range kinds {
			f.Add(uint8(kind), body)
		}
	}
	f.Fuzz(func(t *testing.T, kind uint8, body string) {
		c := all[kinds[int(kind)%len(kinds)]]
		for _, contentType := range []string{"", "application/json; dialect=v2", "text/csv"} {
			var req Request
			check(t, c, &req, c.Decode(&req, contentType, []byte(body)))
			m, _ := parseMediaType(contentType)
			var fast, slow Request
			if fast.reset(len(c.info.Inputs)); m.csv || !c.decodeFast(&fast, m, []byte(body)) {
				continue
			}
			require.Nil(t, c.decodeJSON(&slow, m, []byte(body)), body)
			require.Equal(t, [2]bool{slow.records, slow.dialect == v2Dialect}, [2]bool{fast.records, fast.dialect == v2Dialect}, body)
			require.Equal(t, string(slow.id), string(fast.id))
			require.True(t, slices.Equal(slow.outputs, fast.outputs))
			require.True(t, slow.allBytes == fast.allBytes && slices.Equal(slow.asBytes, fast.asBytes) && slices.Equal(slow.asJSON, fast.asJSON), body)
			for i := range slow.Inputs {
				require.Equal(t, slow.Inputs[i], fast.Inputs[i], body)
			}
		}
	})
}

// check holds what was decoded against the limits and against itself.
func check(t *testing.T, c *Codec, req *Request, err error) {
	t.Helper()
	if err != nil {
		known := (*Error)(nil)
		require.ErrorAs(t, err, &known)
		require.Contains(t, []Code{InvalidInput, TooLarge, UnsupportedMediaType}, known.Code)
		require.True(t, json.Valid(req.EncodeError(nil, known)))
		return
	}
	require.LessOrEqual(t, req.Rows, c.limits.MaxRows)
	require.Len(t, req.Inputs, len(c.info.Inputs))
	for i := range req.Inputs {
		in := &req.Inputs[i]
		require.Equal(t, [2]any{c.info.Inputs[i].Name, c.info.Inputs[i].DType}, [2]any{in.Name, in.DType})
		n, err := Elements(in.Shape, c.limits.MaxElements)
		require.NoError(t, err)
		require.Equal(t, int(n), in.Len())
		require.True(t, c.info.Inputs[i].Fits(in.Shape))
	}
}

func FuzzParseSignature(f *testing.F) {
	f.Add(columnsAB, matrixX, paramsT)
	f.Add(`[{"type":"array","items":{"type":"object","properties":{"p q":{"type":"map","values":{"type":"any"},"required":false}}}}]`, "null", "")
	f.Add(`[{"type":"tensor","tensor-spec":{"dtype":"object","shape":[]}}]`, `[null]`, `[{"name":"p","type":"object","properties":{},"default":{ }}]`)
	f.Fuzz(func(t *testing.T, inputs, outputs, params string) {
		s, err := ParseSignature(inputs, outputs, params)
		if err != nil {
			require.Nil(t, s)
			return
		}
		again, err := ParseSignature(inputs, outputs, params)
		require.NoError(t, err)
		require.Equal(t, s.String(), again.String())
		require.NotContains(t, s.String(), "\n")
		require.NoError(t, Compatible(s, again))
		require.Len(t, slices.Concat(s.Inputs(), s.Outputs(), s.Params()), len(s.inputs)+len(s.outputs)+len(s.params))
	})
}

// FuzzHalf holds the conversion against the exact one of float16's neighbours.
func FuzzHalf(f *testing.F) {
	f.Add(0.1)
	f.Add(65519.999)
	f.Fuzz(func(t *testing.T, x float64) {
		h := halfBits(x)
		got := halfFloat(h)
		if math.IsNaN(x) {
			require.True(t, math.IsNaN(got))
			return
		}
		if math.Abs(x) >= 65520 {
			require.True(t, math.IsInf(got, int(math.Copysign(1, x))))
			return
		}
		require.Equal(t, h, halfBits(got))
		for _, near := range []uint16{h - 1, h + 1} {
			if n := halfFloat(near); !math.IsNaN(n) && !math.IsInf(n, 0) && near&0x8000 == h&0x8000 {
				require.LessOrEqual(t, math.Abs(x-got), math.Abs(x-n))
			}
		}
	})
}
