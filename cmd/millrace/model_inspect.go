package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/model"
	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/remote"
)

// inspection is what `millrace model inspect` tells.
type inspection struct {
	Reference     string            `json:"reference"`
	Name          string            `json:"name"`
	Version       string            `json:"version"`
	Identity      string            `json:"identity"`
	Source        string            `json:"source"`
	Folder        string            `json:"folder"`
	Flavor        string            `json:"flavor"`
	Flavors       []string          `json:"flavors"`
	Platform      string            `json:"platform,omitempty"` // what an endpoint runs its model on
	MLflowVersion string            `json:"mlflow_version,omitempty"`
	Signature     *signatureJSON    `json:"signature"`
	Files         []inspectedFile   `json:"files,omitempty"`
	Loads         bool              `json:"loads"`
	Error         string            `json:"error,omitempty"` // why it does not load
	Inputs        []inspectedTensor `json:"inputs,omitempty"`
	Outputs       []inspectedTensor `json:"outputs,omitempty"`
	Batches       bool              `json:"batches"`
	raw           bool              // it reads bodies by itself
	Example       string            `json:"example,omitempty"`        // a request's body
	ExampleSource string            `json:"example_source,omitempty"` // "logged" or "made up"
	Curl          string            `json:"curl,omitempty"`
}

// signatureJSON is the signature as MLmodel has it.
type signatureJSON struct {
	Inputs  json.RawMessage `json:"inputs,omitempty"`
	Outputs json.RawMessage `json:"outputs,omitempty"`
	Params  json.RawMessage `json:"params,omitempty"`
}

type inspectedFile struct {
	Path string `json:"path"`
	Size int64  `json:"size"` // bytes
}

// inspectedTensor is an input or output of the model itself; a dimension of -1
// is variable.
type inspectedTensor struct {
	Name  string  `json:"name"`
	DType string  `json:"dtype"`
	Shape []int64 `json:"shape"`
}

func (p *program) inspectCommand() *cobra.Command {
	var output, url string
	cmd := &cobra.Command{
		Use:   "inspect URI",
		Short: "Show a model's signature, files and an example request",
		Long: `Bring a model to the disk, load it as a worker does, and show what there is to
know: name, version, flavor, signature, files with their sizes, the tensors of the
model itself, whether several requests can share one call of it, and an example
request as a curl command that can be pasted. The example is the one logged with
the model, or else made up from its signature.

A model that does not load is shown as far as it goes, with the reason; the exit
code then is 1.`,
		Example: `  millrace model inspect bundled
  millrace model inspect models:/fraud@champion
  millrace model inspect models:/fraud/3 --output json | jq -r .example > request.json`,
		Args: oneArg(uriArg),
		RunE: func(cmd *cobra.Command, args []string) error {
			return p.runInspect(cmd.Context(), args[0], output, url)
		},
	}
	cmd.Flags().StringVar(&url, "url", "http://localhost:8000/predict", "address in the curl command")
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) runInspect(ctx context.Context, text, output, url string) error {
	cfg := p.sourceDefaults()
	if err := errors.Join(checkOutput(output), p.parse(&cfg)); err != nil {
		return usageError(err)
	}
	in, err := p.inspect(ctx, cfg, text, url)
	if err != nil {
		return err
	}
	if output == outputJSON {
		err = writeJSON(p.out, in)
	} else {
		err = in.write(p.out)
	}
	if err == nil && !in.Loads {
		return exitError(exitFailed)
	}
	return err
}

func (p *program) inspect(ctx context.Context, cfg sourceConfig, text, url string) (*inspection, error) {
	if remote.IsRef(text) {
		return p.inspectRemote(ctx, cfg, text, url)
	}
	src, r, err := p.resolve(ctx, cfg, text)
	if err != nil {
		return nil, err
	}
	dir, release, err := src.folder(ctx, r)
	if err != nil {
		return nil, advise(err)
	}
	defer release()
	in, err := inspectFolder(r, dir)
	if err != nil {
		return nil, err
	}
	return in, in.load(ctx, src, r, dir, url)
}

// inspectFolder tells what the folder says without being loaded.
func inspectFolder(r mlflow.Resolved, dir string) (*inspection, error) {
	f, err := mlflow.ReadFolder(dir)
	if err != nil {
		return nil, err
	}
	in := &inspection{
		Reference: r.Ref.String(), Name: r.Name, Version: r.Version, Identity: r.Identity, Source: r.Source, Folder: dir,
		Flavor: f.Flavor, Flavors: f.Flavors, MLflowVersion: f.MLflowVersion,
	}
	if f.Inputs+f.Outputs+f.Params != "" {
		in.Signature = &signatureJSON{rawJSON(f.Inputs), rawJSON(f.Outputs), rawJSON(f.Params)}
	}
	if f.ServingExample != "" {
		body, err := os.ReadFile(f.ServingExample)
		if err != nil {
			return nil, err
		}
		in.Example, in.ExampleSource = string(compact(body)), "logged"
	}
	err = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() {
			return err
		}
		info, err := d.Info()
		if err != nil {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		in.Files = append(in.Files, inspectedFile{filepath.ToSlash(rel), info.Size()})
		return err
	})
	return in, err
}

// load adds what only the loaded model tells. That it does not load is no
// error, but part of the answer.
func (in *inspection) load(ctx context.Context, src *modelSource, r mlflow.Resolved, dir, url string) error {
	snap, err := src.open(ctx, r, 1)
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if err != nil {
		in.Error = err.Error()
		return nil //nolint:nilerr // it is part of the answer
	}
	return in.describe(snap, dir, url)
}

// describe adds what a snapshot tells, and releases it. dir is its folder, if it
// has one.
func (in *inspection) describe(snap *model.Snapshot, dir, url string) error {
	info := snap.Model.Info()
	in.Loads, in.Batches, in.Flavor = true, info.Batches, snap.Flavor // not the first that the folder has, when that was passed over
	if in.raw = info.Raw; !in.raw {
		in.Inputs, in.Outputs = inspectTensors(info.Inputs), inspectTensors(info.Outputs)
	}
	if in.Example == "" {
		if in.Example = string(snap.Codec.Example()); in.Example != "" {
			in.ExampleSource = "made up"
		}
	}
	in.Curl = curl(url, in.Example, dir)
	return snap.Release()
}

func inspectTensors(specs []model.Spec) []inspectedTensor {
	list := make([]inspectedTensor, len(specs))
	for i, s := range specs {
		list[i] = inspectedTensor{s.Name, s.DType.String(), s.Shape}
	}
	return list
}

// rawJSON is a text of MLmodel as JSON: as a string when it is none.
func rawJSON(text string) json.RawMessage {
	if text == "" {
		return nil
	}
	if !json.Valid([]byte(text)) {
		quoted, err := json.Marshal(text)
		if err != nil {
			return nil
		}
		return quoted
	}
	return compact([]byte(text))
}

func compact(text []byte) []byte {
	var b bytes.Buffer
	if json.Compact(&b, text) != nil {
		return text
	}
	return b.Bytes()
}

// write is the inspection for people.
func (in *inspection) write(w io.Writer) error {
	loads := "yes"
	if !in.Loads {
		loads = "no: " + in.Error
	}
	facts := []fact{
		{"reference", in.Reference},
		{"name", in.Name},
		{"version", in.Version},
		{"identity", in.Identity},
		{"source", in.Source},
		{"folder", in.Folder},
		{"flavor", in.Flavor + " (of " + strings.Join(in.Flavors, ", ") + ")"},
		{"mlflow", in.MLflowVersion},
		{"platform", in.Platform},
		{"loads", loads},
	}
	if in.Loads && in.raw {
		facts = append(facts, fact{"batches", "as far as requests are answered together as alone: see MILLRACE_PYFUNC_BATCH"})
	} else if in.Loads {
		facts = append(facts, fact{"batches", map[bool]string{
			true: "yes: requests share calls of the model", false: "no: each request is a call of its own",
		}[in.Batches]})
	}
	if err := writeFacts(w, outputText, facts); err != nil {
		return err
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "\nsignature")
	switch {
	case in.Signature == nil && in.Folder == "":
		_, _ = fmt.Fprintln(t, "  what the endpoint declares:")
	case in.Signature == nil:
		_, _ = fmt.Fprintln(t, "  none was logged: requests are read by the model's own inputs")
	default:
		writeSpecs(t, "input", in.Signature.Inputs)
		writeSpecs(t, "output", in.Signature.Outputs)
		writeSpecs(t, "param", in.Signature.Params)
	}
	writeTensors(t, in)
	if len(in.Files) > 0 {
		_, _ = fmt.Fprintln(t, "\nfiles")
	}
	for _, f := range in.Files {
		_, _ = fmt.Fprintf(t, "  %s\t%s\n", f.Path, bytesText(f.Size))
	}
	if in.Curl != "" {
		_, _ = fmt.Fprintf(t, "\nexample request (%s)\n%s\n", in.ExampleSource, in.Curl)
	}
	return t.Flush()
}

func writeTensors(w io.Writer, in *inspection) {
	if !in.Loads || in.raw { // it takes bodies, not tensors
		return
	}
	_, _ = fmt.Fprintln(w, "\ntensors of the model")
	for _, side := range []struct {
		name string
		list []inspectedTensor
	}{{"input", in.Inputs}, {"output", in.Outputs}} {
		for _, s := range side.list {
			_, _ = fmt.Fprintf(w, "  %s\t%s\t%s\t%v\n", side.name, s.Name, s.DType, s.Shape)
		}
	}
}
