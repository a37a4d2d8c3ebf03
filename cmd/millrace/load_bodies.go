package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os"

	"github.com/spf13/pflag"

	"github.com/millrace/millrace/bundled"
	"github.com/millrace/millrace/model/mlflow"
)

// bodyFlags say what is sent.
type bodyFlags struct {
	files    []string
	model    string
	generate bool
	rows     int
	variety  int
	seed     uint64
}

func (f *bodyFlags) add(flags *pflag.FlagSet) {
	flags.StringArrayVar(&f.files, "body", nil, "`FILE` with a body, - for standard input; again for more, sent in turn")
	flags.StringVar(&f.model, "model", "", "`URI` of a model whose input example is sent, or values drawn for its signature when it has none")
	flags.BoolVar(&f.generate, "generate", false, "draw values for the signature, also when the model has an example")
	flags.IntVar(&f.rows, "rows", 1, "rows of a drawn body")
	flags.IntVar(&f.variety, "variety", 1000, "drawn bodies that are sent in turn")
	flags.Uint64Var(&f.seed, "seed", 1, "of the draws: the same seed, the same bodies")
}

// loadBodies returns what request i sends: files in turn, a model's example, drawn
// values, or the bundled model's windows.
func (p *program) loadBodies(ctx context.Context, f *bodyFlags) (func(i int) []byte, error) {
	var bodies [][]byte
	var err error
	switch {
	case len(f.files) > 0 && f.model != "":
		return nil, usageError(errors.New("--body and --model: one of them says what is sent"))
	case f.generate && f.model == "":
		return nil, usageError(errors.New("--generate: needs --model, whose signature says what to draw"))
	case f.rows < 1 || f.variety < 1:
		return nil, usageError(errors.New("--rows and --variety: must be at least 1"))
	case len(f.files) > 0:
		bodies, err = p.readBodies(f.files)
	case f.model != "":
		bodies, err = p.modelBodies(ctx, f)
	default:
		for _, e := range bundled.Examples() {
			bodies = append(bodies, e.Body())
		}
	}
	if err != nil {
		return nil, err
	}
	return func(i int) []byte { return bodies[i%len(bodies)] }, nil
}

func (p *program) readBodies(files []string) (bodies [][]byte, err error) {
	for _, name := range files {
		read := func() ([]byte, error) { return os.ReadFile(name) } //nolint:gosec // the user's file
		if name == "-" {
			read = func() ([]byte, error) { return io.ReadAll(p.in) }
		}
		body, err := read()
		if err != nil {
			return nil, fmt.Errorf("--body: %w", err)
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}

// modelBodies needs the model's folder, not its runtime.
func (p *program) modelBodies(ctx context.Context, f *bodyFlags) (bodies [][]byte, err error) {
	cfg := predictConfig{Source: p.sourceDefaults()}
	if err := p.parse(&cfg); err != nil {
		return nil, err
	}
	src, r, err := p.resolve(ctx, cfg.Source, f.model)
	if err != nil {
		return nil, err
	}
	dir, release, err := src.folder(ctx, r)
	if err != nil {
		return nil, advise(err)
	}
	defer release()
	folder, err := mlflow.ReadFolder(dir)
	if err != nil {
		return nil, err
	}
	if folder.ServingExample != "" && !f.generate {
		body, err := os.ReadFile(folder.ServingExample)
		return [][]byte{body}, err
	}
	signature, err := folder.Signature()
	if err != nil {
		return nil, err
	}
	rng := rand.New(rand.NewPCG(f.seed, 0)) //nolint:gosec // values to try, no secrets
	for range f.variety {
		body, err := signature.Random(rng, f.rows)
		if err != nil {
			return nil, fmt.Errorf("--model %s: %w; --body sends what you write", f.model, err)
		}
		bodies = append(bodies, body)
	}
	return bodies, nil
}
