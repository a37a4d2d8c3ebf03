package dlq

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/twmb/franz-go/pkg/kadm"
	"github.com/twmb/franz-go/pkg/kgo"
)

// Replay is what to put back, and how.
type Replay struct {
	Source
	Filter    Filter
	Rate      float64 // requests a second; 0: as fast as the broker takes them
	Limit     int     // requests; 0: all that the filter picks
	DryRun    bool    // send nothing
	KeepReply bool    // keep the headers that say where the answer goes
	Results   string  // topic to look in for what has a prediction by now; "": it is not looked for
	// Each is called for every request, when it is committed, or in a dry run
	// when it would be sent; it may be nil.
	Each func(Sent)
}

// Sent is a request that was put back.
type Sent struct {
	Letter
	To      string   // topic
	As      string   // where it stands; "" in a dry run
	Dropped []string // headers that it has no more, each with the reason
}

// Result counts what a replay came to.
type Result struct {
	Picked   int // dead letters that the filter picks
	Sent     int
	Expired  int // of these, without their deadline, which is past
	Replayed int // were replayed before
	Answered int // have a prediction by now
	Repeated int // say again what another dead letter says: their request was refused twice
	Missing  int // have no payload
	TooLarge int // are larger than the broker takes
}

var (
	// ErrFenced says that another replay of the same topic has begun: it goes on
	// where this one was.
	ErrFenced = errors.New("another replay of this topic has begun")
	// ErrUnknown says that the last transaction may be committed or not. The next
	// run finds out.
	ErrUnknown = errors.New("no answer whether the last requests were sent")
)

// The bounds of one transaction.
const (
	batchLetters = 500
	batchBytes   = 8 << 20
	batchAge     = time.Second
)

// run is a replay on its way.
type run struct {
	Replay
	res      Result
	cl       *kgo.Client
	admin    *kadm.Client
	replayed map[key]string
	answered map[string]bool
	topics   map[string]error // where requests go: nil when it can be written to

	batch []Sent
	bytes int
	begun time.Time // of the batch
	due   time.Time // when the next may be sent
}

// Run replays up to the end that the topic has now. A second one at the same
// time ends the first with [ErrFenced]. With an error, the result says what was
// sent up to it.
func (r Replay) Run(ctx context.Context) (Result, error) {
	s := &run{Replay: r, topics: make(map[string]error)}
	cl, err := s.client(ctx, s.options()...)
	if err != nil {
		return s.res, err
	}
	defer cl.Close()
	s.cl, s.admin = cl, kadm.NewClient(cl)
	if !r.DryRun {
		// What a run that was killed left open is aborted here, before the end
		// of the topic is looked for.
		if err := s.fence(ctx); err != nil {
			return s.res, err
		}
	}
	t, err := open(ctx, cl, r.Opts, r.Topic, r.Filter)
	if err != nil {
		return s.res, err
	}
	if s.replayed, err = t.notes(ctx, r.Tell); err != nil {
		return s.res, err
	}
	if r.Results != "" {
		if s.answered, err = s.answeredSince(ctx, t); err != nil {
			return s.res, err
		}
	}
	what := "replaying"
	if r.DryRun {
		what = "looking for what to replay"
	}
	err = t.letters(ctx, what, r.Filter, r.Tell, s.replayed, func(l *Letter) error { return s.put(ctx, l) }, func() {})
	if err == nil || errors.Is(err, errEnough) {
		err = s.commit(ctx)
	}
	return s.res, err
}

var errEnough = errors.New("as many as asked for")

// pending says in the place of a position that a request is in the batch.
const pending = "pending"

// put takes a letter into the batch.
func (s *run) put(ctx context.Context, l *Letter) error {
	if s.Limit > 0 && s.res.Sent+len(s.batch) >= s.Limit {
		return errEnough
	}
	s.res.Picked++
	switch as := s.replayed[l.key()]; {
	case as == pending:
		s.res.Repeated++
		return nil
	case as != "":
		s.res.Replayed++
		return nil
	case s.answered[l.Request.String()] || s.answered[l.original()]:
		s.res.Answered++
		return nil
	case l.Missing != "":
		s.res.Missing++
		return nil
	}
	if err := s.destination(ctx, l.Request.Topic); err != nil {
		return err
	}
	if err := s.pace(ctx); err != nil {
		return err
	}
	if len(s.batch) == 0 {
		s.begun = time.Now()
	}
	s.replayed[l.key()] = pending
	s.batch = append(s.batch, Sent{Letter: *l, To: l.Request.Topic})
	s.bytes += len(l.Record.Value) + len(l.Record.Key)
	if len(s.batch) >= batchLetters || s.bytes >= batchBytes || time.Since(s.begun) >= batchAge {
		return s.commit(ctx)
	}
	return nil
}

// pace waits until the rate allows one more. What waits itself is committed
// first when it would wait for long.
func (s *run) pace(ctx context.Context) error {
	if s.Rate <= 0 || s.DryRun {
		return nil
	}
	now := time.Now()
	if len(s.batch) > 0 && s.due.Sub(s.begun) >= batchAge {
		if err := s.commit(ctx); err != nil {
			return err
		}
	}
	if wait := s.due.Sub(now); wait > 0 {
		timer := time.NewTimer(wait)
		defer timer.Stop()
		select {
		case <-ctx.Done():
			return context.Cause(ctx)
		case <-timer.C:
		}
		now = s.due
	}
	s.due = now.Add(time.Duration(float64(time.Second) / s.Rate))
	return nil
}

// destination says once a topic whether it is there.
func (s *run) destination(ctx context.Context, name string) error {
	if err, known := s.topics[name]; known {
		return err
	}
	have, err := s.admin.ListTopics(ctx, name)
	if err != nil {
		return fmt.Errorf("look for topic %s: %w", name, err)
	}
	if !have.Has(name) {
		err = fmt.Errorf("dead letters came from %s: %w", name, ErrNoTopic)
	}
	s.topics[name] = err
	return err
}
