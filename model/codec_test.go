package model

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

func spec(name string, d DType, shape ...int64) Spec { return Spec{Name: name, DType: d, Shape: shape} }

func codecOf(tb testing.TB, inputs, params string, info Info) *Codec {
	tb.Helper()
	var sig *Signature
	if inputs+params != "" {
		var err error
		sig, err = ParseSignature(inputs, "", params)
		require.NoError(tb, err)
	}
	c, err := NewCodec(sig, info, Limits{MaxRows: 8, MaxElements: 64})
	require.NoError(tb, err)
	return c
}

const (
	columnsAB = `[{"name":"a","type":"double"},{"name":"b","type":"long"},{"name":"c","type":"float","required":false}]`
	matrixX   = `[{"name":"X","type":"tensor","tensor-spec":{"dtype":"float32","shape":[-1,2]}}]`
	paramsT   = `[{"name":"t","type":"double","default":1.0,"shape":null},{"name":"n","type":"long","default":[1],"shape":[-1]},{"name":"when","type":"datetime","default":"2026-01-01","shape":null}]`
)

// codecs are of the kinds that decode differently.
func codecs(tb testing.TB) map[string]*Codec {
	tb.Helper()
	one := func(d DType, shape ...int64) Info {
		return Info{Inputs: []Spec{spec("X", d, shape...)}, Outputs: []Spec{spec("Y", Float32, -1, 2), spec("L", Int64, -1)}, Batches: true}
	}
	table := func(d DType, m Matrix) Info {
		return Info{Inputs: []Spec{spec("input-1", d, -1, 2)}, Outputs: []Spec{spec("output-1", d, -1)}, Batches: true, Array: true, Matrix: &m}
	}
	two := Info{Inputs: []Spec{spec("a", Float32, -1), spec("b", Float64, -1)}, Outputs: []Spec{spec("s", Float32, -1)}, Batches: true}
	return map[string]*Codec{
		"none":          codecOf(tb, "", "", one(Float32, -1, 2)),
		"none ints":     codecOf(tb, "", "", one(Int64, -1, 2)),
		"none two":      codecOf(tb, "", "", two),
		"columns":       codecOf(tb, columnsAB, "", one(Float32, -1, -1)),
		"columns 2":     codecOf(tb, strings.Replace(columnsAB, "long", "double", 1), "", two),
		"narrow":        codecOf(tb, `[{"name":"a","type":"integer"},{"name":"b","type":"integer"}]`, "", one(Int32, -1, 2)),
		"texts":         codecOf(tb, `[{"name":"a","type":"string"},{"name":"b","type":"binary"}]`, "", one(String, -1, 2)),
		"nested":        codecOf(tb, `[{"name":"a","type":"array","items":{"type":"object","properties":{"p":{"type":"long"}}}},{"name":"b","type":"map","values":{"type":"any"}}]`, "", one(String, -1, 2)),
		"tensor":        codecOf(tb, matrixX, paramsT, one(Float32, -1, 2)),
		"unnamed":       codecOf(tb, `[{"type":"tensor","tensor-spec":{"dtype":"float64","shape":[-1,2]}}]`, "", one(Float32, -1, 2)),
		"bytes":         codecOf(tb, "", "", one(Uint8, -1, 2)),
		"half":          codecOf(tb, "", "", one(Float16, -1, 2)),
		"light":         codecOf(tb, "", "", table(Float64, Matrix{Filled: true, Texts: true, Single: true})),
		"light columns": codecOf(tb, columnsAB, "", table(Float64, Matrix{Filled: true})),
		"light tensor":  codecOf(tb, `[{"type":"tensor","tensor-spec":{"dtype":"float32","shape":[-1,2]}}]`, "", table(Float64, Matrix{})),
		"boost":         codecOf(tb, "", "", table(Float32, Matrix{Unique: true, Plain: true})),
		"boost names":   codecOf(tb, "", "", table(Float32, Matrix{Columns: []string{"a", "b"}, Unique: true, Named: true, Drop: "c"})),
		"boost columns": codecOf(tb, strings.Replace(columnsAB, "double", "float", 1), "", table(Float32, Matrix{Columns: []string{"a", "b"}})),
		"boost vector":  codecOf(tb, "", "", table(Float32, Matrix{Vector: true})),
		"scalar":        codecOf(tb, "", "", Info{Inputs: []Spec{spec("X", Float32)}, Outputs: []Spec{spec("Y", Float32)}}),
	}
}

// TestErrorsNameTheField is of what recordings of MLflow do not tell.
func TestErrorsNameTheField(t *testing.T) {
	all := codecs(t)
	long := strings.Repeat("[", maxDepth+1)
	for _, c := range []struct{ codec, contentType, body, want string }{
		{"none", "", `{"inputs": [[1.5, 2], [3]]}`, "INVALID_INPUT: inputs[1]: 1 items, where its neighbours have 2"},
		{"none", "", `{"inputs": [[1.5, 2], 3]}`, "INVALID_INPUT: inputs[1]: 3, where its neighbours are lists"},
		{"none", "", `{"inputs": [[1, 2]]}`, "INVALID_INPUT: inputs: whole numbers (int64), where the model takes float32"},
		{"none", "", `{"inputs": [[1.5, 2, 3]]}`, "INVALID_INPUT: inputs: shape [1, 3], where the model takes [-1, 2]"},
		{"none", "", `{"inputs": ` + long, "INVALID_INPUT: the body is nested deeper than 128 levels"},
		{"none", "", `{"inputs": [[1.5,2]]`, "invalid JSON: it ends where a comma or '}' should be"},
		{"none", "", `{"inputs": [[1.5,x]]}`, "invalid JSON: 'x' at byte 17, where a value should be"},
		{"none", "", "{\"inputs\": [[\"\xff\"]]}", "the body is not UTF-8"},
		{"none", "", `{}`, "the body has none of inputs, instances, dataframe_split, dataframe_records"},
		{"none", "", `{"inputs": [], "instances": []}`, "the body has both inputs and instances"},
		{"none", "", `{"messages": []}`, "INVALID_INPUT: messages: MLflow's unwrapped form"},
		{"none", "", `{"inputs": {"X": [[1.5,2]], "Z": [1]}}`, `INVALID_INPUT: Z: the model has no such input; it has ["X"]`},
		{"none two", "", `{"inputs": {"a": [1.5]}}`, "INVALID_INPUT: b: the model's input is missing"},
		{"none two", "", `{"inputs": [[1.5, 2]]}`, "a list, where the model takes several inputs by name"},
		{"none two", "", `{"dataframe_records": [{"a": 1.5}]}`, "INVALID_INPUT: b: the model takes this column"},
		{"tensor", "", `{"inputs": [[1, "x"]]}`, `INVALID_INPUT: inputs[0][1]: "x" is no number`},
		{"tensor", "", `{"inputs": {"X": [[1, 2, 3]]}}`, "INVALID_INPUT: X: Shape of input (1, 3) does not match expected shape (-1, 2)."},
		{"tensor", "", `{"inputs": [[1, 2]], "params": {"t": "x"}}`, `INVALID_INPUT: params.t: "x", where double should be`},
		{"tensor", "", `{"inputs": [[1, 2]], "params": {"n": [1, 2.5]}}`, "INVALID_INPUT: params.n[1]: 2.5, where long should be"},
		{"tensor", "", `{"inputs": [[1, 2]], "params": {"n": 1}}`, "INVALID_INPUT: params.n: 1, where a list should be"},
		{"tensor", "", `{"inputs": [[1, 2]], "params": {"when": "soon"}}`, "INVALID_INPUT: params.when"},
		{"tensor", "", `{"inputs": [[1, 2]], "params": [1]}`, "INVALID_INPUT: params: a list, where an object should be"},
		{"columns", "", `{"dataframe_records": [{"a": 1, "b": null}]}`, "INVALID_INPUT: b: row 0: null is no whole number"},
		{"columns", "", `{"dataframe_records": [{"b": 1}]}`, "INVALID_INPUT: a: Model is missing inputs ['a']."},
		{"columns", "", `{"dataframe_records": [{"A": 1}]}`, "Model is missing inputs ['a', 'b']. Note that there were extra inputs: ['A']."},
		{"columns", "", `{"dataframe_split": {"columns": ["a"], "data": [[1, 2]]}}`, "INVALID_INPUT: dataframe_split: 1 columns are named, the rows have 2"},
		{"columns", "", `{"inputs": {"a": [1], "b": [1, 2]}}`, "the columns have different lengths"},
		{"columns", "text/csv", "a,b\n1,x\n", `INVALID_INPUT: b: row 0: "x" is no int64`},
		{"columns", "text/csv", "", "the CSV has no line of column names"},
		{"tensor", "text/csv", "X\n1\n", "which is not read from CSV"},
		{"nested", "", `{"dataframe_records": [{"a": [{"q": 1}], "b": {}}]}`, `INVALID_INPUT: a[0][0]: property "p" is missing`},
		{"narrow", "", `{"inputs": {"a": [3000000000], "b": [1]}}`, "INVALID_INPUT: a[0]: 3000000000 is out of the range of int32"},

		{"none", "text/plain", `{}`, `UNSUPPORTED_MEDIA_TYPE: content type "text/plain"`},
		{"none", "application/json; charset=latin1", `{}`, `UNSUPPORTED_MEDIA_TYPE: charset "latin1"`},
		{"none", "application/json; dialect=v3", `{}`, `UNSUPPORTED_MEDIA_TYPE: parameter "dialect=v3"`},
		{"none", "application/json; dialect=v2", `{"inputs": [[1.5, 2]]}`, "INVALID_INPUT: inputs[0]: a list, where an object should be"},

		{"none", "", `{"inputs": [{"name": "Z", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}`, `INVALID_INPUT: inputs[0].name: the model has no input "Z"`},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP64", "shape": [1, 2], "data": [1, 2]}]}`, "INVALID_INPUT: X: datatype FP64, where the model takes FP32"},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [2], "data": [1, 2]}]}`, "INVALID_INPUT: X: shape [2], where the model takes [-1, 2]"},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [1]}]}`, "INVALID_INPUT: X: 1 elements, where shape [1, 2] has 2"},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [1, "2"]}]}`, `INVALID_INPUT: X[1]: "2" is no FP32`},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [1, null]}]}`, "INVALID_INPUT: X[1]: null is no FP32"},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [[1], [2]]}]}`, "INVALID_INPUT: X: nested as [2, 1], where the shape is [1, 2]"},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [2, 2], "data": [[1, 2], [3, 4, 5]]}]}`, "INVALID_INPUT: X: 5 elements"},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, -2], "data": [1, 2]}]}`, "INVALID_INPUT: X: shape[1]: -2 is no dimension"},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 2], "parameters": {"binary_data_size": 8}}]}`, "INVALID_INPUT: X: binary_data_size, and no header inference-header-content-length"},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}, {"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}`, "INVALID_INPUT: X: the input comes twice"},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}], "outputs": [{"name": "Q"}]}`, `INVALID_INPUT: outputs[0].name: the model has no output "Q"`},
		{"none", "", `{"id": 7, "inputs": [{"name": "X", "datatype": "FP32", "shape": [1, 2], "data": [1, 2]}]}`, "INVALID_INPUT: id: 7, where a string should be"},
		{"none two", "", `{"inputs": [{"name": "a", "datatype": "FP32", "shape": [1], "data": [1]}]}`, "INVALID_INPUT: b: the model's input is missing"},
		{"bytes", "", `{"inputs": [{"name": "X", "datatype": "UINT8", "shape": [1, 2], "data": [1, 256]}]}`, "INVALID_INPUT: X[1]: 256 is out of the range of UINT8"},
		{"bytes", "", `{"inputs": [{"name": "X", "datatype": "UINT8", "shape": [1, 2], "data": [1, 2.0]}]}`, "INVALID_INPUT: X[1]: 2.0 is no UINT8"},

		{"none", "", `{"inputs": [` + strings.Repeat("[1.5,2],", 8) + `[1.5,2]]}`, "TOO_LARGE: 9 rows, more than 8"},
		{"none", "", `{"inputs": [` + strings.Repeat("[1.5,2],", 32) + `[1.5,2]]}`, "TOO_LARGE: inputs: 66 elements, more than 64"},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [33, 2], "data": []}]}`, "TOO_LARGE: X: 66 elements"},
		{"none", "", `{"inputs": [{"name": "X", "datatype": "FP32", "shape": [4611686018427387904, 2], "data": []}]}`, "INVALID_INPUT: X: shape"},
		{"none", "", `{"inputs": [1` + strings.Repeat(",1", 5000) + `]}`, "TOO_LARGE: the body holds too many values"},
		{"columns", "", `{"dataframe_records": [` + strings.Repeat(`{"a":1,"b":2},`, 8) + `{"a":1,"b":2}]}`, "TOO_LARGE"},
		{"columns", "", `{"inputs": {"a": 1, "b": 1, "p": 1, "q": 1, "r": 1, "s": 1, "t": 1, "z": [1,1,1,1,1,1,1,1,1,1,1]}}`, "TOO_LARGE: 11 rows of 8 columns"},
		{"columns", "", `{"inputs": {"a": [1], "b": [1], "` + strings.Repeat("n", 5000) + `": [[1], 2]}}`, "nnn…: "},
		{"none", "", `{"dataframe_records": [{"a":1},{"b":1},{"c":1},{"d":1},{"e":1},{"f":1},{"g":1},{"h":1},{"i":1}]}`, "TOO_LARGE: 9 rows of 9 columns"},
	} {
		t.Run(c.codec+" "+c.contentType+" "+c.body[:min(60, len(c.body))], func(t *testing.T) {
			var req Request
			err := all[c.codec].Decode(&req, c.contentType, []byte(c.body))
			require.ErrorContains(t, err, c.want)
			known := (*Error)(nil)
			require.ErrorAs(t, err, &known)
			require.True(t, json.Valid(req.EncodeError(nil, known)))
		})
	}
}

func TestErrorsAreInTheDialectOfTheRequest(t *testing.T) {
	bad := Invalidf("a", "no \"number\"")
	const (
		mlflow = `{"error_code":"INVALID_INPUT","message":"no \"number\"","field":"a","retryable":false}`
		v2     = `{"error":"INVALID_INPUT: a: no \"number\""}`
	)
	requireText(t, mlflow, (&Request{}).EncodeError(nil, bad))
	require.Equal(t, "application/json", (&Request{}).ContentType())
	require.JSONEq(t, `{"error_code":"OVERLOADED","message":"m","retryable":true}`, string((&Request{}).EncodeError(nil, Errorf(Overloaded, "m"))))
	c := codecs(t)["none"]
	var req Request
	for _, k := range []struct{ contentType, body, want string }{
		{"", `{"inputs": [[1]]}`, mlflow},
		{"", `{"inputs": [{"name": "X", "datatype": "FP`, v2},
		{"", `{"inputs": [{"name": "X", "datatype": "FP16"}]}`, v2},
		{"", `x`, mlflow},
		{"application/json; dialect=v2", `x`, v2},
		{"application/json; charset=x; dialect=v2", `x`, v2},
		{"application/json; dialect=mlflow", `{"inputs": [{"name": "X", "datatype": "FP32"}]}`, mlflow},
	} {
		require.Error(t, c.Decode(&req, k.contentType, []byte(k.body)))
		requireText(t, k.want, req.EncodeError(nil, bad))
	}
}

func TestRows(t *testing.T) {
	info := Info{Inputs: []Spec{spec("a", Float32, -1), spec("b", Float32, -1)}, Outputs: []Spec{spec("s", Float32, -1)}}
	c, err := NewCodec(nil, info, Limits{})
	require.NoError(t, err)
	var req Request
	body := []byte(`{"inputs": {"a": [1.5, 2], "b": [1.5, 2]}}`)
	require.NoError(t, c.Decode(&req, "", body))
	require.Equal(t, 1, req.Rows, "it does not batch")
	info.Batches = true
	c, err = NewCodec(nil, info, Limits{})
	require.NoError(t, err)
	require.NoError(t, c.Decode(&req, "", body))
	require.Equal(t, 2, req.Rows)
	require.NoError(t, c.Decode(&req, "", []byte(`{"inputs": {"a": [1.5, 2], "b": [1.5]}}`)))
	require.Equal(t, 1, req.Rows, "nothing is shared")
}

func TestCodecRefusesContradictions(t *testing.T) {
	one := func(d DType, shape ...int64) Info { return Info{Inputs: []Spec{spec("X", d, shape...)}} }
	two := Info{Inputs: []Spec{spec("a", Float32, -1), spec("z", Float32, -1)}}
	for _, c := range []struct {
		inputs string
		info   Info
		want   string
	}{
		{matrixX, one(Int64, -1, 2), `input "X" is of type float32, the model's of int64`},
		{matrixX, one(Float32, -1, 3), `input "X" has shape [-1, 2], the model's has [-1, 3]`},
		{matrixX, two, `the model's input "a" is not among its inputs`},
		{columnsAB, two, `the model's input "z" is not among its inputs`},
		{columnsAB, one(Float32, -1, 4), "it has 3 columns"},
		{columnsAB, one(Float32, -1, 1), "it has 3 columns"},
		{`[{"type":"double"},{"type":"double"}]`, two, "its columns have no names"},
	} {
		sig, err := ParseSignature(c.inputs, "", "")
		require.NoError(t, err)
		_, err = NewCodec(sig, c.info, Limits{})
		require.ErrorContains(t, err, c.want)
	}
}

func TestExampleIsARequest(t *testing.T) {
	for name, c := range codecs(t) {
		t.Run(name, func(t *testing.T) {
			var req Request
			require.NoError(t, c.Decode(&req, "", c.Example()), "%s", c.Example())
		})
	}
	require.JSONEq(t, `{"dataframe_split": {"columns": ["a", "b", "c"], "data": [[0.5, 1, 0.5]]}}`, string(codecs(t)["columns"].Example()))
	require.JSONEq(t, `{"inputs": {"X": [[0.5, 0.5]]}}`, string(codecs(t)["tensor"].Example()))
	require.JSONEq(t, `{"inputs": [{"name": "X", "shape": [1, 2], "datatype": "UINT8", "data": [[1, 1]]}]}`, string(codecs(t)["bytes"].Example()))
}

func TestNumbersAreDecodedWithoutAllocating(t *testing.T) {
	all := codecs(t)
	for codec, bodies := range map[string][]string{
		"none": {
			`{"inputs": [[1.5, 2], [3, 4]]}`, `{"inputs": {"X": [[1.5, 2]]}}`, `{"dataframe_split": {"index": [0], "columns": ["p", "q"], "data": [[1.5, 2]]}}`,
			`{"id": "7", "inputs": [{"name": "X", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]}], "outputs": [{"name": "Y"}]}`, `{"dataframe_records": [{"p": 1.5, "q": 2}]}`,
		},
		"none ints": {`{"instances": [[1, 2]]}`},
		"columns":   {`{"dataframe_records": [{"b": 1, "c": 2.5, "zz": "x", "a": 3}]}`, `{"dataframe_split": {"columns": ["a", "c", "b"], "data": [[1, 2, 3]]}}`, `{"instances": [{"a": 1, "b": 2, "c": 3}]}`},
		"columns 2": {`{"dataframe_records": [{"b": 1, "c": 2.5, "a": 3}]}`},
	} {
		for _, body := range bodies {
			var req Request
			text := []byte(body)
			require.NoError(t, all[codec].Decode(&req, "application/json", text), body)
			require.Zero(t, testing.AllocsPerRun(20, func() { _ = all[codec].Decode(&req, "application/json", text) }), body)
		}
	}
}
