package announce

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// The kinds of records. A record's key is the JSON list of its kind, the pool
// (group, and what its references are relative to), and the reference, so that
// pools may share a topic.
const (
	kindAnswer    = "answer"    // the elected member's, of each reference in each period
	kindWant      = "want"      // a member follows the reference
	kindNudge     = "nudge"     // the registry should be asked now
	kindWithdrawn = "withdrawn" // a version was taken back
)

// answer is what the registry said of a reference.
type answer struct {
	// Epoch is that of the election that the member won. Of two members that
	// both think they are elected the later counts, whenever its record arrives.
	Epoch  int64           `json:"epoch"`
	By     string          `json:"by"`
	At     time.Time       `json:"at"` // when it was asked for
	Period time.Duration   `json:"period"`
	Answer json.RawMessage `json:"answer,omitempty"` // the last good one, of a failure too
	Error  string          `json:"error,omitempty"`

	Missing bool `json:"missing,omitempty"` // the error is that there is no such thing

	heard time.Time // by this member's clock; of what was read from before, the record's
}

// note is a record that says nothing but that it is there.
type note struct {
	By string    `json:"by,omitempty"`
	At time.Time `json:"at"`
}

// Withdrawal is a version that the pool goes back from: as long as the reference
// names it, Instead serves in its place.
type Withdrawal struct {
	Identity string          `json:"identity"`
	Version  string          `json:"version"`
	Reason   string          `json:"reason"`
	Detail   string          `json:"detail"`
	By       string          `json:"by"`
	At       time.Time       `json:"at"`
	Until    time.Time       `json:"until,omitzero"` // zero: until the reference names another version
	Instead  json.RawMessage `json:"instead"`
}

// taken is a withdrawal that was heard of. It is void when the reference was
// seen to name another version since; the elected member takes it out of the
// topic.
type taken struct {
	Withdrawal
	void bool
}

// maxRecord bounds what is read of one record, and maxReferences of how many
// references.
const (
	maxRecord     = 1 << 18
	maxReferences = 1 << 10
)

var (
	errNoTopic  = errors.New("announce: the topic is not there")
	errNoAnswer = errors.New("announce: the broker does not answer")
)

func (b *Board) key(kind, reference string) []byte {
	key, _ := json.Marshal(append(append([]string{kind, b.Group}, b.Scope...), reference)) // strings always have a form
	return key
}

// meant returns what a record is about, ok when it is this pool's.
func (b *Board) meant(r *kgo.Record) (kind, reference string, ok bool) {
	var parts []string
	if len(r.Key)+len(r.Value) > maxRecord || json.Unmarshal(r.Key, &parts) != nil || len(parts) != len(b.Scope)+3 {
		return "", "", false
	}
	last := len(parts) - 1
	if parts[1] != b.Group || !slices.Equal(parts[2:last], b.Scope) {
		return "", "", false
	}
	return parts[0], parts[last], true
}

// writeLimit bounds a write; what takes longer is out of date.
const writeLimit = 5 * time.Second

// write publishes a record, and returns when the broker has it.
func (b *Board) write(ctx context.Context, kind, reference string, value any) error {
	written := make(chan error, 1)
	b.send(ctx, kind, reference, value, func(err error) { written <- err })
	timer := time.NewTimer(writeLimit)
	defer timer.Stop()
	select {
	case err := <-written:
		return err
	case <-timer.C:
		return errNoAnswer
	case <-ctx.Done():
		return context.Cause(ctx)
	}
}

// post publishes a record, nil being a tombstone, without waiting. That it
// fails is told in the log.
func (b *Board) post(ctx context.Context, kind, reference string, value any) {
	b.send(ctx, kind, reference, value, func(err error) {
		if err != nil {
			b.Log.WarnContext(ctx, "the pool cannot be told of a model", "kind", kind, "reference", reference, "error", err)
		}
	})
}

// send calls done once, within writeLimit.
func (b *Board) send(ctx context.Context, kind, reference string, value any, done func(error)) {
	cl := b.writer.Load()
	if cl == nil {
		done(errNoTopic)
		return
	}
	r := &kgo.Record{Topic: b.Topic, Key: b.key(kind, reference)}
	if value != nil {
		var err error
		if r.Value, err = json.Marshal(value); err != nil {
			done(err)
			return
		}
	}
	cl.TryProduce(ctx, r, func(_ *kgo.Record, err error) {
		result := "written"
		if err != nil {
			result, err = "error", fmt.Errorf("announce %s: %w", kind, err)
		}
		b.Metrics.Records.WithLabelValues(kind, result).Inc()
		done(err)
	})
}
