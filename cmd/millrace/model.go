package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/model/mlflow"
	"github.com/millrace/millrace/model/remote"
)

func (p *program) modelCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "model",
		Short: "Register, resolve, inspect and try models",
		Long: `Work with models outside of a worker, through the same registry client, cache,
runtime and codec that a worker has.

URI is models:/name@alias, models:/name/3, models:/name/latest, models:/m-…,
runs:/id/path, the path of a folder in MLflow's layout, or bundled, which is the
model that the binary carries. A model that is served elsewhere is
v2+http://host:port/model[/version], by the Open Inference Protocol V2, or
mlflow+http://host:port, by an MLflow scoring server; https likewise. The registry is that of MLFLOW_TRACKING_URI, with
MLFLOW_TRACKING_USERNAME and _PASSWORD, or _TOKEN, where it asks for them.`,
		Example: `  millrace model inspect bundled
  export MLFLOW_TRACKING_URI=http://localhost:5000
  millrace model register ./my-model --name fraud --alias champion
  millrace model resolve models:/fraud@champion
  echo '{"inputs": [[1, 2, 3, 4]]}' | millrace model predict models:/fraud@champion`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				return usageError(fmt.Errorf("unknown command %q for %s; %s --help lists them", args[0], cmd.CommandPath(), cmd.CommandPath()))
			}
			return nil
		},
		RunE: func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
	}
	cmd.AddCommand(p.registerCommand(), p.resolveCommand(), p.inspectCommand(), p.predictCommand(), p.assignCommand())
	return cmd
}

// oneArg is for commands that take one argument, which what describes.
func oneArg(what string) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error {
		if len(args) == 1 {
			return nil
		}
		return usageError(fmt.Errorf("%s takes one argument, %s, but got %d; %s --help shows examples",
			cmd.CommandPath(), what, len(args), cmd.CommandPath()))
	}
}

const uriArg = "what names the model, such as models:/name@alias, bundled or a folder"

func (p *program) resolveCommand() *cobra.Command {
	var output string
	cmd := &cobra.Command{
		Use:   "resolve URI",
		Short: "Say which version a reference names at the moment",
		Long: `Ask the registry what a reference names at the moment, without downloading it.
The identity tells apart versions that share a name and a number; a worker loads
a model anew when it changes.`,
		Example: `  millrace model resolve models:/fraud@champion
  millrace model resolve models:/fraud/latest --output json
  millrace model resolve ./my-model`,
		Args: oneArg(uriArg),
		RunE: func(cmd *cobra.Command, args []string) error {
			cfg := p.sourceDefaults()
			if err := errors.Join(checkOutput(output), p.parse(&cfg)); err != nil {
				return usageError(err)
			}
			if remote.IsRef(args[0]) {
				_, c, r, err := p.resolveRemote(cmd.Context(), cfg, args[0])
				if err != nil {
					return err
				}
				defer c.Close()
				return writeFacts(p.out, output, remoteFacts(c, r))
			}
			_, r, err := p.resolve(cmd.Context(), cfg, args[0])
			if err != nil {
				return err
			}
			return writeFacts(p.out, output, resolvedFacts(r))
		},
	}
	outputFlag(cmd, &output)
	return cmd
}

// resolve asks what a reference names. What the user has to correct is a usage
// error.
func (p *program) resolve(ctx context.Context, cfg sourceConfig, text string) (*modelSource, mlflow.Resolved, error) {
	src, err := p.modelSource(cfg, p.toolLogger())
	if err != nil {
		return nil, mlflow.Resolved{}, err
	}
	ref, err := src.parse(text)
	if err != nil {
		return nil, mlflow.Resolved{}, usageError(err)
	}
	src.progress = p.transferProgress("downloaded")
	r, err := src.client.Resolve(ctx, ref)
	return src, r, advise(err)
}

// advise says what to do about an error of the registry, where that is known.
func advise(err error) error {
	switch {
	case errors.Is(err, mlflow.ErrNoRegistry):
		return usageError(fmt.Errorf("%w: set it to the registry's address, such as http://localhost:5000", err))
	case errors.Is(err, mlflow.ErrNotReady):
		return fmt.Errorf("%w: try again when its upload is over", err)
	case errors.Is(err, mlflow.ErrNoAccess):
		return fmt.Errorf("%w: give this process credentials for the store, or let the server serve the files (MILLRACE_MODEL_ARTIFACTS)", err)
	}
	return err
}

// toolLogger is for the parts that log below a command: what they warn of goes
// to standard error.
func (p *program) toolLogger() *slog.Logger {
	return slog.New(slog.NewTextHandler(p.err, &slog.HandlerOptions{Level: slog.LevelWarn}))
}

// fact is one line of a command's answer.
type fact struct {
	name  string
	value string
}

func resolvedFacts(r mlflow.Resolved) []fact {
	return []fact{
		{"reference", r.Ref.String()},
		{"name", r.Name},
		{"version", r.Version},
		{"identity", r.Identity},
		{"source", r.Source},
		{"artifact_uri", r.ArtifactURI},
		{"status", r.Status},
	}
}

const (
	outputText = "text"
	outputJSON = "json"
)

func outputFlag(cmd *cobra.Command, output *string) {
	cmd.Flags().StringVarP(output, "output", "o", outputText, "text or json")
}

func checkOutput(output string) error {
	if output != outputText && output != outputJSON {
		return fmt.Errorf("--output: %q is neither text nor json", output)
	}
	return nil
}

// writeFacts writes an answer that is a list of names and values.
func writeFacts(w io.Writer, output string, facts []fact) error {
	if output == outputJSON {
		object := make(map[string]string, len(facts))
		for _, f := range facts {
			object[f.name] = f.value
		}
		return writeJSON(w, object)
	}
	t := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	for _, f := range facts {
		if f.value != "" {
			_, _ = fmt.Fprintf(t, "%s\t%s\n", strings.ReplaceAll(f.name, "_", " "), f.value)
		}
	}
	return t.Flush()
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetEscapeHTML(false)
	e.SetIndent("", "  ")
	return e.Encode(v)
}
