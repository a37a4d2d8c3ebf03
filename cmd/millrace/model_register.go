package main

import (
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/model/mlflow"
)

func (p *program) registerCommand() *cobra.Command {
	r := mlflow.Registration{}
	var tags []string
	var output string
	cmd := &cobra.Command{
		Use:   "register FOLDER --name NAME",
		Short: "Make a model folder a version of a registered model",
		Long: `Upload a model folder, as MLflow writes it, to the registry of
MLFLOW_TRACKING_URI, and make it the next version of a registered model, which is
created when it is missing. It needs the REST API alone: no Python, and no access
to the artifact store. A folder that is incomplete is refused, and nothing is
uploaded.

With --alias the new version takes the alias, and the workers that follow it
swap to it. An alias that is wanted later is set in MLflow, or by registering
again.`,
		Example: `  export MLFLOW_TRACKING_URI=http://localhost:5000
  millrace model register ./my-model --name fraud
  millrace model register ./my-model --name fraud --alias champion --description 'trained on May' --tag commit=1f2e3d`,
		Args: oneArg("the model's folder"),
		RunE: func(cmd *cobra.Command, args []string) error {
			r.Folder = args[0]
			return p.runRegister(cmd, r, tags, output)
		},
	}
	flags := cmd.Flags()
	flags.SortFlags = false
	flags.StringVar(&r.Name, "name", "", "the registered model's name (needed)")
	flags.StringVar(&r.Alias, "alias", "", "alias to move to the new version")
	flags.StringVar(&r.Description, "description", "", "of the new version")
	flags.StringArrayVar(&tags, "tag", nil, "`KEY=VALUE` of the new version; again for more")
	flags.StringVar(&r.Experiment, "experiment", "0", "`ID` of the experiment that holds the artifacts")
	outputFlag(cmd, &output)
	return cmd
}

func (p *program) runRegister(cmd *cobra.Command, r mlflow.Registration, tags []string, output string) error {
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
	client, err := mlflow.New(cfg.MLflow)
	if err != nil {
		return usageError(err)
	}
	r.Progress = p.uploadProgress(r.Folder)
	v, err := client.Register(cmd.Context(), r)
	if err != nil {
		return advise(err)
	}
	return writeFacts(p.out, output, []fact{
		{"name", v.Name}, {"version", v.Version}, {"alias", r.Alias}, {"source", v.Source},
	})
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

// uploadProgress says how an upload goes, once it takes longer than a moment.
func (p *program) uploadProgress(folder string) func(file string, done, total int) {
	var size int64
	_ = filepath.WalkDir(folder, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil //nolint:nilerr // the upload itself will say
		}
		if info, err := d.Info(); err == nil && info.Mode().IsRegular() {
			size += info.Size()
		}
		return nil
	})
	const large = 32 << 20
	if size >= large {
		_, _ = fmt.Fprintf(p.err, "millrace: uploading %s of %s\n", bytesText(size), folder)
	}
	said := time.Now()
	return func(file string, done, total int) {
		if time.Since(said) < time.Second {
			return
		}
		said = time.Now()
		_, _ = fmt.Fprintf(p.err, "millrace: uploaded %s, %d of %d files\n", file, done, total)
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
