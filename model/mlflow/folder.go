package mlflow

import (
	"errors"
	"fmt"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/millrace/millrace/model"
)

// maxMLmodel bounds the file, which is a few KB by nature.
const maxMLmodel = 16 << 20

// Folder is what a model folder says of itself in its MLmodel file. All paths
// in it were checked to exist and to stay inside the folder, links followed.
type Folder struct {
	Root    string   // as it was given
	Flavors []string // sorted
	Flavor  string   // the one that this is about: the first of Preferred that the model has, else its first
	Data    string   // path of that flavor's model file or folder, "" when it names none
	Class   string   // that flavor's model_class, "" when it names none

	Providers      []string       // of the flavor onnx, in the order of preference
	SessionOptions map[string]any // of the flavor onnx
	Loader         string         // python_function's loader_module

	// The signature's JSON texts, each "" when it was not logged.
	Inputs, Outputs, Params string

	Example        string // path of the logged input example, "" for none
	ServingExample string // path of the example as a request's body, "" for none

	ModelUUID     string
	ModelID       string
	RunID         string
	MLflowVersion string

	flavors map[string]flavor
}

// Preferred returns the flavors that models are served by, in the order in which
// they are tried.
func Preferred() []string { return []string{"onnx", "lightgbm", "xgboost", "python_function"} }

// mlmodel is the part of the file that serving needs; all else is ignored.
type mlmodel struct {
	Flavors   map[string]flavor `yaml:"flavors"`
	Signature struct {
		Inputs  string `yaml:"inputs"`
		Outputs string `yaml:"outputs"`
		Params  string `yaml:"params"`
	} `yaml:"signature"`
	Example struct {
		Path    string `yaml:"artifact_path"`
		Serving string `yaml:"serving_input_path"`
	} `yaml:"saved_input_example_info"`
	ModelUUID     string `yaml:"model_uuid"`
	ModelID       string `yaml:"model_id"`
	RunID         string `yaml:"run_id"`
	MLflowVersion string `yaml:"mlflow_version"`
}

type flavor struct {
	Data           string         `yaml:"data"`
	Class          string         `yaml:"model_class"`
	Loader         string         `yaml:"loader_module"`
	Providers      []any          `yaml:"providers"` // a name, or [name, options]
	SessionOptions map[string]any `yaml:"onnx_session_options"`
}

// ReadFolder reads a model folder's MLmodel. It refuses a folder whose paths
// are missing or lead out of it.
func ReadFolder(dir string) (*Folder, error) {
	f, err := readFolder(dir)
	if err != nil {
		return nil, fmt.Errorf("model folder %s: %w", dir, err)
	}
	return f, nil
}

func readFolder(dir string) (*Folder, error) {
	m, err := readMLmodel(dir)
	if err != nil {
		return nil, err
	}
	if len(m.Flavors) == 0 {
		return nil, errors.New("MLmodel names no flavor")
	}
	f := &Folder{
		Root: dir, Flavors: slices.Sorted(maps.Keys(m.Flavors)),
		SessionOptions: m.Flavors["onnx"].SessionOptions, Loader: m.Flavors["python_function"].Loader,
		Inputs: m.Signature.Inputs, Outputs: m.Signature.Outputs, Params: m.Signature.Params,
		ModelUUID: m.ModelUUID, ModelID: m.ModelID, RunID: m.RunID, MLflowVersion: m.MLflowVersion,
	}
	f.flavors = m.Flavors
	f.Providers = providers(m.Flavors["onnx"].Providers)
	if f, err = f.As(pickFlavor(f.Flavors)); err != nil {
		return nil, err
	}
	if f.Example, err = optional(dir, m.Example.Path); err != nil {
		return nil, fmt.Errorf("input example: %w", err)
	}
	if f.ServingExample, err = optional(dir, m.Example.Serving); err != nil {
		return nil, fmt.Errorf("serving input example: %w", err)
	}
	return f, nil
}

func readMLmodel(dir string) (*mlmodel, error) {
	path, err := inside(dir, "MLmodel")
	if err != nil {
		return nil, err
	}
	file, err := os.Open(path) //nolint:gosec // checked to be inside the folder
	if err != nil {
		return nil, err
	}
	defer file.Close()
	text, err := io.ReadAll(io.LimitReader(file, maxMLmodel+1))
	if err != nil {
		return nil, fmt.Errorf("read MLmodel: %w", err)
	}
	if len(text) > maxMLmodel {
		return nil, errors.New("MLmodel is too large")
	}
	var m mlmodel
	if err := yaml.Unmarshal(text, &m); err != nil {
		return nil, fmt.Errorf("read MLmodel: %w", err)
	}
	return &m, nil
}

// As returns the folder as one of another of its flavors.
func (f *Folder) As(name string) (*Folder, error) {
	flavor, ok := f.flavors[name]
	if !ok {
		return nil, fmt.Errorf("the model has no flavor %s, but %s", name, strings.Join(f.Flavors, ", "))
	}
	as := *f
	as.Flavor, as.Class, as.Data = name, flavor.Class, ""
	switch {
	case flavor.Data != "":
		var err error
		if as.Data, err = inside(f.Root, flavor.Data); err != nil {
			return nil, fmt.Errorf("flavor %s: data: %w", name, err)
		}
	case name != "python_function" && slices.Contains(Preferred(), name):
		return nil, fmt.Errorf("flavor %s names no data", name)
	}
	return &as, nil
}

// Signature parses the logged signature; nil when none was logged.
func (f *Folder) Signature() (*model.Signature, error) {
	if f.Inputs == "" && f.Outputs == "" && f.Params == "" {
		return nil, nil //nolint:nilnil // no signature is an ordinary answer
	}
	sig, err := model.ParseSignature(f.Inputs, f.Outputs, f.Params)
	if err != nil {
		return nil, fmt.Errorf("signature: %w", err)
	}
	return sig, nil
}

func pickFlavor(flavors []string) string {
	for _, want := range Preferred() {
		if slices.Contains(flavors, want) {
			return want
		}
	}
	return flavors[0]
}

func providers(list []any) []string {
	var names []string
	for _, p := range list {
		if pair, ok := p.([]any); ok && len(pair) > 0 {
			p = pair[0]
		}
		if name, ok := p.(string); ok {
			names = append(names, name)
		}
	}
	return names
}

// optional is inside for a file that may be absent: an example that is not
// there is no reason to refuse a model.
func optional(dir, name string) (string, error) {
	if name == "" {
		return "", nil
	}
	path, err := inside(dir, name)
	if errors.Is(err, fs.ErrNotExist) {
		return "", nil
	}
	return path, err
}

// inside returns the path of a file in dir, links resolved. It fails on one
// that is not there and on one that is elsewhere.
func inside(dir, name string) (string, error) {
	if !filepath.IsLocal(name) {
		return "", fmt.Errorf("%q is outside the model's folder", name)
	}
	root, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return "", err
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
