package main

import (
	"context"
	"errors"
	"fmt"
	"io"
	"maps"
	"strings"

	"github.com/spf13/cobra"
)

// The exit codes, besides 0.
const (
	exitFailed = 1 // the command could not do what it was asked for
	exitUsage  = 2 // wrong flags, arguments or configuration: nothing was begun
)

// program is what a command has in place of the process's own.
type program struct {
	env     map[string]string // the commands' flags override it
	in      io.Reader
	out     io.Writer
	err     io.Writer
	started bool // cobra has accepted the command line
}

// exitError ends a command with a code and without a message: the command has
// said itself what there was to say.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// callError is a mistake in how the program was called.
type callError struct{ error }

func (u callError) Unwrap() error { return u.error }

// usageError marks err as a mistake of the command line or the configuration,
// which exits with 2.
func usageError(err error) error { return callError{err} }

// noArgs is for commands that take flags alone.
func noArgs(cmd *cobra.Command, args []string) error {
	if len(args) > 0 {
		return usageError(fmt.Errorf("%s takes no argument, but got %q", cmd.CommandPath(), args[0]))
	}
	return nil
}

// run is the program: it runs the command that args name until it ends, or,
// for one that serves, until ctx does and what it had begun is finished. It
// returns the exit code. Nothing is read from the process but what it is given.
func run(ctx context.Context, args, environ []string, in io.Reader, out, errw io.Writer) int {
	p := &program{env: make(map[string]string), in: in, out: out, err: errw}
	for _, line := range environ {
		if name, value, ok := strings.Cut(line, "="); ok {
			p.env[name] = value
		}
	}
	maps.DeleteFunc(p.env, func(_, value string) bool { return value == "" }) // empty counts as not set
	root := p.rootCommand()                                                   //nolint:contextcheck // commands get ctx from ExecuteContext
	root.SetArgs(args)
	return p.code(root.ExecuteContext(ctx))
}

// code reports how a command ended, and picks the exit code for it.
func (p *program) code(err error) int {
	var code exitError
	var usage callError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.As(err, &usage):
		_, _ = fmt.Fprintf(p.err, "millrace: %v\n", err)
		return exitUsage
	case !p.started: // cobra refused the command line
		_, _ = fmt.Fprintf(p.err, "millrace: %v\nmillrace --help lists the commands.\n", err)
		return exitUsage
	default:
		_, _ = fmt.Fprintf(p.err, "millrace: %v\n", err)
		return exitFailed
	}
}

func (p *program) rootCommand() *cobra.Command {
	root := &cobra.Command{
		Use:   "millrace",
		Short: "Answers inference requests from Kafka",
		Long: `Millrace answers inference requests from Kafka. Requests arrive on a topic, workers
batch them, run a model version that an MLflow registry names, and publish the
answers; a gateway turns POST /predict into a record and waits for its answer.

Begin with the whole system in one process, which needs nothing else:

  millrace up

It prints where everything listens and a curl and a kcat line to try. Then run
the parts on their own, against your Kafka and your registry:

  export MILLRACE_KAFKA_BROKERS=broker:9092 MLFLOW_TRACKING_URI=http://mlflow:5000
  MILLRACE_MODEL=models:/forecaster@champion millrace worker
  millrace gateway

What got no prediction is in the dead-letter topic: 'millrace dlq' shows it, and
puts it back.

Configuration is environment variables; 'millrace worker --help' lists those of
the worker. Exit codes: 0 done, 1 failed, 2 wrong usage or configuration.`,
		SilenceErrors: true, SilenceUsage: true,
		CompletionOptions: cobra.CompletionOptions{HiddenDefaultCmd: true},
		PersistentPreRun:  func(*cobra.Command, []string) { p.started = true },
	}
	root.SetIn(p.in)
	root.SetOut(p.out)
	root.SetErr(p.err)
	root.AddCommand(p.upCommand(), p.workerCommand(), p.gatewayCommand(), p.modelCommand(), p.loadCommand(), p.reportCommand(), p.dlqCommand(), p.readyCommand(), p.topicsCommand(), p.versionCommand(), p.configCommand())
	return root
}
