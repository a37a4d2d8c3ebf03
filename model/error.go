package model

import (
	"errors"
	"fmt"
)

// Code says why a request has no prediction. The set is closed: it is a metric
// label, a header's value and part of the answer.
type Code string

// The codes. OK is the status of an answer that is a prediction.
const (
	OK                   Code = "ok"
	InvalidInput         Code = "INVALID_INPUT"
	UnsupportedMediaType Code = "UNSUPPORTED_MEDIA_TYPE"
	NotFound             Code = "MODEL_NOT_FOUND"
	Failed               Code = "MODEL_FAILED"
	DeadlineExceeded     Code = "DEADLINE_EXCEEDED"
	TooLarge             Code = "TOO_LARGE"
	Overloaded           Code = "OVERLOADED"
	Unavailable          Code = "UNAVAILABLE"
	Internal             Code = "INTERNAL"
)

// Codes lists every code, OK first.
func Codes() []Code {
	return []Code{
		OK, InvalidInput, UnsupportedMediaType, NotFound, Failed,
		DeadlineExceeded, TooLarge, Overloaded, Unavailable, Internal,
	}
}

// Retryable says whether the same request may succeed when it is sent again.
func (c Code) Retryable() bool {
	switch c { //nolint:exhaustive // the others are final
	case DeadlineExceeded, Overloaded, Unavailable, Internal:
		return true
	default:
		return false
	}
}

// Error is why a request has no prediction, in words for who sent it.
type Error struct {
	Code    Code
	Message string
	Field   string // which part of the input is wrong: "inputs[0][2]", a column's name; may be empty
	Err     error  // the cause, for the log; not part of the answer
}

func (e *Error) Error() string {
	if e.Field != "" {
		return fmt.Sprintf("%s: %s: %s", e.Code, e.Field, e.Message)
	}
	return fmt.Sprintf("%s: %s", e.Code, e.Message)
}

func (e *Error) Unwrap() error { return e.Err }

// Errorf makes an [Error] whose message is formatted as by [fmt.Errorf]; %w
// keeps the cause.
func Errorf(code Code, format string, args ...any) *Error {
	err := fmt.Errorf(format, args...)
	return &Error{Code: code, Message: err.Error(), Err: errors.Unwrap(err)}
}

// Invalidf makes an [InvalidInput] error about one field.
func Invalidf(field, format string, args ...any) *Error {
	e := Errorf(InvalidInput, format, args...)
	e.Field = field
	return e
}

// AsError returns err as an [Error]: itself when it is one, else an [Internal]
// one around it.
func AsError(err error) *Error {
	if e := (*Error)(nil); errors.As(err, &e) {
		return e
	}
	return &Error{Code: Internal, Message: "internal error", Err: err}
}
