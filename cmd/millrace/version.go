package main

import (
	"cmp"
	"fmt"
	"path/filepath"
	"runtime"
	"runtime/debug"

	"github.com/spf13/cobra"

	"github.com/millrace/millrace/model/load"
	"github.com/millrace/millrace/model/onnx"
)

// version and revision are set by the linker; the revision where Go finds no
// repository around the source, which is so in the image's build.
var (
	version  = "dev"
	revision string //nolint:gochecknoglobals // a constant that the linker sets
)

func (p *program) versionCommand() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print what this binary is, and whether ONNX Runtime is there",
		Args:  noArgs,
		RunE: func(*cobra.Command, []string) error {
			var cfg struct {
				Runtime load.Config `envPrefix:"MILLRACE_"`
			}
			if err := p.parse(&cfg); err != nil {
				return err
			}
			_, err := fmt.Fprintf(p.out, "millrace %s\ncommit %s\n%s %s/%s\nONNX Runtime: %s\n",
				version, commit(), runtime.Version(), runtime.GOOS, runtime.GOARCH, library(cfg.Runtime.Library))
			return err
		},
	}
}

// commit is what Go noted of the source when it built the binary.
func commit() string {
	info, ok := debug.ReadBuildInfo()
	if !ok {
		return "unknown"
	}
	revision, dirty := cmp.Or(revision, "unknown"), ""
	for _, s := range info.Settings {
		switch s.Key {
		case "vcs.revision":
			revision = s.Value
		case "vcs.modified":
			if s.Value == "true" {
				dirty = ", with changes"
			}
		}
	}
	return revision + dirty
}

func library(asked string) string {
	path, err := onnx.FindLibrary(asked)
	switch {
	case err != nil:
		return err.Error()
	case filepath.IsAbs(path):
		return path
	}
	return "not beside the binary: the system's loader will look for " + path + "; `make onnxruntime` fetches it"
}
