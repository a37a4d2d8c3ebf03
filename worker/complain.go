package worker

import (
	"sync"
	"time"

	"github.com/millrace/millrace/model"
)

// quietFor is how long failures of one code are only counted after one of them
// was logged: a model that fails on every request would write a line for each.
const quietFor = 10 * time.Second

// complaints keeps failures of the same kind from flooding the log.
type complaints struct {
	mu     sync.Mutex
	silent map[model.Code]*silence // guarded by mu
}

type silence struct {
	until time.Time
	kept  int // failures that were not logged
}

// complain logs why a request failed, when that is not the request's own fault:
// invalid ones are their sender's business, and told in the answer, the dead
// letter and the series.
func (p *Pool) complain(t task, verdict *model.Error) {
	if verdict.Err == nil || !ours(verdict.Code) {
		return
	}
	kept, speak := p.complaints.turn(verdict.Code, time.Now())
	if !speak {
		return
	}
	p.deps.Logger.Warn("request failed", "topic", t.rec.Topic, "partition", t.rec.Partition,
		"offset", t.rec.Offset, "code", string(verdict.Code), "err", verdict.Err, "not_logged_before", kept)
}

func ours(code model.Code) bool {
	return code == model.Failed || code == model.Internal || code == model.Unavailable
}

// turn says whether a failure is logged, and how many were not since the last.
func (c *complaints) turn(code model.Code, now time.Time) (kept int, speak bool) {
	c.mu.Lock()
	defer c.mu.Unlock()
	s := c.silent[code]
	if s == nil {
		if c.silent == nil {
			c.silent = make(map[model.Code]*silence)
		}
		s = &silence{}
		c.silent[code] = s
	}
	if now.Before(s.until) {
		s.kept++
		return 0, false
	}
	kept, s.kept, s.until = s.kept, 0, now.Add(quietFor)
	return kept, true
}
