package producer

import (
	"slices"
	"sync"
	"sync/atomic"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// late are the records that the client has given up, to be sent again. The
// client fails those of a partition in their order, and they are sent again in
// it, before any that were published meanwhile: answers keep their order when
// the brokers are away for longer than the client is patient.
type late struct {
	busy atomic.Bool // there are some; also read without mu

	mu     sync.Mutex // guards what follows
	failed []attempt  // in the order of the failures
	behind []attempt  // published since, in their order
}

// attempt is a record on its way.
type attempt struct {
	*publication
	kind string
	rec  *kgo.Record
	bad  *atomic.Bool
	err  error // why it has to be sent again
}

// postpone takes a record that was not taken, until a later try.
func (p *Producer) postpone(a attempt) {
	if !p.refused.Swap(true) {
		p.deps.Logger.Error("answers are refused, trying again", "topic", a.rec.Topic, "err", a.err)
	}
	p.late.mu.Lock()
	defer p.late.mu.Unlock()
	p.late.failed = append(p.late.failed, a)
	if !p.late.busy.Swap(true) {
		p.open.Go(p.resend)
	}
}

// behind takes a new record when it has to wait for those that failed.
func (p *Producer) behind(a attempt) bool {
	if !p.late.busy.Load() {
		return false
	}
	p.late.mu.Lock()
	defer p.late.mu.Unlock()
	if !p.late.busy.Load() {
		return false
	}
	p.late.behind = append(p.late.behind, a)
	return true
}

// resend sends what is late until nothing is.
func (p *Producer) resend() {
	for {
		p.late.mu.Lock()
		if len(p.late.failed)+len(p.late.behind) == 0 {
			p.late.busy.Store(false)
			p.late.mu.Unlock()
			return
		}
		failed := len(p.late.failed) > 0
		p.late.mu.Unlock()
		if failed {
			p.pauseLate()
		}
		p.late.mu.Lock()
		list := slices.Concat(p.late.failed, p.late.behind)
		p.late.failed, p.late.behind = nil, nil
		p.late.mu.Unlock()
		for _, a := range list {
			if a.err != nil && a.ctx.Err() != nil {
				a.settle(a.err)
				continue
			}
			a.try(a.kind, fresh(a.rec), a.bad)
		}
	}
}

// pauseLate waits for the next try, or until the first is not to be tried.
func (p *Producer) pauseLate() {
	p.late.mu.Lock()
	done := p.late.failed[0].ctx.Done()
	p.late.mu.Unlock()
	timer := time.NewTimer(p.cfg.RetryBackoff)
	defer timer.Stop()
	select {
	case <-done:
	case <-timer.C:
	}
}
