package producer

import (
	"sync"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/metrics"
)

// Transactional publishes answers with a transactional client that somebody
// else begins and ends transactions of. A record that is refused for anything
// but its size fails its answer at once: the transaction has to be aborted, and
// its answers to be published again in another.
type Transactional struct{ *Producer }

// NewTransactional returns a producer on a client that has cfg.ClientOpts and a
// transactional id, and stays the caller's to close.
func NewTransactional(cfg Config, deps Deps, cl *kgo.Client) Transactional {
	p := on(cfg, deps, cl)
	p.tally = new(tally)
	return Transactional{p}
}

// Ended says that the transaction of all that was published since the last call
// has ended. Only what was committed counts as published. Nothing is being
// published meanwhile.
func (t Transactional) Ended(committed bool) {
	t.tally.mu.Lock()
	defer t.tally.mu.Unlock()
	if committed {
		for _, p := range t.tally.list {
			t.published(p.kind, p.status)
		}
	}
	t.tally.list = t.tally.list[:0]
}

// published is a record that the broker has taken.
type published struct{ kind, status string }

// tally holds what was published within a transaction until its end.
type tally struct {
	mu   sync.Mutex
	list []published // guarded by mu
}

func (t *tally) add(p published) {
	t.mu.Lock()
	t.list = append(t.list, p)
	t.mu.Unlock()
}

// count notes a record that the broker has acknowledged, now or, within a
// transaction, when it is committed.
func (p *Producer) count(kind, status string) {
	if p.tally != nil {
		p.tally.add(published{kind, status})
		return
	}
	p.published(kind, status)
}

func (p *Producer) published(kind, status string) {
	p.counts[kind].Inc()
	if kind == metrics.KindDeadLetter {
		p.deps.Metrics.DeadLetters.WithLabelValues(status).Inc()
	}
}
