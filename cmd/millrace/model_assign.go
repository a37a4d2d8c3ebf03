package main

import (
	"errors"
	"fmt"
	"strings"
	"text/tabwriter"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/split"
)

// assignConfig is what an assignment depends on.
type assignConfig struct {
	Shares sharesConfig `envPrefix:"MILLRACE_"`
}

func (p *program) assignCommand() *cobra.Command {
	cmd := &cobra.Command{
		Use:   "assign KEY...",
		Short: "Say which version the requests of a key run on",
		Long: `Say for each key which of the versions of MILLRACE_SPLIT its requests run on, and
its bucket in that version's experiment; "-" is the model's own version. It asks
nobody: a key's assignment is a function of the key and the shares.

The bucket is the first four bytes of SHA-256 of the reference, a line feed and the
key, as a big-endian number, modulo 10000; a version has the buckets below its share
in hundredths of a percent. Of several versions of one model the first that has the
key takes it, and a later one has as many more of the buckets as make up for it.`,
		Example: `  MILLRACE_SPLIT=models:/forecaster@challenger=10 millrace model assign user-1 user-2
  millrace model assign --split models:/forecaster@challenger=50 user-1`,
		Args: func(cmd *cobra.Command, args []string) error {
			if len(args) == 0 {
				return usageError(fmt.Errorf("%s takes the keys, but got none", cmd.CommandPath()))
			}
			return nil
		},
		RunE: func(_ *cobra.Command, keys []string) error {
			var cfg assignConfig
			if err := p.parse(&cfg); err != nil {
				return err
			}
			return p.writeAssignments(cfg.Shares.Split, keys)
		},
	}
	p.overriddenBy(cmd, "split", "MILLRACE_SPLIT")
	return cmd
}

func (p *program) writeAssignments(shares []shareRef, keys []string) error {
	if len(shares) == 0 {
		return usageError(errors.New("MILLRACE_SPLIT: it is not set, and says which versions there are"))
	}
	byModel := map[string][]split.Arm{}
	var models []string // in their order
	for _, a := range arms(shares) {
		if byModel[a.Model] == nil {
			models = append(models, a.Model)
		}
		byModel[a.Model] = append(byModel[a.Model], a)
	}
	t := tabwriter.NewWriter(p.out, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(t, "KEY\tVERSION OF\tBUCKET") // told by Flush
	for _, key := range keys {
		for _, m := range models {
			reference, bucket := split.Assign(byModel[m], []byte(key))
			if reference == "" {
				reference, bucket = "-", split.Bucket(byModel[m][0].Reference, []byte(key))
			}
			_, _ = fmt.Fprintf(t, "%s\t%s\t%d\n", strings.ToValidUTF8(key, "\uFFFD"), reference, bucket)
		}
	}
	return t.Flush()
}
