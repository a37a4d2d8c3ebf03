package model

import (
	"testing"

	"github.com/stretchr/testify/require"
)

// FuzzBatch holds that joining and cutting give every request its own rows
// back. Each byte is the number of rows of one request.
func FuzzBatch(f *testing.F) {
	f.Add([]byte{1}, byte(3))
	f.Add([]byte{1, 2, 3}, byte(2))
	f.Add([]byte{0, 5, 0}, byte(1))
	f.Add([]byte{4, 4}, byte(0))
	f.Fuzz(func(t *testing.T, rows []byte, cols byte) {
		reqs := make([]*Request, len(rows))
		next := uint16(0)
		for i, n := range rows {
			size := int(n) * int(cols)
			numbers, words := make([]uint16, size), make([]string, n)
			for j := range numbers {
				numbers[j] = next
				next++
			}
			for j := range words {
				words[j] = string(rune('a' + next%26))
				next++
			}
			reqs[i] = &Request{Rows: int(n), Inputs: []Tensor{
				{Name: "x", DType: Uint16, Shape: []int64{int64(n), int64(cols)}, Data: BytesOf(numbers)},
				{Name: "s", DType: String, Shape: []int64{int64(n)}, Strings: words},
			}}
		}
		var b Batch
		if !b.Join(reqs) {
			require.Empty(t, reqs, "requests of one shape fit together")
			return
		}
		cut, err := b.Cut(b.Inputs) // a model that gives back what it gets
		require.NoError(t, err)
		require.Len(t, cut, len(reqs))
		for i, r := range reqs {
			for k := range r.Inputs {
				require.Equal(t, r.Inputs[k].Shape, cut[i][k].Shape)
				require.Equal(t, string(r.Inputs[k].Data), string(cut[i][k].Data))
				require.Len(t, cut[i][k].Strings, len(r.Inputs[k].Strings))
				for j := range r.Inputs[k].Strings {
					require.Equal(t, r.Inputs[k].Strings[j], cut[i][k].Strings[j])
				}
			}
		}
	})
}

// BenchmarkBatch joins 64 requests of one row and cuts the answer.
func BenchmarkBatch(b *testing.B) {
	reqs := make([]*Request, 64)
	for i := range reqs {
		row := make([]float32, 32)
		row[0] = float32(i)
		reqs[i] = &Request{Rows: 1, Inputs: []Tensor{floats(1, 32, row...)}}
	}
	outputs := []Tensor{floats(64, 1, make([]float32, 64)...)}
	var batch Batch
	b.ReportAllocs()
	for b.Loop() {
		if !batch.Join(reqs) {
			b.Fatal("the requests do not fit together")
		}
		if _, err := batch.Cut(outputs); err != nil {
			b.Fatal(err)
		}
	}
	b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/64, "ns/row")
}
