package gateway

import (
	"math"
	"net/http"
	"strconv"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/admin"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/model"
)

// httpStatus is the HTTP status for the outcome of a request. One that is not
// known comes from a worker that is newer than this gateway.
func httpStatus(code model.Code) int {
	switch code {
	case model.OK:
		return http.StatusOK
	case model.InvalidInput:
		return http.StatusBadRequest
	case model.UnsupportedMediaType:
		return http.StatusUnsupportedMediaType
	case model.NotFound:
		return http.StatusNotFound
	case model.DeadlineExceeded:
		return http.StatusGatewayTimeout
	case model.TooLarge:
		return http.StatusRequestEntityTooLarge
	case model.Overloaded, model.Unavailable:
		return http.StatusServiceUnavailable
	case model.Failed, model.Internal:
		return http.StatusInternalServerError
	default:
		return http.StatusInternalServerError
	}
}

// answer sends what the worker wrote, its body untouched.
func answer(w http.ResponseWriter, v2 bool, rec *kgo.Record) int {
	code, ok := wire.Header(rec, wire.Status)
	if !ok {
		return refuse(w, v2, model.Errorf(model.Internal, "the answer has no status"))
	}
	status := httpStatus(model.Code(code))
	noteCode(w, model.Code(code))
	value := rec.Value
	if v2 && status != http.StatusOK {
		value = asV2(value)
	}
	describeAnswer(w.Header(), rec, len(value))
	tellWhen(w.Header(), status)
	w.WriteHeader(status)
	// A client that does not take it is no error of ours.
	_, _ = w.Write(value) //nolint:gosec // no page: its type is what the worker says, and browsers may not guess
	return status
}

// describeAnswer tells of the answer what HTTP has headers for, all of them in two
// pieces of memory.
func describeAnswer(h http.Header, rec *kgo.Record, length int) {
	heads := [...]struct{ from, to string }{ // to is as HTTP writes it
		{wire.ContentType, "Content-Type"},
		{wire.HeaderLength, headerLength},
		{wire.ModelName, headerModelName},
		{wire.ModelVersion, headerModelVersion},
		{wire.ID, "Ce-Id"},
		{wire.Worker, "X-Worker"},
		{"", "Content-Length"},
	}
	var room [256]byte
	var ends [len(heads)]int
	text := room[:0]
	for i, head := range heads {
		if head.from == "" {
			text = strconv.AppendInt(text, int64(length), 10)
		} else {
			v, _ := wire.Header(rec, head.from)
			text = append(text, v...)
		}
		ends[i] = len(text)
	}
	whole, from, values := string(text), 0, make([]string, 0, len(heads)+1)
	put := func(name, value string) {
		values = append(values, value)
		h[name] = values[len(values)-1 : len(values) : len(values)]
	}
	for i, head := range heads {
		if from < ends[i] {
			put(head.to, whole[from:ends[i]])
		}
		from = ends[i]
	}
	put("X-Content-Type-Options", "nosniff")
}

// refuse sends an error of the gateway's own, with the status for its code.
func refuse(w http.ResponseWriter, v2 bool, err *model.Error) int {
	return fail(w, v2, httpStatus(err.Code), err)
}

// fail writes the error in the form that the request's dialect has for it.
func fail(w http.ResponseWriter, v2 bool, status int, err *model.Error) int {
	noteCode(w, err.Code)
	tellWhen(w.Header(), status)
	if status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", "Bearer") // RFC 6750
	}
	if v2 {
		admin.WriteJSON(w, status, map[string]string{"error": err.Error()})
		return status
	}
	admin.WriteJSON(w, status, struct {
		Code      model.Code `json:"error_code"`
		Message   string     `json:"message"`
		Retryable bool       `json:"retryable"`
	}{err.Code, err.Message, err.Code.Retryable()})
	return status
}

// retrySoon is when to come back after what may pass at any moment.
const retrySoon = time.Second

// tellWhen says when to come back, unless that was said.
func tellWhen(h http.Header, status int) {
	if status == http.StatusServiceUnavailable && h.Get("Retry-After") == "" {
		tellAfter(h, retrySoon)
	}
}

// tellAfter says it in whole seconds, as HTTP wants, rounded up.
func tellAfter(h http.Header, d time.Duration) {
	h.Set("Retry-After", strconv.FormatInt(max(1, int64(math.Ceil(d.Seconds()))), 10))
}
