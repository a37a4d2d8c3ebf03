package model

import (
	"math"
	"testing"

	"github.com/stretchr/testify/require"
)

func TestFloats(t *testing.T) {
	for _, c := range []struct {
		dtype DType
		data  []byte
		want  []float64
	}{
		{Bool, []byte{1, 0}, []float64{1, 0}},
		{Int8, BytesOf([]int8{-128, 127}), []float64{-128, 127}},
		{Int16, BytesOf([]int16{-32768, 1}), []float64{-32768, 1}},
		{Int32, BytesOf([]int32{math.MinInt32, 1}), []float64{math.MinInt32, 1}},
		{Int64, BytesOf([]int64{-1 << 53, math.MaxInt64}), []float64{-1 << 53, 1 << 63}},
		{Uint8, []byte{255}, []float64{255}},
		{Uint16, BytesOf([]uint16{65535}), []float64{65535}},
		{Uint32, BytesOf([]uint32{math.MaxUint32}), []float64{math.MaxUint32}},
		{Uint64, BytesOf([]uint64{1 << 63}), []float64{1 << 63}},
		{Float16, BytesOf([]uint16{0x3c00, 0xc000, 0x7c00}), []float64{1, -2, math.Inf(1)}},
		{Float32, BytesOf([]float32{0.5, -3}), []float64{0.5, -3}},
		{Float64, BytesOf([]float64{0.1, math.Inf(-1)}), []float64{0.1, math.Inf(-1)}},
		{Float32, nil, nil},
	} {
		got, ok := (&Tensor{DType: c.dtype, Data: c.data}).Floats(nil)
		require.True(t, ok, c.dtype)
		require.Equal(t, c.want, got, c.dtype)
	}
	_, ok := (&Tensor{DType: String, Strings: []string{"1"}}).Floats(nil)
	require.False(t, ok)
}
