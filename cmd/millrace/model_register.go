package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/bundled"
	"github.com/millrace/millrace/model/mlflow"
)

func (p *program) registerCommand() *cobra.Command {
	r := mlflow.Registration{}
	var tags []string
	var output string
	var once bool
	cmd := &cobra.Command{
		Use:   "register FOLDER|bundled --name NAME",
		Short: "Make a model folder a version of a registered model",
		Long: `Upload a model folder, as MLflow writes it, to the registry of
MLFLOW_TRACKING_URI, and make it the next version of a registered model, which is
created when it is missing. It needs no Python; and no access to the artifact
store when the server hands artifacts out, else credentials for it. A folder that is incomplete is refused, and nothing is
uploaded.

With --alias the new version takes the alias, and the workers that follow it
swap to it. An alias that is wanted later is set in MLflow, or by registering
again.

With --once nothing is done when the alias names a version already, or, without
--alias, when the model has a version: for init steps, which run again and again.
"bundled" is the model that the binary carries.`,
		Example: `  export MLFLOW_TRACKING_URI=http://localhost:5000
  millrace model register ./my-model --name fraud
  millrace model register ./my-model --name fraud --alias champion --description 'trained on May' --tag commit=1f2e3d
  millrace model register bundled --name forecaster --alias champion --once`,
		Args: oneArg("the model's folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Folder = args[0]
			return p.runRegister(cmd, r, once, tags, output)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&r.Name, "name", "", "the registered model's name (needed)")
	flags.StringVar(&r.Alias, "alias", "", "alias to move to the new version")
	flags.StringVar(&r.Description, "description", "", "of the new version")
	flags.StringArrayVar(&tags, "tag", nil, "`KEY=VALUE` of the new version; again for more")
	flags.StringVar(&r.Experiment, "experiment", "0", "`ID` of the experiment that holds the artifacts")
	flags.BoolVar(&once, "once", false, "do nothing when it is there already")
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) runRegister(cmd *cobra.Command, r mlflow.Registration, once bool, tags []string, output string) error {
	cfg := p.sourceDefaults()
	err := errors.Join(checkOutput(output), p.parse(&cfg))
	if r.Name == "" {
		err = errors.Join(err, errors.New("--name: the registered model's name is needed"))
	}
	var tagErr error
	if r.Tags, tagErr = parseTags(tags); tagErr != nil {
		err = errors.Join(err, tagErr)
	}
	if err != nil {
		return usageError(err)
	}
	cfg.MLflow.Log, cfg.MLflow.Open = p.toolLogger(), cfg.Objects.Open
	client, err := mlflow.New(cfg.MLflow)
	if err != nil {
		return usageError(err)
	}
	if once {
		switch have, err := there(cmd.Context(), client, r); {
		case err == nil:
			return writeFacts(p.out, output, registered(have.Name, have.Version, r.Alias, have.Source))
		case !errors.Is(err, mlflow.ErrNotFound):
			return advise(err)
		}
	}
	dir, remove, err := p.folderOf(r.Folder)
	if err != nil {
		return err
	}
	defer remove()
	r.Folder, r.Progress = dir, p.transferProgress("uploaded")
	v, err := client.Register(cmd.Context(), r)
	if err != nil {
		return advise(err)
	}
	return writeFacts(p.out, output, registered(v.Name, v.Version, r.Alias, v.Source))
}

func registered(name, version, alias, source string) []fact {
	return []fact{{"name", name}, {"version", version}, {"alias", alias}, {"source", source}}
}

// there asks for the version that a registration with --once would make:
// [mlflow.ErrNotFound] when there is none yet.
func there(ctx context.Context, client *mlflow.Client, r mlflow.Registration) (mlflow.Resolved, error) {
	text := "models:/" + r.Name + "@" + r.Alias
	if r.Alias == "" {
		text = "models:/" + r.Name + "/latest"
	}
	ref, err := mlflow.ParseRef(text)
	if err != nil {
		return mlflow.Resolved{}, usageError(err)
	}
	return client.Resolve(ctx, ref)
}

// folderOf is where a model to be registered lies. The bundled one is written to
// disk until remove.
func (p *program) folderOf(asked string) (dir string, remove func(), err error) {
	if asked != bundledRef {
		return asked, func() {}, nil
	}
	tmp, err := os.MkdirTemp(p.env["TMPDIR"], "millrace-register-")
	if err != nil {
		return "", nil, fmt.Errorf("a folder for the bundled model, set TMPDIR to one that can be written: %w", err)
	}
	remove = func() { _ = os.RemoveAll(tmp) }
	if dir, err = bundled.Materialize(tmp); err != nil {
		remove()
	}
	return dir, remove, err
}

func parseTags(lines []string) (map[string]string, error) {
	tags := make(map[string]string, len(lines))
	for _, line := range lines {
		key, value, found := strings.Cut(line, "=")
		if !found || key == "" {
			return nil, fmt.Errorf("--tag: %q is not KEY=VALUE", line)
		}
		tags[key] = value
	}
	return tags, nil
}

// transferProgress says how a transfer goes, once it takes longer than a moment.
func (p *program) transferProgress(done string) func(mlflow.Progress) {
	said := false
	return func(t mlflow.Progress) {
		if t.Files == t.TotalFiles && !said {
			return // it took no time worth a line
		}
		said = true
		_, _ = fmt.Fprintf(p.err, "millrace: %s %s of %s, %d of %d files, %s/s\n",
			done, bytesText(t.Bytes), bytesText(t.TotalBytes), t.Files, t.TotalFiles, bytesText(int64(t.Rate)))
	}
}

// bytesText is a size for people: "12.3 MB".
func bytesText(n int64) string {
	const unit = 1000
	if n < unit {
		return fmt.Sprintf("%d B", n)
	}
	value, i := float64(n)/unit, 0
	for value >= unit && i < len("kMGTP")-1 {
		value /= unit
		i++
	}
	return fmt.Sprintf("%.1f %cB", value, "kMGTP"[i])
}
