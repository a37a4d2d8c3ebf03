package sharegroup

import (
	"bytes"
	"context"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// logbook keeps what is logged.
type logbook struct {
	mu   sync.Mutex
	text bytes.Buffer
}

func (l *logbook) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(p)
}

func (l *logbook) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}

// pool answers each record, after a while, with what the test says. A record
// for which it says nothing is held until the lease ends.
type pool struct {
	answer    func(*kgo.Record) string // status, or "" to hold it
	delay     time.Duration
	final     bool // no other delivery changes the answers
	stuck     bool // what is held stays when the lease ends
	publisher Publisher
	published book

	mu   sync.Mutex
	runs []run
	held []held
}

// run is a record as the pool got it.
type run struct {
	value string
	count int32
	beside,
	offset int64
}

type held struct {
	rec  *kgo.Record
	done func(*kgo.Record, error)
}

func (p *pool) Submit(ctx context.Context, recs []*kgo.Record, done func(*kgo.Record, error)) {
	for _, r := range recs {
		p.mu.Lock()
		p.runs = append(p.runs, run{string(r.Value), r.DeliveryCount(), int64(len(recs)) - 1, r.Offset})
		p.mu.Unlock()
		status := "ok"
		if d := wire.DeliveryOf(r); d.Code != "" {
			status = d.Code
		} else if p.answer != nil {
			status = p.answer(r)
		}
		if status == "" {
			p.mu.Lock()
			p.held = append(p.held, held{r, done})
			p.mu.Unlock()
			continue
		}
		time.AfterFunc(p.delay, func() { p.reply(ctx, r, status, done) })
	}
	if p.stuck {
		return
	}
	context.AfterFunc(ctx, func() { p.release(func(*kgo.Record) error { return context.Cause(ctx) }) }) //nolint:contextcheck // The lease has ended.
}

func (p *pool) reply(ctx context.Context, r *kgo.Record, status string, done func(*kgo.Record, error)) {
	p.publisher.Publish(ctx, &wire.Answer{Request: r, Status: status, Final: p.final}, func(_ string, err error) { done(r, err) })
}

// release ends what is held: with an error, or answered when it is nil.
func (p *pool) release(why func(*kgo.Record) error) {
	p.mu.Lock()
	all := p.held
	p.held = nil
	p.mu.Unlock()
	for _, h := range all {
		if err := why(h.rec); err != nil {
			h.done(h.rec, err)
			continue
		}
		p.reply(context.Background(), h.rec, "ok", h.done)
	}
}

func (p *pool) holding() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return len(p.held)
}

func (p *pool) ran() []run {
	p.mu.Lock()
	defer p.mu.Unlock()
	return append([]run(nil), p.runs...)
}

// book is what was published.
type book struct {
	mu  sync.Mutex
	got []published
	err error // refuses when set
}

type published struct {
	value, status string
	count         int
}

func (k *book) Publish(_ context.Context, a *wire.Answer, acked func(string, error)) {
	k.mu.Lock()
	err := k.err
	if err == nil {
		k.got = append(k.got, published{string(a.Request.Value), a.Status, wire.DeliveryOf(a.Request).Attempts})
	}
	k.mu.Unlock()
	acked(a.Status, err)
}

func (k *book) all() []published {
	k.mu.Lock()
	defer k.mu.Unlock()
	return append([]published(nil), k.got...)
}
