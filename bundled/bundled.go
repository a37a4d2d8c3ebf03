// Package bundled carries a real model inside the binary, a forecaster of hourly
// temperatures, so that Millrace can be tried with nothing else at hand. README.md
// tells where its data come from and what it scores.
package bundled

import (
	"bytes"
	"crypto/sha256"
	"embed"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
)

// Name is the model's, and the last element of the path that [Materialize]
// returns.
const Name = "forecaster"

//go:embed forecaster
var folder embed.FS

//go:embed windows.json
var windows []byte

// Example is a window of the period that the model was not trained on.
type Example struct {
	Until  string    `json:"until"`  // local hour of the window's last value
	Window []float32 `json:"window"` // 48 hourly temperatures, degrees Fahrenheit
	Next   []float32 `json:"next"`   // the 12 that came after them
}

// Body returns the request that asks for the example's forecast.
func (e *Example) Body() []byte {
	body, err := json.Marshal(map[string]any{"inputs": map[string]any{"window": [][]float32{e.Window}}})
	if err != nil {
		panic(err) // finite numbers only, held by a test
	}
	return body
}

//nolint:gochecknoglobals // what is embedded, parsed once and never changed
var parse = sync.OnceValue(func() []Example {
	var all []Example
	if err := json.Unmarshal(windows, &all); err != nil {
		panic(err) // embedded, held by a test
	}
	return all
})

// Examples returns real windows, in the order of time. They are shared: callers
// do not change them.
func Examples() []Example { return parse() }

// Window returns the window of example i; past the last it begins again.
func Window(i int) []float32 {
	all := parse()
	return all[i%len(all)].Window
}

// Materialize writes the model's folder below dir and returns its path, for the
// runtime loads a model by path. What is there already and equal is left alone;
// the path tells the content, so that versions of the binary can share dir.
func Materialize(dir string) (string, error) {
	path, err := materialize(dir)
	if err != nil {
		return "", fmt.Errorf("write the bundled model: %w", err)
	}
	return path, nil
}

func materialize(dir string) (string, error) {
	files, digest, err := contents()
	if err != nil {
		return "", err
	}
	home := filepath.Join(dir, digest)
	path := filepath.Join(home, Name)
	if same(path, files) {
		return path, nil
	}
	if err := os.MkdirAll(home, 0o750); err != nil {
		return "", err
	}
	tmp, err := os.MkdirTemp(home, ".new-")
	if err != nil {
		return "", err
	}
	defer func() { _ = os.RemoveAll(tmp) }()
	fresh := filepath.Join(tmp, Name)
	if err := write(fresh, files); err != nil {
		return "", err
	}
	// A damaged copy makes room; it goes with the temporary directory.
	if err := os.Rename(path, filepath.Join(tmp, "damaged")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return "", err
	}
	if err := os.Rename(fresh, path); err != nil && !same(path, files) {
		return "", err // and no other process has just written it
	}
	return path, nil
}

// contents returns the embedded files by name, and a short digest of all.
func contents() (map[string][]byte, string, error) {
	files := make(map[string][]byte)
	hash := sha256.New()
	err := fs.WalkDir(folder, Name, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		data, err := folder.ReadFile(path)
		if err != nil {
			return err
		}
		name, err := filepath.Rel(Name, filepath.FromSlash(path))
		if err != nil {
			return err
		}
		files[name] = data
		_, err = fmt.Fprintf(hash, "%s %d\n%s", path, len(data), data)
		return err
	})
	return files, hex.EncodeToString(hash.Sum(nil))[:12], err
}

// same reports whether all the files are at path with the content wanted.
func same(path string, files map[string][]byte) bool {
	for name, want := range files {
		got, err := os.ReadFile(filepath.Join(path, name)) //nolint:gosec // embedded names
		if err != nil || !bytes.Equal(got, want) {
			return false
		}
	}
	return true
}

func write(path string, files map[string][]byte) error {
	for name, data := range files {
		file := filepath.Join(path, name)
		if err := os.MkdirAll(filepath.Dir(file), 0o750); err != nil {
			return err
		}
		if err := os.WriteFile(file, data, 0o600); err != nil {
			return err
		}
	}
	return nil
}
