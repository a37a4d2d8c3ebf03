package model

import "time"

// LoadingError is why a request cannot be answered yet: its model is being
// loaded. To who does not wait it is an [Error] with [Unavailable].
type LoadingError struct {
	Err   *Error
	Done  <-chan struct{} // closed when the load has ended, well or not
	Until time.Time       // no request waits longer
}

func (e *LoadingError) Error() string { return e.Err.Error() }

func (e *LoadingError) Unwrap() error { return e.Err }
