package dlq

import (
	"context"
	"fmt"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// note says behind a dead letter, in its partition, that it was replayed as the
// request that stands at as. It has a key and a value, so that a topic that is
// compacted keeps it.
func note(l *Letter, as string) *kgo.Record {
	id := l.Request.String()
	h := []kgo.RecordHeader{{Key: wire.ReplayedID, Value: []byte(id)}, {Key: wire.ReplayedAs, Value: []byte(as)}}
	if !l.Asked.IsZero() {
		h = append(h, kgo.RecordHeader{Key: wire.ReplayedTime, Value: []byte(wire.FormatTime(l.Asked))})
	}
	return &kgo.Record{
		Topic: l.At.Topic, Partition: l.At.Partition, Headers: h, Key: []byte("replayed " + id),
		Value: fmt.Appendf(nil, "%s was replayed as %s", id, as),
	}
}

func readNote(r *kgo.Record) (k key, as string, ok bool) {
	id, ok := wire.Header(r, wire.ReplayedID)
	if !ok {
		return key{}, "", false
	}
	request, err := ParsePosition(string(id))
	if err != nil {
		return key{}, "", false
	}
	asked, _ := wire.Header(r, wire.ReplayedTime)
	to, _ := wire.Header(r, wire.ReplayedAs)
	return keyOf(request, parseTime(string(asked))), string(to), true
}

// notes reads which requests were replayed, and where to.
func (t *topic) notes(ctx context.Context, tell Tell) (map[key]string, error) {
	replayed := make(map[key]string)
	err := t.scan(ctx, "looking for what was replayed", tell, func(r *kgo.Record) error {
		if k, as, ok := readNote(r); ok {
			replayed[k] = as
		}
		return nil
	})
	return replayed, err
}

// letters reads the dead letters that the filter picks, each with where it was
// replayed to. other is called for a record that is neither letter nor note.
func (t *topic) letters(ctx context.Context, what string, f Filter, tell Tell, replayed map[key]string, each func(*Letter) error, other func()) error {
	return t.scan(ctx, what, tell, func(r *kgo.Record) error {
		l, ok := readLetter(r)
		if !ok {
			if _, _, isNote := readNote(r); !isNote {
				other()
			}
			return nil
		}
		if !f.match(&l) {
			return nil
		}
		l.Replayed = replayed[l.key()]
		return each(&l)
	})
}
