package worker

import "github.com/millrace/millrace/model"

// observe tells how the last call of the model went.
func (e *executor) observe(answered, failed int) {
	if e.deps.Outcomes == nil {
		return
	}
	if answered > 0 {
		e.deps.Outcomes.Observe(e.snap, true, e.took, answered)
	}
	if failed > 0 {
		e.deps.Outcomes.Observe(e.snap, false, e.took, failed)
	}
}

// faulty says whether an error is the model's fault rather than the request's.
func faulty(err error) bool {
	if err == nil {
		return false
	}
	switch model.AsError(err).Code { //nolint:exhaustive // the others are the request's
	case model.Failed, model.Unavailable, model.Internal:
		return true
	default:
		return false
	}
}
