package main

import (
	"slices"
	"strings"

	"github.com/spf13/cobra"
)

// overriddenBy gives a command a flag that stands for a variable.
func (p *program) overriddenBy(cmd *cobra.Command, flag, variable string) {
	all := allVariables()
	i := slices.IndexFunc(all, func(v variableInfo) bool { return v.name == variable })
	cmd.Flags().Func(flag, "in place of "+variable+": "+all[i].help, func(value string) error {
		p.env[variable] = value
		return nil
	})
}

// configCommand prints all variables; the README's table is made by it.
func (p *program) configCommand() *cobra.Command {
	return &cobra.Command{
		Use:    "config",
		Short:  "Print every environment variable as a table in Markdown",
		Hidden: true,
		Args:   noArgs,
		RunE:   func(*cobra.Command, []string) error { return writeMarkdown(p.out) },
	}
}

// listedBy gives a command a flag that may be given several times, for the
// items of the variable's list.
func (p *program) listedBy(cmd *cobra.Command, flag, variable string) {
	all, given := allVariables(), []string(nil)
	i := slices.IndexFunc(all, func(v variableInfo) bool { return v.name == variable })
	cmd.Flags().Func(flag, "in place of "+variable+", may be given several times: "+all[i].help, func(value string) error {
		given = append(given, value)
		p.env[variable] = strings.Join(given, ",")
		return nil
	})
}
