package oip

import (
	"encoding/json"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/stretchr/testify/require"
	"google.golang.org/protobuf/proto"

	"github.com/millrace/millrace/model"
)

func marshal(tb testing.TB, m proto.Message) []byte {
	tb.Helper()
	b, err := proto.Marshal(m)
	require.NoError(tb, err)
	return b
}

type (
	tensorIn   = ModelInferRequest_InferInputTensor
	contentsIn = InferTensorContents
)

func int64Of(v int64) *InferParameter {
	return &InferParameter{ParameterChoice: &InferParameter_Int64Param{Int64Param: v}}
}

func TestRequestsBecomeBodies(t *testing.T) {
	in, err := ParseRequest(marshal(t, &ModelInferRequest{
		ModelName: "m", ModelVersion: "3", Id: "a\"b\n",
		Parameters: map[string]*InferParameter{"timeout": int64Of(1500), "other": int64Of(1)},
		Inputs: []*tensorIn{
			{Name: "X", Datatype: "FP32", Shape: []int64{1, 2}}, {Name: "ü", Datatype: "BYTES", Shape: []int64{-1}},
		},
		Outputs:          []*ModelInferRequest_InferRequestedOutputTensor{{Name: "Y"}, {Name: "Z"}},
		RawInputContents: [][]byte{[]byte("12345678"), []byte("\x01\x00\x00\x00a")},
	}))
	require.NoError(t, err)
	require.Equal(t, []any{"m", "3", 1500 * time.Microsecond}, []any{in.Model, in.Version, in.Timeout})
	require.JSONEq(t, `{"id": "a\"b\n", "inputs": [
		{"name": "X", "shape": [1, 2], "datatype": "FP32", "parameters": {"binary_data_size": 8}},
		{"name": "ü", "shape": [-1], "datatype": "BYTES", "parameters": {"binary_data_size": 5}}],
		"outputs": [{"name": "Y"}, {"name": "Z"}], "parameters": {"binary_data_output": true}}`, string(in.Body[:in.Head]))
	require.Equal(t, "12345678\x01\x00\x00\x00a", string(in.Body[in.Head:]))
}

func TestContentsBecomeBytes(t *testing.T) {
	for datatype, c := range map[string]struct {
		contents *contentsIn
		want     string
	}{
		"BOOL":   {&contentsIn{BoolContents: []bool{true, false}}, "\x01\x00"},
		"INT8":   {&contentsIn{IntContents: []int32{-1, 127}}, "\xff\x7f"},
		"INT16":  {&contentsIn{IntContents: []int32{-2}}, "\xfe\xff"},
		"INT32":  {&contentsIn{IntContents: []int32{-2}}, "\xfe\xff\xff\xff"},
		"INT64":  {&contentsIn{Int64Contents: []int64{-2}}, "\xfe\xff\xff\xff\xff\xff\xff\xff"},
		"UINT8":  {&contentsIn{UintContents: []uint32{255}}, "\xff"},
		"UINT16": {&contentsIn{UintContents: []uint32{258}}, "\x02\x01"},
		"UINT32": {&contentsIn{UintContents: []uint32{258}}, "\x02\x01\x00\x00"},
		"UINT64": {&contentsIn{Uint64Contents: []uint64{math.MaxUint64}}, "\xff\xff\xff\xff\xff\xff\xff\xff"},
		"FP32":   {&contentsIn{Fp32Contents: []float32{1, 2}}, "\x00\x00\x80?\x00\x00\x00@"},
		"FP64":   {&contentsIn{Fp64Contents: []float64{1}}, "\x00\x00\x00\x00\x00\x00\xf0?"},
		"BYTES":  {&contentsIn{BytesContents: [][]byte{[]byte("a"), {}}}, "\x01\x00\x00\x00a\x00\x00\x00\x00"},
	} {
		in, err := ParseRequest(marshal(t, &ModelInferRequest{Inputs: []*tensorIn{{Name: "X", Datatype: datatype, Contents: c.contents}}}))
		require.NoError(t, err, datatype)
		require.Equal(t, c.want, string(in.Body[in.Head:]), datatype)
	}
	// A field of its own for each element, as proto2's writers have it.
	in, err := ParseRequest(marshal(t, &ModelInferRequest{Inputs: []*tensorIn{{Name: "X", Datatype: "FP32"}}}))
	require.NoError(t, err)
	require.Empty(t, in.Body[in.Head:])
	one := input{datatype: []byte("FP32"), contents: []byte("\x35\x00\x00\x80?\x35\x00\x00\x00@")}
	size, err := one.measure()
	require.NoError(t, err)
	require.Equal(t, 8, size)
	require.Equal(t, "\x00\x00\x80?\x00\x00\x00@", string(one.append(nil)))
}

func TestRequestsThatAreNone(t *testing.T) {
	one := func(datatype string, c *contentsIn) *ModelInferRequest {
		return &ModelInferRequest{Inputs: []*tensorIn{{Name: "X", Datatype: datatype, Contents: c}}}
	}
	shared := map[string]*InferParameter{"shared_memory_region": {}}
	for want, m := range map[string]*ModelInferRequest{
		`input "X": contents are not those of datatype FP32`: one("FP32", &contentsIn{Fp64Contents: []float64{1}}),
		`input "X": 128 is out of the range of INT8`:         one("INT8", &contentsIn{IntContents: []int32{128}}),
		`input "X": -32769 is out of the range of INT16`:     one("INT16", &contentsIn{IntContents: []int32{1, -32769}}),
		`input "X": 65536 is out of the range of UINT16`:     one("UINT16", &contentsIn{UintContents: []uint32{65536}}),
		`input "X": FP16 is sent as raw_input_contents`:      one("FP16", &contentsIn{Fp32Contents: []float32{1}}),
		`input "X": unknown datatype "FP8"`:                  one("FP8", nil),
		`2 raw_input_contents for 1 inputs`:                  {Inputs: []*tensorIn{{Name: "X"}}, RawInputContents: [][]byte{{}, {}}},
		`input "X": both contents and raw_input_contents`:    {Inputs: []*tensorIn{{Name: "X", Contents: &contentsIn{IntContents: []int32{1}}}}, RawInputContents: [][]byte{{1}}},
		`shared_memory_region is not served`:                 {Inputs: []*tensorIn{{Name: "X", Parameters: shared}}},
		`classification is not served`:                       {Outputs: []*ModelInferRequest_InferRequestedOutputTensor{{Parameters: map[string]*InferParameter{"classification": int64Of(3)}}}},
	} {
		_, err := ParseRequest(marshal(t, m))
		require.EqualError(t, err, want)
	}
	for _, wire := range []string{"\x0a\x05x", "\xff", "\x2a\x02\x1a\x05", "\x2a\x03\x1a\x01\xff"} {
		_, err := ParseRequest([]byte(wire))
		require.ErrorIs(t, err, errWire, "%q", wire)
	}
	for timeout, want := range map[int64]time.Duration{-1: 0, 0: 0, math.MaxInt64: time.Duration(math.MaxInt64/1000) * 1000} {
		in, err := ParseRequest(marshal(t, &ModelInferRequest{Parameters: map[string]*InferParameter{"timeout": int64Of(timeout)}}))
		require.NoError(t, err)
		require.Equal(t, want, in.Timeout)
	}
}

func TestResponses(t *testing.T) {
	head := `{"model_name":"m","model_version":"1","id":"7","outputs":[{"name":"Y","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}},{"name":"Z","shape":[1],"datatype":"INT16","data":[-2]}]}`
	wire, err := Response([]byte(head+"12345678"), len(head))
	require.NoError(t, err)
	var got ModelInferResponse
	require.NoError(t, proto.Unmarshal(wire, &got))
	require.True(t, proto.Equal(&ModelInferResponse{
		ModelName: "m", ModelVersion: "1", Id: "7",
		Outputs: []*ModelInferResponse_InferOutputTensor{
			{Name: "Y", Datatype: "FP32", Shape: []int64{1, 2}}, {Name: "Z", Datatype: "INT16", Shape: []int64{1}},
		},
		RawOutputContents: [][]byte{[]byte("12345678"), {0xfe, 0xff}},
	}, &got), "%v", &got)
	for want, c := range map[string]struct {
		body string
		head int
	}{
		"the answer's JSON is 9 of 2 bytes": {"{}", 9},
		"the answer is not V2's JSON":       {"{", 0},
		"1 bytes follow":                    {"{}x", 2},
		"16 bytes are said to follow, 0 do": {`{"outputs":[{"parameters":{"binary_data_size":16}}]}`, 0},
		"-1 bytes are said to follow":       {`{"outputs":[{"parameters":{"binary_data_size":-1}}]}`, 0},
		"no list of elements":               {`{"outputs":[{"name":"Y"}]}`, 0},
	} {
		_, err := Response([]byte(c.body), c.head)
		require.ErrorContains(t, err, want)
	}
}

func TestElementsInJSON(t *testing.T) {
	for _, c := range []struct{ datatype, data, want string }{
		{"BOOL", `[true, [false]]`, "\x01\x00"},
		{"INT8", `[-128, 127]`, "\x80\x7f"},
		{"UINT64", `[18446744073709551615]`, "\xff\xff\xff\xff\xff\xff\xff\xff"},
		{"INT64", `[-9223372036854775808]`, "\x00\x00\x00\x00\x00\x00\x00\x80"},
		{"FP16", `[1]`, "\x00\x3c"},
		{"FP32", `[[1], [2e0]]`, "\x00\x00\x80?\x00\x00\x00@"},
		{"FP64", `1`, "\x00\x00\x00\x00\x00\x00\xf0?"},
		{"BYTES", `["ä"]`, "\x02\x00\x00\x00ä"},
		{"FP32", `[]`, ""},
	} {
		got, err := Raw(c.datatype, json.RawMessage(c.data))
		require.NoError(t, err, c.data)
		require.Equal(t, c.want, string(got), c.data)
	}
	got, err := Raw("FP64", json.RawMessage(`[null]`))
	require.NoError(t, err)
	require.True(t, math.IsNaN(math.Float64frombits(little.Uint64(got))))
	for _, c := range [][2]string{
		{"INT8", `[128]`},
		{"INT8", `[1.5]`},
		{"UINT8", `[-1]`},
		{"BOOL", `[1]`},
		{"BYTES", `[1]`},
		{"FP32", `["1"]`},
		{"FP32", `[true]`},
		{"INT8", `[null]`},
		{"FP32", `[{}]`},
		{"FP99", `[1]`},
		{"FP32", `[1e999]`},
		{"FP32", ``},
		{"INT64", `["1"]`},
	} {
		_, err := Raw(c[0], json.RawMessage(c[1]))
		require.Error(t, err, "%v", c)
	}
}

// FuzzParseRequest holds the reader against protobuf's own: what this takes, that one
// does, with the same inputs.
func FuzzParseRequest(f *testing.F) {
	f.Add(marshal(f, &ModelInferRequest{ModelName: "m", Id: "1", Inputs: []*tensorIn{{Name: "X", Datatype: "FP32", Shape: []int64{1, 2}}}, RawInputContents: [][]byte{[]byte("12345678")}}))
	f.Add(marshal(f, &ModelInferRequest{Inputs: []*tensorIn{{Name: "X", Datatype: "INT8", Shape: []int64{1}, Contents: &contentsIn{IntContents: []int32{-1}}}}, Parameters: map[string]*InferParameter{"timeout": int64Of(5)}}))
	f.Fuzz(func(t *testing.T, wire []byte) {
		in, err := ParseRequest(wire)
		if err != nil {
			return
		}
		var m ModelInferRequest
		if proto.Unmarshal(wire, &m) != nil { // it looks at what this passes by, such as UTF-8
			return
		}
		require.Equal(t, []string{m.GetModelName(), m.GetModelVersion()}, []string{in.Model, in.Version})
		var body struct {
			ID     string
			Inputs []struct {
				Name, Datatype string
				Shape          []int64
				Parameters     struct {
					Size int `json:"binary_data_size"`
				}
			}
		}
		require.NoError(t, json.Unmarshal(in.Body[:in.Head], &body), string(in.Body[:in.Head]))
		require.Equal(t, m.GetId(), body.ID)
		require.Len(t, body.Inputs, len(m.GetInputs()))
		size := 0
		for i, x := range m.GetInputs() {
			require.Equal(t, []string{x.GetName(), x.GetDatatype()}, []string{body.Inputs[i].Name, body.Inputs[i].Datatype})
			require.Len(t, body.Inputs[i].Shape, len(x.GetShape()))
			size += body.Inputs[i].Parameters.Size
		}
		require.Equal(t, size, len(in.Body)-in.Head)
	})
}

func BenchmarkParseRequest(b *testing.B) {
	wire := marshal(b, &ModelInferRequest{
		ModelName: "m", Inputs: []*tensorIn{{Name: "X", Datatype: "FP32", Shape: []int64{16, 256}}}, RawInputContents: [][]byte{model.BytesOf(make([]float32, 4096))},
	})
	b.SetBytes(int64(len(wire)))
	b.ReportAllocs()
	for b.Loop() {
		if _, err := ParseRequest(wire); err != nil {
			b.Fatal(err)
		}
	}
}

func TestNamesAreThoseOfTheProtocol(t *testing.T) {
	require.Equal(t, "/inference.GRPCInferenceService/ModelInfer", Method("ModelInfer"))
	service := File_inference_proto.Services().Get(0)
	require.Equal(t, Service, string(service.FullName()))
	names := make([]string, service.Methods().Len())
	for i := range names {
		names[i] = string(service.Methods().Get(i).Name())
	}
	require.Equal(t, "ServerLive ServerReady ModelReady ServerMetadata ModelMetadata ModelInfer", strings.Join(names, " "))
}

func TestBodiesOverHTTPBecomeRequests(t *testing.T) {
	one := &ModelMetadataResponse{Name: "m", Inputs: []*ModelMetadataResponse_TensorMetadata{{Name: "X", Datatype: "UINT8", Shape: []int64{-1, 2}}}}
	two := &ModelMetadataResponse{Name: "m", Inputs: []*ModelMetadataResponse_TensorMetadata{{Name: "a", Datatype: "UINT8", Shape: []int64{-1, 1}}, {Name: "b", Datatype: "BYTES", Shape: []int64{-1}}}}
	for body, about := range map[string]*ModelMetadataResponse{
		`{"id": "7", "inputs": [{"name": "X", "datatype": "UINT8", "shape": [2, 2], "data": [1, 2, 3, 4]}]}`: one,
		`{"id": "7", "inputs": [[1, 2], [3, 4]]}`:                                                            one,
		`{"id": "7", "inputs": {"X": [[1, 2], [3, 4]]}}`:                                                     one,
		`{"id": "7", "instances": [[1, 2], [3, 4]]}`:                                                         one,
		`{"id": "7", "dataframe_split": {"columns": ["p", "q"], "data": [[1, 2], [3, 4]]}}`:                  one,
	} {
		m, err := FromJSON([]byte(body), about)
		require.NoError(t, err, body)
		require.True(t, proto.Equal(&ModelInferRequest{
			ModelName: "m", Id: "7", Inputs: []*tensorIn{{Name: "X", Datatype: "UINT8", Shape: []int64{2, 2}}}, RawInputContents: [][]byte{{1, 2, 3, 4}},
		}, m), "%s: %v", body, m)
	}
	m, err := FromJSON([]byte(`{"dataframe_split": {"columns": ["b", "a"], "data": [["x", 1], ["y", 2]]}}`), two)
	require.NoError(t, err)
	require.True(t, proto.Equal(&ModelInferRequest{
		ModelName: "m", Inputs: []*tensorIn{{Name: "a", Datatype: "UINT8", Shape: []int64{2, 1}}, {Name: "b", Datatype: "BYTES", Shape: []int64{2}}},
		RawInputContents: [][]byte{{1, 2}, []byte("\x01\x00\x00\x00x\x01\x00\x00\x00y")},
	}, m), "%v", m)
	for body, want := range map[string]string{
		`{`:                                    "not JSON",
		`{"x": 1}`:                             "none of V2's inputs",
		`{"inputs": [1]}`:                      "a list, where the model takes 2 inputs by name",
		`{"inputs": {"a": [1]}}`:               `input "b" is missing`,
		`{"inputs": {"a": ["x"], "b": ["x"]}}`: "is no UINT8",
		`{"dataframe_split": {"columns": ["a"], "data": [[1]]}}`:      `column "b" is missing`,
		`{"dataframe_split": {"columns": ["a", "b"], "data": [[1]]}}`: "row 0 has 1 cells",
		`{"inputs": [{"datatype": 1}]}`:                               "inputs: ",
	} {
		_, err := FromJSON([]byte(body), two)
		require.ErrorContains(t, err, want)
	}
}
