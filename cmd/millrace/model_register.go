package main

import (
	"errors"
	"fmt"
	"strings"

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
created when it is missing. It needs no Python; and no access to the artifact
store when the server hands artifacts out, else credentials for it. A folder that is incomplete is refused, and nothing is
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
	cfg.MLflow.Log, cfg.MLflow.Open = p.toolLogger(), cfg.Objects.Open
	client, err := mlflow.New(cfg.MLflow)
	if err != nil {
		return usageError(err)
	}
	r.Progress = p.transferProgress("uploaded")
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
