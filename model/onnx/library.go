package onnx

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
)

// LibraryName is the shared library's file name on this system.
func LibraryName() string {
	if runtime.GOOS == "darwin" {
		return "libonnxruntime.dylib"
	}
	return "libonnxruntime.so"
}

// FindLibrary returns the path of ONNX Runtime's library: the one asked for; or
// the one beside the executable; or, for tests and `go run`, the one in bin/ of
// this project's checkout around the working directory; or else its bare name,
// which leaves the search to the system's loader.
func FindLibrary(asked string) (string, error) {
	if asked != "" {
		if _, err := os.Stat(asked); err != nil {
			return "", fmt.Errorf("%w (%s does not exist)", ErrNoLibrary, asked)
		}
		return filepath.Abs(asked)
	}
	var places []string
	if exe, err := os.Executable(); err == nil {
		if target, err := filepath.EvalSymlinks(exe); err == nil {
			exe = target
		}
		places = append(places, filepath.Dir(exe))
	}
	if root := checkout(); root != "" {
		places = append(places, filepath.Join(root, "bin"))
	}
	for _, dir := range places {
		path := filepath.Join(dir, LibraryName())
		if st, err := os.Stat(path); err == nil && st.Mode().IsRegular() {
			return path, nil
		}
	}
	return LibraryName(), nil
}

// checkout returns the root of this project's source around the working
// directory, "" outside of it. Other modules do not count: a library is code,
// and is not picked up from a folder that merely happens to be current.
func checkout() string {
	dir, err := os.Getwd()
	if err != nil {
		return ""
	}
	for {
		mod, err := os.ReadFile(filepath.Join(dir, "go.mod")) //nolint:gosec // a fixed name
		if err == nil {
			if bytes.HasPrefix(mod, []byte("module github.com/millrace/millrace\n")) {
				return dir
			}
			return ""
		}
		parent := filepath.Dir(dir)
		if parent == dir {
			return ""
		}
		dir = parent
	}
}
