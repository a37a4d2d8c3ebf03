package announce

import (
	"encoding/json"
	"log/slog"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/twmb/franz-go/pkg/kgo"

	"github.com/millrace/millrace/metrics"
)

// FuzzTake holds that nothing on the topic can harm who reads it: an epoch that
// nobody could follow, or a record of another pool, is not taken.
func FuzzTake(f *testing.F) {
	fresh := func() *Board {
		b, err := New(Config{Session: time.Second}, Deps{
			Topic: "t", Group: "g", Scope: []string{"s", ""}, Poll: time.Second, Log: slog.New(slog.DiscardHandler),
			Metrics: metrics.NewAnnounce(prometheus.NewRegistry()), Identity: func(found json.RawMessage) string { return string(found) },
		})
		if err != nil {
			f.Fatal(err)
		}
		b.Follow("r")
		return b
	}
	own := fresh()
	for _, kind := range []string{kindAnswer, kindWant, kindNudge, kindWithdrawn, "other"} {
		f.Add(own.key(kind, "r"), []byte(`{"epoch":5,"at":"2026-01-01T00:00:00Z","answer":{"name":"m"},"identity":"i"}`), true)
		f.Add(own.key(kind, "r"), []byte(nil), false)
	}
	f.Add([]byte(`["answer","g","s","","r"]`), []byte(`{"epoch":9223372036854775807}`), true)
	f.Add([]byte(`["answer","other","s","","r"]`), []byte(`{"epoch":5}`), true)
	f.Add([]byte(`[]`), []byte(`{}`), true)
	f.Fuzz(func(t *testing.T, key, value []byte, live bool) {
		b := fresh()
		if len(value) == 0 {
			value = nil
		}
		b.take(t.Context(), &kgo.Record{Key: key, Value: value, Timestamp: time.Now()}, live)
		if b.top < 0 || b.top+1 < b.top || b.top > time.Now().Add(366*24*time.Hour).UnixMilli() {
			t.Errorf("epoch %d was taken", b.top)
		}
		var parts []string
		if json.Unmarshal(key, &parts) == nil && len(parts) > 1 && parts[1] != "g" && len(b.answers)+len(b.wants)+len(b.takes) > 0 {
			t.Error("a record of another pool was taken")
		}
		b.Withdrawn("r", "i")
		b.references(time.Now())
	})
}
