package load

import (
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"go.yaml.in/yaml/v3"

	"github.com/millrace/millrace/model"
)

// folder is what a model folder says of itself.
type folder struct {
	root           string
	flavors        []string          // sorted
	paths          map[string]string // a flavor's model file or folder, as MLmodel has it
	sessionOptions map[string]any    // of the flavor onnx
	signature      *model.Signature  // nil when none was logged
	example        string            // path of the serving input example, "" for none
}

// mlmodel is the part of an MLmodel file that serving needs.
type mlmodel struct {
	Flavors map[string]struct {
		Data           string         `yaml:"data"`
		SessionOptions map[string]any `yaml:"onnx_session_options"`
	} `yaml:"flavors"`
	Signature *struct {
		Inputs  string `yaml:"inputs"`
		Outputs string `yaml:"outputs"`
		Params  string `yaml:"params"`
	} `yaml:"signature"`
	Example *struct {
		Serving string `yaml:"serving_input_path"`
	} `yaml:"saved_input_example_info"`
}

// maxMLmodel bounds the file, which is a few KB by nature.
const maxMLmodel = 16 << 20

func readFolder(dir string) (*folder, error) {
	path, err := inside(dir, "MLmodel")
	if err != nil {
		return nil, err
	}
	if st, err := os.Stat(path); err != nil || st.Size() > maxMLmodel {
		return nil, errors.Join(errors.New("MLmodel is too large"), err)
	}
	text, err := os.ReadFile(path) //nolint:gosec // checked to be inside the folder
	if err != nil {
		return nil, fmt.Errorf("read MLmodel: %w", err)
	}
	var m mlmodel
	if err := yaml.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read MLmodel: %w", err)
	}
	f := &folder{root: dir, paths: map[string]string{}, flavors: slices.Sorted(maps.Keys(m.Flavors))}
	for name, flavor := range m.Flavors {
		f.paths[name] = flavor.Data
	}
	f.sessionOptions = m.Flavors["onnx"].SessionOptions
	if s := m.Signature; s != nil {
		if f.signature, err = model.ParseSignature(s.Inputs, s.Outputs, s.Params); err != nil {
			return nil, fmt.Errorf("signature: %w", err)
		}
	}
	if m.Example != nil && m.Example.Serving != "" {
		// An example that is not there is no reason to refuse the model.
		f.example, err = inside(dir, m.Example.Serving)
		if err != nil && !errors.Is(err, fs.ErrNotExist) {
			return nil, fmt.Errorf("input example: %w", err)
		}
	}
	return f, nil
}

// data returns the path of a flavor's model.
func (f *folder) data(flavor string) (string, error) {
	if f.paths[flavor] == "" {
		return "", fmt.Errorf("MLmodel's flavor %s names no data", flavor)
	}
	path, err := inside(f.root, f.paths[flavor])
	if err != nil {
		return "", err
	}
	st, err := os.Stat(path)
	if err != nil {
		return "", err
	}
	if st.IsDir() {
		return inside(f.root, filepath.Join(f.paths[flavor], "model.onnx"))
	}
	return path, nil
}

// inside returns the path of a file in dir, links resolved. It fails on one
// that is not there and on one that is elsewhere.
func inside(dir, name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("%q is outside the model's folder", name)
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", fmt.Errorf("the model's folder: %w", err)
	}
	path, err := filepath.EvalSymlinks(filepath.Join(root, name))
	if errors.Is(err, fs.ErrNotExist) {
		return "", fmt.Errorf("%s is missing: %w", name, fs.ErrNotExist)
	}
	if err != nil {
		return "", fmt.Errorf("%s: %w", name, err)
	}
	if rel, err := filepath.Rel(root, path); err != nil || !filepath.IsLocal(rel) {
		return "", fmt.Errorf("%q leads out of the model's folder", name)
	}
	return path, nil
}
