package model

import (
	"testing"

	"github.com/stretchr/testify/require"
)

func floats(rows, cols int, v ...float32) Tensor {
	return Tensor{Name: "x", DType: Float32, Shape: []int64{int64(rows), int64(cols)}, Data: BytesOf(v)}
}

func TestBatchJoinsAndCuts(t *testing.T) {
	a := &Request{Rows: 1, Inputs: []Tensor{floats(1, 2, 1, 2)}}
	b := &Request{Rows: 2, Inputs: []Tensor{floats(2, 2, 3, 4, 5, 6)}}
	var batch Batch
	require.True(t, batch.Join([]*Request{a, b}))
	require.Equal(t, 3, batch.Rows)
	require.Equal(t, []int64{3, 2}, batch.Inputs[0].Shape)
	require.Equal(t, []float32{1, 2, 3, 4, 5, 6}, View[float32](&batch.Inputs[0]))

	words := Tensor{DType: String, Shape: []int64{3}, Strings: []string{"p", "q", "r"}}
	labelled := floats(3, 1, 7, 8, 9)
	labelled.Labels = []string{"up"}
	cut, err := batch.Cut([]Tensor{labelled, words})
	require.NoError(t, err)
	require.Equal(t, []float32{7}, View[float32](&cut[0][0]))
	require.Equal(t, []float32{8, 9}, View[float32](&cut[1][0]))
	require.Equal(t, []int64{2, 1}, cut[1][0].Shape)
	require.Equal(t, []string{"up"}, cut[1][0].Labels)
	require.Equal(t, []string{"q", "r"}, cut[1][1].Strings)

	_, err = batch.Cut([]Tensor{floats(1, 1, 7)})
	require.ErrorContains(t, err, "batch of 3 rows")
}

func TestBatchRefusesWhatDoesNotFit(t *testing.T) {
	a := &Request{Rows: 1, Inputs: []Tensor{floats(1, 2, 1, 2)}}
	for name, b := range map[string]*Request{
		"trailing": {Rows: 1, Inputs: []Tensor{floats(1, 3, 1, 2, 3)}},
		"type":     {Rows: 1, Inputs: []Tensor{{DType: Float64, Shape: []int64{1, 2}}}},
		"rows":     {Rows: 1, Inputs: []Tensor{floats(2, 2, 1, 2, 3, 4)}},
		"scalar":   {Rows: 1, Inputs: []Tensor{{DType: Float32}}},
		"count":    {Rows: 1},
	} {
		t.Run(name, func(t *testing.T) { require.False(t, new(Batch).Join([]*Request{a, b})) })
	}
}
