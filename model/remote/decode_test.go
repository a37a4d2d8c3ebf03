package remote

import (
	"net/http"
	"strconv"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
)

func FuzzReadAnswer(f *testing.F) {
	f.Add(`{"outputs": [{"name": "Y", "datatype": "FP32", "shape": [1, 2], "data": [[1, 2]]}]}`, 0, 0)
	f.Add(`{"outputs": [{"name": "Y", "datatype": "BYTES", "shape": [1], "parameters": {"binary_data_size": 6}}]}`+"\x02\x00\x00\x00ab", 98, 1)
	f.Add(`{"model_version": 3, "outputs": [{"name": "Y", "datatype": "BOOL", "shape": [], "data": true}]}`, 0, 2)
	f.Add(`{"outputs": [{"name": "Y", "datatype": "INT64", "shape": [2], "data": [1, -9223372036854775808]}]}`, 0, 3)
	f.Fuzz(func(t *testing.T, body string, head, kind int) {
		types := []model.DType{model.Float32, model.String, model.Bool, model.Int64, model.Float16}
		specs := []model.Spec{{Name: "Y", DType: types[uint(kind)%uint(len(types))]}}
		a := &answer{header: http.Header{}, body: []byte(body)}
		if head != 0 {
			a.header.Set(headerLength, strconv.Itoa(head))
		}
		out, _, err := readAnswer(specs, a)
		if err != nil {
			require.Equal(t, model.Failed, codeOf(t, err))
			return
		}
		n, err := model.Elements(out[0].Shape, 1<<40)
		require.NoError(t, err)
		require.EqualValues(t, n, out[0].Len())
	})
}
