package kafka

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/twmb/franz-go/pkg/kgo"
)

// repeatAfter is how long the client's warnings of one kind are kept back after
// one of them: while a broker is away it warns at each try.
const repeatAfter = 30 * time.Second

// clientLogger hands on what the client says from warning up; below, it
// speaks of each request.
type clientLogger struct {
	to *slog.Logger

	mu   sync.Mutex
	said map[string]time.Time // by event, guarded by mu
}

func newClientLogger(to *slog.Logger) *clientLogger {
	return &clientLogger{to: to, said: make(map[string]time.Time)}
}

// Level is asked by the client, which then does not even format what is below.
func (l *clientLogger) Level() kgo.LogLevel { return kgo.LogLevelWarn }

// Log implements [kgo.Logger].
func (l *clientLogger) Log(level kgo.LogLevel, msg string, keyvals ...any) {
	if level == kgo.LogLevelError {
		l.to.Log(context.Background(), slog.LevelError, "kafka client", append([]any{"event", msg}, keyvals...)...)
		return
	}
	now := time.Now()
	l.mu.Lock()
	last, repeated := l.said[msg]
	fresh := !repeated || now.Sub(last) >= repeatAfter
	if fresh {
		l.said[msg] = now
	}
	l.mu.Unlock()
	if fresh {
		l.to.Log(context.Background(), slog.LevelWarn, "kafka client", append([]any{"event", msg}, keyvals...)...)
	}
}
