package mlflow

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"regexp"
	"strings"
)

// Errors that callers tell apart with [errors.Is].
var (
	ErrNotFound   = errors.New("not found in the registry")
	ErrNotReady   = errors.New("model version is not ready yet")
	ErrFailed     = errors.New("registration of the model version failed")
	ErrNoRegistry = errors.New("MLFLOW_TRACKING_URI is not set")
	ErrArtifact   = errors.New("artifact is not as it should be")
	ErrNoAccess   = errors.New("artifact store is out of reach")
	ErrTooLarge   = errors.New("model is too large")
)

// APIError is an answer of the server other than success.
type APIError struct {
	Method  string
	Path    string // without the query
	Status  int
	Code    string // MLflow's error_code, "" when it gave none
	Message string // one line

	aliasCall bool
}

func (e *APIError) Error() string {
	return fmt.Sprintf("mlflow: %s %s: %d %s: %s", e.Method, e.Path, e.Status, e.Code, e.Message)
}

// Is makes the server's answers about what is not there match [ErrNotFound]. A
// missing alias is a 400, whose only stable mark is its code on that call.
func (e *APIError) Is(target error) bool {
	if target != ErrNotFound {
		return false
	}
	return e.Code == "RESOURCE_DOES_NOT_EXIST" || (e.aliasCall && e.Code == "INVALID_PARAMETER_VALUE")
}

// retryable says whether the same call may do better later.
func (e *APIError) retryable() bool {
	switch e.Status {
	case http.StatusRequestTimeout, http.StatusTooManyRequests, http.StatusInternalServerError,
		http.StatusBadGateway, http.StatusServiceUnavailable, http.StatusGatewayTimeout:
		return true
	}
	return false
}

// noRoute says that the server does not know the call, as older ones do not
// know the newer calls.
func noRoute(err error) bool {
	var e *APIError
	return errors.As(err, &e) && e.Code == "" && (e.Status == http.StatusNotFound || e.Status == http.StatusMethodNotAllowed)
}

func newAPIError(req *http.Request, status int, body []byte, aliasCall bool) *APIError {
	e := &APIError{Method: req.Method, Path: req.URL.Path, Status: status, aliasCall: aliasCall}
	var m struct {
		Code    string `json:"error_code"`
		Message string `json:"message"`
	}
	if json.Unmarshal(body, &m) == nil && (m.Code != "" || m.Message != "") {
		e.Code, e.Message = m.Code, oneLine(m.Message)
		return e
	}
	e.Message = oneLine(regexp.MustCompile(`(?s)<(style|script|title)\b.*?</(style|script|title)>|<[^>]*>`).ReplaceAllString(string(body), " "))
	if e.Message == "" {
		e.Message = http.StatusText(status)
	}
	return e
}

// oneLine makes a text fit a log line.
func oneLine(s string) string {
	s = strings.Join(strings.Fields(s), " ")
	if r := []rune(s); len(r) > 300 {
		s = string(r[:300]) + "…"
	}
	return s
}

// Away says that an error is the registry's absence, or its own trouble, rather
// than an answer to what was asked: no such model, not ready, not allowed.
func Away(err error) bool {
	if err == nil || errors.Is(err, ErrNotFound) || errors.Is(err, ErrNotReady) || errors.Is(err, ErrFailed) ||
		errors.Is(err, ErrBadReference) || errors.Is(err, ErrNoRegistry) {
		return false
	}
	var e *APIError
	return !errors.As(err, &e) || e.retryable()
}
