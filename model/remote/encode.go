package remote

import (
	"encoding/binary"
	"encoding/json"
	"math"
	"net/http"
	"strconv"

	"github.com/millrace/millrace/model"
)

// headerLength names the header that says how many bytes of a body are JSON,
// where tensors follow it as bytes.
const headerLength = "Inference-Header-Content-Length"

// binaryRequest writes a request in the binary tensor extension: the JSON, then
// each tensor's elements, little-endian, one tensor after the other; strings
// are a u32 length and their bytes. All outputs are asked for in that form.
func binaryRequest(inputs []model.Tensor) ([]byte, http.Header, error) {
	sizes, all := make([]int, len(inputs)), 0
	for i := range inputs {
		t := &inputs[i]
		sizes[i] = len(t.Data)
		for _, s := range t.Strings {
			sizes[i] += 4 + len(s)
		}
		all += sizes[i]
	}
	const room = 128 // bytes of JSON an input
	body := make([]byte, 0, all+room*(1+len(inputs)))
	body = append(body, `{"inputs":[`...)
	for i := range inputs {
		body = appendHead(body, i, &inputs[i])
		body = append(body, `,"parameters":{"binary_data_size":`...)
		body = append(strconv.AppendInt(body, int64(sizes[i]), 10), "}}"...)
	}
	body = append(body, `],"parameters":{"binary_data_output":true}}`...)
	header := http.Header{
		"Content-Type": {"application/octet-stream"},
		headerLength:   {strconv.Itoa(len(body))},
	}
	for i := range inputs {
		t := &inputs[i]
		body = append(body, t.Data...)
		for _, s := range t.Strings {
			if len(s) > math.MaxInt32 {
				return nil, nil, model.Invalidf(t.Name, "a string is too long")
			}
			body = append(binary.LittleEndian.AppendUint32(body, uint32(len(s))), s...) //nolint:gosec // its length was checked
		}
	}
	return body, header, nil
}

// jsonRequest writes a request with its data in the JSON, flat.
func jsonRequest(inputs []model.Tensor) ([]byte, http.Header, error) {
	body := append(make([]byte, 0, 1<<10), `{"inputs":[`...)
	for i := range inputs {
		body = appendHead(body, i, &inputs[i])
		var err error
		if body, err = inputs[i].AppendFlat(append(body, `,"data":`...)); err != nil {
			return nil, nil, err
		}
		body = append(body, '}')
	}
	return append(body, "]}"...), http.Header{"Content-Type": {"application/json"}}, nil
}

// appendHead begins the i-th input, up to its data.
func appendHead(body []byte, i int, t *model.Tensor) []byte {
	if i > 0 {
		body = append(body, ',')
	}
	body = appendText(append(body, `{"name":`...), t.Name)
	body = append(body, `,"shape":[`...)
	for d, n := range t.Shape {
		if d > 0 {
			body = append(body, ',')
		}
		body = strconv.AppendInt(body, n, 10)
	}
	return append(append(append(body, `],"datatype":"`...), t.DType.V2()...), '"')
}

func appendText(body []byte, s string) []byte {
	text, err := json.Marshal(s)
	if err != nil { // no string fails
		return append(body, `""`...)
	}
	return append(body, text...)
}
