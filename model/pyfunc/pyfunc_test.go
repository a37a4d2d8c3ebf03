package pyfunc

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
)

// notebook is a log and an observer that tests read.
type notebook struct {
	mu       sync.Mutex
	text     bytes.Buffer
	why      []Reason
	resident int64
	closed   int
	changed  chan struct{}
}

func (n *notebook) Write(p []byte) (int, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.Write(p)
}

func (n *notebook) log() string {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.text.String()
}

func (n *notebook) Resident(_, _ string, bytes int64) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.resident = max(n.resident, bytes)
}

// most is the most memory that a process was seen with, in bytes.
func (n *notebook) most() int64 {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.resident
}

func (n *notebook) Restarted(_, _ string, why Reason) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.why = append(n.why, why)
	close(n.changed)
	n.changed = make(chan struct{})
}

func (n *notebook) Closed(string, string) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.closed++
}

// restarts waits until so many processes were replaced, and says why.
func (n *notebook) restarts(t *testing.T, most int) []Reason {
	t.Helper()
	for {
		n.mu.Lock()
		changed, why := n.changed, slices.Clone(n.why)
		n.mu.Unlock()
		if len(why) >= most {
			return why
		}
		select {
		case <-changed:
		case <-t.Context().Done():
			require.FailNow(t, "the processes are not replaced")
		}
	}
}

func options(t *testing.T, name string) (Options, *notebook) {
	t.Helper()
	dir := filepath.Join(t.TempDir(), name)
	require.NoError(t, os.Mkdir(dir, 0o700))
	n := &notebook{changed: make(chan struct{})}
	return Options{
		Config: Config{Processes: 1, StartTimeout: time.Minute, PredictTimeout: time.Minute, Batch: BatchAuto},
		Folder: dir, Name: "m", Version: "3", MaxBatch: 64, Observer: n, Logger: slog.New(slog.NewTextHandler(n, nil)),
	}, n
}

func start(t *testing.T, o Options) *Model {
	t.Helper()
	m, err := open(t.Context(), o, standinCommand)
	require.NoError(t, err)
	t.Cleanup(func() { require.NoError(t, m.Close()) })
	return m
}

// ask predicts bodies and returns the answers, "STATUS: content".
func ask(t *testing.T, m *Model, bodies ...string) []string {
	t.Helper()
	answers, err := tryAsk(t.Context(), m, bodies...)
	require.NoError(t, err)
	return answers
}

func tryAsk(ctx context.Context, m *Model, bodies ...string) ([]string, error) {
	kinds := slices.Repeat([]string{model.RawJSON}, len(bodies))
	column := func(s []string) model.Tensor {
		return model.Tensor{DType: model.String, Shape: []int64{int64(len(s))}, Strings: s}
	}
	out, err := m.Predict(ctx, []model.Tensor{column(kinds), column(bodies)})
	if err != nil {
		return nil, err
	}
	var answers []string
	for i, status := range out[0].Strings {
		answers = append(answers, status+": "+out[1].Strings[i])
	}
	return answers, nil
}

func TestAnswers(t *testing.T) {
	o, n := options(t, "model")
	o.Example = []byte("example")
	m := start(t, o)
	require.Equal(t, model.RawInfo(), m.Info())
	require.Equal(t, about{MLflow: "3", Python: "example", Batches: "auto"}, m.about)
	require.Equal(t, []string{"ok: a of 3", "INVALID_INPUT: refuse of 3", "ok: c of 3"}, ask(t, m, "a", "refuse", "c"))
	require.Equal(t, []string{"ok: a of 1"}, ask(t, m, "a"))
	require.NoError(t, m.Close())
	require.Equal(t, 1, n.closed)
	require.Empty(t, n.why)
}

// TestPoisonIsIsolated finds the request that a process ends at, and has the
// others answered.
func TestPoisonIsIsolated(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		bodies, want []string
		why          []Reason
	}{
		"crash": {
			[]string{"a", "b", "crash", "d"},
			[]string{"ok: a of 4", "ok: b of 4", "MODEL_FAILED: the model's process ended: exit status 3", "ok: d of 1"},
			[]Reason{Crashed, Crashed, Crashed},
		},
		"crash in company": {
			[]string{"a", "crash-in-company", "c"},
			[]string{"ok: a of 3", "ok: crash-in-company of 2", "ok: c of 2"},
			[]Reason{Crashed},
		},
		"alone": {
			[]string{"crash"},
			[]string{"MODEL_FAILED: the model's process ended: exit status 3"},
			[]Reason{Crashed, Crashed},
		},
		"two": {
			[]string{"crash", "b", "crash", "d"},
			[]string{"MODEL_FAILED: the model's process ended: exit status 3", "ok: b of 3", "MODEL_FAILED: the model's process ended: exit status 3", "ok: d of 1"},
			[]Reason{Crashed, Crashed, Crashed, Crashed, Crashed},
		},
		"few": {
			[]string{"few", "b"},
			[]string{"MODEL_FAILED: it answered 0 of 1 requests", "ok: b of 2"},
			[]Reason{Confused, Confused},
		},
		"twice": {
			[]string{"twice"}, []string{"ok: first"}, []Reason{Confused},
		},
		"not asked": {
			[]string{"other"}, []string{"MODEL_FAILED: an answer to request 99 of 1 that was not asked for"}, []Reason{Confused, Confused},
		},
		"noise": {
			[]string{"noise"},
			[]string{"MODEL_FAILED: a header that is not JSON: invalid character ']' looking for beginning of object key string"},
			[]Reason{Confused, Confused},
		},
		"huge": {
			[]string{"huge"}, []string{"MODEL_FAILED: a frame of 4294967295 and 4294967295 bytes"}, []Reason{Confused, Confused},
		},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			o, n := options(t, "model")
			m := start(t, o)
			require.Equal(t, c.want, ask(t, m, c.bodies...))
			require.Equal(t, c.why, n.restarts(t, len(c.why)))
			require.Equal(t, []string{"ok: again of 1"}, ask(t, m, "again"))
		})
	}
}

func TestHang(t *testing.T) {
	o, n := options(t, "model")
	o.PredictTimeout = time.Second
	m := start(t, o)
	const failed = "MODEL_FAILED: the model did not answer within 1s, and its process was ended"
	require.Equal(t, []string{"ok: a of 3", failed, "ok: c of 1"}, ask(t, m, "a", "hang", "c"))
	require.Equal(t, []string{failed}, ask(t, m, "hang"))
	require.Equal(t, []Reason{TimedOut, TimedOut, TimedOut}, n.restarts(t, 3))
}

// TestCancelled gives up a call, and the process with it.
func TestCancelled(t *testing.T) {
	o, n := options(t, "model")
	m := start(t, o)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() {
		_, err := tryAsk(ctx, m, "hang")
		done <- err
	}()
	cancel()
	require.ErrorIs(t, <-done, context.Canceled)
	require.Equal(t, []string{"ok: a of 1"}, ask(t, m, "a"))
	require.LessOrEqual(t, len(n.why), 1) // none when it was cancelled before it was asked
}

// TestStart is of processes that do not get so far.
func TestStart(t *testing.T) {
	for name, want := range map[string]string{
		"slow":    "the model was not loaded within 1s (MILLRACE_PYFUNC_START_TIMEOUT)",
		"exit":    "the model's process ended: exit status 1: Traceback: no such thing",
		"refused": "there is no mlflow: install it",
		"garbage": "a frame of",
	} {
		t.Run(name, func(t *testing.T) {
			o, _ := options(t, name)
			if name == "slow" {
				o.StartTimeout = time.Second
			}
			_, err := open(t.Context(), o, standinCommand)
			require.ErrorContains(t, err, want)
		})
	}
}

// TestDown restarts with pauses, and tells who waits for too long.
func TestDown(t *testing.T) {
	o, n := options(t, "broken later")
	m := start(t, o)
	answers := ask(t, m, "crash") // the second and third process do not start, the fourth crashes, the fifth answers for it
	require.Equal(t, []string{"MODEL_FAILED: the model's process ended: exit status 3"}, answers)
	require.Equal(t, []string{"ok: a of 1"}, ask(t, m, "a"))
	require.Contains(t, n.log(), "the model's process does not start")

	m.pool.mu.Lock() // as it is in a long pause
	defer m.pool.mu.Unlock()
	p := pool{}
	p.init()
	p.resting(1)
	p.failed(&callError{Crashed, "it ended"})
	_, err := p.take(t.Context(), time.Minute)
	known := (*model.Error)(nil)
	require.ErrorAs(t, err, &known)
	require.Equal(t, model.Unavailable, known.Code)
	p.resting(-1)
	_, err = p.take(t.Context(), time.Millisecond)
	require.ErrorAs(t, err, &known)
}

func TestFlood(t *testing.T) {
	o, n := options(t, "model")
	m := start(t, o)
	require.Equal(t, []string{"ok: flood of 1"}, ask(t, m, "flood"))
	require.NoError(t, m.Close())
	log := n.log()
	require.Less(t, strings.Count(log, "\n"), 2*burst)
	require.Contains(t, log, "wrote more than is logged")
	require.Contains(t, log, "line=\"line 0\"")
	require.NotContains(t, log, strings.Repeat("x", longestLine+1))
}

// TestSeveral shares the work between processes.
func TestSeveral(t *testing.T) {
	o, _ := options(t, "model")
	o.Processes = 3
	m := start(t, o)
	var all sync.WaitGroup
	for i := range 30 {
		all.Go(func() {
			body := fmt.Sprintf("r%d", i)
			if i == 7 {
				body = "crash-in-company"
			}
			answers, err := tryAsk(t.Context(), m, body, "b")
			if err != nil || answers[0][:2] != "ok" || answers[1][:2] != "ok" {
				t.Errorf("%v: %v", answers, err)
			}
		})
	}
	all.Wait()
}
