package onnx

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
)

// checkExternal refuses external data that is not wholly inside folder. The
// runtime would follow a location wherever it leads.
func checkExternal(folder string, parts []external) error {
	if len(parts) == 0 {
		return nil
	}
	root, err := filepath.EvalSymlinks(folder)
	if err != nil {
		return fmt.Errorf("resolve the model's folder: %w", err)
	}
	sizes := map[string]int64{}
	for _, p := range parts {
		size, known := sizes[p.location]
		if !known {
			if size, err = externalSize(root, p); err != nil {
				return err
			}
			sizes[p.location] = size
		}
		if p.offset > size || p.length > size-p.offset {
			return fmt.Errorf("external data %q of tensor %q is too short: it has %d bytes, %d at offset %d are needed",
				p.location, p.tensor, size, p.length, p.offset)
		}
	}
	return nil
}

func externalSize(root string, p external) (int64, error) {
	if p.location == "" || !filepath.IsLocal(p.location) || strings.ContainsRune(p.location, 0) {
		return 0, fmt.Errorf("external data %q of tensor %q is outside the model's folder", p.location, p.tensor)
	}
	path, err := filepath.EvalSymlinks(filepath.Join(root, p.location))
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fmt.Errorf("external data %q of tensor %q is missing", p.location, p.tensor)
	}
	if err != nil {
		return 0, fmt.Errorf("external data %q of tensor %q: %w", p.location, p.tensor, err)
	}
	rel, err := filepath.Rel(root, path)
	if err != nil || !filepath.IsLocal(rel) {
		return 0, fmt.Errorf("external data %q of tensor %q is outside the model's folder: it is a link to elsewhere", p.location, p.tensor)
	}
	st, err := os.Stat(path)
	if err != nil {
		return 0, fmt.Errorf("external data %q of tensor %q: %w", p.location, p.tensor, err)
	}
	if !st.Mode().IsRegular() {
		return 0, fmt.Errorf("external data %q of tensor %q is not a file", p.location, p.tensor)
	}
	return st.Size(), nil
}
