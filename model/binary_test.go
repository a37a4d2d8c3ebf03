package model

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"strconv"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"
)

// behind is a body whose tensors follow its JSON.
func behind(head string, parts ...[]byte) (body []byte, length string) {
	body = []byte(head)
	for _, p := range parts {
		body = append(body, p...)
	}
	return body, strconv.Itoa(len(head))
}

func words(ss ...string) (raw []byte) {
	for _, s := range ss {
		raw = append(binary.LittleEndian.AppendUint32(raw, uint32(len(s))), s...)
	}
	return raw
}

func singles(fs ...float32) []byte { return BytesOf(fs) }

func input(name, datatype, shape string, size int) string {
	return fmt.Sprintf(`{"name": %q, "shape": %s, "datatype": %q, "parameters": {"binary_data_size": %d}}`, name, shape, datatype, size)
}

// moved puts a body at an address that is or is not a multiple of eight.
func moved(body []byte, by int) []byte {
	out := BytesOf(make([]uint64, len(body)/8+2))[by : by+len(body)]
	copy(out, body)
	return out
}

func TestBinaryRequests(t *testing.T) {
	info := Info{Inputs: []Spec{spec("f", Float32, -1, 2), spec("s", String, -1), spec("b", Bool, -1)}, Outputs: []Spec{spec("Y", Float32, -1)}, Batches: true}
	c := codecOf(t, "", "", info)
	head := `{"id": "a", "inputs": [` + input("f", "FP32", "[2, 2]", 16) + "," + input("s", "BYTES", "[2]", 13) + `, {"name": "b", "shape": [2], "datatype": "BOOL", "parameters": {"binary_data_size": 2}}]`
	for _, more := range []string{`}`, `, "parameters": {"timeout": 5}}`, `, "outputs": [{"name": "Y"}]}`, `                     }`} { // the scanner takes some, and the parser all
		for by := range 8 {
			body, length := behind(head+more, singles(1, 2, 3, float32(math.Inf(1))), words("äh", "xy"), []byte{0, 7})
			body = moved(body, by)
			var req Request
			require.NoError(t, c.DecodeBinary(&req, ContentBinary, length, body))
			require.Equal(t, 2, req.Rows)
			require.Equal(t, []float32{1, 2, 3, float32(math.Inf(1))}, View[float32](&req.Inputs[0]))
			require.Equal(t, []string{"äh", "xy"}, req.Inputs[1].Strings)
			require.Equal(t, []uint8{0, 1}, req.Inputs[2].Data)
			require.Equal(t, `"a"`, string(req.id))
		}
	}
	// JSON and bytes in one request.
	body, length := behind(`{"inputs": [{"name": "f", "shape": [1, 2], "datatype": "FP32", "data": [1, 2]},`+input("s", "BYTES", "[1]", 4)+`,{"name": "b", "shape": [1], "datatype": "BOOL", "data": [true]}]}`, words(""))
	var req Request
	require.NoError(t, c.DecodeBinary(&req, "", length, body))
	require.Equal(t, []string{""}, req.Inputs[1].Strings)
	require.Equal(t, []uint8{1}, req.Inputs[2].Data)
}

func TestBinaryRequestsThatAreNone(t *testing.T) {
	one := func(d DType) *Codec {
		return codecOf(t, "", "", Info{Inputs: []Spec{spec("X", d, -1, 2)}, Outputs: []Spec{spec("Y", Float32, -1)}, Batches: true})
	}
	for name, c := range map[string]struct {
		dtype             DType
		kind, head, tail  string
		length, want      string
		moreTail, outputs string
	}{
		"few bytes":     {head: input("X", "FP32", "[1, 2]", 8), tail: "1234567", want: "binary_data_size is 8, 7 bytes are left"},
		"many bytes":    {head: input("X", "FP32", "[1, 2]", 8), tail: "123456789", want: "1 bytes follow the last input's"},
		"other size":    {head: input("X", "FP32", "[1, 2]", 4), tail: "1234", want: "X: 4 bytes, where shape [1, 2] of FP32 has 8"},
		"negative":      {head: input("X", "FP32", "[1, 2]", -8), tail: "12345678", want: "binary_data_size is -8"},
		"a text":        {head: strings.Replace(input("X", "FP32", "[1, 2]", 8), "8}", `"8"}`, 1), tail: "12345678", want: `binary_data_size is "8"`},
		"both":          {head: strings.Replace(input("X", "FP32", "[1, 2]", 8), `"parameters"`, `"data": [1, 2], "parameters"`, 1), tail: "12345678", want: "both data and binary_data_size"},
		"shape":         {head: input("X", "FP32", "[2, 1]", 8), tail: "12345678", want: "shape [2, 1], where the model takes [-1, 2]"},
		"large":         {head: input("X", "FP32", "[33, 2]", 264), tail: strings.Repeat("x", 264), want: "TOO_LARGE: X: 66 elements"},
		"huge":          {head: input("X", "FP32", "[4611686018427387904, 2]", 8), tail: "12345678", want: "shape"},
		"datatype":      {head: input("X", "FP64", "[1, 2]", 16), tail: strings.Repeat("x", 16), want: "datatype FP64, where the model takes FP32"},
		"shared memory": {head: `{"name": "X", "shape": [1, 2], "datatype": "FP32", "parameters": {"shared_memory_region": "r"}}`, want: "shared memory is not served"},
		"strings few":   {dtype: String, head: input("X", "BYTES", "[1, 2]", 7), tail: "\x00\x00\x00\x00\x00\x00\x00", want: "7 bytes do not hold the 2 strings"},
		"string long":   {dtype: String, head: input("X", "BYTES", "[1, 2]", 8), tail: "\x00\x00\x00\x00\x01\x00\x00\x00", want: "string 1 is said to have 1 bytes, 0 are left"},
		"string after":  {dtype: String, head: input("X", "BYTES", "[1, 2]", 9), tail: "\x00\x00\x00\x00\x00\x00\x00\x00x", want: "1 bytes follow the last string"},
		"string cut":    {dtype: String, head: input("X", "BYTES", "[1, 2]", 9), tail: "\x02\x00\x00\x00ab\x00\x00\x00", want: "the bytes end within string 1 of 2"},
		"kind":          {kind: "text/csv", head: input("X", "FP32", "[1, 2]", 8), tail: "12345678", want: `UNSUPPORTED_MEDIA_TYPE: content type "text/csv"`},
		"length":        {length: "1000", head: input("X", "FP32", "[1, 2]", 8), tail: "12345678", want: `the header's length is "1000"`},
		"no length":     {length: "0", head: input("X", "FP32", "[1, 2]", 8), tail: "12345678", want: `the header's length is "0"`},
		"no number":     {length: "+5", head: input("X", "FP32", "[1, 2]", 8), tail: "12345678", want: `the header's length is "+5"`},
		"outputs":       {head: input("X", "FP32", "[1, 2]", 8), tail: "12345678", outputs: `{"name": "Y", "parameters": {"classification": 3}}`, want: "classification: this extension is not served"},
		"form":          {head: input("X", "FP32", "[1, 2]", 8), tail: "12345678", outputs: `{"name": "Y", "parameters": {"binary_data": 1}}`, want: "outputs[0].parameters.binary_data: 1, where true or false should be"},
	} {
		t.Run(name, func(t *testing.T) {
			if c.dtype == Invalid {
				c.dtype = Float32
			}
			body, length := behind(`{"inputs": [`+c.head+`], "outputs": [`+c.outputs+`]}`, []byte(c.tail))
			if c.length != "" {
				length = c.length
			}
			var req Request
			err := one(c.dtype).DecodeBinary(&req, c.kind, length, body)
			require.ErrorContains(t, err, c.want)
			var v2 struct{ Error string }
			require.NoError(t, json.Unmarshal(req.EncodeError(nil, AsError(err)), &v2))
			require.Contains(t, v2.Error, AsError(err).Message)
		})
	}
}

func TestBinaryAnswers(t *testing.T) {
	c := codecOf(t, "", "", Info{
		Inputs:  []Spec{spec("X", Float32, -1, 1)},
		Outputs: []Spec{spec("Y", Float32, -1, 2), spec("S", String, -1)}, Batches: true,
	})
	outputs := []Tensor{
		{DType: Float32, Shape: []int64{1, 2}, Data: singles(1.5, float32(math.NaN()))},
		{DType: String, Shape: []int64{1}, Strings: []string{"äh"}},
	}
	const head = `{"model_name":"m","model_version":"1","outputs":[`
	y, s := `{"name":"Y","shape":[1,2],"datatype":"FP32","parameters":{"binary_data_size":8}}`, `{"name":"S","shape":[1],"datatype":"BYTES","parameters":{"binary_data_size":7}}`
	yJSON, sJSON := `{"name":"Y","shape":[1,2],"datatype":"FP32","data":[1.5,null]}`, `{"name":"S","shape":[1],"datatype":"BYTES","data":["\u00e4h"]}`
	for ask, want := range map[string]struct {
		json string
		raw  []byte
	}{
		`"parameters": {"binary_data_output": true}`: {y + "," + s, append(singles(1.5, float32(math.NaN())), words("äh")...)},
		`"parameters": {"binary_data_output":true}, "outputs": [{"name":"S"},{"name":"Y","parameters":{"binary_data":false}}]`: {yJSON + "," + s, words("äh")},
		`"outputs": [{"name":"S","parameters":{"binary_data":true}}]`:                                                          {s, words("äh")},
		`"outputs": [{"name":"S","parameters":{"binary_data":true, "other": 1}},{"name":"Y"}]`:                                 {yJSON + "," + s, words("äh")},
		`"parameters": {"binary_data_output": false}`:                                                                          {yJSON + "," + sJSON, nil},
		`"parameters": null, "outputs": null`:                                                                                  {yJSON + "," + sJSON, nil},
	} {
		var req Request
		require.NoError(t, c.Decode(&req, "", []byte(`{"inputs": [{"name": "X", "shape": [1, 1], "datatype": "FP32", "data": [1]}], `+ask+`}`)), ask)
		got, err := c.Encode([]byte("before"), &req, outputs, "m", "1")
		require.NoError(t, err)
		require.Equal(t, "before"+head+want.json+"]}"+string(want.raw), string(got), ask)
		if want.raw == nil {
			require.Zero(t, req.HeaderLength())
			require.Equal(t, "application/json", req.ContentType())
			continue
		}
		require.Equal(t, len(head+want.json+"]}"), req.HeaderLength())
		require.Equal(t, ContentBinary, req.ContentType())
		req.EncodeError(nil, Errorf(Failed, "x"))
		require.Equal(t, "application/json", req.ContentType(), "an error is JSON alone")
	}
	var req Request
	require.Error(t, c.Decode(&req, "", []byte(`{"inputs": [[1]], "parameters": {"binary_data_output": 1}}`)), "which is V2's")
}

// TestRawModelsGetJSON is of models that read bodies by themselves.
func TestRawModelsGetJSON(t *testing.T) {
	c := NewRawCodec(nil, Limits{MaxElements: 64})
	body, length := behind(`{"id": "7", "inputs": [`+input("a", "FP32", "[2]", 8)+`, {"name": "b", "shape": [1], "datatype": "INT64", "data": [5]}, `+input("c", "BYTES", "[1]", 6)+`], "outputs": [{"name": "Y"}]}`, singles(1.5, -2), words("\"ä"))
	var req Request
	require.Error(t, c.DecodeBinary(&req, "", length, body), "a byte is missing")
	body, length = behind(`{"id": "7", "inputs": [`+input("a", "FP32", "[2]", 8)+`, {"name": "b", "shape": [1], "datatype": "INT64", "data": [5]}, `+input("c", "BYTES", "[1]", 7)+`], "outputs": [{"name": "Y"}]}`, singles(1.5, -2), words("\"ä"))
	require.NoError(t, c.DecodeBinary(&req, "", length, body))
	require.Equal(t, RawV2, req.Inputs[0].Strings[0])
	require.JSONEq(t, `{"id": "7", "inputs": [
		{"name": "a", "shape": [2], "datatype": "FP32", "data": [1.5, -2]},
		{"name": "b", "shape": [1], "datatype": "INT64", "data": [5]},
		{"name": "c", "shape": [1], "datatype": "BYTES", "data": ["\"ä"]}], "outputs": [{"name": "Y"}]}`, req.Inputs[1].Strings[0])
	for head, tail := range map[string][]byte{
		input("a", "FP32", "[1]", 4): singles(float32(math.NaN())), input("a", "BYTES", "[1]", 5): words("\xff"), input("a", "FP33", "[1]", 4): singles(1),
		input("a", "FP32", "[100]", 400): make([]byte, 400), input("a", "FP32", "[-1]", 4): singles(1), input("a", "FP32", "[1]", 8): singles(1),
		`{"parameters": {"binary_data_size": 4}}`: singles(1), `1`: nil, `{"parameters": 1}`: nil,
	} {
		body, length := behind(`{"inputs": [`+head+`]}`, tail)
		require.Error(t, c.DecodeBinary(&req, "", length, body), head)
	}
	inputs, outputs := c.Tensors()
	require.Empty(t, append(inputs, outputs...))
	sig, err := ParseSignature(`[{"name":"a","type":"double"},{"name":"t","type":"string"}]`, `[{"type":"tensor","tensor-spec":{"dtype":"int64","shape":[-1]}}]`, "")
	require.NoError(t, err)
	inputs, outputs = NewRawCodec(sig, Limits{}).Tensors()
	require.Equal(t, []Spec{spec("a", Float64, -1, 1), spec("t", String, -1, 1)}, inputs)
	require.Equal(t, []Spec{spec("", Int64, -1)}, outputs)
}

func TestWhatWasNotDecodedIsAnsweredInItsForm(t *testing.T) {
	for _, c := range []struct{ kind, length, want string }{
		{"", "", `{"error_code":"MODEL_NOT_FOUND","message":"x","retryable":false}`},
		{RawV2, "", `{"error":"MODEL_NOT_FOUND: x"}`},
		{"", "12", `{"error":"MODEL_NOT_FOUND: x"}`},
	} {
		req := Request{dialect: v2Dialect}
		req.Undecoded(c.kind, c.length)
		require.Equal(t, c.want, string(req.EncodeError(nil, Errorf(NotFound, "x"))))
	}
}

func FuzzDecodeBinary(f *testing.F) {
	body, length := behind(`{"inputs": [`+input("X", "FP32", "[1, 2]", 8)+`], "parameters": {"binary_data_output": true}}`, singles(1, 2))
	n, _ := strconv.Atoi(length)
	f.Add(n, body)
	body, _ = behind(`{"inputs": [`+input("a", "BYTES", "[1, 2]", 10)+`]}`, words("a", "b"))
	f.Add(len(body)-10, body)
	f.Fuzz(func(t *testing.T, head int, body []byte) {
		all := codecs(t)
		all["raw"] = NewRawCodec(nil, Limits{MaxElements: 64, MaxRows: 8})
		for _, c := range all {
			var req Request
			err := c.DecodeBinary(&req, ContentBinary, strconv.Itoa(head), body)
			if !c.info.Raw {
				check(t, c, &req, err)
			}
			if err != nil {
				var v2 struct{ Error string }
				require.NoError(t, json.Unmarshal(req.EncodeError(nil, AsError(err)), &v2))
				require.NotEmpty(t, v2.Error)
				continue
			}
			// The scanner takes what the parser takes, and nothing else.
			var again Request
			again.tail = req.tail
			again.reset(len(c.info.Inputs))
			if !c.info.Raw {
				bad := c.decodeJSON(&again, mediaType{told: true, dialect: v2Dialect}, body[:head])
				require.Nil(t, bad)
				require.Equal(t, again.Inputs, req.Inputs)
			}
		}
	})
}
