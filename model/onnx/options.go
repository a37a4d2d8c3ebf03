package onnx

import (
	"errors"
	"fmt"
	"runtime"
	"strconv"
	"strings"

	"github.com/millrace/millrace/model"
)

// Options of [Open]. The zero value is right for small models.
type Options struct {
	// Library is the path of ONNX Runtime's shared library; when empty it is
	// looked for, see [FindLibrary]. A process opens one library only.
	Library string

	// Lanes is how many calls may run at a time, GOMAXPROCS when it is 0.
	Lanes int

	Session SessionOptions
}

// SessionOptions are what an MLmodel's onnx_session_options may set.
type SessionOptions struct {
	IntraOpThreads int // 1 when it is 0: the runtime's own 0 means every core
	InterOpThreads int
	Parallel       bool
	Optimization   *int // the runtime's level, 0 to 99
	Extra          map[string]string
}

// ParseSessionOptions reads the flavor's onnx_session_options.
func ParseSessionOptions(conf map[string]any) (SessionOptions, error) {
	var o SessionOptions
	var errs []error
	for key, val := range conf {
		if val == nil {
			continue
		}
		var err error
		switch key {
		case "intra_op_num_threads":
			o.IntraOpThreads, err = threads(val)
		case "inter_op_num_threads":
			o.InterOpThreads, err = threads(val)
		case "execution_mode":
			o.Parallel, err = parallel(val)
		case "graph_optimization_level":
			o.Optimization, err = optimization(val)
		case "extra_session_config":
			o.Extra, err = extra(val)
		default:
			err = errors.New("unknown option")
		}
		if err != nil {
			errs = append(errs, fmt.Errorf("onnx_session_options.%s: %w", key, err))
		}
	}
	return o, errors.Join(errs...)
}

func threads(val any) (int, error) {
	n, err := strconv.Atoi(fmt.Sprint(val))
	if err != nil || n < 0 || n > 1024 {
		return 0, fmt.Errorf("%v is not a number of threads", val)
	}
	return n, nil
}

func parallel(val any) (bool, error) {
	switch strings.ToLower(fmt.Sprint(val)) {
	case "sequential":
		return false, nil
	case "parallel":
		return true, nil
	}
	return false, fmt.Errorf("%v is neither sequential nor parallel", val)
}

func optimization(val any) (*int, error) {
	n, err := strconv.Atoi(fmt.Sprint(val))
	if err != nil || (n < 0 || n > 3) && n != 99 {
		return nil, fmt.Errorf("%v is not a level: 0, 1, 2, 3 or 99", val)
	}
	return &n, nil
}

func extra(val any) (map[string]string, error) {
	m, ok := val.(map[string]any)
	if !ok {
		return nil, errors.New("not a map")
	}
	conf := make(map[string]string, len(m))
	for k, v := range m {
		conf[k] = fmt.Sprint(v)
	}
	return conf, nil
}

func (o *Options) lanes() int {
	if o.Lanes > 0 {
		return o.Lanes
	}
	return runtime.GOMAXPROCS(0)
}

var (
	// ErrClosed is what Predict gives after Close.
	ErrClosed = &model.Error{Code: model.Unavailable, Message: "the model is closed"}
	// ErrNoLibrary is wrapped by [Open]'s error when ONNX Runtime cannot be
	// found.
	ErrNoLibrary = errors.New("ONNX Runtime's shared library is not here: run `make onnxruntime`, or set MILLRACE_ONNXRUNTIME_LIB to its path")
)
