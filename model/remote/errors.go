package remote

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"

	"github.com/millrace/millrace/model"
)

// Errors that callers tell apart with [errors.Is].
var (
	ErrClosed   = errors.New("the remote model is closed")
	ErrNotReady = errors.New("the endpoint does not serve the model at the moment")

	errTimeout = errors.New("no answer within MILLRACE_REMOTE_TIMEOUT")
)

// refusal is the error of an answer other than success. What the endpoint says
// of a request is handed on to who sent it; what it says of itself is for the
// log alone.
func refusal(status int, body []byte) *model.Error {
	said, raised := sentence(body)
	if said == "" {
		said = http.StatusText(status)
	}
	cause := fmt.Errorf("status %d: %s", status, said)
	if raised != "" {
		cause = fmt.Errorf("%w (%s)", cause, raised)
	}
	code, message := model.Failed, fmt.Sprintf("the remote model failed with status %d", status)
	switch status {
	case http.StatusBadRequest, http.StatusUnprocessableEntity:
		return &model.Error{Code: model.InvalidInput, Message: said, Err: cause}
	case http.StatusNotFound, http.StatusGone:
		return &model.Error{Code: model.NotFound, Message: said, Err: cause}
	case http.StatusRequestEntityTooLarge:
		return &model.Error{Code: model.TooLarge, Message: said, Err: cause}
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired:
		// Nobody who sends requests can help that; a token that is renewed does.
		code, message = model.Unavailable, "the remote model refuses this worker's credentials"
	case http.StatusRequestTimeout, http.StatusTooEarly, http.StatusTooManyRequests:
		code, message = model.Unavailable, "the remote model is overloaded"
	case http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		code, message = model.Unavailable, "the remote model is not available"
	}
	if status >= 300 && status < 400 {
		cause = fmt.Errorf("status %d: a redirect that is not followed: to another host or scheme, or one too many", status)
	}
	return &model.Error{Code: code, Message: message, Err: cause}
}

// lives says whether a status tells that the endpoint works, whatever it thinks
// of the request.
func lives(status int) bool {
	switch status {
	case http.StatusUnauthorized, http.StatusForbidden, http.StatusProxyAuthRequired,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return false
	}
	return true
}

// sentence is what an error's body says, in one line. V2 has {"error"}, MLflow
// {"error_code","message"} with a stack_trace that is left where it is, and
// what frameworks answer by themselves is {"detail"}, a page, or a traceback,
// whose last line is what was raised.
func sentence(body []byte) (said, raised string) {
	var fields struct {
		Error   any `json:"error"`
		Message any `json:"message"`
		Detail  any `json:"detail"`
	}
	text := ""
	if json.Unmarshal(body, &fields) == nil {
		for _, v := range []any{fields.Message, fields.Error, fields.Detail} {
			if s, ok := v.(string); ok && text == "" {
				text = s
			}
		}
		if list, ok := fields.Detail.([]any); ok && text == "" {
			compact, err := json.Marshal(list)
			if err == nil {
				text = string(compact)
			}
		}
	} else {
		text = regexp.MustCompile(`(?s)<(style|script|title)\b.*?</(style|script|title)>|<[^>]*>`).ReplaceAllString(string(body), " ")
	}
	// What Python appends to some messages is about its own files.
	text, trace, found := strings.Cut(text, "Traceback (most recent call last)")
	if found {
		trace = strings.TrimSpace(trace)
		raised = oneLine(trace[strings.LastIndexByte(trace, '\n')+1:])
	}
	return oneLine(text), raised
}

func oneLine(text string) string {
	const longest = 1024
	text = strings.Join(strings.Fields(strings.ToValidUTF8(text, "\uFFFD")), " ")
	if len(text) > longest {
		text = strings.ToValidUTF8(text[:longest], "") + "…"
	}
	return text
}

// failed is the model's failure, with the reason for the log.
func failed(format string, args ...any) *model.Error {
	return &model.Error{Code: model.Failed, Message: "the remote model failed", Err: fmt.Errorf(format, args...)}
}
