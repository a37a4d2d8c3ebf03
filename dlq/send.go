package dlq

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kerr"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// TransactionalID fences one replay of a topic by the next. It is what an
// access list has to allow.
func TransactionalID(topic string) string { return "millrace-dlq-replay." + topic }

// options are the producer's, none for a run that sends nothing.
func (s *run) options() []kgo.Opt {
	if s.DryRun {
		return nil
	}
	return []kgo.Opt{
		kgo.TransactionalID(TransactionalID(s.Topic)),
		kgo.TransactionTimeout(30 * time.Second),
		kgo.RequiredAcks(kgo.AllISRAcks()),
		kgo.ProducerLinger(0),
		kgo.MaxBufferedRecords(2 * batchLetters),
		kgo.RecordPartitioner(partitioner()),
	}
}

// partitioner puts a request back where it was, so that those of one partition
// stay in order, and a note behind its letter. A partition that is no more
// leaves it to the key.
func partitioner() kgo.Partitioner {
	return kgo.BasicConsistentPartitioner(func(topic string) func(*kgo.Record, int) int {
		byKey := kgo.StickyKeyPartitioner(nil).ForTopic(topic)
		return func(r *kgo.Record, n int) int {
			if int(r.Partition) < n {
				return int(r.Partition)
			}
			return byKey.Partition(r, n)
		}
	})
}

// reachBound is the longest wait for a broker's first answer.
const reachBound = 10 * time.Second

func reach(ctx context.Context, cl *kgo.Client) error {
	bounded, cancel := context.WithTimeout(ctx, reachBound)
	defer cancel()
	if err := cl.Ping(bounded); err != nil && ctx.Err() == nil {
		return fmt.Errorf("%w: %w", ErrNoBroker, err)
	}
	return ctx.Err()
}

// fence begins a transactional producer, which ends any other of its id.
func (s *run) fence(ctx context.Context) error {
	bounded, cancel := context.WithTimeout(ctx, time.Minute)
	defer cancel()
	if _, _, err := s.cl.ProducerID(bounded); err != nil {
		return fmt.Errorf("begin to write by the transactional id %q: %w", TransactionalID(s.Topic), err)
	}
	return nil
}

// commit sends the batch and its notes in one transaction. A request that is
// larger than the broker takes is left out, and counted.
func (s *run) commit(ctx context.Context) error {
	for len(s.batch) > 0 {
		now := time.Now()
		records := make([]*kgo.Record, len(s.batch))
		for i := range s.batch {
			records[i] = s.request(&s.batch[i], now)
		}
		if !s.DryRun {
			large, err := s.transact(ctx, records)
			if err != nil {
				return err
			}
			if len(large) > 0 {
				s.leaveOut(large)
				continue
			}
		}
		s.settle(records)
	}
	return nil
}

// settle counts a batch that is committed.
func (s *run) settle(records []*kgo.Record) {
	for i := range s.batch {
		b := &s.batch[i]
		if !s.DryRun {
			b.As = positionOf(records[i]).String()
		}
		s.res.Sent++
		if _, had := wire.Header(b.Record, wire.ExpiryTime); had {
			if _, has := wire.Header(records[i], wire.ExpiryTime); !has {
				s.res.Expired++
			}
		}
		if s.Each != nil {
			s.Each(*b)
		}
	}
	clear(s.batch)
	s.batch, s.bytes = s.batch[:0], 0
}

// leaveOut drops requests from the batch. They stay known, so that another
// letter of theirs is not tried either.
func (s *run) leaveOut(large map[int]bool) {
	kept := s.batch[:0]
	for i, b := range s.batch {
		if large[i] {
			s.res.TooLarge++
		} else {
			kept = append(kept, b)
		}
	}
	clear(s.batch[len(kept):])
	s.batch = kept
}

func positionOf(r *kgo.Record) Position { return Position{r.Topic, r.Partition, r.Offset} }

// transact commits the records with their notes, or nothing. It returns which
// of them were too large; nothing is committed then either.
func (s *run) transact(ctx context.Context, records []*kgo.Record) (large map[int]bool, err error) {
	if err := s.cl.BeginTransaction(); err != nil {
		return nil, explain(err)
	}
	large, err = s.produce(ctx, records)
	if err == nil && len(large) == 0 {
		notes := make([]*kgo.Record, len(records))
		for i, r := range records {
			notes[i] = note(&s.batch[i].Letter, positionOf(r).String())
		}
		var refused map[int]bool
		if refused, err = s.produce(ctx, notes); err == nil && len(refused) > 0 {
			err = fmt.Errorf("note in %s: %w", s.Topic, kerr.MessageTooLarge)
		}
	}
	if err == nil && len(large) == 0 {
		return nil, s.end(ctx)
	}
	// What is not aborted now is aborted by the next run, or by the broker when
	// the transaction times out.
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), reachBound)
	defer cancel()
	return large, errors.Join(explain(err), explain(s.abort(ending)))
}

func (s *run) abort(ctx context.Context) error {
	if err := s.cl.AbortBufferedRecords(ctx); err != nil {
		return err
	}
	return s.cl.EndTransaction(ctx, kgo.TryAbort)
}

// end commits. A stop does not interrupt it: what is known is better.
func (s *run) end(ctx context.Context) error {
	ending, cancel := context.WithTimeout(context.WithoutCancel(ctx), time.Minute)
	defer cancel()
	err := s.cl.EndTransaction(ending, kgo.TryCommit)
	if err == nil {
		return nil
	}
	if refused := (*kerr.Error)(nil); errors.As(err, &refused) && !refused.Retriable && refused.Code != kerr.UnknownServerError.Code {
		return explain(fmt.Errorf("commit: %w", err))
	}
	return fmt.Errorf("%w: %w", ErrUnknown, err)
}

// produce waits for the acknowledgement of all. Those that are too large are no
// error.
func (s *run) produce(ctx context.Context, records []*kgo.Record) (large map[int]bool, err error) {
	large = make(map[int]bool)
	errs := make([]error, len(records))
	for i, r := range records {
		s.cl.Produce(ctx, r, func(_ *kgo.Record, err error) { errs[i] = err })
	}
	if err := s.cl.Flush(ctx); err != nil {
		return nil, context.Cause(ctx)
	}
	for i, e := range errs {
		switch {
		case errors.Is(e, kerr.MessageTooLarge):
			large[i] = true
		case e != nil && err == nil:
			err = fmt.Errorf("write to %s: %w", records[i].Topic, e)
		}
	}
	return large, err
}

// explain finds in an error that another replay has begun.
func explain(err error) error {
	for _, fenced := range []error{kerr.ProducerFenced, kerr.InvalidProducerEpoch, kerr.TransactionalIDNotFound} {
		if errors.Is(err, fenced) {
			return fmt.Errorf("%w (%w)", ErrFenced, err)
		}
	}
	return err
}

// request is the letter's request as it is put back. It says in the letter's
// Dropped which headers it has no more.
func (s *run) request(b *Sent, now time.Time) *kgo.Record {
	b.Dropped = nil
	h := make([]kgo.RecordHeader, 0, len(b.Headers)+2)
	for _, x := range b.Headers {
		switch {
		case x.Key == wire.ReplayOf || x.Key == wire.OriginalID:
			continue
		case !s.KeepReply && (x.Key == wire.ReplyTopic || x.Key == wire.ReplyPartition):
			b.Dropped = append(b.Dropped, x.Key)
			continue
		case x.Key == wire.ExpiryTime && past(x.Value, now):
			b.Dropped = append(b.Dropped, fmt.Sprintf("%s (%s is past)", x.Key, x.Value))
			continue
		}
		h = append(h, x)
	}
	h = append(h,
		kgo.RecordHeader{Key: wire.ReplayOf, Value: []byte(b.At.String())},
		kgo.RecordHeader{Key: wire.OriginalID, Value: []byte(b.original())})
	return &kgo.Record{
		Topic: b.To, Partition: b.Request.Partition, Key: b.Record.Key, Value: b.Record.Value, Headers: slices.Clip(h),
	}
}

// past is about a deadline. One that cannot be read is kept: it is what the
// request says.
func past(value []byte, now time.Time) bool {
	t, err := time.Parse(time.RFC3339, string(value))
	return err == nil && !now.Before(t)
}
