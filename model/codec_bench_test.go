package model

import (
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"
)

// bodies are requests of one row that differ, since a branch predictor learns
// one that comes again and again.
func bodies(width, digits int, dialect string) [][]byte {
	r := rand.New(rand.NewPCG(1, uint64(width*100+digits)))
	out := make([][]byte, 256)
	for i := range out {
		var row []byte
		for j := range width {
			if j > 0 {
				row = append(row, ',')
			}
			f := r.Float64()*2 - 1
			if digits < 17 {
				row = strconv.AppendFloat(row, f, 'f', digits, 64)
			} else {
				row = strconv.AppendFloat(row, f, 'g', -1, 64)
			}
		}
		switch dialect {
		case "v2":
			out[i] = fmt.Appendf(nil, `{"inputs":[{"name":"X","shape":[1,%d],"datatype":"FP32","data":[%s]}]}`, width, row)
		case "split":
			out[i] = fmt.Appendf(nil, `{"dataframe_split":{"columns":%s,"data":[[%s]]}}`, columnNames(width), row)
		case "records":
			out[i] = recordsBody(width, row)
		default:
			out[i] = fmt.Appendf(nil, `{"inputs":[[%s]]}`, row)
		}
	}
	return out
}

func columnNames(n int) []byte {
	names := make([]string, n)
	for i := range names {
		names[i] = "c" + strconv.Itoa(i)
	}
	text, _ := json.Marshal(names)
	return text
}

func recordsBody(width int, row []byte) []byte {
	var cells []json.Number
	_ = json.Unmarshal(append(append([]byte{'['}, row...), ']'), &cells)
	out := []byte(`{"dataframe_records":[{`)
	for i := range width {
		if i > 0 {
			out = append(out, ',')
		}
		out = fmt.Appendf(out, `"c%d":%s`, i, cells[i])
	}
	return append(out, "}]}"...)
}

func benchCodec(tb testing.TB, width int, named bool) *Codec {
	tb.Helper()
	info := Info{
		Inputs:  []Spec{{Name: "X", DType: Float32, Shape: []int64{-1, int64(width)}}},
		Outputs: []Spec{{Name: "Y", DType: Float32, Shape: []int64{-1, 1}}}, Batches: true,
	}
	text := fmt.Sprintf(`[{"name":"X","type":"tensor","tensor-spec":{"dtype":"float32","shape":[-1,%d]}}]`, width)
	if named {
		var cols []map[string]string
		for i := range width {
			cols = append(cols, map[string]string{"name": "c" + strconv.Itoa(i), "type": "double"})
		}
		b, err := json.Marshal(cols)
		require.NoError(tb, err)
		text = string(b)
	}
	sig, err := ParseSignature(text, "", "")
	require.NoError(tb, err)
	c, err := NewCodec(sig, info, Limits{MaxRows: 1000, MaxElements: 1 << 20})
	require.NoError(tb, err)
	return c
}

func BenchmarkDecode(b *testing.B) {
	for _, dialect := range []string{"v2", "mlflow", "split", "records"} {
		for _, width := range []int{8, 32, 256} {
			for _, digits := range []int{6, 17} {
				b.Run(fmt.Sprintf("%s/%dx%d", dialect, width, digits), func(b *testing.B) {
					c := benchCodec(b, width, dialect == "split" || dialect == "records")
					in := bodies(width, digits, dialect)
					var req Request
					b.ReportAllocs()
					for i := 0; b.Loop(); i++ {
						if err := c.Decode(&req, "application/json", in[i&255]); err != nil {
							b.Fatal(err)
						}
					}
				})
			}
		}
	}
}

// BenchmarkEncodingJSON is what the scanner is beside.
func BenchmarkEncodingJSON(b *testing.B) {
	for _, width := range []int{8, 32, 256} {
		for _, digits := range []int{6, 17} {
			b.Run(fmt.Sprintf("v2/%dx%d", width, digits), func(b *testing.B) {
				in := bodies(width, digits, "v2")
				var req struct {
					Inputs []struct {
						Name, Datatype string
						Shape          []int64
						Data           []float32
					}
				}
				b.ReportAllocs()
				for i := 0; b.Loop(); i++ {
					if err := json.Unmarshal(in[i&255], &req); err != nil {
						b.Fatal(err)
					}
				}
			})
		}
	}
}

// BenchmarkScanner is of numbers alone.
func BenchmarkScanner(b *testing.B) {
	for _, digits := range []int{3, 6, 9, 17} {
		b.Run(fmt.Sprintf("digits %d", digits), func(b *testing.B) {
			in := bodies(256, digits, "mlflow")
			for i := 0; b.Loop(); i++ {
				s := scanner{buf: in[i&255], pos: len(`{"inputs":[[`)}
				for n := range 256 {
					if _, _, ok := s.float(); !ok {
						b.Fatal("no number", n)
					}
					s.pos++
				}
			}
			b.ReportMetric(float64(b.Elapsed().Nanoseconds())/float64(b.N)/256, "ns/number")
		})
	}
}

func BenchmarkEncode(b *testing.B) {
	const width = 32
	r := rand.New(rand.NewPCG(5, 6))
	values := make([]float32, 256*width)
	for i := range values {
		values[i] = float32(r.NormFloat64())
	}
	c, err := NewCodec(nil, Info{
		Inputs:  []Spec{{Name: "X", DType: Float32, Shape: []int64{-1, width}}},
		Outputs: []Spec{{Name: "Y", DType: Float32, Shape: []int64{-1, width}}},
	}, Limits{})
	require.NoError(b, err)
	for name, req := range map[string]*Request{"mlflow": {}, "records": {records: true}, "v2": {dialect: v2Dialect}} {
		b.Run(fmt.Sprintf("%s/%d", name, width), func(b *testing.B) {
			var dst []byte
			out := []Tensor{{Name: "Y", DType: Float32, Shape: []int64{1, width}}}
			b.ReportAllocs()
			for i := 0; b.Loop(); i++ {
				row := i & 255 * width
				out[0].Data = BytesOf(values[row : row+width])
				if dst, err = c.Encode(dst[:0], req, out, "m", "1"); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
