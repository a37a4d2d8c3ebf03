//go:build cgo

package load_test

import (
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/stretchr/testify/require"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/load"
	"github.com/millrace/millrace/model/onnx/onnxtest"
)

const (
	matrixIn  = `[{"name": "X", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]`
	matrixOut = `[{"name": "Y", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]`
)

func options(dir string) load.Options {
	return load.Options{
		Folder: dir, Name: "m", Version: "3", Identity: "id", Source: "test",
		Limits: model.Limits{MaxRows: 100, MaxElements: 1 << 20}, MaxBatch: 8,
	}
}

func TestOpenAnswersRequests(t *testing.T) {
	for name, f := range map[string]onnxtest.Folder{
		"with signature":    {Model: onnxtest.Version(7), Inputs: matrixIn, Outputs: matrixOut},
		"without":           {Model: onnxtest.Version(7)},
		"with example":      {Model: onnxtest.Version(7), Inputs: matrixIn, Example: `{"inputs": {"X": [[1, 2, 3, 4]]}}`},
		"with bad example":  {Model: onnxtest.Version(7), Inputs: matrixIn, Example: `{"inp`},
		"with more threads": {Model: onnxtest.Version(7), Options: []string{"intra_op_num_threads: 2", "execution_mode: sequential", "graph_optimization_level: 99", "extra_session_config:", "  session.disable_prepacking: 1"}},
	} {
		t.Run(name, func(t *testing.T) {
			s, err := load.Open(t.Context(), options(f.Write(t)))
			require.NoError(t, err)
			defer func() { require.NoError(t, s.Release()) }()
			require.Equal(t, []string{"m", "3", "id", "test", "onnx"}, []string{s.Name, s.Version, s.Identity, s.Source, s.Flavor})
			require.True(t, s.Model.Info().Batches)

			var req model.Request
			require.NoError(t, s.Codec.Decode(&req, "application/json", []byte(`{"inputs": {"X": [[1.0, 2, 3, 4], [1, 1, 1, 1]]}}`)))
			out, err := s.Model.Predict(t.Context(), req.Inputs)
			require.NoError(t, err)
			body, err := s.Codec.Encode(nil, &req, out, s.Name, s.Version)
			require.NoError(t, err)
			require.JSONEq(t, `{"predictions": {"Y": [[10.0, 7.0], [4.0, 7.0]]}}`, string(body))
		})
	}
}

func TestRefusedFolders(t *testing.T) {
	outside := filepath.Join(t.TempDir(), "model.onnx")
	require.NoError(t, os.WriteFile(outside, onnxtest.Version(1), 0o600))
	good := onnxtest.Folder{Model: onnxtest.Version(1)}
	external, _ := onnxtest.External("weights.bin")
	for name, c := range map[string]struct {
		folder onnxtest.Folder
		spoil  func(dir string) error
		want   string
	}{
		"no MLmodel": {good, func(dir string) error { return os.Remove(filepath.Join(dir, "MLmodel")) }, "MLmodel is missing"},
		"no model":   {good, func(dir string) error { return os.Remove(filepath.Join(dir, "model.onnx")) }, "model.onnx is missing"},
		"no flavor":  {good, mlmodel("flavors: {}\n"), "names no flavor"},
		"other flavor": {
			good, mlmodel("flavors:\n  sklearn:\n    pickled_model: model.pkl\n"),
			"none of the model's flavors (sklearn) is supported: ",
		},
		"no YAML":        {good, mlmodel("\tflavors: ["), "read MLmodel"},
		"above":          {good, mlmodel("flavors:\n  onnx:\n    data: ../model.onnx\n"), "outside the model's folder"},
		"absolute":       {good, mlmodel("flavors:\n  onnx:\n    data: " + outside + "\n"), "outside the model's folder"},
		"no data":        {good, mlmodel("flavors:\n  onnx:\n    code: null\n"), "names no data"},
		"unknown option": {onnxtest.Folder{Model: onnxtest.Version(1), Options: []string{"threads: 3"}}, nil, "onnx_session_options.threads"},
		"link out": {good, func(dir string) error {
			path := filepath.Join(dir, "model.onnx")
			if err := os.Remove(path); err != nil {
				return err
			}
			return os.Symlink(outside, path)
		}, "leads out of the model's folder"},
		"garbage":          {onnxtest.Folder{Model: []byte("not found")}, nil, "not an ONNX model"},
		"missing weights":  {onnxtest.Folder{Model: external}, nil, "is missing"},
		"other input":      {onnxtest.Folder{Model: onnxtest.Version(1), Inputs: `[{"name": "Z", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 4]}}]`}, nil, "Z"},
		"an input missing": {signed(onnxtest.Multi(), `[{"name": "A", "type": "tensor", "tensor-spec": {"dtype": "float32", "shape": [-1, 2]}}]`), nil, `the model's input "B" is not among its inputs`},
		"other columns":    {signed(onnxtest.Multi(), `[{"name": "zzz", "type": "double"}]`), nil, `the model's input "A" is not among its inputs`},
		"too few columns":  {signed(onnxtest.Version(1), `[{"name": "a", "type": "double"}]`), nil, "it has 1 columns"},
		"other type":       {signed(onnxtest.Version(1), strings.Replace(matrixIn, "float32", "str", 1)), nil, "is of type str, the model's of float32"},
		"other shape":      {signed(onnxtest.Version(1), strings.Replace(matrixIn, "4]", "5]", 1)), nil, "has shape [-1, 5], the model's has [-1, 4]"},
		"no JSON":          {signed(onnxtest.Version(1), `[{"name"`), nil, "signature: inputs"},
		"no signature":     {signed(onnxtest.Version(1), `[]`), nil, "the list is empty"},
		"unknown type":     {signed(onnxtest.Version(1), `[{"name": "a", "type": "quaternion"}]`), nil, `unknown type "quaternion"`},
		"fails on its own": {onnxtest.Folder{Model: onnxtest.Picky(), Inputs: strings.Replace(matrixIn, "4]", "1]", 1), Example: `{"inputs": [[1000]]}`}, nil, "fails on its own input example"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := c.folder.Write(t)
			if c.spoil != nil {
				require.NoError(t, c.spoil(dir))
			}
			_, err := load.Open(t.Context(), options(dir))
			require.ErrorContains(t, err, c.want)
		})
	}
	_, err := load.Open(t.Context(), options(filepath.Join(t.TempDir(), "nowhere")))
	require.ErrorIs(t, err, os.ErrNotExist)
}

func signed(m []byte, inputs string) onnxtest.Folder {
	return onnxtest.Folder{Model: m, Inputs: inputs}
}

// A classifier of two labels gives a sequence. MLflow writes it as the list that
// it is, and for a data frame as np.asarray(it).reshape(-1).
func TestSequencesInAnswers(t *testing.T) {
	labels := onnxtest.Graph{
		Inputs:  []onnxtest.Value{{Name: "X", Elem: onnxtest.Float, Dims: []int64{-1, 2}}},
		Outputs: []onnxtest.Value{{Name: "probs", Elem: onnxtest.Float, Dims: []int64{-1, 2}, Kind: "sequence"}},
		Nodes: []onnxtest.Node{
			{Op: "Neg", In: []string{"X"}, Out: []string{"n"}},
			{Op: "SequenceConstruct", In: []string{"X", "n"}, Out: []string{"probs"}},
		},
	}.Bytes()
	s, err := load.Open(t.Context(), options(onnxtest.Folder{Model: labels}.Write(t)))
	require.NoError(t, err)
	defer func() { require.NoError(t, s.Release()) }()
	require.False(t, s.Model.Info().Batches, "the rows are not in front")
	for body, want := range map[string]string{
		`{"inputs": {"X": [[1.5, 2.5], [3.5, 4.5]]}}`:   `{"predictions": {"probs": [[[1.5, 2.5], [3.5, 4.5]], [[-1.5, -2.5], [-3.5, -4.5]]]}}`,
		`{"dataframe_split": {"data": [[1.5, 2.5]]}}`:   `{"predictions": [{"probs": 1.5}, {"probs": 2.5}, {"probs": -1.5}, {"probs": -2.5}]}`,
		`{"dataframe_records": [{"a": 1.5, "b": 2.5}]}`: `{"predictions": [{"probs": 1.5}, {"probs": 2.5}, {"probs": -1.5}, {"probs": -2.5}]}`,
	} {
		var req model.Request
		require.NoError(t, s.Codec.Decode(&req, "application/json", []byte(body)), body)
		out, err := s.Model.Predict(t.Context(), req.Inputs)
		require.NoError(t, err)
		got, err := s.Codec.Encode(nil, &req, out, s.Name, s.Version)
		require.NoError(t, err)
		require.Equal(t, want, string(got))
	}
}

func mlmodel(text string) func(dir string) error {
	return func(dir string) error { return os.WriteFile(filepath.Join(dir, "MLmodel"), []byte(text), 0o600) }
}
