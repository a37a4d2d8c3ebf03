//go:build cgo

package onnx

import (
	"fmt"
	"os"
	"sync"

	ort "github.com/yalue/onnxruntime_go"
)

// environment is the runtime's, of which a process has one: the library keeps
// it in its own globals. It is never destroyed, since sessions that are still
// being closed need it.
//
//nolint:gochecknoglobals // mirrors the library's own global
var environment struct {
	sync.Mutex
	library string // "" until the library is open
}

// initialise opens the library once a process. A failure may be tried again
// with another path.
func initialise(asked string) error {
	environment.Lock()
	defer environment.Unlock()
	if environment.library != "" && asked == "" {
		return nil
	}
	path, err := FindLibrary(asked)
	if err != nil {
		return err
	}
	if environment.library != "" {
		if path != environment.library {
			return fmt.Errorf("ONNX Runtime is already loaded from %s, not %s", environment.library, path)
		}
		return nil
	}
	// Newer libraries report to their maker unless this is in the process's
	// environment before they are opened; their API for it comes too late.
	if err := os.Setenv("ORT_DISABLE_TELEMETRY", "1"); err != nil {
		return fmt.Errorf("switch ONNX Runtime's telemetry off: %w", err)
	}
	ort.SetSharedLibraryPath(path)
	// The runtime prints each failure to stderr besides returning it.
	if err := ort.InitializeEnvironment(ort.WithLogLevelFatal()); err != nil {
		if path == LibraryName() {
			return ErrNoLibrary
		}
		return fmt.Errorf("load ONNX Runtime from %s (versions 1.24.1 to 1.30.0 work): %w", path, err)
	}
	environment.library = path
	return nil
}
