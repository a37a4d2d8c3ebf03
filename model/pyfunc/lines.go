package pyfunc

import (
	"bytes"
	"io"
	"log/slog"
	"strings"
	"sync"
	"time"
)

// What of a process's output gets into the log: so many bytes of a line, so many
// lines at once, and so many a second after that.
const (
	longestLine = 4096
	burst       = 200
	perSecond   = 20
	tailLines   = 12 // that an error of a start can show
)

// lines puts what a process writes into the log, line by line.
type lines struct {
	log *slog.Logger

	mu      sync.Mutex
	credit  float64 // guarded by mu: lines that may be logged now
	at      time.Time
	dropped int
	last    []string
	streams []*stream
}

func newLines(log *slog.Logger) *lines {
	return &lines{log: log, credit: burst, at: time.Now()}
}

// stream returns what the process's output of that name is written to.
func (l *lines) stream(name string) io.Writer {
	s := &stream{lines: l, name: name}
	l.streams = append(l.streams, s)
	return s
}

// stream cuts its input into lines.
type stream struct {
	*lines
	name string
	part []byte // guarded by mu: of a line that goes on
	long bool   // guarded by mu: the rest of the line is passed over
}

func (s *stream) Write(p []byte) (int, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	n := len(p)
	for len(p) > 0 {
		line, rest, whole := bytes.Cut(p, []byte("\n"))
		if room := longestLine - len(s.part); len(line) > room {
			line, s.long = line[:room], true
		}
		s.part = append(s.part, line...)
		if whole {
			s.flush()
		}
		p = rest
	}
	return n, nil
}

// flush logs the line at hand. mu is held.
func (s *stream) flush() {
	text := strings.ToValidUTF8(strings.TrimRight(string(s.part), "\r \t"), "\ufffd")
	if s.long {
		text += "…"
	}
	s.part, s.long = s.part[:0], false
	if text == "" {
		return
	}
	if s.last = append(s.last, text); len(s.last) > tailLines {
		s.last = s.last[1:]
	}
	now := time.Now()
	s.credit = min(burst, s.credit+perSecond*now.Sub(s.at).Seconds())
	if s.at = now; s.credit < 1 {
		s.dropped++
		return
	}
	s.credit--
	if s.dropped > 0 {
		s.log.Warn("the model's process wrote more than is logged", "lines", s.dropped)
		s.dropped = 0
	}
	s.log.Info("model process", "stream", s.name, "line", text)
}

// end logs what has no line's end.
func (l *lines) end() {
	l.mu.Lock()
	defer l.mu.Unlock()
	for _, s := range l.streams {
		s.flush()
	}
	if l.dropped > 0 {
		l.log.Warn("the model's process wrote more than is logged", "lines", l.dropped)
	}
}

// tail is the last that was written.
func (l *lines) tail() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return strings.Join(l.last, "\n")
}
