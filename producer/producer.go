package producer

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"sync"
	"sync/atomic"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/kafka"
	"github.com/millrace/millrace/internal/wire"
	"github.com/millrace/millrace/metrics"
	"github.com/millrace/millrace/model"
)

// Deps is what a producer works with.
type Deps struct {
	Logger  *slog.Logger
	Metrics *metrics.Producer
	Topics  kafka.Topics
	Group   string    // the consumer group, for the dead letter's headers
	Worker  string    // this host's name, for the answers' headers
	Opts    []kgo.Opt // how brokers are reached

	// ErrorBody writes the error that takes the place of an answer that
	// cannot be published.
	ErrorBody func(*model.Error) (contentType string, value []byte)
}

// Producer publishes answers. It is safe for concurrent use.
type Producer struct {
	cfg     Config
	deps    Deps
	cl      *kgo.Client
	counts  map[string]prometheus.Counter // published records by kind
	tally   *tally                        // nil outside of transactions
	open    sync.WaitGroup                // publications; Publish does not run beside Close
	refused atomic.Bool                   // the broker refuses: said once until it takes again
	late    late                          // what it refused
	shared  atomic.Pointer[shared]        // headers of the last answer, which the next mostly has too
	used    sync.Pool                     // publications that are over
}

// New returns a producer with a client of its own, which Close ends.
func New(cfg Config, deps Deps) (*Producer, error) {
	cl, err := kgo.NewClient(append(slices.Clone(deps.Opts), cfg.ClientOpts()...)...)
	if err != nil {
		return nil, fmt.Errorf("making the producer's client: %w", err)
	}
	return on(cfg, deps, cl), nil
}

// ClientOpts are a client's options to publish with.
func (c Config) ClientOpts() []kgo.Opt {
	codec, _ := c.codec()
	return []kgo.Opt{
		// The worker batches already; waiting only adds latency.
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(c.MaxBuffered),
		kgo.ProducerBatchMaxBytes(c.BatchMaxBytes),
		kgo.ProducerBatchCompression(codec),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.UnknownTopicRetries(-1),
		// A connection that ends before its first answer is a broker or a proxy
		// that goes away: the client would fail all that it holds.
		kgo.AlwaysRetryEOF(),
		kgo.RecordPartitioner(partitioner()),
	}
}

func on(cfg Config, deps Deps, cl *kgo.Client) *Producer {
	counts := make(map[string]prometheus.Counter)
	for _, kind := range []string{metrics.KindResult, metrics.KindReply, metrics.KindDeadLetter} {
		counts[kind] = deps.Metrics.Published.WithLabelValues(kind)
	}
	return &Producer{cfg: cfg, deps: deps, cl: cl, counts: counts}
}

// Close waits a bounded time for what is on its way, then fails the rest.
func (p *Producer) Close() error {
	ctx, cancel := context.WithTimeout(context.Background(), p.cfg.CloseTimeout)
	defer cancel()
	err := p.cl.Flush(ctx)
	p.cl.Close()
	p.open.Wait() // what was left has failed, its goroutines with it
	if err != nil {
		return fmt.Errorf("flushing answers: %w", err)
	}
	return nil
}

// publication is one answer until all its records are acknowledged.
type publication struct {
	*Producer
	ctx     context.Context //nolint:containedctx // Bounds the retries, which outlive Publish.
	answer  *wire.Answer
	parent  *publication // which it takes the place of a record of, nil for none
	acked   func(status string, err error)
	status  atomic.Pointer[string] // of what is published; the parent's counts
	pending atomic.Int32
	err     atomic.Pointer[error] // the first
	spoilt  atomic.Bool           // a record of it was refused: its memory may still be known elsewhere
	first   outgoing              // its first record
	begun   bool                  // first is taken
}

// Publish sends the answer, and the dead letter when it is no prediction. It
// blocks for backpressure only. acked is called once, when all of it is
// acknowledged or cannot be, with the status of the answer that was published:
// one that cannot be published gives way to an error. Ending ctx ends retries;
// it does not abort what may be on the broker already.
func (p *Producer) Publish(ctx context.Context, a *wire.Answer, acked func(status string, err error)) {
	pub, _ := p.used.Get().(*publication)
	if pub == nil {
		pub = new(publication)
	}
	pub.Producer, pub.ctx, pub.answer, pub.acked = p, ctx, a, acked
	target, err := p.target(a)
	if err != nil {
		pub.answer = p.replace(a, err)
	}
	pub.status.Store(&pub.answer.Status)
	p.open.Add(1)
	pub.pending.Store(1) // held until all records are handed over
	pub.send(target)
	pub.settle(nil)
}

// send produces the records of the answer.
func (pub *publication) send(t target) {
	if t.topic != pub.deps.Topics.Results {
		pub.produce(metrics.KindReply, pub.record(t), t.bad)
	}
	if t.topic == pub.deps.Topics.Results || pub.cfg.ReplyAlsoResults {
		pub.produce(metrics.KindResult, pub.record(target{topic: pub.deps.Topics.Results, partition: -1}), nil)
	}
	if !pub.answer.OK() {
		pub.produce(metrics.KindDeadLetter, pub.deadLetter(), nil)
	}
}

// settle takes one record off the account.
func (pub *publication) settle(err error) {
	if err != nil {
		pub.err.CompareAndSwap(nil, &err)
	}
	if pub.pending.Add(-1) > 0 {
		return
	}
	var first error
	if p := pub.err.Load(); p != nil {
		first = *p
	}
	if pub.parent != nil {
		pub.parent.settle(first)
		return
	}
	p, acked, status := pub.Producer, pub.acked, *pub.status.Load()
	if first == nil && !pub.spoilt.Load() {
		// All of it was acknowledged at once, so that the client is done with
		// it, and so is who called this.
		pub.ctx, pub.answer, pub.acked, pub.begun = nil, nil, nil, false
		pub.first.record = kgo.Record{}
		p.used.Put(pub)
	}
	acked(status, first)
	p.open.Done()
}

func (pub *publication) produce(kind string, r *kgo.Record, bad *atomic.Bool) {
	pub.pending.Add(1)
	if !pub.behind(attempt{pub, kind, r, bad, nil}) {
		pub.try(kind, r, bad)
	}
}

func (pub *publication) try(kind string, r *kgo.Record, bad *atomic.Bool) {
	pub.deps.Metrics.Buffered.Inc()
	// What ends pub.ctx must not abort what may be on the broker already.
	pub.cl.Produce(context.Background(), r, func(r *kgo.Record, err error) {
		pub.deps.Metrics.Buffered.Dec()
		if err == nil {
			if pub.refused.Load() { // seldom, and a store would be fought over
				pub.refused.Store(false)
			}
			pub.count(kind, pub.answer.Status)
			pub.settle(nil)
			return
		}
		pub.spoilt.Store(true)
		pub.deps.Metrics.PublishErrors.WithLabelValues(kind).Inc()
		// A promise must not produce: the client waits for it to return.
		if pub.lasts(bad, err) {
			go pub.failed(kind, r, bad, err)
		} else {
			pub.postpone(attempt{pub, kind, r, bad, err})
		}
	})
}

// lasts says that an error would be the same the next time. What a transaction
// did not take ends it: it is all published again in another.
func (pub *publication) lasts(bad *atomic.Bool, err error) bool {
	return pub.tally != nil || errors.Is(err, kgo.ErrClientClosed) || pub.ctx.Err() != nil || bad != nil && bad.Load() || errors.Is(err, kerr.MessageTooLarge)
}

// failed decides what becomes of a record that will not be taken.
func (pub *publication) failed(kind string, r *kgo.Record, bad *atomic.Bool, err error) {
	switch {
	case errors.Is(err, kgo.ErrClientClosed) || pub.ctx.Err() != nil:
		pub.settle(err)
	case bad != nil && bad.Load():
		pub.instead(model.Invalidf(wire.ReplyPartition, "the reply topic has no such partition"))
	case errors.Is(err, kerr.MessageTooLarge) && kind != metrics.KindDeadLetter && pub.answer.Status != string(model.TooLarge):
		pub.instead(model.Errorf(model.TooLarge, "the answer is larger than the broker takes"))
	case errors.Is(err, kerr.MessageTooLarge) && lighten(kind, r):
		pub.try(kind, fresh(r), bad)
	case errors.Is(err, kerr.MessageTooLarge) && kind == metrics.KindDeadLetter:
		pub.giveUp(err)
		pub.settle(nil)
	default:
		pub.settle(err)
	}
}

// giveUp says of a dead letter that its topic takes it in no form. The request
// has its answer: it must not stand in its partition for ever.
func (pub *publication) giveUp(err error) {
	req := pub.answer.Request
	pub.deps.Metrics.LettersLost.Inc()
	pub.deps.Logger.Error("the dead-letter topic takes no letter for the request, however short; raise its max.message.bytes",
		"topic", pub.deps.Topics.DeadLetters, "request_topic", req.Topic, "partition", req.Partition, "offset", req.Offset, "code", pub.answer.Status, "err", err)
}

// instead publishes an error on the results topic in the place of a record.
func (pub *publication) instead(err *model.Error) {
	sub := &publication{Producer: pub.Producer, ctx: pub.ctx, answer: pub.replace(pub.answer, err), parent: pub}
	for p := pub; p != nil; p = p.parent {
		p.status.Store(&sub.answer.Status)
	}
	sub.pending.Store(1)
	sub.send(target{topic: pub.deps.Topics.Results, partition: -1})
	sub.settle(nil)
}

func (p *Producer) replace(a *wire.Answer, err *model.Error) *wire.Answer {
	b := *a
	b.Status, b.Message = string(err.Code), err.Error()
	b.HeaderLength = 0
	b.ContentType, b.Value = p.deps.ErrorBody(err)
	return &b
}

// fresh is the same record, never produced: the client marks those it saw.
func fresh(r *kgo.Record) *kgo.Record {
	return &kgo.Record{
		Topic: r.Topic, Partition: r.Partition, Key: r.Key, Value: r.Value, Headers: r.Headers, Context: r.Context,
	}
}
