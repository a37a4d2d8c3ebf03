package gateway

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strconv"
	"strings"

	"github.com/millrace/millrace/model"
)

// way is how a request came in: what its address and headers say of its body.
type way struct {
	v2           bool // by an address of the Open Inference Protocol, whose errors it gets
	contentType  string
	headerLength string // of the binary tensor data extension
	model        string
	no           *refusal // it is not taken
}

// looksV2 is a guess that costs no parsing: only the Open Inference Protocol
// names a datatype.
func looksV2(body []byte) bool { return bytes.Contains(body, []byte(`"datatype"`)) }

// looksTimed says whether a body may have a timeout of its own.
func looksTimed(head []byte) bool { return bytes.Contains(head, []byte(`"timeout"`)) }

// headOf is the JSON of a body that tensors may follow.
func headOf(body []byte, headerLength string) []byte {
	if n, err := strconv.Atoi(headerLength); err == nil && n >= 0 && n <= len(body) {
		return body[:n]
	}
	return body
}

// asV2 is an error of a worker in the protocol's form: what is refused before its
// dialect is known comes in MLflow's.
func asV2(value []byte) []byte {
	var e struct {
		Error   *string    `json:"error"`
		Code    model.Code `json:"error_code"`
		Message string     `json:"message"`
		Field   string     `json:"field"`
	}
	if json.Unmarshal(value, &e) != nil || e.Error != nil || e.Code == "" {
		return value
	}
	text, err := json.Marshal(map[string]string{"error": (&model.Error{Code: e.Code, Message: e.Message, Field: e.Field}).Error()})
	if err != nil { // of strings, which never fails
		return value
	}
	return text
}

// messageOf is the sentence of a worker's error, in whichever form it is.
func messageOf(value []byte, code string) string {
	var e struct {
		Error string `json:"error"`
	}
	if json.Unmarshal(asV2(value), &e) != nil || e.Error == "" {
		return code
	}
	return e.Error
}

// refuseForm refuses what curl says of a body when it is told nothing: taken for
// JSON it would work, until somebody means a form.
func refuseForm(contentType string) *refusal {
	media, _, _ := strings.Cut(contentType, ";")
	if !strings.EqualFold(strings.TrimSpace(media), "application/x-www-form-urlencoded") {
		return nil
	}
	return &refusal{status: http.StatusUnsupportedMediaType, err: model.Errorf(model.UnsupportedMediaType,
		"content type %s is what curl sends when it is told none: add -H 'Content-Type: application/json', or text/csv", media)}
}
