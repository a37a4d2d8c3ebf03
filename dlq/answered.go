package dlq

import (
	"context"
	"maps"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/internal/wire"
)

// answeredSince reads the results topic for predictions that came after the
// dead letters were written: by a request that was taken in again when a worker
// crashed, or by another replay of the same original. It returns the ids of what
// has one.
func (s *run) answeredSince(ctx context.Context, t *topic) (map[string]bool, error) {
	answered, first := make(map[string]bool), time.Time{}
	err := t.letters(ctx, "looking for what to replay", s.Filter, s.Tell, s.replayed, func(l *Letter) error {
		if l.Replayed == "" && l.Missing == "" {
			answered[l.Request.String()], answered[l.original()] = false, false
			if first.IsZero() || l.Time.Before(first) {
				first = l.Time
			}
		}
		return nil
	}, func() {})
	if err != nil || len(answered) == 0 {
		return nil, err
	}
	since := Everything()
	since.Since = first
	results, err := open(ctx, s.cl, s.Opts, s.Results, since)
	if err != nil {
		return nil, err
	}
	err = results.scan(ctx, "looking for what was answered since", s.Tell, func(r *kgo.Record) error {
		if status, _ := wire.Header(r, wire.Status); string(status) != "ok" {
			return nil
		}
		for _, name := range []string{wire.ID, wire.OriginalID} {
			id, _ := wire.Header(r, name)
			if _, asked := answered[string(id)]; asked {
				answered[string(id)] = true
			}
		}
		return nil
	})
	maps.DeleteFunc(answered, func(_ string, yes bool) bool { return !yes })
	return answered, err
}
