package follow

import (
	"fmt"
	"time"
)

// slowness is what was seen of a version's slow calls, look by look. A process
// that stood still for a moment has as many of them as it has executors, all at
// once, which says nothing of the version.
type slowness struct {
	relative, absolute strikes
}

// strikes counts the looks that found more calls above a limit.
type strikes struct {
	above uint64
	looks int
}

// slowLooks is how many looks have to find slow calls.
const slowLooks = 5

// slack is what a version may be slower in any case.
const slack = 10 * time.Millisecond

// judge says how the calls of a version are too slow, "" when they are not. It
// is held against the version before among calls of the size that it had most
// of.
func (s *slowness) judge(cfg *Config, recent *tally, before *outcomes) (detail string) {
	least := uint64(cfg.RollbackMin) //nolint:gosec // above 0
	if at, n := p95(recent.all()...); cfg.RollbackP95 > 0 && n >= least && at > cfg.RollbackP95 {
		if s.absolute.struck(cfg.RollbackP95, recent.all()...) {
			return fmt.Sprintf("the p95 of its calls is %s, more than %s", at, cfg.RollbackP95)
		}
	}
	if cfg.RollbackSlower == 0 {
		return ""
	}
	most, calls := 0, uint64(0)
	for i := range recent.calls {
		if _, n := p95(&recent.calls[i]); n > calls {
			most, calls = i, n
		}
	}
	at, _ := p95(&recent.calls[most])
	was, n := p95(&before.recent.Load().calls[most], &before.last.Load().calls[most])
	limit := max(was+slack, time.Duration(cfg.RollbackSlower*float64(was)))
	if calls < least || n < least || at <= limit || !s.relative.struck(limit, &recent.calls[most]) {
		return ""
	}
	return fmt.Sprintf("the p95 of its calls is %s, that of the version before %s", at, was)
}

// struck counts a look, and says whether there were enough.
func (s *strikes) struck(limit time.Duration, hs ...*histogram) bool {
	n := uint64(0)
	for _, h := range hs {
		for i := range h.buckets {
			if upper(i) > limit {
				n += uint64(h.buckets[i].Load())
			}
		}
	}
	if n > s.above {
		s.looks++
	}
	s.above = n
	return s.looks >= slowLooks
}
