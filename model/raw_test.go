package model

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func rawCodec(tb testing.TB, inputs string) *Codec {
	tb.Helper()
	c := codecOf(tb, inputs, "", Info{Raw: true})
	require.Equal(tb, RawInfo(), c.info)
	return c
}

func TestRawDecode(t *testing.T) {
	c := rawCodec(t, "")
	const v2 = `{"id": "7", "inputs": [{"name": "X", "shape": [1], "datatype": "FP32", "data": [1.5]}]}`
	for _, tc := range []struct{ contentType, body, kind, want string }{
		{"", `{"anything": [1, NaN, -Infinity, "\u00e9", true, null, {}], "x": []}`, RawJSON, ""},
		{"application/json;charset=UTF-8", "\ufeff {\"a\": 1}\n", RawJSON, ""},
		{"", `{"dataframe_records": [{"datatype": "x"}]}`, RawJSON, ""},
		{"", `[1]`, RawJSON, ""}, // the model's to refuse
		{"text/csv; charset=utf-8", "a,b\n1,2\n", RawCSV, ""},
		{"", v2, RawV2, ""},
		{"application/json; dialect=v2", `{"inputs": []}`, RawV2, ""},
		{"application/json; dialect=mlflow", v2, RawJSON, ""},
		{"application/x-tar", "x", "", "UNSUPPORTED_MEDIA_TYPE: content type"},
		{"", `{"a": 1`, "", "invalid JSON: it ends where a comma or '}' should be"},
		{"", `{"a": 1}}`, "", "invalid JSON: '}' at byte 8, where one value should be"},
		{"", `{"a" 1}`, "", "invalid JSON: '1' at byte 5, where a colon should be"},
		{"", `{"a": "\q"}`, "", "invalid JSON: the string at byte 6"},
		{"", ``, "", "invalid JSON: it ends where a value should be"},
		{"", `"datatype`, "", "invalid JSON"},
		{"application/json; dialect=v2", `[1]`, "", "the body is a list, where an object should be"},
		{"application/json; dialect=v2", `{"id": 7}`, "", "INVALID_INPUT: id: 7, where a string should be"},
		{"", "{\"a\": \"\xff\"}", "", "the body is not UTF-8"},
		{"text/csv", "a\n\xff\n", "", "the body is not UTF-8"},
		{"", strings.Repeat("[", maxDepth+1), "", "nested deeper than 128 levels"},
		{"", "[" + strings.Repeat("1,", 1<<13) + "1]", "", "TOO_LARGE: the body holds too many values"},
	} {
		var req Request
		err := c.Decode(&req, tc.contentType, []byte(tc.body))
		if tc.want != "" {
			require.ErrorContains(t, err, tc.want, tc.body)
			continue
		}
		require.NoError(t, err, tc.body)
		require.Equal(t, 1, req.Rows)
		require.Equal(t, []string{tc.kind}, req.Inputs[0].Strings)
		require.Equal(t, strings.TrimPrefix(tc.body, bom), req.Inputs[1].Strings[0])
	}
}

// TestRawBatch joins requests and cuts their answers, each its own.
func TestRawBatch(t *testing.T) {
	c := rawCodec(t, "")
	bodies := []string{`{"inputs": [1]}`, `{"id": "ä", "inputs": [{"name": "X", "shape": [1], "datatype": "INT64", "data": [1]}]}`, `{"inputs": []}`, `{}`}
	reqs := make([]*Request, len(bodies))
	for i, body := range bodies {
		reqs[i] = new(Request)
		require.NoError(t, c.Decode(reqs[i], "", []byte(body)))
	}
	var b Batch
	require.True(t, b.Join(reqs))
	require.Equal(t, len(bodies), b.Rows)
	require.Equal(t, bodies, b.Inputs[1].Strings)
	column := func(s ...string) Tensor { return Tensor{DType: String, Shape: []int64{4}, Strings: s} }
	cut, err := b.Cut([]Tensor{
		column("ok", "ok", "INVALID_INPUT", "odd"),
		column(`{"predictions": [2]}`, `[{"name":"Y"}]`, "nothing in it", "x"), column("", "", "inputs", ""),
	})
	require.NoError(t, err)
	for i, want := range []string{
		`{"predictions": [2]}`, `{"model_name":"m","model_version":"3","id":"\u00e4","outputs":[{"name":"Y"}]}`,
		"INVALID_INPUT: inputs: nothing in it", `MODEL_FAILED: the model answered with the unknown status "odd"`,
	} {
		body, err := c.Encode([]byte("<"), reqs[i], cut[i], "m", "3")
		if err != nil {
			require.EqualError(t, err, want)
			require.Equal(t, "<", string(body))
			continue
		}
		require.Equal(t, "<"+want, string(body))
	}
	_, err = c.Encode(nil, reqs[0], []Tensor{column("ok"), column("x"), {DType: Int64, Shape: []int64{1}, Data: BytesOf([]int64{1})}}, "m", "3")
	require.ErrorContains(t, err, "MODEL_FAILED")
}

func TestRawExample(t *testing.T) {
	require.Nil(t, rawCodec(t, "").Example())
	for inputs, want := range map[string]string{
		columnsAB: `{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[0.5, 1, 0.5]]}}`,
		matrixX:   `{"inputs": {"X": [[0.5, 0.5]]}}`,
		`[{"type":"tensor","tensor-spec":{"dtype":"int64","shape":[-1,2]}}]`: `{"inputs": [[1, 1]]}`,
	} {
		require.Equal(t, want, string(rawCodec(t, inputs).Example()))
	}
}

// FuzzRaw holds what is only passed over against what is parsed.
func FuzzRaw(f *testing.F) {
	for _, body := range []string{`{"a": [1.5, "x\n", {"b": null}], "c": -0e1}`, `[NaN,-Infinity`, `{"a"`, `"\ud800"`, ` {} `, `01`} {
		f.Add(body)
	}
	c := codecOf(f, "", "", Info{Raw: true})
	f.Fuzz(func(t *testing.T, body string) {
		var req Request
		err := c.Decode(&req, "application/json; dialect=mlflow", []byte(body))
		_, want := parseJSON([]byte(body), c.budget())
		if want == nil {
			require.NoError(t, err)
			return
		}
		want.clip()
		known := (*Error)(nil)
		require.ErrorAs(t, err, &known)
		require.True(t, json.Valid(req.EncodeError(nil, known)))
		require.Equal(t, want.Code, known.Code)
		if !strings.HasPrefix(body, bom) { // whose bytes count there
			require.Equal(t, want.Error(), err.Error())
		}
	})
}
