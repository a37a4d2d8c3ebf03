//go:build cgo

package onnx

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	ort "github.com/yalue/onnxruntime_go"

	"github.com/millrace/millrace/model"
)

// Open loads a model file. External data has to lie in the file's folder. The
// model is not warm yet, and its Info does not say that it batches: that is for
// the caller to try.
func Open(ctx context.Context, path string, opts Options) (*Model, error) {
	m, err := open(ctx, path, opts)
	if err != nil {
		return nil, fmt.Errorf("open ONNX model: %w", err)
	}
	return m, nil
}

func open(ctx context.Context, path string, opts Options) (*Model, error) {
	data, err := os.ReadFile(path) //nolint:gosec // the caller's model
	if err != nil {
		return nil, err
	}
	g, err := parseModel(data)
	if err != nil {
		return nil, err
	}
	folder := filepath.Dir(path)
	if err := checkExternal(folder, g.external); err != nil {
		return nil, err
	}
	ins, outs, changed, err := g.plan(data)
	if err != nil {
		return nil, err
	}
	if len(ins) == 0 {
		return nil, errors.New("the model has no inputs")
	}
	if err := initialise(opts.Library); err != nil {
		return nil, err
	}
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	m := newModel(ins, outs)
	data = nil //nolint:ineffassign,wastedassign // a large model is not to be held twice while the session is built
	if m.session, err = newSession(path, folder, changed, ins, outs, opts.Session); err != nil {
		return nil, err
	}
	if err := m.addLanes(opts.lanes()); err != nil {
		return nil, errors.Join(err, m.Close())
	}
	return m, nil
}

// newSession opens the file, or its changed form from memory.
func newSession(path, folder string, changed []byte, ins, outs []port, conf SessionOptions) (*ort.DynamicAdvancedSession, error) {
	so, err := sessionOptions(conf)
	if err != nil {
		return nil, err
	}
	defer func() { _ = so.Destroy() }()
	var s *ort.DynamicAdvancedSession
	if changed == nil {
		s, err = ort.NewDynamicAdvancedSession(path, names(ins), names(outs), so)
	} else {
		// From memory the runtime does not know where external data lies.
		if err := so.AddSessionConfigEntry("session.model_external_initializers_file_folder_path", folder); err != nil {
			return nil, err
		}
		s, err = ort.NewDynamicAdvancedSessionWithONNXData(changed, names(ins), names(outs), so)
	}
	if err != nil {
		return nil, errors.New(reason(err))
	}
	return s, nil
}

func names(ports []port) []string {
	list := make([]string, len(ports))
	for i, p := range ports {
		list[i] = p.name
	}
	return list
}

// sessionOptions never leaves the numbers of threads at 0: the runtime takes
// that for every core, a session each, and lets them spin.
func sessionOptions(conf SessionOptions) (*ort.SessionOptions, error) {
	so, err := ort.NewSessionOptions()
	if err != nil {
		return nil, err
	}
	mode := ort.ExecutionMode(ort.ExecutionModeSequential)
	if conf.Parallel {
		mode = ort.ExecutionModeParallel
	}
	errs := []error{
		so.SetIntraOpNumThreads(max(1, conf.IntraOpThreads)),
		so.SetInterOpNumThreads(max(1, conf.InterOpThreads)),
		so.SetExecutionMode(mode),
		so.AddSessionConfigEntry("session.intra_op.allow_spinning", "0"),
		so.AddSessionConfigEntry("session.inter_op.allow_spinning", "0"),
	}
	if conf.Optimization != nil {
		errs = append(errs, so.SetGraphOptimizationLevel(ort.GraphOptimizationLevel(*conf.Optimization)))
	}
	for k, v := range conf.Extra {
		errs = append(errs, so.AddSessionConfigEntry(k, v))
	}
	if err := errors.Join(errs...); err != nil {
		_ = so.Destroy()
		return nil, fmt.Errorf("session options: %w", err)
	}
	return so, nil
}

// reason is what the runtime says went wrong, in one line and without the
// binding's own prefixes. It is for people; nothing is decided by it.
func reason(err error) string {
	msg := err.Error()
	for _, prefix := range []string{"Error creating C session from file: ", "Error creating C session: ", "Error running network: "} {
		msg = strings.TrimPrefix(msg, prefix)
	}
	return strings.Join(strings.Fields(msg), " ")
}

func infoOf(ins, outs []port) model.Info {
	var info model.Info
	for _, p := range ins {
		info.Inputs = append(info.Inputs, p.spec)
	}
	for _, p := range outs {
		info.Outputs = append(info.Outputs, p.spec)
	}
	return info
}
