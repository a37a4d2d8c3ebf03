// Package pyfunc serves any MLflow model through its flavor python_function: a
// process of Python a model version, supervised, that loads the model with
// MLflow and is fed batches of requests over a Unix socket. What MLflow makes of
// a request, and its answer, are MLflow's own doing in there.
//
// The process runs what the model's files say, which may be anything. It is one
// of ours: it ends with us, it is ended when it hangs, and started again when it
// crashes; the request that it hangs or crashes at is found and answered as
// failed, the others by the next process.
package pyfunc

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"sync"
	"time"

	"github.com/millrace/millrace/model"
)

// Options of [Open].
type Options struct {
	Config

	Folder   string // the model's, with its MLmodel
	Name     string // of the model and its version, for the log and the observer
	Version  string
	Limits   model.Limits
	MaxBatch int    // rows of the largest call
	Example  []byte // the model's own, a body in MLflow's dialect: a model that fails on it is refused
	Probe    []byte // one that is made up, to warm up with when there is no Example

	Environ  map[string]string // of this process; Config says what of it a model sees
	EnvDir   string            // where environments that are built for models are kept
	Logger   *slog.Logger
	Observer Observer // nil: nobody is told
}

// Observer is told what becomes of the processes of model versions. It may be
// called by several goroutines.
type Observer interface {
	// Resident tells the memory that a version's processes hold, in bytes, every
	// few seconds.
	Resident(name, version string, bytes int64)
	// Restarted tells that a process was, or is about to be, replaced.
	Restarted(name, version string, why Reason)
	// Closed tells that a version has no processes any more.
	Closed(name, version string)
}

// Reason is why a process was replaced: a metric label.
type Reason string

// The reasons.
const (
	Crashed   Reason = "crash"    // it ended
	TimedOut  Reason = "timeout"  // it did not answer in time
	Confused  Reason = "protocol" // it answered what was not asked, or nonsense
	OverLimit Reason = "memory"   // it held more than PYFUNC_MEMORY_LIMIT
)

// Model is a model version behind its processes.
type Model struct {
	opts   Options
	launch launcher
	dir    string // the processes' own: the scorer, and where they run
	about  about
	loaded int64 // bytes of the first process when it was loaded; 0 when that is not known

	stop    context.CancelFunc
	running sync.WaitGroup
	pool    pool
}

// Open starts the first process and waits until the model is loaded and warm
// there. Its error says what to do when there is no Python, no MLflow, or one
// that is not supported.
func Open(ctx context.Context, o Options) (*Model, error) {
	o.Python = cmp.Or(o.Python, "python3")
	python, err := o.interpreter(ctx)
	if err != nil {
		return nil, err
	}
	dir, err := os.MkdirTemp("", "millrace-pyfunc-")
	if err != nil {
		return nil, fmt.Errorf("a folder for the model's processes: %w", err)
	}
	if err := writeScorer(dir); err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	m, err := open(ctx, o, o.scorerCommand(python, dir))
	if err != nil {
		return nil, errors.Join(err, os.RemoveAll(dir))
	}
	m.dir = dir
	return m, nil
}

// open is Open with any program for a process.
func open(ctx context.Context, o Options, cmd command) (*Model, error) {
	if o.Logger == nil {
		o.Logger = slog.New(slog.DiscardHandler)
	}
	o.Logger = o.Logger.With("model", o.Name, "version", o.Version)
	m := &Model{opts: o, launch: launcher{opts: &o, command: cmd}}
	m.pool.init()
	first, err := m.launch.start(ctx)
	if err != nil {
		return nil, err
	}
	m.about, m.loaded = first.about, resident(first.pid)
	o.Logger.Info("model loaded by python_function", "pid", first.pid, "mlflow", first.about.MLflow,
		"python", first.about.Python, "executable", first.about.Executable, "batches", first.about.Batches)
	run, stop := context.WithCancel(context.WithoutCancel(ctx)) // it lives on when it is open
	m.stop = stop
	for i := range max(1, o.Processes) {
		m.running.Go(func() {
			if i == 0 {
				m.keep(run, first)
			} else {
				m.keep(run, nil)
			}
		})
	}
	return m, nil
}

// Info is [model.RawInfo].
func (m *Model) Info() model.Info { return model.RawInfo() }

// Memory is what the processes hold, in bytes, and at least what as many would
// when they are loaded; 0 where that is not known.
func (m *Model) Memory() int64 { return max(m.pool.total(), m.loaded*int64(max(1, m.opts.Processes))) }

// Close ends the processes: each has a moment to end by itself.
func (m *Model) Close() error {
	m.stop()
	m.running.Wait()
	if m.opts.Observer != nil {
		m.opts.Observer.Closed(m.opts.Name, m.opts.Version)
	}
	if m.dir == "" {
		return nil
	}
	return os.RemoveAll(m.dir)
}

// Predict answers requests: see [model.RawInfo]. A process that ends or hangs
// over them is replaced, and what it has not answered is asked one by one; the
// request that it ends at twice, or hangs at, is answered with
// [model.Failed]. While no process can be started the error is
// [model.Unavailable].
func (m *Model) Predict(ctx context.Context, inputs []model.Tensor) ([]model.Tensor, error) {
	if len(inputs) != 2 || inputs[0].Len() != inputs[1].Len() {
		return nil, model.Errorf(model.Internal, "a raw model takes content types and bodies")
	}
	b := newBatch(inputs[0].Strings, inputs[1].Strings)
	for len(b.left) > 0 {
		c, err := m.pool.take(ctx, m.opts.StartTimeout/waitShare)
		if err != nil {
			return nil, err
		}
		err = c.call(ctx, b, m.opts.PredictTimeout)
		m.pool.give(c, err == nil, &m.running)
		if ctx.Err() != nil {
			return nil, context.Cause(ctx)
		}
		if err != nil {
			b.blame(err)
		}
	}
	return b.outputs(), nil
}

// batch is a call's requests, and what has become of them.
type batch struct {
	kinds, bodies          []string
	status, content, field []string
	left                   []int // those without an answer, in their order
	alone                  bool  // they are asked one by one
	ends                   int   // of processes over the first of them
}

func newBatch(kinds, bodies []string) *batch {
	n := len(kinds)
	b := &batch{
		kinds: kinds, bodies: bodies,
		status: make([]string, n), content: make([]string, n), field: make([]string, n), left: make([]int, n),
	}
	for i := range b.left {
		b.left[i] = i
	}
	return b
}

// set gives a request its answer. It reports false when it has one, or is none
// of these.
func (b *batch) set(i int, status, content, field string) bool {
	if i < 0 || i >= len(b.status) || b.status[i] != "" {
		return false
	}
	b.status[i], b.content[i], b.field[i] = status, content, field
	for k, left := range b.left {
		if left == i {
			b.left = append(b.left[:k], b.left[k+1:]...)
			if k == 0 {
				b.ends = 0
			}
			break
		}
	}
	return true
}

// waitShare is the part of StartTimeout that a call waits for a process which is
// started again: most are there sooner, and the partition of who waits makes no
// progress.
const waitShare = 3

// maxEnds is how many processes may end over a request that stands alone. One
// may have been killed by somebody.
const maxEnds = 2

// blame finds out at which request a process failed. Asked together it may be
// any of those that are left, so they are asked one by one, in their order: then
// it is the first.
func (b *batch) blame(err error) {
	if len(b.left) == 0 {
		return
	}
	if !b.alone && len(b.left) > 1 {
		b.alone = true
		return
	}
	b.alone = true
	failed := (*callError)(nil)
	b.ends++
	if b.ends < maxEnds && (!errors.As(err, &failed) || failed.reason != TimedOut) {
		return
	}
	b.set(b.left[0], string(model.Failed), err.Error(), "")
}

func (b *batch) outputs() []model.Tensor {
	out := make([]model.Tensor, 0, 3) //nolint:mnd // the outputs of RawInfo
	for i, column := range [][]string{b.status, b.content, b.field} {
		spec := model.RawInfo().Outputs[i]
		out = append(out, model.Tensor{Name: spec.Name, DType: model.String, Shape: []int64{int64(len(column))}, Strings: column})
	}
	return out
}

// about is what a process says of itself when it has loaded its model.
type about struct {
	MLflow     string `json:"mlflow"`
	Python     string `json:"python"`
	Executable string `json:"executable"`
	Batches    string `json:"batches"`
}

// callError is why a process did not answer.
type callError struct {
	reason Reason
	what   string
}

func (e *callError) Error() string { return e.what }

func hang(after time.Duration) *callError {
	return &callError{TimedOut, fmt.Sprintf("the model did not answer within %s, and its process was ended", after)}
}
