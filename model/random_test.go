package model

import (
	"math/rand/v2"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestDrawnBodiesAreTakenByTheirSignature(t *testing.T) {
	for name, tt := range map[string]struct {
		inputs string
		info   Info
		says   string
	}{
		"columns": {
			`[{"name": "a", "type": "double"}, {"name": "b", "type": "long"}, {"name": "c", "type": "boolean"}, {"name": "d", "type": "string"}]`,
			Info{Inputs: []Spec{{"a", Float64, []int64{-1}}, {"b", Int64, []int64{-1}}, {"c", Bool, []int64{-1}}, {"d", String, []int64{-1}}}},
			`"columns": ["a", "b", "c", "d"]`,
		},
		"unnamed tensor": {
			`[{"type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2, 2]}}]`,
			Info{Inputs: []Spec{{"x", Float32, []int64{-1, 2, 2}}}},
			`{"inputs": [[[`,
		},
		"named tensors": {
			`[{"name": "x", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1]}}, {"name": "y", "type": "tensor", "tensor-spec": {"dtype": "int64", "shape": [-1, 3]}}]`,
			Info{Inputs: []Spec{{"x", Float32, []int64{-1}}, {"y", Int64, []int64{-1, 3}}}},
			`{"inputs": {"x": [`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := ParseSignature(tt.inputs, "", "")
			require.NoError(t, err)
			tt.info.Batches = true
			c, err := NewCodec(s, tt.info, Limits{})
			require.NoError(t, err)
			rng, again := rand.New(rand.NewPCG(1, 0)), rand.New(rand.NewPCG(1, 0))
			seen := map[string]bool{}
			for range 20 {
				body, err := s.Random(rng, 3)
				require.NoError(t, err)
				require.Contains(t, string(body), tt.says)
				same, err := s.Random(again, 3)
				require.NoError(t, err)
				require.Equal(t, string(body), string(same))
				seen[string(body)] = true
				var req Request
				require.NoError(t, c.Decode(&req, "application/json", body), string(body))
				require.Equal(t, 3, req.Rows)
			}
			require.Greater(t, len(seen), 10)
		})
	}
}

func TestDrawnNestedColumnsAreJSON(t *testing.T) {
	s, err := ParseSignature(`[{"name": "l", "type": "array", "items": {"type": "double"}}, {"name": "t", "type": "datetime"},
		{"name": "o", "type": "object", "properties": {"p": {"type": "string"}, "q": {"type": "map", "values": {"type": "long"}}}},
		{"name": "b", "type": "binary"}, {"name": "y", "type": "any"}]`, "", "")
	require.NoError(t, err)
	rng := rand.New(rand.NewPCG(1, 0))
	for range 20 {
		body, err := s.Random(rng, 2)
		require.NoError(t, err)
		_, perr := parseJSON(body, 1<<20)
		require.Nil(t, perr, string(body))
		require.Contains(t, string(body), `"2026-`)
		require.Equal(t, 2, strings.Count(string(body), `"q": {"a": `))
	}
	_, err = (&Signature{}).Random(rng, 1)
	require.ErrorContains(t, err, "no inputs")
	_, err = (*Signature)(nil).Random(rng, 1)
	require.ErrorContains(t, err, "no inputs")
}
